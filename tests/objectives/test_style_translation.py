from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from unshift.config import MemberRef, parse
from unshift.errors import ConfigError, DataError, ProtocolError, ShapeMismatch
from unshift.losses.overlap import segmentation_terms
from unshift.networks.style_bank import StyleBank
from unshift.networks.unet import UNet, UNetConfig
from unshift.objectives import erm
from unshift.objectives.style_translation import Config, StyleTranslation
from unshift.sample import Batch, Task, UnlabeledBatch

TASK = Task(1, ("background", "liver", "spleen"))
SMALL: dict[str, Any] = {
    "translator": {"width": 4, "blocks": 1, "style_depth": 3},
    "judges": {"width": 4, "scales": 2, "depth": 2, "content_depth": 2},
}


def build(channels: int = 1, **settings: Any) -> StyleTranslation:
    torch.manual_seed(0)
    task = Task(channels, TASK.classes)
    config = parse(Config, {**SMALL, **settings}, where="test")
    return StyleTranslation(config, task, UNet(UNetConfig(widths=(4, 8)), task), ("ct",)).train()


def pair(seed: int = 0, channels: int = 1, count: int = 2) -> tuple[Batch, UnlabeledBatch]:
    generator = torch.Generator().manual_seed(seed)
    label_maps = torch.randint(0, 3, (count, 32, 32), generator=generator)
    images = 0.3 * torch.rand(count, channels, 32, 32, generator=generator) + 0.2 * label_maps[:, None]
    others = 1 - images.flip(-1) * torch.rand(count, 1, 1, 1, generator=generator)
    batch = Batch(images, ("ct",) * count, tuple(map(str, range(count))), seed, label_maps=label_maps)
    return batch, UnlabeledBatch(others, ("mr",) * count, batch.cases, seed + 100)


def parts(objective: StyleTranslation) -> dict[str, list[Tensor]]:
    modules = {"translator": objective.translator, "judges": objective.judges, "network": objective.network}
    return {name: list(module.parameters()) for name, module in modules.items()}


def optimizers(objective: StyleTranslation) -> dict[str, torch.optim.Optimizer]:
    groups = objective.parameter_groups()
    for phase in objective.phases:
        for group in groups[phase]:
            group["lr"] = 1e-2 * group.pop("scale", 1.0)
    return {phase: torch.optim.Adam(groups[phase]) for phase in objective.phases}


def step(objective: StyleTranslation, turns: dict[str, Any], batches: Any) -> None:
    for phase in objective.phases:
        objective.zero_grad(set_to_none=True)
        torch.stack(list(objective(*batches, phase=phase).values())).sum().backward()
        turns[phase].step()


def test_each_turn_moves_its_own_part_alone() -> None:
    objective, batches = build(), pair()
    moved = {"generator": "translator", "discriminator": "judges", "segmenter": "network"}
    for phase in objective.phases:
        objective.zero_grad(set_to_none=True)
        torch.stack(list(objective(*batches, phase=phase).values())).sum().backward()
        for name, parameters in parts(objective).items():
            assert all((p.grad is not None) == (name == moved[phase]) for p in parameters), (phase, name)
    assert not any(p.requires_grad for p in objective.average.parameters())


def test_the_generators_turn_wants_to_be_taken_for_the_target() -> None:
    objective, batches = build(weights={"reconstruction": 0.0, "cycle": 0.0, "content": 0.0, "style": 0.0}), pair()
    turns = optimizers(objective)
    first = {name: float(v.detach()) for name, v in objective(*batches, phase="generator").items()}
    for _ in range(8):
        objective.zero_grad(set_to_none=True)
        torch.stack(list(objective(*batches, phase="generator").values())).sum().backward()
        turns["generator"].step()
    last = {name: float(v.detach()) for name, v in objective(*batches, phase="generator").items()}
    assert last["image"] < first["image"] and last["confusion"] < first["confusion"]
    assert first["cycle"] == last["cycle"] == 0


def test_the_discriminators_learn_which_is_which() -> None:
    objective, batches = build(), pair()
    turn = optimizers(objective)["discriminator"]
    turn.param_groups[0]["lr"] = 0.02
    for _ in range(20):
        objective.zero_grad(set_to_none=True)
        torch.stack(list(objective(*batches, phase="discriminator").values())).sum().backward()
        turn.step()
    with torch.no_grad():
        source, target = 2 * batches[0].images - 1, 2 * batches[1].images - 1
        to_target, to_source, own, other = objective.translator.exchange(source, target)
        judges = objective.judges
        for judge, real, fake in ((judges.source, source, to_source), (judges.target, target, to_target)):
            told = [torch.stack([judgment.mean() for judgment in judge(images)]).mean() for images in (real, fake)]
            assert told[0] > told[1] + 0.1
        assert judges.content(own).mean() > judges.content(other).mean() + 0.1


