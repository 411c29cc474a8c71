"""The grid of candidates, and that gated and ungated units are one fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from foreign_networks import Student
from robust_models import disc_bundle, picture
from unshift.errors import ConfigError, UnknownName
from unshift.experiment.candidates import Candidate, Grid, fit, named
from unshift.networks.own import own_network
from unshift.sample import Sample, Task

GRID = Grid(("adain", "din"), ("single", "multi"), ("none", "distance"), ("statistics", "task"), (), 4, is_labeled=True)


def style(count: int = 12) -> list[Sample]:
    return [Sample(picture(i)[0], f"c{i}", f"p{i}", "source", label_map=picture(i)[1]) for i in range(count)]


def grid(**changes: object) -> list[Candidate]:
    return replace(GRID, **changes).candidates(disc_bundle())


def test_names_say_what_a_candidate_is() -> None:
    names = [c.name for c in grid(normalizations=["histogram_equalization"])]
    assert names == [
        "none",
        *("adain-single", "adain-single-gated", "adain-multi", "adain-multi-gated"),
        *("din-single", "din-single-gated", "din-multi", "din-multi-gated"),
        *("din-single-task", "din-single-task-gated", "din-multi-task", "din-multi-task-gated"),
        "histogram_equalization",
    ]


def test_levels_that_mean_the_same_taps_stand_once() -> None:
    found = grid(plugins=["adain"], levels=["single", "level_2", "level_1+level_2", "multi"], gates=["none"])
    assert [c.name for c in found] == ["none", "adain-single", "adain-level_1+level_2"]


def test_without_labels_the_task_follows_the_network_itself() -> None:
    for is_labeled, words in ((True, "labels"), (False, "network")):
        task = next(c for c in grid(is_labeled=is_labeled) if c.name == "din-multi-task")
        assert task.plugin is not None
        assert task.plugin.settings["supervision"] == words
        assert task.plugin.settings["steps"] == 4


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"plugins": ["adian"]}, UnknownName, "adain"),
        ({"levels": ["level_9"]}, UnknownName, "level_1"),
        ({"normalizations": ["histogram"]}, UnknownName, "histogram_equalization"),
        ({"gates": ["far"]}, ConfigError, "gate"),
    ],
)
def test_names_that_do_not_exist(changes: dict[str, object], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        grid(**changes)


def test_ungated_units_are_the_gated_siblings_and_equal_to_a_fit_of_their_own() -> None:
    bundle, samples = disc_bundle(), style()
    plain, gated = (c for c in grid(plugins=["adain"], levels=["multi"]) if c.plugin)
    first = fit(gated, bundle, samples=lambda: samples, style=samples, content=[])
    shared = fit(plain, bundle, samples=lambda: samples, style=[], content=[], siblings=[first])  # nothing to fit on
    alone = fit(plain, bundle, samples=lambda: samples, style=samples, content=[])
    assert shared.plugin is not None
    assert alone.plugin is not None
    assert shared.plugin.state_dict().keys() == alone.plugin.state_dict().keys()
    for name, value in alone.plugin.state_dict().items():
        assert torch.equal(value, shared.plugin.state_dict()[name])


def test_units_of_a_task_are_not_shared() -> None:
    bundle, samples = disc_bundle(), style()
    plain, gated = (c for c in grid(plugins=["din"], levels=["single"], objectives=["task"]) if c.plugin)
    first = fit(gated, bundle, samples=lambda: samples, style=samples, content=[])
    second = fit(plain, bundle, samples=lambda: samples, style=samples, content=[], siblings=[first])
    assert second.plugin is not None
    assert second.plugin.history


def test_a_normalization_comes_after_those_that_are_there() -> None:
    equalize = Candidate("e", normalization=grid(normalizations=["histogram_equalization"])[-1].normalization)
    once = fit(equalize, disc_bundle(), samples=style, style=[], content=[])
    twice = fit(equalize, once.bundle, samples=style, style=[], content=[])
    assert len(once.bundle.normalizations) == 1
    assert twice.bundle.normalizations[:1] == once.bundle.normalizations
    assert named([once], "e") is once
    with pytest.raises(UnknownName):
        named([once], "f")


def test_units_of_a_task_are_trained_in_a_foreign_module() -> None:
    foreign, samples = Student().eval(), [s.replace(image=s.image.repeat(3, 1, 1)) for s in style()]
    bundle = replace(disc_bundle(), network=own_network(foreign, Task(3, ("background", "disc"))))
    candidate = next(c for c in GRID.candidates(bundle) if c.name == "din-multi-task")
    before = [p.clone() for p in foreign.parameters()]
    fitted = fit(candidate, bundle, samples=lambda: samples, style=samples, content=[])
    assert fitted.plugin is not None
    assert len(fitted.plugin.history) > 0
    assert all(torch.equal(a, b) for a, b in zip(before, foreign.parameters(), strict=True))


def test_a_gate_gives_the_same_bits_after_it_was_stored() -> None:
    bundle, samples = disc_bundle(), style(40)
    candidate = next(c for c in GRID.candidates(bundle) if c.name == "adain-multi-gated")
    plugin = fit(candidate, bundle, samples=style, style=samples, content=[]).plugin
    assert plugin is not None
    again = type(plugin)(plugin.config)
    again.load_state_dict({name: value.contiguous() for name, value in plugin.state_dict().items()})
    assert plugin.state_dict()["gate.components"].shape[0] > 1
    assert all(value.is_contiguous() for value in plugin.state_dict().values())
    images = torch.stack([0.4 + 0.5 * s.image for s in samples])
    with torch.no_grad():
        found = [(f.mean((2, 3)), f.std((2, 3))) for f in bundle.network.encode(images)]
        assert torch.equal(plugin.gate(found), again.gate(found))
