"""Which references the views of each case had: a table beside the predictions, and what the report shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unshift.experiment.record import write_text
from unshift.sample import Prediction

COLUMNS = ("domain", "case", "kind", "reference", "likeness", "warning")


Row = tuple[str, str, str, str, float | None, str]


def rows_of(prediction: Prediction) -> list[Row]:
    """One row a view that had a reference."""
    case = (prediction.domain, prediction.case)
    return [(*case, used.kind, used.name, used.likeness, used.warning) for used in prediction.references]


def write_references(path: Path, rows: Sequence[Row]) -> Path | None:
    """A CSV file; none, and none from before is left, where no view had a reference."""
    if not rows:
        path.unlink(missing_ok=True)
        return None
    write_text(path, pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False))
    return path


def read_references(path: Path) -> pd.DataFrame:
    """The inverse of :func:`write_references`; no row where there is no file."""
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    text = ("domain", "case", "kind", "reference", "warning")
    return pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values={"likeness": [""]})