def test_the_six_terms_by_hand() -> None:
    objective, batches = build(), pair()
    terms = objective(*batches, phase="generator")
    a, b = 2 * batches[0].images - 1, 2 * batches[1].images - 1
    net, judges = objective.translator, objective.judges
    with torch.no_grad():
        c_a, c_b, s_a, s_b = net.content(a), net.content(b), net.style["source"](a), net.style["target"](b)
        ab, ba = net.decode(c_a, s_b), net.decode(c_b, s_a)

        def l1(first: Tensor, second: Tensor) -> Tensor:
            return (first - second).abs().mean()

        expected = {
            "reconstruction": 10 * (l1(a, net.decode(c_a, s_a)) + l1(b, net.decode(c_b, s_b))),
            "cycle": 10 * (l1(a, net.decode(net.content(ab), s_a)) + l1(b, net.decode(net.content(ba), s_b))),
            "content": l1(c_a, net.content(ab)) + l1(c_b, net.content(ba)),
            "style": l1(s_a, net.style["source"](ba)) + l1(s_b, net.style["target"](ab)),
            "image": sum(((j - 1) ** 2).mean() for j in (*judges.source(ba), *judges.target(ab))),
            "confusion": ((judges.content(c_b) - 1) ** 2).mean() + (judges.content(c_a) ** 2).mean(),
        }
        judged = objective(*batches, phase="discriminator")
        images = sum((j**2).mean() for j in (*judges.source(ba), *judges.target(ab)))
        images = images + sum(((j - 1) ** 2).mean() for j in (*judges.source(a), *judges.target(b)))
        contents = (judges.content(c_b) ** 2).mean() + ((judges.content(c_a) - 1) ** 2).mean()
    assert list(terms) == list(expected)
    for name, value in (expected | {"images": images, "contents": contents}).items():
        assert float((terms | judged)[name].detach()) == pytest.approx(float(value), rel=1e-4), name


def test_equal_domains_give_equal_halves() -> None:
    objective, (batch, _) = build(), pair()
    objective.translator.style["target"].load_state_dict(objective.translator.style["source"].state_dict())
    objective.judges.target.load_state_dict(objective.judges.source.state_dict())
    same = UnlabeledBatch(batch.images, batch.domains, batch.cases, batch.seed)
    terms = objective(batch, same, phase="generator")
    torch.stack([terms[n] for n in ("reconstruction", "cycle", "style", "image")]).sum().backward()
    pairs = zip(*(objective.translator.style[name].parameters() for name in ("source", "target")), strict=True)
    for own, other in pairs:
        torch.testing.assert_close(own.grad, other.grad, atol=1e-5, rtol=1e-3)
    first, second = objective.translator.cycle(2 * batch.images - 1, 2 * batch.images - 1)
    for name in vars(first):
        torch.testing.assert_close(getattr(first, name), getattr(second, name), atol=1e-5, rtol=1e-4)


def test_discriminators_judge_what_the_generators_turn_made() -> None:
    objective, batches = build(), pair()
    turns = optimizers(objective)
    before = objective(*batches, phase="discriminator")
    objective.zero_grad(set_to_none=True)
    torch.stack(list(objective(*batches, phase="generator").values())).sum().backward()
    turns["generator"].step()
    kept = objective(*batches, phase="discriminator")
    assert all(torch.allclose(before[name], kept[name], rtol=1e-5) for name in before)
    other = dataclasses.replace(batches[0], images=batches[0].images.clone())  # not the one of the generator's turn
    anew = objective(other, batches[1], phase="discriminator")
    assert not torch.allclose(anew["images"], kept["images"], rtol=1e-5)
    objective(*pair(3), phase="generator")  # the next step: nothing of the last one is left
    assert len(objective._made) == 1


