"""Which references the views of each case had: a table beside the predictions, and what the report shows of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from unshift.errors import DataError
from unshift.evaluate.protocol import Fold
from unshift.experiment.record import Run, write_text
from unshift.formats.reading import read_image
from unshift.report.content import ShownReference
from unshift.sample import Case, Prediction

COLUMNS = ("domain", "case", "kind", "reference", "likeness", "warning")
NAMED = 3
"""Images that a warning names."""
Row = tuple[str, str, str, str, float | None, str]


def references_path(folder: Path, pipeline: str, fold: str, seed: int) -> Path:
    """Where a run keeps which references each case's views had; nothing is there where no view had one."""
    return folder / "references" / fold / str(seed) / f"{pipeline}.csv"


def rows_of(prediction: Prediction) -> list[Row]:
    """One row a view that had a reference."""
    case = (prediction.domain, prediction.case)
    return [(*case, used.kind, used.name, used.likeness, used.warning) for used in prediction.references]


def warnings_of(rows: Iterable[Row]) -> list[str]:
    """One sentence for each domain and each thing that speaks against references, with how many images have it."""
    images: dict[str, set[str]] = {}
    found: dict[tuple[str, str], dict[str, None]] = {}
    for domain, case, kind, _, _, warning in rows:
        images.setdefault(domain, set()).add(case)
        if warning:
            found.setdefault((domain, f"{kind} reference: {warning.split(':')[0]}"), {})[case] = None
    sentences = []
    for (domain, reason), cases in found.items():
        named = ", ".join([*cases][:NAMED]) + (", …" if len(cases) > NAMED else "")
        where = f"{domain}: " if domain else ""
        sentences.append(
            f"{where}{len(cases)} of {len(images[domain])} images ({named}): {reason}; colors were moved all the same."
        )
    return sentences


def write_references(path: Path, rows: Sequence[Row]) -> Path | None:
    """A CSV file; none, and none from before is left, where no view had a reference."""
    if not rows:
        path.unlink(missing_ok=True)
        return None
    write_text(path, pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False))
    return path


def read_references(path: Path) -> pd.DataFrame:
    """The inverse of :func:`write_references`; no row where there is no file.

    Raises:
        DataError: another file of that name.
    """
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    types = dict.fromkeys(("domain", "case", "kind", "reference", "warning"), str) | {"likeness": float}
    try:
        frame = pd.read_csv(path, dtype=types, keep_default_na=False, na_values={"likeness": [""]})
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a table of references ({error}). Remove or rename it.") from None
    if tuple(frame.columns) != COLUMNS:
        raise DataError(
            f"{path}: columns are {', '.join(frame.columns)}; of a table of references they are {', '.join(COLUMNS)}. "
            "It is not overwritten: rename it, or choose another folder."
        )
    return frame


class ReferenceTable:
    """The table beside the label maps of any number of calls; rows of an image that is predicted again are replaced.

    It is written, whole, whenever one image in a hundred is new, and on leaving. So a stop loses no row, being killed
    at most one in a hundred, and writing takes no longer for many images than for few.

    Raises:
        DataError: what lies at ``path`` is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[tuple[str, str], list[Row]] = {}
        for row in read_references(path).itertuples(index=False, name=None):
            self._rows.setdefault((row[0], row[1]), []).append(row)
        self._new = 0

    def __enter__(self) -> Self:
        return self

    def add(self, prediction: Prediction) -> list[Row]:
        """Take the rows of one image, which are returned; there are none where no view had a reference."""
        case, rows = (prediction.domain, prediction.case), rows_of(prediction)
        before = self._rows.pop(case, None)
        if rows:
            self._rows[case] = rows
        self._new += bool(rows or before)
        if self._new * 100 > len(self._rows):
            self._write()
        return rows

    def __exit__(self, *_: object) -> None:
        self._write()

    def _write(self) -> None:
        if self._new:
            write_references(self.path, [row for rows in self._rows.values() for row in rows])
        self._new = 0


def all_references(run: Run, plan: Iterable[Fold]) -> pd.DataFrame | None:
    """The tables of all pipelines, of the first seed; None where no pipeline has references."""
    parts = []
    for fold in plan:
        for pipeline in run.pipelines(fold):
            frame = read_references(references_path(run.folder, pipeline, fold.name, run.recipe.seeds[0]))
            parts += [] if frame.empty else [frame.assign(pipeline=pipeline, fold=fold.name)]
    return pd.concat(parts, ignore_index=True) if parts else None


def shown_references(run: Run, pipeline: str, fold: Fold, case: Case) -> list[ShownReference]:
    """The references of one case with their images, where the source images, or the expert's file, are at hand."""
    frame = read_references(references_path(run.folder, pipeline, fold.name, run.recipe.seeds[0]))
    frame = frame[(frame["domain"] == case.domain) & (frame["case"] == case.name)]
    by_key = {one.key: one for one in fold.train}
    experts = _experts(run, pipeline)
    found = []
    for row in frame.to_dict("records"):
        name, likeness = str(row["reference"]), float(row["likeness"])
        image: np.ndarray | None = None
        if name in by_key:
            image = run.dataset.read_image(by_key[name]).image.numpy()
        elif row["kind"] == "expert" and name in experts:
            image = read_image(experts[name]).array.numpy()
        known = None if likeness != likeness else likeness
        found.append(ShownReference(str(row["kind"]), name, known, str(row["warning"]), image))
    return found


def _experts(run: Run, pipeline: str) -> dict[str, Path]:
    """File name -> file of the pictures that the pipeline's settings name and that are still there."""
    named = [r for step in run.recipe.pipelines[pipeline].normalizations for r in step.settings.get("references", ())]
    return {Path(name).name: Path(name) for name in named if Path(name).is_file()}
