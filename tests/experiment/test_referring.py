"""The table of references beside the predictions: one row a view, read back as written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiment_recipes import tiny
from unshift.errors import DataError
from unshift.experiment.deployment import predict_files
from unshift.experiment.referring import read_references, rows_of, warnings_of, write_references
from unshift.experiment.run import run
from unshift.sample import Prediction, Reference


def test_one_row_a_view(tmp_path: Path) -> None:
    path = tmp_path / "references" / "x.csv"
    used = (Reference("global", "C1/7"), Reference("local", "C1/a, b", 0.875, "no similar source image: cosine 0.875"))
    prediction = Prediction("c", "p", "NA", torch.zeros(2, 2, dtype=torch.int64), references=used)
    assert write_references(path, rows_of(prediction)) == path
    first, second = read_references(path).to_dict("records")
    assert (first["domain"], first["case"], first["kind"], first["reference"]) == ("NA", "c", "global", "C1/7")
    assert first["likeness"] != first["likeness"] and first["warning"] == ""
    assert (second["reference"], second["likeness"]) == ("C1/a, b", 0.875) and "cosine 0.875" in second["warning"]


def test_warnings_are_counted_not_repeated() -> None:
    rows = [("B", f"c{i}", "local", "A/1", 0.5, f"no similar source image: cosine 0.{i}") for i in range(5)]
    rows += [("B", "c5", "local", "A/1", 0.9, ""), ("C", "c0", "global", "A/2", None, "")]
    rows += [("", "mine", "expert", "e.png", None, "the reference is nearly black")]
    similar, black = warnings_of(rows)
    assert similar == (
        "B: 5 of 6 images (c0, c1, c2, …): local reference: no similar source image; colors were moved all the same."
    )
    assert black.startswith("1 of 1 images (mine): expert reference: the reference is nearly black")
    assert warnings_of([]) == []


def test_without_references_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    assert write_references(path, []) is None and not path.exists()
    assert read_references(path).empty


def test_a_run_with_dcin_records_and_shows_its_references(tmp_path: Path) -> None:
    pipelines = {
        "baseline": {"objective": "erm"},
        "dcin": {"objective": "erm", "normalizations": [{"name": "dcin", "references": ["global", "local"]}]},
    }
    result = run(tiny(pipelines=pipelines, name="tiny-dcin"), runs=tmp_path)
    assert len(list((tmp_path / "trainings").iterdir())) == 1, "normalizations share the training"
    [file] = (result.folder / "references").rglob("*.csv")
    assert file.name == "dcin.csv"
    frame = read_references(file)
    tested = result.scores.loc[result.scores["pipeline"] == "dcin", ["domain", "case"]].drop_duplicates()
    assert len(frame) == 2 * len(tested) and set(frame["kind"]) == {"global", "local"}
    assert frame.loc[frame["kind"] == "global", "reference"].nunique() == 1
    assert all(name.startswith("A/") for name in frame["reference"])
    page = result.report.read_text(encoding="utf-8")
    assert "References of the images" in page and page.count('class="swatch-line"><img') == 2 * 2 * 3
    before = file.read_text()
    file.unlink()
    assert run(tiny(pipelines=pipelines, name="tiny-dcin"), runs=tmp_path).scores.equals(result.scores)
    assert file.read_text() == before, "a lost table is made again"

    picture = tmp_path / "in" / "x.png"
    picture.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 44), dtype=np.uint8)).save(picture)
    bundle = next((result.folder / "bundles").rglob("dcin"))
    assert [*dict(predict_files(bundle, [picture], tmp_path / "out"))] == [picture]
    assert read_references(tmp_path / "out" / "references.csv")["kind"].tolist() == ["global", "local"]


def test_an_expert_that_is_not_there_is_missed_before_the_first_training(tmp_path: Path) -> None:
    pipelines = {"baseline": {"normalizations": [{"name": "dcin", "references": ["global", "no/such.png"]}]}}
    with pytest.raises(DataError, match=r"no/such.png: no such file .* References are `global`, `local`, source"):
        run(tiny(pipelines=pipelines, name="tiny-missing"), runs=tmp_path)
    assert not (tmp_path / "trainings").exists()