def test_the_translator_learns_from_the_first_pairs_and_the_segmenter_from_all() -> None:
    some, whole, (batch, unlabeled) = build(pairs=1), build(), pair()
    one = dataclasses.replace(batch, images=batch.images[:1], label_maps=batch.label_maps[:1])
    first = one, dataclasses.replace(unlabeled, images=unlabeled.images[:1])
    for phase, batches in (("generator", first), ("discriminator", first), ("segmenter", (batch, unlabeled))):
        found, expected = some(batch, unlabeled, phase=phase), whole(*batches, phase=phase)
        assert list(found) == list(expected)
        assert all(torch.allclose(found[name], expected[name], rtol=1e-5) for name in found), phase
    assert some._made[0].to_target.shape[0] == 1


def test_translations_of_mixed_precision_are_judged_without_it_too() -> None:
    """The rule that chooses a precision takes every turn in both, on the same batch."""
    objective, batches = build(), pair()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        objective(*batches, phase="generator")
    assert objective._made and all(torch.isfinite(v) for v in objective(*batches, phase="discriminator").values())


def test_the_average_follows_once_a_step() -> None:
    objective = build(average=0.3)
    turns, expected = optimizers(objective), [p.clone() for p in objective.translator.parameters()]
    for number in range(4):
        momentum = min((1 + number) / (10 + number), 0.3)
        current = [p.detach().clone() for p in objective.translator.parameters()]
        expected = [momentum * e + (1 - momentum) * c for e, c in zip(expected, current, strict=True)]
        for seed in range(2):  # accumulated batches of one step
            objective(*pair(seed), phase="generator")
        for mine, other in zip(objective.average.parameters(), expected, strict=True):
            torch.testing.assert_close(mine, other)
        assert int(objective.updates) == number + 1
        step(objective, turns, pair(number))


def test_a_training_that_is_resumed_goes_on_as_if_nothing_had_been() -> None:
    one = build()
    turns = optimizers(one)
    for number in range(3):
        step(one, turns, pair(number))
    other = build()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    others = optimizers(other)
    for phase, turn in others.items():
        turn.load_state_dict(copy.deepcopy(turns[phase].state_dict()))
    for number in range(3, 5):
        step(one, turns, pair(number))
        step(other, others, pair(number))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_segmenter_learns_from_the_average_translations() -> None:
    objective, batches = build(), pair()
    with torch.no_grad():
        for parameter in objective.translator.parameters():
            parameter.mul_(0.5)
    with torch.no_grad():
        terms = objective(*batches, phase="segmenter")
    translated = objective.translated(batches[0].images, batches[1].images)
    assert float(translated.min()) >= 0 and float(translated.max()) <= 1
    with torch.no_grad():
        expected = segmentation_terms(objective.network(translated), batches[0].label_maps)
    assert all(float(terms[name]) == pytest.approx(float(expected[name])) for name in expected)
    code = objective.average.style["target"](2 * batches[1].images - 1)
    torch.testing.assert_close(translated, (objective.average(2 * batches[0].images - 1, code) + 1) / 2)
    shown = objective.previews(batches[0].images, batches[1].images)
    assert shown.shape == (2, 3, 1, 32, 32) and torch.equal(shown[:, 1], translated)


def test_after_a_finished_training_the_segmenter_learns_alone() -> None:
    first, batches = build(), pair()
    turns = optimizers(first)
    for number in range(2):
        step(first, turns, pair(number))
    second = build()
    second.begin_after(first)
    assert second.phases == tuple(second.parameter_groups()) == ("segmenter",) and first.is_learning
    trainable = {name for name, parameter in second.named_parameters() if parameter.requires_grad}
    assert trainable == {f"network.{name}" for name, _ in second.network.named_parameters()}
    assert second.state_dict().keys() < first.state_dict().keys()
    images = batches[0].images, batches[1].images
    expected = first.translated(*images)
    for number in range(3):
        step(second, {"segmenter": torch.optim.Adam(second.network.parameters())}, pair(number))
    assert torch.equal(second.translated(*images), expected)
    with torch.no_grad():
        terms = second(*batches, phase="segmenter")
        own = segmentation_terms(second.network(expected), batches[0].label_maps)
    assert all(torch.equal(terms[name], own[name]) for name in own)


