"""Rows of scores, and a dataset without files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from unshift.contracts import Card, Dataset
from unshift.errors import UnknownName
from unshift.evaluate.score import to_frame
from unshift.sample import Case, Sample, Score, Task


class Memory(Dataset):
    """Cases by domain; every image is noise and every label map a square."""

    card = Card("memory", "none", "none", "one per case", "none")

    def __init__(self, cases: list[Case]) -> None:
        super().__init__(None)
        self.listed = cases
        self.labels_read: list[str] = []

    @property
    def task(self) -> Task:
        return Task(1, ("background", "rim", "cup"), {"disc": frozenset({1, 2}), "cup": frozenset({2})})

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(case.domain for case in self.listed))

    def cases(self, domain: str) -> list[Case]:
        if domain not in self.domains:
            raise UnknownName("domain", domain, self.domains)
        return [case for case in self.listed if case.domain == domain]

    def read_image(self, case: Case) -> Sample:
        image = torch.zeros(1, 12, 12)
        return Sample(image, case.name, case.patient, case.domain, spacing=(0.5, 0.25))

    def read_label_map(self, case: Case) -> torch.Tensor:
        self.labels_read.append(case.key)
        label_map = torch.zeros(12, 12, dtype=torch.int64)
        label_map[2:8, 2:8], label_map[4:6, 4:6] = 1, 2
        return label_map


def _row(pipeline: str, domain: str, case: str, value: float, **changes: Any) -> Score:
    fields: dict[str, Any] = {
        "run": "r",
        "dataset": "d",
        "patient": f"{domain}/{case.split('-')[0]}",
        "region": "lesion",
        "metric": "dice",
        "unit": "1",
        "reference_voxels": 9,
        "prediction_voxels": 9,
        "fold": "f",
    }
    return Score(pipeline=pipeline, domain=domain, case=case, value=value, **fields | changes)


def _table(means: dict[tuple[str, str], float], *, patients: int = 8, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sizes = {domain: rng.integers(1, 4, patients) for domain in sorted({d for _, d in means})}
    rows = []
    for (pipeline, domain), mean in means.items():
        for patient, size in enumerate(sizes[domain]):
            for image in range(size):
                value = mean + 0.05 * rng.standard_normal()
                rows.append(_row(pipeline, domain, f"p{patient}-{image}", value, seen=domain == "A"))
    return to_frame(rows)


def _dataset(**domains: int | list[str | None]) -> Memory:
    cases = []
    for domain, content in domains.items():
        splits = [None] * content if isinstance(content, int) else content
        for number, split in enumerate(splits):
            for image in range(2):
                name = f"p{number:02}-{image}"
                cases.append(Case(name, f"{domain}/p{number:02}", domain, split=split))
    return Memory(cases)


@pytest.fixture
def row() -> Callable[..., Score]:
    """One score; the patient is the case's name before the dash."""
    return _row


@pytest.fixture
def table() -> Callable[..., pd.DataFrame]:
    """Scores around a mean for each (pipeline, domain); 1 to 3 cases a patient; domain A is seen."""
    return _table


@pytest.fixture
def dataset() -> Callable[..., Memory]:
    """Domains with a number of patients, or with each patient's declared split; two cases a patient."""
    return _dataset
