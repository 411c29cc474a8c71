"""One prediction against its reference: a row for each region and metric; and the rows as a file.

This is the only stage that reads labels of held-out cases.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int
from pydantic import Field, field_validator
from torch import Tensor

from unshift.contracts import Dataset
from unshift.errors import DataError, ProtocolError, ShapeMismatch
from unshift.evaluate.files import write_whole
from unshift.evaluate.protocol import Fold
from unshift.metrics.measure import measure
from unshift.metrics.policy import METRICS, MetricConfig
from unshift.sample import Prediction, Sample, Score, Task

COLUMNS = tuple(field.name for field in fields(Score))
_TYPES = {
    "value": "float64",
    "reference_voxels": "int64",
    "prediction_voxels": "int64",
    "seed": "int64",
    "seen": "bool",
}


class EvaluateConfig(MetricConfig):
    """What is measured, under which policy, and how tables are made of it. The first metric is the primary one."""

    metrics: tuple[str, ...] = Field(
        ("dice", "jaccard", "precision", "recall", "hd95", "assd", "nsd"), min_length=1, description="primary one first"
    )
    resamples: int = Field(2000, ge=100, description="of the bootstrap of patients")
    confidence: float = Field(0.95, gt=0, lt=1, description="of the intervals")
    slices: Literal["all", "with_reference"] = Field(
        "all", description="with_reference: of volumes, erase predicted slices whose reference is empty; marked"
    )
    distances: Literal["mm", "voxels"] = Field("mm", description="voxels: ignore known spacings; marked")

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        for name in metrics:
            if name not in METRICS:
                near = difflib.get_close_matches(name, METRICS, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"unknown metric {name!r}.{hint} Known: {', '.join(METRICS)}")
        if len(set(metrics)) < len(metrics):
            raise ValueError(f"metrics are {', '.join(metrics)}; each may stand once")
        return metrics

    def deciding(self) -> dict[str, Any]:
        """All settings, for keys under which scores are stored; later ones where they are not the default."""
        later = {"slices": "all", "distances": "mm"}
        left_out = {name for name, default in later.items() if getattr(self, name) == default}
        return self.model_dump(mode="json", exclude=left_out)

    def only(self, *metrics: str) -> Self:
        """A copy that measures nothing else."""
        return type(self).model_validate(self.model_dump() | {"metrics": metrics})


def score(
    prediction: Prediction, reference: Sample, task: Task, *, config: EvaluateConfig | None = None, **identity: Any
) -> list[Score]:
    """Measure every region of one case on its original grid.

    Args:
        prediction: of the same case and grid.
        reference: with its label map; its spacing decides between mm and px.
        task: names the regions.
        config: metrics and policies.
        identity: columns of :class:`Score` that say where the prediction comes from: ``run``, ``pipeline``,
            ``dataset``, ``fold``, ``seed``, ``seen``.

    Raises:
        DataError: prediction and reference are different cases; the reference has no label map; a label map has a
            label that the task lacks.
        ShapeMismatch: sizes, spacings or affines differ.
    """
    config = config or EvaluateConfig()
    expected = _checked(prediction, reference, task)
    predicted = prediction.label_map
    if config.slices == "with_reference" and predicted.ndim == 3:
        predicted = predicted * expected.flatten(1).any(dim=1)[:, None, None]
    rows = []
    for region, labels in task.regions.items():
        counts, measurements = measure(
            _region(predicted, labels),
            _region(expected, labels),
            config.metrics,
            spacing=reference.spacing if config.distances == "mm" else None,
            config=config,
        )
        rows += [
            Score(
                **{"run": "", "pipeline": "", "dataset": ""} | identity,
                domain=reference.domain,
                patient=reference.patient,
                case=reference.case,
                region=region,
                **asdict(measured),
                reference_voxels=counts.reference,
                prediction_voxels=counts.prediction,
            )
            for measured in measurements
        ]
    return rows


def score_all(
    predictions: Iterable[Prediction], fold: Fold, dataset: Dataset, /, *, config: EvaluateConfig, **identity: Any
) -> list[Score]:
    """Score a fold's test cases; predictions may come one by one from a generator.

    Args:
        predictions: exactly one for each case of ``fold.test``, in any order.
        fold: gives the columns ``fold`` and ``seen``.
        dataset: its references are read here.
        config: metrics and policies.
        identity: as for :func:`score`: ``run``, ``pipeline``, ``dataset``, ``seed``.

    Raises:
        ProtocolError: a prediction is missing, doubled, or of a case that the fold does not test. A missing
            prediction is never skipped: it would be the failures that leave the mean.
        DataError, ShapeMismatch: as :func:`score`.
    """
    waiting = {case.key: case for case in fold.test}
    rows = []
    for prediction in predictions:
        case = waiting.pop(f"{prediction.domain}/{prediction.case}", None)
        if case is None:
            raise ProtocolError(
                f"Fold {fold.name!r}: a prediction of {prediction.domain}/{prediction.case} was given twice or is not "
                "of a test case; one for each test case is required. Remove it."
            )
        of_case = identity | {"fold": fold.name, "seen": fold.seen(case)}
        rows += score(prediction, dataset.read(case), dataset.task, config=config, **of_case)
    if waiting:
        listed = ", ".join([*waiting][:10]) + (" …" if len(waiting) > 10 else "")
        raise ProtocolError(
            f"Fold {fold.name!r}: {len(waiting)} of {len(fold.test)} predictions are missing: {listed}. "
            "Every test case needs one. Predict them."
        )
    return rows


def to_frame(scores: Iterable[Score]) -> pd.DataFrame:
    """Scores as a table with the columns of :class:`Score`, in that order."""
    return _typed(pd.DataFrame([vars(score) for score in scores], columns=list(COLUMNS)))


def write_scores(path: Path, frame: pd.DataFrame) -> None:
    """Write ``scores.parquet``, whole or not at all."""
    write_whole(path, lambda draft: frame.loc[:, list(COLUMNS)].to_parquet(draft, index=False))


def read_scores(path: Path) -> pd.DataFrame:
    """The table that :func:`write_scores` wrote.

    Raises:
        DataError: missing, not Parquet, or without some of the columns.
    """
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses of these
        raise DataError(f"{path}: not a file of scores ({error}). Give a scores.parquet of a run.") from None
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise DataError(f"{path}: columns {', '.join(missing)} are missing. Give a scores.parquet of a run.")
    return _typed(frame.loc[:, list(COLUMNS)])


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({name: _TYPES.get(name, "str") for name in COLUMNS})


def _checked(prediction: Prediction, reference: Sample, task: Task) -> Int[Tensor, "*space"]:
    where = f"Case {reference.domain}/{reference.case}"
    if (prediction.domain, prediction.case) != (reference.domain, reference.case):
        raise DataError(
            f"{where}: the prediction is of {prediction.domain}/{prediction.case}; both must be of one case. "
            "Match predictions and references by domain and name."
        )
    if reference.label_map is None:
        raise DataError(f"{where}: it has no label map; a score needs one. Read the case with its label map.")
    for what, found, required in _grids(prediction, reference):
        raise ShapeMismatch(
            f"{where}: {what} of the prediction is {found} but that of the reference is {required}; both must share "
            "one grid. Predict on the original grid, or resample the prediction with order 0."
        )
    for name, label_map in (("prediction", prediction.label_map), ("reference", reference.label_map)):
        low, high = int(label_map.min()), int(label_map.max())
        if low < 0 or high >= task.num_classes:
            raise DataError(
                f"{where}: the {name} has label {low if low < 0 else high}; the task has labels 0 … "
                f"{task.num_classes - 1}. Map the labels to the task's."
            )
    return reference.label_map


def _grids(prediction: Prediction, reference: Sample) -> Iterator[tuple[str, str, str]]:
    """Each property in which the two grids differ: name, found, required."""
    if prediction.label_map.shape != reference.space:
        yield "shape", _times(prediction.label_map.shape), _times(reference.space)
    pair = (prediction.spacing, reference.spacing)
    if None not in pair and (len(pair[0]) != len(pair[1]) or not np.allclose(*pair, rtol=1e-3, atol=0)):  # type: ignore[arg-type]
        yield "spacing", f"{pair[0]} mm", f"{pair[1]} mm"
    affines = (prediction.affine, reference.affine)
    if affines[0] is not None and affines[1] is not None:
        first, second = (affine.double().cpu() for affine in affines if affine is not None)
        if first.shape != second.shape or not torch.allclose(first, second, rtol=1e-3, atol=1e-2):
            yield "affine", str(first.tolist()), str(second.tolist())


def _region(label_map: Int[Tensor, "*space"], labels: frozenset[int]) -> Bool[Tensor, "*space"]:
    mask = torch.zeros_like(label_map, dtype=torch.bool)
    for label in labels:
        mask |= label_map == label
    return mask


def _times(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape))
