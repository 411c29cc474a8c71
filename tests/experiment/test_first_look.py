"""What is doubted of a model before it is repaired: what its output means, and how bad it is on its own images."""

from __future__ import annotations

import json
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robust_models import TASK, disc_bundle, picture, write_discs
from unshift.errors import ConfigError
from unshift.experiment.first_look import OUTPUT, SCORE, doubts, low_score
from unshift.experiment.portrait import write_page
from unshift.experiment.repair_plan import RobustifyConfig, prepare
from unshift.experiment.robustify import robustify
from unshift.experiment.source import open_source
from unshift.export.bundle import Bundle
from unshift.networks.own import own_network
from unshift.sample import Sample


class Ends(nn.Module):
    """The trained network of the discs with one more function behind it."""

    def __init__(self, last: Any) -> None:
        super().__init__()
        self.body, self.last = disc_bundle().network, last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x))


def logits(x: Tensor) -> Tensor:
    return x


def softmax(x: Tensor) -> Tensor:
    return x.softmax(1)


def upside_down(x: Tensor) -> Tensor:
    return x.flip(1)


def bundle(last: Any, output: str = "softmax") -> Bundle:
    return replace(disc_bundle(), network=own_network(Ends(last), TASK, output=output).eval())


def samples(*, labeled: bool = True) -> list[Sample]:
    pairs = [picture(500 + i) for i in range(3)]
    return [Sample(x, f"c{i}", f"p{i}", "d", label_map=y if labeled else None) for i, (x, y) in enumerate(pairs)]


def test_what_is_declared_rightly_raises_no_doubt() -> None:
    assert doubts(disc_bundle(), samples()) == {}
    assert doubts(bundle(logits), samples()) == {}
    assert doubts(bundle(softmax, "probabilities"), samples()) == {}


def test_probabilities_declared_as_logits() -> None:
    found = doubts(bundle(softmax), samples(labeled=False))
    assert found.keys() == {OUTPUT}
    assert "add up to 1 over the classes" in found[OUTPUT]


def test_logits_declared_as_probabilities() -> None:
    with pytest.raises(ConfigError, match=r"Ends: its output goes from .* set `output: softmax`"):
        bundle(logits, "probabilities")


def test_logits_that_only_real_images_show() -> None:
    """The made-up image that taps are found with may miss it."""

    def timid(x: Tensor) -> Tensor:
        return x.softmax(1) if x.shape[-1] == 96 else x

    known = bundle(timid, "probabilities")
    with pytest.raises(ConfigError, match="declared to give probabilities"):
        doubts(known, samples())


def test_a_network_that_is_bad_on_its_own_images() -> None:
    found = doubts(bundle(upside_down), samples())
    assert found.keys() == {SCORE}
    assert "Dice points on 3 of its own source images" in found[SCORE]
    assert doubts(bundle(upside_down), samples(labeled=False)) == {}
    assert low_score(0.5, 4) == {} == low_score(float("nan"), 4)


def test_doubts_reach_the_plan_the_record_and_the_page(tmp_path: Path) -> None:
    source = open_source(write_discs(tmp_path / "discs", 8), TASK, most=3)
    config = RobustifyConfig(plugins=(), strengths=(1.0,))
    plan = prepare(replace(disc_bundle(), network=_flipped()), source, config)
    assert plan.doubts.keys() == {SCORE}
    result = robustify(replace(disc_bundle(), network=_flipped()), source, tmp_path / "out", config=config)
    assert len(result.doubts) == 1
    assert "3 of its own source images" in result.doubts[0]
    recorded = json.loads((tmp_path / "out" / "robustness.json").read_text(encoding="utf-8"))
    assert recorded["doubts"] == list(result.doubts)
    page = write_page(result, subject="Discs", command="unshift robustify", wording=lambda text: f"{text} In doubt.")
    assert "3 of its own source images. If it is better" in unescape(page.read_text(encoding="utf-8"))
    assert "which images are its source. In doubt." in page.read_text(encoding="utf-8")


def _flipped() -> Any:
    """The discs' network with background and foreground exchanged."""
    network = disc_bundle().network
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.copy_(parameter.flip(0))
    return network
