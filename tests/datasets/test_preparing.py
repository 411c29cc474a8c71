"""Preparing goes on where it stopped, repeats nothing, and gives the same folder however often it is run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from public_packages import disc, photograph, save, write_fundus, write_prostate
from unshift.datasets import preparing
from unshift.datasets.fundus import MEMBER
from unshift.datasets.prepared import TABLE
from unshift.datasets.preparing import JOURNAL, prepare
from unshift.datasets.prostate import MEMBER as PROSTATE
from unshift.errors import DataError

CASES = 16


@pytest.fixture
def download(tmp_path: Path) -> Path:
    return write_fundus(tmp_path / "download")


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_again_changes_and_repeats_nothing(download: Path, tmp_path: Path) -> None:
    first = prepare(MEMBER, download, tmp_path / "p")
    before, source = content(tmp_path / "p"), content(download)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "p").rglob("*") if p.is_file() and p.name != JOURNAL}
    second = prepare(MEMBER, download, tmp_path / "p")
    assert (first.converted, second.converted) == (CASES, 0)
    assert second.ready == first.ready and second.problems == first.problems
    assert content(tmp_path / "p") == before and content(download) == source
    assert times == {p: p.stat().st_mtime_ns for p in times}


class Stop(Exception):
    """The hand that pulls the plug."""


@pytest.mark.parametrize("cut", [0, 5])
def test_stopped_it_goes_on(download: Path, tmp_path: Path, cut: int) -> None:
    def pull(number: int, total: int) -> None:
        assert total == CASES
        if number == 6:
            raise Stop

    with pytest.raises(Stop):
        prepare(MEMBER, download, tmp_path / "p", listener=pull)
    assert not list((tmp_path / "p").rglob(TABLE)) and MEMBER.is_unfinished(tmp_path / "p")
    journal = tmp_path / "p" / JOURNAL
    if cut:  # the machine stopped in the middle of a line
        journal.write_bytes(journal.read_bytes()[:-cut])
    done = prepare(MEMBER, download, tmp_path / "p")
    assert done.converted == CASES - 6 + bool(cut)
    prepare(MEMBER, download, tmp_path / "straight")
    assert content(tmp_path / "p") == content(tmp_path / "straight")


def test_what_changed_is_made_again_and_what_is_gone_is_taken_away(tmp_path: Path) -> None:
    download = write_fundus(tmp_path / "download", lists=False)
    prepare(MEMBER, download, tmp_path / "p")
    rois = download / "Domain1" / "train" / "ROIs"
    changed, gone = sorted(p.stem for p in (rois / "image").iterdir())
    save(rois / "image" / f"{changed}.png", photograph(99, (24, 20)))
    for part in ("image", "mask"):
        (rois / part / f"{gone}.png").unlink()
    lost = next((tmp_path / "p" / "RIM-ONE-r3" / "masks").iterdir())
    lost.write_bytes(b"")
    done = prepare(MEMBER, download, tmp_path / "p")
    assert done.converted == 2 and done.is_complete
    prepare(MEMBER, download, tmp_path / "straight")
    assert content(tmp_path / "p") == content(tmp_path / "straight")


def test_with_an_error_the_folder_is_not_whole_until_it_is_repaired(download: Path, tmp_path: Path) -> None:
    prepare(MEMBER, download, tmp_path / "p")
    mask = next((download / "Domain2" / "train" / "ROIs" / "mask").iterdir())
    good = mask.read_bytes()
    save(mask, disc((24, 20), background=0, rim=1, cup=2))
    done = prepare(MEMBER, download, tmp_path / "p")
    assert not done.is_complete and sum(done.ready.values()) == CASES - 1
    assert not list((tmp_path / "p").rglob(TABLE))
    assert not (tmp_path / "p" / "RIM-ONE-r3" / "masks" / mask.name).exists()
    mask.write_bytes(good)
    repaired = prepare(MEMBER, download, tmp_path / "p")
    assert repaired.is_complete and repaired.converted == 1


def test_of_a_doubled_case_the_first_is_made_once(tmp_path: Path) -> None:
    download = write_fundus(tmp_path / "download", lists=False)
    for domain in ("Domain1", "Domain2"):
        train, test = (download / domain / split / "ROIs" for split in ("train", "test"))
        name = min(path.name for path in (train / "image").iterdir())
        save(test / "image" / name, photograph(99, (24, 20)))
        shutil.copy(train / "mask" / name, test / "mask" / name)
    seen: list[tuple[int, int]] = []
    first = prepare(MEMBER, download, tmp_path / "p", listener=lambda *at: seen.append(at))
    before = content(tmp_path / "p")
    assert first.converted == CASES == len(list((tmp_path / "p").rglob("images/*"))) and seen[-1] == (CASES, CASES)
    assert [p.kind for p in first.problems if p.severity == "error"] == ["doubled case"] * 2 and not first.is_complete
    found = {(c.domain, c.split): c.found for c in first.counts}
    assert found["Drishti-GS", "test"] == 3 and first.ready["Drishti-GS", "test"] == 2
    assert (tmp_path / "p" / "Drishti-GS" / "images" / "gdrishtiGS_001.png").read_bytes() == (
        download / "Domain1" / "train" / "ROIs" / "image" / "gdrishtiGS_001.png"
    ).read_bytes()
    second = prepare(MEMBER, download, tmp_path / "p")
    assert second.converted == 0 and second.ready == first.ready and content(tmp_path / "p") == before


def test_an_output_that_cannot_be_made_says_what_is_required(
    download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path, *_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(self))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(
        DataError, match=r"p: cannot be made \(No such file.*\); a folder that can be written to is req"
    ):
        prepare(MEMBER, download, tmp_path / "p")


def test_warnings_of_contents_are_said_each_time(download: Path, tmp_path: Path) -> None:
    mask = next((download / "Domain2" / "train" / "ROIs" / "mask").iterdir())
    array = disc((24, 20), background=255, rim=128, cup=0)
    array[0, 0] = 254
    save(mask, array)
    for _ in range(2):
        problems = prepare(MEMBER, download, tmp_path / "p").problems
        assert [p.file for p in problems if p.kind == "stray grey level"] == [mask]


def test_nothing_else_is_overwritten(download: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(DataError, match="holds something that was not prepared here"):
        prepare(MEMBER, download, tmp_path / "mine")
    for place in (download, download / "inside", tmp_path):
        with pytest.raises(DataError, match="lies in the download"):
            prepare(MEMBER, download, place)
    prepare(MEMBER, download, tmp_path / "p")
    with pytest.raises(DataError, match="was prepared already, as 'fundus'; the unpacked download is required"):
        prepare(MEMBER, tmp_path / "p", tmp_path / "again")
    with pytest.raises(DataError, match="was prepared as 'fundus', not as 'prostate'"):
        prepare(PROSTATE, write_prostate(tmp_path / "volumes", cases=1), tmp_path / "p")
    shutil.rmtree(tmp_path / "p")


def test_a_leak_is_refused_named_in_the_tables_when_accepted_and_never_by_itself(
    download: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contents(files: list[Path]) -> list[str]:
        return ["same" if files[0].parents[1].name == "RIM-ONE-r3" else files[0].name]

    monkeypatch.setattr(MEMBER, "contents", contents)
    refused = prepare(MEMBER, download, tmp_path / "p")
    assert not refused.is_complete and not list((tmp_path / "p").rglob(TABLE))
    errors = [p for p in refused.problems if p.severity == "error"]
    assert {p.kind for p in errors} == {"leak"} and len(errors) == 2
    done = prepare(MEMBER, download, tmp_path / "p", accept_leak=True)
    assert done.is_complete and done.converted == 0
    lines = {path.parent.name: path.read_text().splitlines()[0] for path in (tmp_path / "p").rglob(TABLE)}
    assert [name for name, line in lines.items() if line.endswith(",leak")] == ["RIM-ONE-r3"]
    dataset = MEMBER(MEMBER.Config(), tmp_path / "p")
    assert dataset.card.defects.startswith("TEST CASES ARE ALSO TRAINED ON in RIM-ONE-r3")
    assert [p.kind for p in dataset.scan.problems] == ["leak"] and len(dataset.cases("RIM-ONE-r3")) == 4


def test_a_folder_that_is_a_source_counts_with_all_its_files(download: Path, tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    for name in ("1.dcm", "2.dcm"):
        (series / name).write_bytes(name.encode())
    before = preparing._digest(series)
    assert before == preparing._digest(series) and len(before or "") == 64
    (series / "2.dcm").write_bytes(b"other")
    changed = preparing._digest(series)
    (series / "2.dcm").rename(series / "3.dcm")
    assert len({before, changed, preparing._digest(series)}) == 3
