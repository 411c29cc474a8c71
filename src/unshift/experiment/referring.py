"""Which references the views of each case had: a table beside the predictions, and what the report shows of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

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
    """The inverse of :func:`write_references`; no row where there is no file."""
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    text = ("domain", "case", "kind", "reference", "warning")
    return pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values={"likeness": [""]})


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
