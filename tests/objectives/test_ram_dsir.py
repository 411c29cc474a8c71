from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy.special import softmax
from torch import Tensor, nn

from unshift.augmentations import amplitude_mix, zoom_crop
from unshift.config import MemberRef, parse, to_yaml
from unshift.contracts import Network, Objective
from unshift.errors import ConfigError, DataError, ProtocolError
from unshift.geometry import InputConfig
from unshift.losses.overlap import dice_loss, segmentation_terms
from unshift.losses.regions import region_logits, region_masks, region_terms
from unshift.networks.building import build_network
from unshift.objectives import erm
from unshift.objectives.ram_dsir import Config, RamDsir, restoration_error
from unshift.sample import Batch, Task
from unshift.train.optimization import build_optimizers
from unshift.train.settings import TrainConfig

TASK = Task(3, ("background", "rim", "cup"), {"disc": frozenset({1, 2}), "cup": frozenset({2})})
SOURCES = ("a", "b", "c")
OFF: dict[str, Any] = {"geometric": [], "mixing": [], "consistency_weight": 0, "restoration_weight": 0}
TERMS = ["cross_entropy", "dice", "mixed_cross_entropy", "mixed_dice", "consistency", "restoration"]


def network(seed: int = 0, task: Task = TASK, **settings: Any) -> Network:
    torch.manual_seed(seed)
    reference = {"name": "ram_unet", "width": 4} | settings
    return build_network(MemberRef(**reference), task, InputConfig(size=(32, 32)))


def build(net: Network | None = None, task: Task = TASK, **settings: Any) -> RamDsir:
    return RamDsir(parse(Config, settings, where="test"), task, net or network(), SOURCES)


def example(seed: int = 5, domains: tuple[str, ...] = ("a", "b", "c", "a", "b", "c")) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = 0.2 + 0.6 * torch.rand(6, 3, 32, 32, generator=generator)
    label_maps = torch.randint(0, 3, (6, 32, 32), generator=generator)
    return Batch(images, domains, tuple("123456"), seed, label_maps=label_maps)


def losses(objective: Objective, batch: Batch) -> dict[str, Tensor]:
    with torch.no_grad():
        return objective(batch, phase="train")


def trained(objective: Objective, steps: int = 3) -> dict[str, Tensor]:
    """Weights after a few steps as the loop makes them."""
    config = TrainConfig(steps=steps)
    (optimizer,) = build_optimizers(objective, config).values()
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * group["scale"]
    for step in range(steps):
        optimizer.zero_grad()
        torch.stack(list(objective.train()(example(step), phase="train").values())).sum().backward()
        optimizer.step()
    return objective.network.state_dict()


def test_all_off_is_erm_bit_for_bit_also_after_steps() -> None:
    ours, theirs = build(**OFF), erm.EmpiricalRisk(erm.Config(), TASK, network(), SOURCES)
    found, expected = losses(ours, example()), losses(theirs, example())
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    one, other = trained(build(**OFF)), trained(erm.EmpiricalRisk(erm.Config(), TASK, network(), SOURCES))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_views_are_zoom_crop_then_amplitude_mix_from_the_batchs_generator() -> None:
    batch, generator = example(), example().generator()
    first = zoom_crop.ZoomCrop(zoom_crop.Config())
    second = amplitude_mix.AmplitudeMix(amplitude_mix.Config())
    moved = first.draw(generator, batch.images)
    images = first.apply(batch.images, moved)
    mixed = second.apply(images, second.draw(generator, images, batch.domains))
    found = build().views(batch)
    assert torch.equal(found[0], images) and torch.equal(found[1], mixed) and not torch.equal(images, mixed)
    assert torch.equal(found[2], first.apply_label_maps(batch.label_maps, moved))


