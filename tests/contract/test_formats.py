"""What every format promises, checked on all that are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unshift.contracts import Format, Picture
from unshift.discover import load, names, summary
from unshift.errors import DataError

FORMATS = names("formats")
ENDINGS = [(name, suffix) for name in FORMATS for suffix in load("formats", name).suffixes]
EXCEPT = {("photo", ".jpg"), ("photo", ".jpeg")} | {("dicom", suffix) for suffix in load("formats", "dicom").suffixes}
"""Endings that hold no exact label maps, or none that stand alone."""
LABELS = torch.tensor([[0, 1, 2], [3, 200, 0]])


@pytest.mark.parametrize("name", FORMATS)
def test_members(name: str) -> None:
    member = load("formats", name)
    assert issubclass(member, Format) and isinstance(member(), Format)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in member.suffixes)
    assert list(member.suffixes) == sorted(member.suffixes, key=len, reverse=True)
    assert 20 < len(summary("formats", name)) < 160 and summary("formats", name).endswith(".")


def test_no_ending_belongs_to_two_formats() -> None:
    assert len({suffix for _, suffix in ENDINGS}) == len(ENDINGS)


@pytest.mark.parametrize(("name", "suffix"), ENDINGS)
def test_label_maps_survive_or_the_format_says_why_not(tmp_path: Path, name: str, suffix: str) -> None:
    form, path = load("formats", name)(), tmp_path / f"ä b{suffix}"
    if (name, suffix) in EXCEPT:
        with pytest.raises(DataError, match=f"ä b{suffix}: .* Use "):
            form.write_label_map(path, LABELS)
        assert not list(tmp_path.iterdir())
        return
    form.write_label_map(path, LABELS, like=Picture(LABELS, (0.5, 0.25)))
    result = form.read_label_map(path)
    assert result.array.dtype == torch.int64 and torch.equal(result.array, LABELS)
    assert result.spacing in (None, (0.5, 0.25))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    image = form.read_image(path)
    assert image.array.dtype == torch.float32 and image.array.shape == (1, 2, 3)


@pytest.mark.parametrize(("name", "suffix"), ENDINGS)
@pytest.mark.parametrize(
    "content", [b"", b"\0", b"plain text, no image at all\n" * 40, None], ids=["empty", "nul", "text", "missing"]
)
@pytest.mark.parametrize("kind", ["image", "label_map"])
def test_garbage_is_named(tmp_path: Path, name: str, suffix: str, content: bytes | None, kind: str) -> None:
    path = tmp_path / f"odd name{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="odd name"):
        getattr(load("formats", name)(), f"read_{kind}")(path)