def test_tested_with_the_targets_statistics() -> None:
    first, second, plain = build(), build(statistics="target"), build()
    batch, unlabeled = pair()
    for objective in (second, plain):
        objective.begin_after(first)
        torch.stack(list(objective(batch, unlabeled, phase="segmenter").values())).sum().backward()
    expected = build().network
    expected(unlabeled.images)
    for name, value in expected.named_buffers():
        found = dict(second.network.named_buffers())[name]
        assert torch.equal(found, value) or name.endswith("num_batches_tracked"), name
    for (name, one), other in zip(second.network.named_parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name  # the same training, another test
    assert not torch.equal(second.eval().network(batch.images), plain.eval().network(batch.images))


def test_a_bank_gives_every_case_one_style_of_each_cluster() -> None:
    first, second = build(), build(styles="bank")
    second.begin_after(first)
    batch, unlabeled = pair(count=8)
    batch = dataclasses.replace(batch, cases=("one",) * 4 + ("two",) * 4)
    with pytest.raises(ConfigError, match="no styles were taken"):
        second(batch, unlabeled, phase="segmenter")
    codes = torch.randn(12, 8, generator=torch.Generator().manual_seed(1))
    second.take_styles(StyleBank(codes, torch.arange(12) // 4))
    choices = torch.stack([(second.average(2 * batch.images - 1, c.expand(8, -1)) + 1) / 2 for c in codes])
    chosen: list[set[int]] = [set(), set()]
    for seed in range(12):
        drawn = dataclasses.replace(batch, seed=seed)
        styled = second.styled(drawn, batch.images, unlabeled.images)
        assert torch.equal(styled, second.styled(drawn, batch.images, unlabeled.images.flip(0)))
        for row in range(8):
            distances = (choices[:, row] - styled[row]).abs().amax(dim=(1, 2, 3))
            assert float(distances.min()) < 1e-5
            chosen[row // 4].add(int(distances.argmin()))
    assert [sorted(member // 4 for member in found) for found in chosen] == [[0, 1, 2]] * 2
    assert chosen[0] != chosen[1]


def test_what_cannot_be_begun_from_is_named() -> None:
    with pytest.raises(ConfigError, match="augmentations, pairs of style_translation differ; the two must agree"):
        build().begin_after(build(pairs=1, augmentations=["geometric"]))
    task, config = Task(1, TASK.classes), erm.EmpiricalRisk.Config()
    with pytest.raises(ConfigError, match="found EmpiricalRisk, which gives no translator"):
        build().begin_after(erm.EmpiricalRisk(config, task, UNet(UNetConfig(widths=(4, 8)), task)))


def test_rates_and_betas() -> None:
    groups = build().parameter_groups()
    assert groups["discriminator"][0]["scale"] == 2 * groups["generator"][0]["scale"]
    assert groups["generator"][0]["betas"] == (0.5, 0.9) and "betas" not in groups["segmenter"][0]


def test_colors_and_augmentations() -> None:
    batches = pair(channels=3)
    objective = build(channels=3, augmentations=[{"name": "geometric"}])
    source, target, label_maps = objective.views(*batches)
    assert not torch.equal(source, batches[0].images) and not torch.equal(target, batches[1].images)
    assert not torch.equal(label_maps, batches[0].label_maps)
    assert all(torch.equal(a, b) for a, b in zip(objective.views(*batches), (source, target, label_maps), strict=True))
    assert torch.isfinite(objective(*batches, phase="segmenter")["dice"])
    assert objective.translated(batches[0].images, batches[1].images).shape == (2, 3, 32, 32)


def test_what_is_wrong_is_named() -> None:
    objective, (batch, unlabeled) = build(), pair()
    with pytest.raises(ProtocolError, match="no target images"):
        objective(batch, phase="generator")
    with pytest.raises(DataError, match="Objective style_translation: intensities span"):
        objective(batch, dataclasses.replace(unlabeled, images=100 * unlabeled.images), phase="generator")
    with pytest.raises(ShapeMismatch, match=r"3 channel\(s\); it was built for 1"):
        objective(batch, dataclasses.replace(unlabeled, images=unlabeled.images.repeat(1, 3, 1, 1)), phase="generator")
    with pytest.raises(ShapeMismatch, match="sides of 256 and more"):
        build(judges={})(batch, unlabeled, phase="generator")
    task = Task(1, TASK.classes, spatial_dims=3)
    with pytest.raises(ConfigError, match="sees volumes"):
        StyleTranslation(Config(), task, UNet(UNetConfig(widths=(4, 8)), task))
    stems = {path.stem for path in StyleTranslation.files(Config(augmentations=(MemberRef(name="geometric"),)))}
    assert {"translation", "translator", "discriminator", "views", "geometric"} <= stems
