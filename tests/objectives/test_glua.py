"""GLUA's second stage: the losses by hand, who gets a gradient, the ablations, and the oracles of the design."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch

from adaptation_batches import build, equal, is_erm, source, target, trained
from unshift.config import MemberRef
from unshift.errors import ConfigError, DataError
from unshift.layers.running_statistics import keeping
from unshift.losses.overlap import segmentation_terms
from unshift.networks.local_mask import LocalMask
from unshift.objectives.glua import Glua
from unshift.sample import Batch, UnlabeledBatch

SMALL: dict[str, Any] = {
    "name": "style_translation",
    "translator": {"width": 4, "blocks": 1, "style_depth": 3},
    "judges": {"width": 4, "scales": 1, "depth": 3, "content_depth": 2},
}
OFF: dict[str, Any] = {"translation": None, "mask": "none", "feature_weight": 0.0}


def glua(**settings: Any) -> Any:
    return build(Glua, **{"translation": None, **settings})


def translating(**settings: Any) -> Any:
    return build(Glua, translation=MemberRef.model_validate(SMALL), **settings)


def constant(objective: Any, value: float) -> Any:
    """Its feature discriminator says ``value`` everywhere."""
    with torch.no_grad():
        for parameter in objective.network.discriminator.parameters():
            parameter.zero_()
        objective.network.discriminator[-1].bias.fill_(value)
    return objective


def test_switched_off_it_is_erm() -> None:
    objective = glua(**OFF)
    assert objective.phases == ("segmenter",) and not isinstance(objective.network, LocalMask)
    assert is_erm(objective)


def test_global_only_is_the_first_stages_segmenter() -> None:
    mine = translating(mask="none", feature_weight=0.0)
    stage = build(type(mine.translation), **{name: value for name, value in SMALL.items() if name != "name"})
    assert mine.phases == stage.phases == ("generator", "discriminator", "segmenter")
    for phase in mine.phases:
        assert equal(mine(source(), target(), phase=phase), stage(source(), target(), phase=phase)), phase


def test_after_a_finished_first_stage_the_second_learns_alone() -> None:
    settings = {name: value for name, value in SMALL.items() if name != "name"}
    stage = build(type(translating().translation), **settings)
    first = trained(stage, steps=2)
    off, on, plain = translating(mask="none", feature_weight=0.0), translating(), build(type(stage), **settings)
    for objective in (off, on, plain):
        objective.begin_after(first)
    assert off.phases == plain.phases == ("segmenter",) and on.phases == ("feature_discriminator", "segmenter")
    assert equal(off(source(), target(), phase="segmenter"), plain(source(), target(), phase="segmenter"))
    for number in range(2):
        trained(on, steps=number)
        styled, _, shown = on.views(source(), target())
        assert torch.equal(styled, first.translated(source().images, shown))
    assert {id(p) for p in on.parameters() if p.requires_grad} == {
        id(p) for groups in on.parameter_groups().values() for group in groups for p in group["params"]
    }
    with pytest.raises(ConfigError, match="its translation, as it is set, takes nothing"):
        glua().begin_after(first)


@pytest.mark.parametrize("mask", ["none", "literal", "symmetric"])
def test_the_losses_by_hand(mask: Any) -> None:
    objective = glua(mask=mask, ramp=0, feature_weight=0.3, output_weight=0.2).eval()
    network, count = objective.network, 4
    with torch.no_grad():
        features = network.unmasked(torch.cat([source().images, target().images]))
        judged = network.discriminator(features[1])
        gap = {"none": 0 * judged, "literal": judged.tanh().abs(), "symmetric": (2 * judged - 1).abs().clamp(max=1)}[
            mask
        ]
        logits = network.network.decode([features[0], features[1] * (1 + gap)])
        told = objective.judge(logits.softmax(1))
        terms = objective(source(), target(), phase="segmenter")
        found = objective(source(), target(), phase="feature_discriminator")
    share = 1 + gap[count:] if mask == "symmetric" else torch.ones_like(gap[count:])
    expected = segmentation_terms(logits[:count], source().label_maps)
    expected["feature_adversary"] = 0.3 * (share / share.mean() * (judged[count:] - 1) ** 2).mean()
    expected["output_adversary"] = 0.2 * (told[count:] ** 2).mean()  # the source's place is 0 there
    torch.testing.assert_close(terms, expected)
    features_term = ((judged[:count] - 1) ** 2).mean() + (judged[count:] ** 2).mean()
    outputs_term = (told[:count] ** 2).mean() + ((told[count:] - 1) ** 2).mean()
    torch.testing.assert_close(found, {"features": features_term, "outputs": outputs_term})


@pytest.mark.parametrize("statistics", ["target", "joint"])
def test_whose_batch_statistics_make_the_logits_and_are_kept(statistics: Any) -> None:
    objective = glua(mask="none", ramp=0, statistics=statistics).train()
    alone, other = copy.deepcopy(objective.network.network), copy.deepcopy(objective.network.network)
    both = torch.cat([source().images, target().images])
    logits = alone(source().images) if statistics == "target" else alone(both)[:4]
    other(target().images if statistics == "target" else both)
    found = objective(source(), target(), phase="segmenter")
    expected = segmentation_terms(logits, source().label_maps)
    assert all(torch.allclose(found[name], expected[name], rtol=1e-4) for name in expected)
    kept = objective.network.network.state_dict()
    for name, value in other.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(kept[name], value)


def test_a_mask_of_the_adversary_alone_leaves_what_is_decoded_as_it_is() -> None:
    objective = glua(applied_to="adversary", ramp=0, feature_weight=0.3).eval()
    plain = glua(mask="none", ramp=0, feature_weight=0.3).eval()
    plain.load_state_dict(objective.state_dict())
    with torch.no_grad():
        assert torch.equal(objective(target().images), plain(target().images))
        judged = objective.network.discriminator(objective.network.unmasked(target().images)[1])
        found, usual = (o(source(), target(), phase="segmenter") for o in (objective, plain))
    share = 1 + (2 * judged - 1).abs().clamp(max=1)
    assert float(share.std()) > 0
    expected = 0.3 * (share / share.mean() * (judged - 1) ** 2).mean()
    torch.testing.assert_close(found.pop("feature_adversary"), expected)
    assert not torch.allclose(expected, usual.pop("feature_adversary"))
    assert equal(found, usual)


@pytest.mark.parametrize("other", [{"mask": "literal"}, {"reweighted": False}, {"feature_weight": 0}])
def test_a_mask_of_the_adversary_alone_must_weigh_something(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="applied_to is 'adversary', but nothing weighs places there"):
        glua(applied_to="adversary", **other)


def test_each_phase_moves_its_own_part_alone() -> None:
    objective = translating(output_weight=0.1)
    groups = objective.parameter_groups()
    assert tuple(groups) == objective.phases
    assert objective.phases == ("generator", "discriminator", "feature_discriminator", "segmenter")
    ids = {phase: {id(p) for g in found for p in g["params"]} for phase, found in groups.items()}
    assert sum(map(len, ids.values())) == len(set.union(*ids.values()))
    assert set.union(*ids.values()) == {id(p) for p in objective.parameters() if p.requires_grad}
    before = {n: v.clone() for n, v in objective.network.state_dict().items() if "num_batches" not in n}
    sum(objective(source(), target(), phase="feature_discriminator").values()).backward()
    assert {id(p) for p in objective.parameters() if p.grad is not None} == ids["feature_discriminator"]
    assert all(torch.equal(v, before[n]) for n, v in objective.network.state_dict().items() if n in before)
    assert groups["feature_discriminator"][0]["scale"] == 0.5


def test_a_discriminator_that_knows_nothing_leaves_the_supervised_loss() -> None:
    """Weights zero: D is 0, or 0.5, everywhere; no gap, and no pull on the features."""
    for mask, value in (("literal", 0.0), ("symmetric", 0.5), ("none", 0.5)):
        objective = constant(glua(mask=mask, ramp=0), value)
        plain = constant(glua(mask="none", ramp=0), value)
        for one in (objective, plain):
            sum(one(source(), target(), phase="segmenter").values()).backward()
        assert int(torch.count_nonzero(objective.network.running_gap)) == 0
        for mine, other in zip(objective.network.network.parameters(), plain.network.network.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad)


def test_identical_domains_come_to_have_no_gap() -> None:
    """The best least-squares answer to two equal domains is 0.5: the symmetric gap falls towards 0, the literal does not."""
    objective = glua(ramp=0).train()
    same = UnlabeledBatch(source().images, ("t",) * 4, tuple("1234"))
    optimizer = torch.optim.Adam(objective.parameter_groups()["feature_discriminator"][0]["params"], lr=5e-3)
    feature = objective.network.unmasked(source().images)[1].detach()
    first = float(objective.network.gap(feature).detach().mean())
    for _ in range(120):
        optimizer.zero_grad()
        objective(source(), same, phase="feature_discriminator")["features"].backward()
        optimizer.step()
    judged = objective.network.discriminator(feature).detach()
    assert float(objective.network.gap(feature).detach().mean()) < 0.15 < first
    assert float((judged - 0.5).abs().mean()) < 0.08


def test_the_pull_rises_over_the_ramp_once_a_step() -> None:
    objective = glua(ramp=10, feature_weight=0.5)
    assert objective.weight() == 0
    for _ in range(3):  # accumulated batches of one step
        objective(source(), target(), phase="segmenter")
    assert int(objective.updates) == 1 and objective.weight() == pytest.approx(0.05)
    objective.updates.fill_(25)
    assert objective.weight() == 0.5 and glua(ramp=0).weight() == 0.01
    objective.eval()(source(), target(), phase="segmenter")
    assert int(objective.updates) == 25


def test_the_targets_mean_gap_is_remembered() -> None:
    objective = glua(mask="literal")
    constant(objective, 0.3)(source(), target(), phase="segmenter")
    assert float(objective.network.running_gap) == pytest.approx(float(torch.tensor(0.3).tanh()))


@pytest.mark.parametrize("inference", ["computed", "running_mean"])
def test_what_is_evaluated_is_the_masked_network(inference: Any) -> None:
    objective = trained(glua(inference=inference)).eval()
    with torch.no_grad():
        features = objective.network.unmasked(target().images)
        gap = objective.network.running_gap if inference == "running_mean" else objective.network.gap(features[1])
        expected = objective.network.network.decode([features[0], features[1] * (1 + gap)])
        torch.testing.assert_close(objective(target().images), expected)


def test_translations_are_what_the_segmenter_sees_with_the_sources_labels() -> None:
    objective = translating(mask="none", feature_weight=0.0).eval()
    styled, label_maps, shown = objective.views(source(), target())
    assert torch.equal(label_maps, source().label_maps) and torch.equal(shown, target().images)
    assert styled.shape == source().images.shape and not torch.equal(styled, source().images)


def test_what_a_training_shows_of_itself() -> None:
    objective, images = translating().eval(), (source().images, target().images)
    shown = objective.previews(*images)
    assert (
        shown.shape == (4, 3, 1, 32, 32) and torch.equal(shown[:, 0], images[0]) and torch.equal(shown[:, 2], images[1])
    )
    assert torch.equal(shown[:, 1], objective.translation.translated(*images))
    gaps = objective.gaps(*images)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    for gap, seen in zip(gaps, (shown[:, 1], images[1]), strict=True):  # as D sees them in training: by the batch
        objective.train()
        with torch.no_grad(), keeping(objective, 0.0):
            assert torch.equal(gap, objective.network.gap_map(seen)) and not gap.requires_grad
        objective.eval().load_state_dict(before)
        assert not torch.equal(gap, objective.network.gap_map(seen))
    objective.gaps(*images)
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())
    plain = glua(statistics="joint").eval()
    assert torch.equal(plain.previews(*images), torch.stack(images, dim=1))
    assert torch.equal(plain.gaps(*images)[0], plain.network.gap_map(images[0]))
    assert glua(**OFF).gaps(*images) is None


def test_a_training_goes_on_from_its_state() -> None:
    one = trained(translating(), steps=2)
    names = [*one.state_dict()]
    assert not [name for name in names if name.startswith("translation.network")]
    other = translating()
    other.load_state_dict(one.state_dict())
    for phase in one.phases:
        assert equal(one(source(), target(), phase=phase), other(source(), target(), phase=phase)), phase


@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_target_images_will_do_without_translation(count: int) -> None:
    for phase in ("feature_discriminator", "segmenter"):
        terms = glua()(source(), target(count), phase=phase)
        assert all(torch.isfinite(term) for term in terms.values())


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ConfigError, match="translation 'erm' does not translate"):
        build(Glua, translation=MemberRef(name="erm"))
    with pytest.raises(DataError, match="Objective glua: no unlabeled image"):
        glua()(source(), phase="segmenter")
    batch: Batch = dataclasses.replace(source(), images=source().images.repeat(1, 3, 1, 1))
    with pytest.raises(DataError, match="1×32×32 but those of the source 3×32×32"):
        glua()(batch, target(), phase="segmenter")


def test_files_of_the_first_stage_decide_the_training() -> None:
    stems = {path.stem for path in Glua.files(Glua.Config(translation=MemberRef.model_validate(SMALL)))}
    assert {"style_translation", "translator", "discriminator", "local_mask", "two_domains", "adversary"} <= stems
    assert "style_translation" not in {path.stem for path in Glua.files(Glua.Config(translation=None))}


def test_the_remembered_gap_is_a_running_mean_of_the_targets_alone() -> None:
    objective = glua(mask="literal")
    network = objective.network
    gaps = []
    for _ in range(2):
        with torch.no_grad():
            network.discriminator[-1].bias -= 0.6  # a step: the gap is another one
            of_source, of_target = (
                float(network.gap(network.unmasked(b.images)[1]).mean()) for b in (source(), target())
            )
        objective(source(), target(), phase="segmenter")
        assert abs(of_source - of_target) > 1e-3
        gaps.append(of_target)
        assert float(network.running_gap) == pytest.approx(gaps[0] + 0.01 * (gaps[-1] - gaps[0]), rel=1e-5)
    assert abs(gaps[1] - gaps[0]) > 0.1


def test_statistics_of_a_first_stage_are_refused_for_nothing_reads_them() -> None:
    with pytest.raises(ConfigError, match="sets statistics, which are of that objective's own segmenter"):
        glua(translation={**SMALL, "statistics": "target"})
