"""The member: where its reference comes from, what it says of bad images, what a bundle gets."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from colored_pictures import masks, pictures, slides
from unshift.config import parse
from unshift.errors import BundleError, ConfigError, DataError, ShapeMismatch
from unshift.normalizations.color_methods import METHODS, color_method
from unshift.normalizations.color_transfer import ColorTransfer
from unshift.sample import Sample


def sample(image: torch.Tensor, fov: torch.Tensor | None = None, case: str = "c") -> Sample:
    return Sample(image.float(), case=case, patient="p", domain="d", field_of_view=fov)


def new(**settings: Any) -> ColorTransfer:
    return ColorTransfer(parse(ColorTransfer.Config, settings, where="here"))


def moved(method: ColorTransfer, image: torch.Tensor, fov: torch.Tensor | None = None) -> torch.Tensor:
    [view] = method.views(sample(image, fov))
    return view.image


def save(path: Path, image: torch.Tensor) -> torch.Tensor:
    levels = (image * 255).round()
    Image.fromarray(levels.movedim(0, -1).numpy().astype(np.uint8)).save(path)
    return levels / 255


def test_the_reference_is_the_mean_of_the_sources_statistics() -> None:
    images = pictures(3, dtype=torch.float32)
    fitted = new().fit(sample(image) for image in images)
    expected = color_method("lab").statistics(images).mean(0)
    torch.testing.assert_close(fitted.state_dict()["statistics"], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_by_its_name(name: str) -> None:
    source, image = pictures(2, seed=3).float(), pictures(1, tint=(0.5, 0.8, 0.7)).float()
    if name == "macenko":
        source, image = slides(2, amounts=(0.6, 1.2)).float(), slides(1).float()
    fitted = new(method=name).fit(map(sample, source))
    method = color_method(name)
    found = moved(fitted, image[0])
    expected = method.transfer(image, fitted.state_dict()["statistics"][None])[0]
    assert torch.equal(found, expected) and (found - image[0]).abs().max() > 0.01


def test_a_named_picture(tmp_path: Path) -> None:
    levels = save(tmp_path / "expert.png", pictures(1, seed=5)[0])
    fitted = new(reference=str(tmp_path / "expert.png")).fit([])
    image = pictures(1, dtype=torch.float32)
    lab = color_method("lab")
    assert torch.equal(moved(fitted, image[0]), lab.transfer(image, lab.statistics(levels[None].float()))[0])
    assert fitted.config.reference == Path("expert.png")
    config = ColorTransfer.Config(reference=tmp_path / "expert.png")
    files = ColorTransfer.files(config)
    assert files[0] == tmp_path / "expert.png"
    assert {"color_moments.py", "color_methods.py"} < {path.name for path in files[1:]}


def test_a_bad_picture_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "black.png", pictures(1)[0] * 0.01)
    with pytest.raises(DataError, match=r"black\.png has no image whose colors can be taken \(1 looked at\)"):
        new(reference=str(tmp_path / "black.png")).fit([])
    with pytest.raises(DataError, match=r"missing\.png"):
        new(reference=str(tmp_path / "missing.png")).fit([])


def test_bad_source_images_are_named_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    good = pictures(2, dtype=torch.float32)
    bad = [sample(torch.zeros(3, 24, 32), case="lamp off"), sample(torch.ones(3, 24, 32), case="flash")]
    with caplog.at_level(logging.WARNING):
        mixed = new().fit([*map(sample, good), *bad])
    assert torch.equal(mixed.state_dict()["statistics"], new().fit(map(sample, good)).state_dict()["statistics"])
    assert "Case 'lamp off': constant and nearly black; not taken" in caplog.text
    assert "Case 'flash': constant and over-exposed; not taken" in caplog.text
    with pytest.raises(DataError, match=r"the source has no image .*\(2 looked at\)"):
        new().fit(bad)
    with pytest.raises(DataError, match=r"\(0 looked at\)"):
        new().fit([])


def test_bad_images_are_named_and_moved(caplog: pytest.LogCaptureFixture) -> None:
    fitted = new().fit(map(sample, pictures(2)))
    with caplog.at_level(logging.WARNING):
        dark = moved(fitted, pictures(1)[0] * 0.05)
        [view] = fitted.views(sample(torch.full((3, 6, 6), 0.5), case="flat"))
    assert "Case 'c': the image is nearly black; its colors are moved" in caplog.text
    assert "Case 'flat': the image is constant" in caplog.text
    assert dark.mean() > 0.2 and view.image.isfinite().all()
    caplog.clear()
    moved(fitted, pictures(1)[0])
    assert caplog.text == ""


def test_a_slide_without_tissue_is_named_and_left(caplog: pytest.LogCaptureFixture) -> None:
    fitted = new(method="macenko").fit(map(sample, slides(2)))
    blank = torch.full((3, 20, 20), 0.93) + torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0)) * 0.02
    with caplog.at_level(logging.WARNING):
        found = moved(fitted, blank)
    assert (found - blank).abs().max() < 1e-5 and "macenko finds too little to move; left as it is" in caplog.text


def test_only_the_inside_counts_and_outside_is_zero() -> None:
    fov = masks(1)[0]
    source, image = pictures(2, dtype=torch.float32)
    fitted = new().fit([sample(torch.where(fov, source, 0.9), fov)])
    assert torch.equal(
        fitted.state_dict()["statistics"],
        new().fit([sample(torch.where(fov, source, 0.0), fov)]).state_dict()["statistics"],
    )
    found = moved(fitted, image, fov)
    assert not found[:, ~fov].any()
    assert torch.equal(found, moved(fitted, torch.where(fov, image, 0.3), fov))


def test_grey_images_and_volumes_have_lightness_moved() -> None:
    grey = pictures(3)[:, :1].float()
    fitted = new().fit(map(sample, grey))
    volume = pictures(1, seed=8)[0, 0].view(1, 4, 6, 32)
    found = moved(fitted, volume)
    assert found.shape == volume.shape
    light, wanted = color_method("lab").statistics(found[None])[0, 1:3], fitted.state_dict()["statistics"][1:3]
    torch.testing.assert_close(light, wanted, atol=0.5, rtol=0)  # some of it was clipped
    three = moved(fitted, grey[0].expand(3, -1, -1))
    torch.testing.assert_close(three, moved(fitted, grey[0]).expand(3, -1, -1), atol=1e-5, rtol=0)


def test_what_cannot_be_moved_is_said() -> None:
    fitted = new().fit(map(sample, pictures(1)))
    with pytest.raises(DataError, match="not fitted"):
        moved(new(), pictures(1)[0])
    with pytest.raises(DataError, match=r"colors are in 0 … 1"):
        moved(fitted, pictures(1)[0] * 255)
    with pytest.raises(ShapeMismatch, match="1 channel"):
        moved(fitted, torch.rand(2, 8, 8))
    with pytest.raises(BundleError, match=r"statistics \[9\] of lab is required"):
        new().load_state_dict({"statistics": torch.zeros(7)})
    with pytest.raises(ConfigError, match="reinhart"):
        new(method="reinhart")


def test_state_is_one_small_row() -> None:
    for name in METHODS:
        make = slides if name == "macenko" else pictures
        sizes = {
            new(method=name).fit(map(sample, make(1, size=(n, n)))).state_dict()["statistics"].shape for n in (24, 48)
        }
        assert sizes == {(color_method(name).size,)}
    assert new().state_dict() == {}