@pytest.mark.parametrize("passes", ["one", "two"])
def test_the_loss_term_by_term(passes: str) -> None:
    objective, batch = build(passes=passes).eval(), example()
    terms = losses(objective, batch)
    assert list(terms) == TERMS
    images, mixed, label_maps = objective.views(batch)
    with torch.no_grad():
        first, second = objective.network(images), objective.network(mixed)
        bottleneck = objective.network.encode(mixed)[-1]
        for prefix, logits in (("", first), ("mixed_", second)):
            for name, value in segmentation_terms(logits, label_maps).items():
                torch.testing.assert_close(terms[prefix + name], value)
        errors = []
        for domain in SOURCES:
            rows = [row for row, name in enumerate(batch.domains) if name == domain]
            restored = objective.restoration(bottleneck[rows], [domain] * len(rows))
            errors.append(F.mse_loss(restored, 2 * images[rows] - 1))
    p, q = (softmax(logits.double().numpy(), axis=1) for logits in (first, second))
    assert float(terms["consistency"]) == pytest.approx(0.5 * ((p - q) * np.log(p / q)).mean(), rel=1e-4)
    assert float(terms["restoration"]) == pytest.approx(0.1 * float(sum(errors)), rel=1e-5)


@pytest.mark.parametrize("outputs", ["classes", "regions"])
def test_consistency_sends_its_gradient_into_both_views(outputs: str) -> None:
    ours, direct = (build(outputs=outputs).eval() for _ in range(2))
    ours(example(), phase="train")["consistency"].backward()
    z, other = (direct.network(view) for view in direct.views(example())[:2])
    if outputs == "classes":
        divergence = (z.softmax(1) - other.softmax(1)) * (z.log_softmax(1) - other.log_softmax(1))
    else:
        z, other = (region_logits(logits, TASK.regions) for logits in (z, other))
        divergence = (z.sigmoid() - other.sigmoid()) * (z - other)
    (0.5 * divergence.mean()).backward()
    for mine, expected in zip(ours.network.parameters(), direct.network.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, expected.grad, rtol=1e-3, atol=1e-6)
    assert max(float(p.grad.abs().max()) for p in direct.network.parameters()) > 1e-4


def test_dice_without_the_background() -> None:
    objective, batch = build(include_background=False).eval(), example()
    terms = losses(objective, batch)
    images, mixed, label_maps = objective.views(batch)
    with torch.no_grad():
        for name, view in (("dice", images), ("mixed_dice", mixed)):
            logits = objective.network(view)
            torch.testing.assert_close(terms[name], dice_loss(logits, label_maps, include_background=False))
            assert abs(float(terms[name] - dice_loss(logits, label_maps))) > 1e-3


def test_domains_count_alike_in_restoration_however_many_images_they_have() -> None:
    restored, images = torch.zeros(3, 1, 2, 2), torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    assert float(restoration_error(restored, images, ("a", "b", "b"))) == pytest.approx(1 + (4 + 9) / 2)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"mixing": [], "consistency_weight": 0}, ["cross_entropy", "dice", "restoration"]),
        ({"consistency_weight": 0}, [term for term in TERMS if term != "consistency"]),
        ({"restoration_weight": 0}, TERMS[:5]),
    ],
    ids=["no mixing", "no consistency", "no restoration"],
)
def test_each_part_can_be_switched_off(settings: dict[str, Any], expected: list[str]) -> None:
    found, whole = losses(build(**settings).eval(), example()), losses(build().eval(), example())
    assert list(found) == expected
    for term in set(expected) - ({"restoration"} if "mixing" in settings else set()):
        torch.testing.assert_close(found[term], whole[term])


def test_a_part_whose_partner_is_off_is_refused() -> None:
    with pytest.raises(ValidationError, match="there is no second view to compare. Set consistency_weight: 0"):
        Config(mixing=())
    with pytest.raises(ConfigError, match="mixing: 'zoom_crop' moves label maps"):
        build(mixing=["zoom_crop"])


