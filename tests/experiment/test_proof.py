"""Checks of a saved repair: they hold for what is whole, and fail for what is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from robust_models import disc_bundle, picture
from unshift.evaluate.choice import IN_DOMAIN
from unshift.experiment.candidates import Candidate, Fitted
from unshift.experiment.proof import distances, prove
from unshift.export.bundle import Bundle, save_bundle
from unshift.networks.unet import UNet
from unshift.plugins.adain import AdaIN
from unshift.plugins.frozen import style_statistics
from unshift.sample import Sample


def samples(count: int = 4) -> list[Sample]:
    return [Sample(picture(i)[0], f"c{i}", f"p{i}", "source") for i in range(count)]


def repaired(bundle: Bundle) -> Fitted:
    plugin = AdaIN(AdaIN.Config(levels="multi")).fit(bundle.network, samples(), [])
    return Fitted(Candidate("adain-multi"), replace(bundle, plugins=(plugin,)), 0.0)


def test_all_hold_for_what_was_saved(tmp_path: Path) -> None:
    fitted = repaired(disc_bundle())
    save_bundle(tmp_path / "b", fitted.bundle)
    checks = prove(fitted.bundle, tmp_path / "b", [fitted], samples(2))
    assert [c.holds for c in checks] == [True] * 3
    assert checks[0].detail == "2 images; largest difference of a probability: 0"


def test_another_bundle_at_the_place_is_seen(tmp_path: Path) -> None:
    fitted = repaired(disc_bundle())
    save_bundle(tmp_path / "b", disc_bundle())
    first, *others = prove(fitted.bundle, tmp_path / "b", [fitted], samples(2))
    assert not first.holds
    assert all(c.holds for c in others)


def test_a_network_whose_door_changes_something_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = disc_bundle()
    save_bundle(tmp_path / "b", bundle)
    decode = UNet.decode
    monkeypatch.setattr(
        UNet, "restyled", lambda self, images, restyle: decode(self, restyle(self.encode(images))) + 1e-3
    )
    checks = {c.name: c.holds for c in prove(bundle, tmp_path / "b", [], samples(2))}
    assert not checks["features handed through the taps unchanged give the network's output"]


def test_distances_are_those_of_mean_and_deviation() -> None:
    fitted, shifted = repaired(disc_bundle()), [s.replace(image=s.image * 0.5) for s in samples()]
    table = distances(fitted, {IN_DOMAIN: samples(), "dim": shifted}).set_index(["place", "tap"])

    def gap(found: tuple[Tensor, Tensor], style: tuple[Tensor, Tensor]) -> float:
        parts = [(a - b.mean(0)).norm(dim=1) for a, b in zip(found, style, strict=True)]
        return float((parts[0] + parts[1]).mean())

    network = fitted.bundle.network
    for place, images in ((IN_DOMAIN, samples()), ("dim", shifted)):
        found, style = style_statistics(network, images), style_statistics(network, samples())
        for index, tap in enumerate(network.taps):
            row = table.loc[(place, tap.name)]
            assert row["before"] == pytest.approx(gap(found[index], style[index]), rel=1e-4)
            assert row["after"] < row["before"]  # not 0: channels that are dead in an image stay constant
    assert not torch.is_grad_enabled() or all(p.grad is None for p in network.parameters())
