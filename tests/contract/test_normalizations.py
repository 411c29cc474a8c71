"""What every normalization promises, checked on all that are there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unshift.contracts import Normalization
from unshift.discover import load, names, summary
from unshift.errors import BundleError
from unshift.sample import Sample
from untrained import untrained_network, write_untrained_vgg, write_untrained_wavelet

SETTINGS: dict[str, dict[str, Any]] = {"style_segor": {"width": None}}
"""Where the defaults would take minutes; everything else is tested as published."""


@pytest.fixture(autouse=True)
def weights_at_hand(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks that learned nothing stand in the cache folder, and nothing in anybody else's."""
    folder = tmp_path_factory.getbasetemp() / "weights"
    if not folder.is_dir():
        write_untrained_vgg(folder / "vgg16.safetensors")
        write_untrained_wavelet(folder / "wct_ain.safetensors")
    for variable in ("UNSHIFT_CACHE", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(variable, str(folder))


def new(name: str) -> Normalization:
    """A member that knows a small network, which is the same each time."""
    member = load("normalizations", name)
    made: Normalization = member(member.Config(**SETTINGS.get(name, {})))
    made.bind(untrained_network(3), (32, 32))
    return made


def picture(shape: tuple[int, ...], seed: int = 0) -> Sample:
    generator = torch.Generator().manual_seed(seed)
    space = shape[1:]
    return Sample(
        torch.rand(shape, generator=generator),
        case=f"case {seed}",
        patient="p",
        domain="x",
        label_map=torch.randint(0, 3, space, generator=generator),
        spacing=tuple(0.5 + i for i in range(len(space))),
        affine=torch.eye(4, dtype=torch.float64),
        field_of_view=torch.rand(space, generator=generator) > 0.2,
    )


def build(name: str) -> Normalization:
    return new(name).fit(picture((3, 48, 56), seed) for seed in range(1, 4))


@pytest.mark.parametrize("name", names("normalizations"))
def test_views_keep_everything_but_the_image(name: str) -> None:
    sample = picture((3, 48, 56))
    before = sample.image.clone()
    views = build(name).views(sample)
    assert views
    for view in views:
        assert view.image.shape == before.shape and view.image.dtype == torch.float32
        assert view.image.isfinite().all()
        assert view.label_map is sample.label_map and view.field_of_view is sample.field_of_view
        assert (view.spacing, view.affine) == (sample.spacing, sample.affine)
        assert (view.case, view.patient, view.domain) == (sample.case, sample.patient, sample.domain)
    assert torch.equal(sample.image, before)


@pytest.mark.parametrize("name", names("normalizations"))
def test_the_same_input_gives_the_same_views(name: str) -> None:
    normalization, sample = build(name), picture((3, 48, 56))
    for first, second in zip(normalization.views(sample), normalization.views(sample), strict=True):
        assert torch.equal(first.image, second.image)


@pytest.mark.parametrize("name", names("normalizations"))
def test_constant_images_stay_finite(name: str) -> None:
    for value in (0.0, 0.5, 1.0):
        constant = picture((3, 48, 56)).replace(image=torch.full((3, 48, 56), value))
        assert all(view.image.isfinite().all() for view in build(name).views(constant))


@pytest.mark.parametrize("name", names("normalizations"))
def test_state_survives_and_unknown_state_is_refused(name: str) -> None:
    fitted, sample = build(name), picture((3, 48, 56))
    fresh = new(name)
    fresh.load_state_dict(fitted.state_dict())
    for first, second in zip(fitted.views(sample), fresh.views(sample), strict=True):
        assert torch.equal(first.image, second.image)
    with pytest.raises(BundleError):
        fresh.load_state_dict({"never heard of": torch.zeros(1)})


@pytest.mark.parametrize("name", names("normalizations"))
def test_it_says_in_one_sentence_what_it_is(name: str) -> None:
    assert 20 < len(summary("normalizations", name)) < 160 and summary("normalizations", name).endswith(".")
