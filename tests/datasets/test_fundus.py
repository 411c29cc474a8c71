"""The four-domain fundus package: layout, lists, counts, and what `prepare` makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from public_packages import disc, save, write_fundus
from unshift.config import parse
from unshift.datasets import fundus
from unshift.datasets.fundus import MEMBER
from unshift.datasets.opening import open_dataset, recognize
from unshift.datasets.preparing import prepare
from unshift.datasets.survey import names_digest
from unshift.errors import DataError, UnknownName

SITES = ("Drishti-GS", "RIM-ONE-r3", "REFUGE-train", "REFUGE-validation")


@pytest.fixture
def download(tmp_path: Path) -> Path:
    return write_fundus(tmp_path / "download")


def kinds(problems, severity: str = "error") -> list[tuple[str, str]]:
    return sorted((p.kind, p.file.name) for p in problems if p.severity == severity)


def test_from_download_to_dataset(download: Path, tmp_path: Path) -> None:
    done = prepare(MEMBER, download, tmp_path / "fundus")
    assert done.is_complete and done.converted == 16
    assert recognize(tmp_path / "fundus") == ("fundus", {})
    dataset = open_dataset(tmp_path / "fundus")
    assert dataset.domains == SITES
    for domain in SITES:
        assert sorted(case.split for case in dataset.cases(domain)) == ["test", "test", "train", "train"]
    case = dataset.cases("RIM-ONE-r3")[0]
    sample = dataset.read(case)
    assert (case.patient, case.split) == (f"RIM-ONE-r3/{case.name}", "train")
    assert case.metadata["source"] == f"Domain2/train/ROIs/image/{case.name}.png"
    assert sample.image.shape == (3, 24, 20) and sample.label_map is not None
    assert np.array_equal(sample.label_map.numpy(), disc((24, 20), background=0, rim=1, cup=2))
    assert dataset.task.regions == {"disc": frozenset({1, 2}), "cup": frozenset({2})}


def test_part_of_the_domains_can_be_used(download: Path, tmp_path: Path) -> None:
    prepare(MEMBER, download, tmp_path / "fundus")
    first = MEMBER(parse(MEMBER.Config, {"domains": SITES[:1]}, where="test"), tmp_path / "fundus")
    assert first.domains == SITES[:1]
    with pytest.raises(UnknownName, match="unknown domain 'elsewhere'"):
        open_dataset("fundus", tmp_path / "fundus", {"domains": ["elsewhere"]}).cases("elsewhere")


def test_counts_beside_the_published_ones(download: Path) -> None:
    survey = MEMBER.survey(download)
    assert [(c.domain, c.split, c.published, c.found) for c in survey.counts[:4]] == [
        ("Drishti-GS", "train", 50, 2),
        ("Drishti-GS", "test", 51, 2),
        ("RIM-ONE-r3", "train", 99, 2),
        ("RIM-ONE-r3", "test", 60, 2),
    ]
    assert kinds(survey.problems) == []
    assert kinds(survey.problems, "warning") == [("other number", "ROIs")] * 8


def test_published_names_are_checked(download: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = {
        (domain, split): fundus.Part(2, names_digest(p.stem for p in (download / domain / split).rglob("image/*.png")))
        for domain, split in fundus._PUBLISHED
    }
    monkeypatch.setattr(fundus, "_PUBLISHED", published)
    assert MEMBER.survey(download).problems == ()
    for part in ("image", "mask"):
        path = next((download / "Domain4" / "test" / "ROIs" / part).iterdir())
        path.rename(path.with_name("V9999.png"))
    (download / "Domain4_test.list").unlink()
    assert kinds(MEMBER.survey(download).problems, "warning") == [("other names", "ROIs")]


def test_every_deviation_is_named_at_once(download: Path, tmp_path: Path) -> None:
    rois = download / "Domain1" / "train" / "ROIs"
    gone = next((rois / "mask").iterdir())
    gone.unlink()
    wrong = next((download / "Domain2" / "test" / "ROIs" / "mask").iterdir())
    save(wrong, disc((24, 20), background=0, rim=1, cup=2))
    shape = next((download / "Domain3" / "test" / "ROIs" / "mask").iterdir())
    save(shape, disc((20, 20), background=255, rim=128, cup=0))
    (download / "Domain5").mkdir()
    done = prepare(MEMBER, download, tmp_path / "fundus")
    assert not done.is_complete
    assert kinds(done.problems) == [
        ("missing case", gone.name),
        ("missing label map", gone.name),
        ("size", shape.name),
        ("wrong grey level", wrong.name),
    ]
    assert ("extra folder", "Domain5") in kinds(done.problems, "warning")
    with pytest.raises(
        DataError, match="not prepared to its end; cases.csv is required.*is written when the preparation is complete"
    ):
        open_dataset("fundus", tmp_path / "fundus").cases(SITES[3])


def test_raw_photographs_are_not_regions_of_interest(download: Path) -> None:
    rois = download / "Domain3" / "train" / "ROIs"
    for part in ("image", "mask"):
        (rois / part).rename(rois.parent / part)
    rois.rmdir()
    (problem,) = (p for p in MEMBER.survey(download).problems if p.severity == "error")
    assert (problem.kind, problem.file) == ("missing folder", rois)
    assert "the raw photographs beside it are not cropped" in problem.what


def test_a_missing_domain_is_an_error(download: Path) -> None:
    (download / "Domain4").rename(download.parent / "elsewhere")
    assert kinds(MEMBER.survey(download).problems) == [("missing folder", "ROIs")] * 2


def test_lists_decide_which_cases_are_meant(download: Path) -> None:
    path = download / "Domain1_test.list"
    first, second = path.read_text(encoding="utf-8").splitlines()
    inner = download / "Domain1" / "test.list"
    inner.write_text(first.replace("Domain1/", "") + "\n", encoding="utf-8")
    path.unlink()
    survey = MEMBER.survey(download)
    assert [item.name for item in survey.items if item.domain == SITES[0] and item.split == "test"] == [
        Path(first.split()[0]).stem
    ]
    assert ("unlisted case", f"{Path(second.split()[0]).stem}.*") in kinds(survey.problems, "warning")
    inner.write_bytes(b"\xff")
    assert ("unusable list", "test.list") in kinds(MEMBER.survey(download).problems)


def test_a_case_in_both_splits_is_an_error(tmp_path: Path) -> None:
    download = write_fundus(tmp_path / "d", lists=False)
    rois = download / "Domain1"
    name = next((rois / "train" / "ROIs" / "image").iterdir()).name
    for part in ("image", "mask"):
        (rois / "test" / "ROIs" / part / name).write_bytes((rois / "train" / "ROIs" / part / name).read_bytes())
    assert kinds(MEMBER.survey(download).problems) == [("doubled case", name)]


def test_the_download_itself_says_what_to_run(download: Path) -> None:
    with pytest.raises(DataError, match=r"looks like the download of fundus.*unshift data prepare fundus --from"):
        recognize(download)
    with pytest.raises(DataError, match=r"looks like the download of fundus.*unshift data prepare fundus --from"):
        open_dataset("fundus", download).cases(SITES[0])
