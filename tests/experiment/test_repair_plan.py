"""What is decided, and refused, before anything is fitted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from robust_models import disc_bundle, write_discs
from unshift.errors import ConfigError, DataError, UnknownName
from unshift.evaluate.choice import IN_DOMAIN
from unshift.experiment.repair_plan import RobustifyConfig, describe_shifts, prepare, read_case, views
from unshift.experiment.source import Source, open_source
from unshift.export.bundle import Bundle
from unshift.plugins.adain import AdaIN

QUICK = RobustifyConfig(plugins=("adain",), strengths=(1.0,), normalizations=("histogram_equalization",))


def source(folder: Path, count: int = 20) -> Source:
    return open_source(write_discs(folder, count), disc_bundle().task, most=6)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Source]:
    return disc_bundle(), source(tmp_path_factory.mktemp("given") / "discs")


def test_the_plan_counts_what_it_will_do(given: tuple[Bundle, Source]) -> None:
    plan = prepare(*given, QUICK)
    assert plan.kind == "ultrasound"
    assert plan.places == (IN_DOMAIN, "B@1", "C@1", "D@1")
    assert len(plan.candidates) == 6
    assert plan.predictions == 6 * 4 * 6
    assert [j.total for j in plan.jobs] == [1] * 5 + [plan.predictions]
    assert "presets B, C, D" in describe_shifts(plan)


def test_the_network_is_a_copy_in_evaluation_mode(given: tuple[Bundle, Source]) -> None:
    bundle = replace(given[0], network=given[0].network.train())
    plan = prepare(bundle, given[1], QUICK)
    assert plan.bundle.network is not bundle.network
    assert bundle.network.training
    assert not plan.bundle.network.training


def test_names_carry_the_domain_where_there_are_several(tmp_path: Path) -> None:
    write_discs(tmp_path / "two" / "a", 6)
    write_discs(tmp_path / "two" / "b", 6)  # the same stems
    found = open_source(tmp_path / "two", disc_bundle().task)
    names = [read_case(found, case, labeled=False).case for case in (*found.fit, *found.held_out)]
    assert len(set(names)) == 12
    assert all(name[:2] in ("a_", "b_") for name in names)


def test_views_are_unlabeled_and_on_one_grid(given: tuple[Bundle, Source]) -> None:
    plan = prepare(*given, QUICK)
    sample = read_case(given[1], given[1].held_out[0], labeled=True)
    found = dict(views(plan, sample))
    assert list(found) == list(plan.places)
    assert all(v.label_map is None and v.domain == place and v.space == sample.space for place, v in found.items())
    assert torch.equal(found[IN_DOMAIN].image, sample.image)


def test_units_in_a_bundle_are_taken_out(given: tuple[Bundle, Source]) -> None:
    bundle, found = given
    samples = [found.dataset.read_image(c) for c in found.fit]
    held = replace(bundle, plugins=(AdaIN(AdaIN.Config()).fit(bundle.network, samples, []),))
    assert prepare(held, found, QUICK).bundle.plugins == ()


def test_few_images_leave_the_gate_out(tmp_path: Path) -> None:
    found = source(tmp_path / "discs", 8)
    assert [c.name for c in prepare(disc_bundle(), found, QUICK).candidates[1:3]] == ["adain-single", "adain-multi"]
    with pytest.raises(DataError, match="needs 10 or more"):
        prepare(disc_bundle(), found, QUICK.model_copy(update={"gates": ("distance",)}))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"plugins": ("dni",)}, UnknownName, "din"),
        ({"simulator": "photo"}, DataError, "1 channel.*3 are required"),
        ({"strengths": (0.0,)}, ConfigError, "above 0"),
        ({"choose": "adain-double"}, ConfigError, r"'adain-double' is no candidate.*adain-single"),
    ],
)
def test_wrong_settings_before_anything_is_fitted(
    given: tuple[Bundle, Source], changes: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        prepare(*given, QUICK.model_copy(update=changes))