def test_restoration_reaches_the_encoder_and_not_the_segmentation_decoder() -> None:
    objective = build().train()
    objective(example(), phase="train")["restoration"].backward()
    net = objective.network
    assert all(p.grad is not None for p in net.encoder.parameters())
    assert sum(float(p.grad.abs().sum()) for p in net.encoder.parameters()) > 0
    assert all(p.grad is None for p in net.decoder.parameters())


def test_the_encoder_learns_at_half_the_rate_while_images_are_restored() -> None:
    objective = build()
    slow, rest = objective.parameter_groups()["train"]
    assert slow["scale"] == 0.5 and "scale" not in rest
    assert {id(p) for p in slow["params"]} == {id(p) for p in objective.network.encoder.parameters()}
    everything = {id(p) for p in objective.parameters()}
    assert {id(p) for p in slow["params"]} | {id(p) for p in rest["params"]} == everything
    assert len(slow["params"]) + len(rest["params"]) == len(everything)
    assert len(build(restoration_weight=0).parameter_groups()["train"]) == 1


@pytest.mark.parametrize(
    "settings", [{"name": "unet", "widths": [4, 8, 16]}, {"name": "monai_net", "encoder": "efficientnet-lite0"}]
)
def test_other_networks_with_a_bottleneck(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = build_network(MemberRef(**settings), TASK, InputConfig(size=(32, 32)))
    objective = build(net).train()
    total = torch.stack(list(objective(example(), phase="train").values())).sum()
    total.backward()
    assert torch.isfinite(total) and all(p.grad is not None for p in objective.restoration.parameters())
    assert len(objective.parameter_groups()["train"]) == (2 if settings["name"] == "monai_net" else 1)


def test_one_pass_calls_the_network_once_and_two_separate_the_statistics() -> None:
    batch = example()
    for passes, views in (("one", 1), ("two", 2)):
        objective = build(passes=passes).train()
        counted: list[int] = []
        objective.network.encoder.register_forward_hook(lambda *_, counted=counted: counted.append(1))
        losses(objective, batch)
        assert len(counted) == views
    one, two = (build(passes=passes).train() for passes in ("one", "two"))
    losses(one, batch)
    losses(two, batch)
    norm = next(name for name, m in one.network.named_modules() if isinstance(m, nn.BatchNorm2d))
    assert int(one.network.get_submodule(norm).num_batches_tracked) == 1
    assert int(two.network.get_submodule(norm).num_batches_tracked) == 2


def test_overlapping_regions_are_trained_with_sigmoids_and_class_logits_are_exported() -> None:
    objective, batch = build(outputs="regions").eval(), example()
    terms = losses(objective, batch)
    images, mixed, label_maps = objective.views(batch)
    with torch.no_grad():
        z = [region_logits(objective.network(view), TASK.regions) for view in (images, mixed)]
    expected = region_terms(z[0], region_masks(label_maps, TASK.regions))
    torch.testing.assert_close(terms["cross_entropy"], expected["cross_entropy"])
    torch.testing.assert_close(terms["dice"], expected["dice"])
    agreement = ((z[0].sigmoid() - z[1].sigmoid()) * (z[0] - z[1])).mean()
    torch.testing.assert_close(terms["consistency"], 0.5 * agreement)
    assert objective(batch.images).shape == (6, 3, 32, 32), "one logit a class, as every other objective's"


def test_regions_are_learned() -> None:
    """A bright disc with a brighter cup in it: class predictions follow region training."""
    row, column = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    radius = (row - 15.5).square() + (column - 15.5).square()
    label_map = (radius < 100).long() + (radius < 25).long()
    images = (0.2 + 0.3 * label_map).expand(6, 3, 32, 32) + 0.02 * torch.randn(6, 3, 32, 32)
    batch = dataclasses.replace(example(), images=images.clamp(0, 1), label_maps=label_map.expand(6, 32, 32))
    objective = build(outputs="regions", geometric=[]).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        torch.stack(list(objective(batch, phase="train").values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        found = objective(batch.images).argmax(1)
    assert float((found == batch.label_maps).float().mean()) > 0.97


def test_a_batch_of_one_domain_and_a_stranger_are_refused() -> None:
    with pytest.raises(ProtocolError, match="holds only 'a'.*\n*.*train.sampling: balanced"):
        losses(build(), example(domains=("a",) * 6))
    with pytest.raises(ProtocolError, match="the batch holds target; only the source domains a, b, c"):
        losses(build(), example(domains=("a", "b", "c", "a", "b", "target")))


def test_intensities_that_cannot_be_scaled() -> None:
    batch = dataclasses.replace(example(), images=example().images * 40 - 20)
    with pytest.raises(DataError, match=r"Objective ram_dsir: intensities span .*intensities: image"):
        losses(build(mixing=[], consistency_weight=0), batch)
    mixing = [{"name": "amplitude_mix", "intensities": "image"}]
    found = losses(build(mixing=mixing, intensities="image", geometric=[]).eval(), batch)
    target = build(intensities="image")._target(batch.images)
    assert all(torch.isfinite(value) for value in found.values())
    assert torch.equal(target.amin((1, 2, 3)), -torch.ones(6)) and torch.equal(target.amax((1, 2, 3)), torch.ones(6))


def test_under_autocast_terms_are_float32_and_near() -> None:
    exact = losses(build().eval(), example())
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(build().eval(), example())
    assert all(value.dtype == torch.float32 for value in found.values())
    assert all(float(found[name]) == pytest.approx(float(exact[name]), rel=0.1, abs=5e-3) for name in TERMS)
    large = torch.full((2, 1, 4, 4), 300.0, dtype=torch.float16)
    with torch.autocast("cpu", torch.bfloat16):
        error = restoration_error(large, torch.zeros_like(large), ("a", "b"))
    assert error.dtype == torch.float32 and float(error) == 2 * 300**2, "beyond what half precision holds"


def test_neighboring_slices_are_mixed_one_by_one_and_restored_together() -> None:
    task = Task(1, ("background", "rim", "cup"), spatial_dims=3)
    torch.manual_seed(0)
    net = build_network(MemberRef(name="ram_unet", width=4), task, InputConfig(size=(32, 32), neighbours=1))
    objective = build(net, task)
    terms = losses(objective.train(), example())
    assert net.in_channels == 3 and all(torch.isfinite(value) for value in terms.values())
    images, mixed, _ = objective.views(example())
    assert images.shape == mixed.shape == (6, 3, 32, 32)


def test_volumes_are_mixed_and_restored() -> None:
    task = Task(1, ("background", "organ"), spatial_dims=3)
    torch.manual_seed(0)
    net = build_network(MemberRef(name="ram_unet", width=2), task, InputConfig(size=(16, 16, 16)))
    objective = build(net, task, mixing=[{"name": "amplitude_mix", "transform": "volume"}]).train()
    images = torch.rand(6, 1, 16, 16, 16)
    label_maps = torch.randint(0, 2, (6, 16, 16, 16))
    batch = dataclasses.replace(example(), images=images, label_maps=label_maps)
    total = torch.stack(list(objective(batch, phase="train").values())).sum()
    total.backward()
    assert torch.isfinite(total) and objective.views(batch)[1].shape == images.shape
    assert all(p.grad is not None for p in objective.restoration.parameters())


def test_settings_come_from_the_recipe_and_sources_decide_what_is_stored() -> None:
    config = parse(Config, {"passes": "two", "mixing": [{"name": "amplitude_mix", "share": "continuous"}]}, where="r")
    assert "share: continuous" in to_yaml(config) and "passes: two" in to_yaml(config)
    own = {"views", "zoom_crop", "amplitude_mix", "restoration", "domain_batch_norm"}
    assert {path.stem for path in RamDsir.files(Config())} == own
