"""Rows of scores for tests of tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from unshift.evaluate.score import to_frame
from unshift.sample import Score


def row(pipeline: str, domain: str, case: str, value: float, **changes: Any) -> Score:
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


def table(rng: np.random.Generator, means: dict[tuple[str, str], float], *, patients: int = 8) -> pd.DataFrame:
    """Scores around a mean for each (pipeline, domain); 1 to 3 cases a patient; domain A is seen."""
    sizes = {domain: rng.integers(1, 4, patients) for domain in sorted({d for _, d in means})}
    rows = []
    for (pipeline, domain), mean in means.items():
        for patient, size in enumerate(sizes[domain]):
            for image in range(size):
                value = mean + 0.05 * rng.standard_normal()
                rows.append(row(pipeline, domain, f"p{patient}-{image}", value, seen=domain == "A"))
    return to_frame(rows)
