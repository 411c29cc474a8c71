"""The table of references beside the predictions: one row a view, read back as written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiment_recipes import tiny
from unshift.errors import DataError
from unshift.experiment import referring
from unshift.experiment.deployment import predict_files
from unshift.experiment.referring import ReferenceTable, read_references, rows_of, warnings_of, write_references
from unshift.experiment.run import prepare, run
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


@pytest.mark.parametrize("name", ["A/9999_00", "held out"])
def test_a_source_image_that_is_not_trained_on_is_missed_before_the_first_training(name: str, tmp_path: Path) -> None:
    _, [fold] = prepare(tiny(), root=None, runs=tmp_path, record=False)
    named = next(case.key for case in fold.test if case.domain == "A") if name == "held out" else name
    dcin = {"baseline": {"normalizations": [{"name": "dcin", "references": [named]}]}}
    with pytest.raises(DataError, match=f"'{named}' is none of the {len(fold.train)} source images"):
        run(tiny(pipelines=dcin, name="tiny-missing"), runs=tmp_path)
    assert not (tmp_path / "trainings").exists()


def referred(case: str, name: str) -> Prediction:
    empty = torch.zeros(2, 2, dtype=torch.int64)
    return Prediction(case, case, "", empty, references=(Reference("local", name, 0.1 + 0.2), Reference("global", "g")))


def test_rows_come_in_as_images_do_and_stay_when_others_are_predicted(tmp_path: Path) -> None:
    path = tmp_path / "references.csv"
    with ReferenceTable(path) as table:
        for name in ("a", "b", "c"):
            table.add(referred(name, "old"))
            assert read_references(path)["case"].iloc[-1] == name, "a killed call keeps it"
    before = path.read_text()
    with ReferenceTable(path) as table:
        table.add(referred("b", "new"))
    frame = read_references(path)
    assert frame["case"].tolist() == ["a", "a", "c", "c", "b", "b"]
    assert frame.loc[frame["kind"] == "local", "reference"].tolist() == ["old", "old", "new"]
    assert path.read_text().splitlines()[:3] == before.splitlines()[:3], "figures stay to the last digit"
    with ReferenceTable(path) as table:  # a bundle without references on two of them
        for name in ("a", "c"):
            table.add(Prediction(name, name, "", torch.zeros(2, 2, dtype=torch.int64)))
    assert set(read_references(path)["case"]) == {"b"}


def test_a_stop_loses_no_row(tmp_path: Path) -> None:
    def stopped() -> Iterator[None]:
        with ReferenceTable(tmp_path / "references.csv") as table:
            for index in range(150):
                table.add(referred(f"c{index}", "x"))
                yield

    predicting = stopped()
    for _ in range(124):
        next(predicting)
    predicting.close()
    assert read_references(tmp_path / "references.csv")["case"].nunique() == 124


def test_many_rows_are_not_written_for_every_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(referring, "write_references", lambda path, rows: written.append(len(rows)))
    with ReferenceTable(tmp_path / "references.csv") as table:
        for index in range(2000):
            table.add(referred(f"c{index}", "x"))
    assert len(written) < 500 and written[-1] == 4000


@pytest.mark.parametrize("content", ["title,year\nA,2020\n", "", '"open'])
def test_another_file_of_that_name_is_not_overwritten(content: str, tmp_path: Path) -> None:
    (tmp_path / "references.csv").write_text(content)
    with pytest.raises(DataError, match=r"references\.csv: .*(rename it)"):
        ReferenceTable(tmp_path / "references.csv")
    assert (tmp_path / "references.csv").read_text() == content
