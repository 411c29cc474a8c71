"""The task objective: where it starts, what it learns from, and that its units are those that will run."""

from __future__ import annotations

import pytest
import torch

from unshift.augmentations.appearance import Appearance
from unshift.augmentations.appearance import Config as AppearanceConfig
from unshift.augmentations.geometric import Config as GeometricConfig
from unshift.augmentations.geometric import Geometric
from unshift.contracts import Network
from unshift.errors import DataError
from unshift.losses.overlap import segmentation_terms
from unshift.networks.unet import UNet, UNetConfig
from unshift.plugins.adain import AdaIN
from unshift.plugins.din import DIN, DINConfig
from unshift.plugins.frozen import frozen, style_statistics
from unshift.plugins.task import ShiftedTask, TrainableUnits, labeled
from unshift.plugins.units import Unit, UnitsConfig
from unshift.sample import Sample, Task

TAPS = (0, 1, 2)


def network() -> Network:
    torch.manual_seed(0)
    return UNet(UNetConfig(widths=(4, 6, 8)), Task(1, ("background", "head"))).eval()


def pictures(count: int = 4, *, space: tuple[int, int] = (16, 16)) -> list[Sample]:
    generator = torch.Generator().manual_seed(1)
    found = []
    for i in range(count):
        image = torch.rand(1, *space, generator=generator)
        field = torch.ones(space, dtype=torch.bool)
        field[:, :4] = False
        found.append(Sample(image, f"case_{i}", f"{i}", "A", label_map=(image[0] > 0.5).long(), field_of_view=field))
    return found


def setting(net: Network, samples: list[Sample], *, learned: bool = False, unchanged: bool = False):
    bank = style_statistics(net, samples)
    trained = TrainableUnits([bank[i] for i in TAPS], learned_strength=learned)
    units = DIN(DINConfig(objective="task"))
    units.levels = torch.nn.ModuleList(Unit(s.weights[0], s.biases[0], s.strength) for s in trained.styles())
    shift = Appearance(AppearanceConfig(strength=0.0 if unchanged else 1.0))
    return trained, ShiftedTask(net, units, TAPS, shift=shift)


def test_it_starts_at_the_mean_style() -> None:
    net, samples = network(), pictures()
    trained, _ = setting(net, samples)
    fitted = AdaIN(UnitsConfig()).fit(net, samples, [])
    for style, unit in zip(trained.styles(), fitted.levels, strict=True):
        torch.testing.assert_close(style.weights[0], unit.weight)
        torch.testing.assert_close(style.biases[0], unit.bias)
        assert style.strength is None


def test_the_norm_of_a_style_is_that_of_its_mean_and_deviation() -> None:
    trained = TrainableUnits(
        [(torch.tensor([[3.0, 0.0], [3.0, 8.0]]), torch.tensor([[5.0, 12.0]]))], learned_strength=False
    )
    torch.testing.assert_close(trained.norms()[0], torch.tensor(5.0 + 13.0))


def test_before_training_the_loss_is_that_of_the_network_with_adain() -> None:
    net, samples = network(), pictures()
    trained, task = setting(net, samples, unchanged=True)
    with torch.no_grad():
        terms = task.terms(trained, task.shifted(samples, torch.Generator().manual_seed(0)))
        attached = AdaIN(UnitsConfig()).fit(net, samples, []).attach(net)
        images, label_maps, fields = (
            torch.stack([getattr(s, name) for s in samples]) for name in ("image", "label_map", "field_of_view")
        )
        expected = segmentation_terms(attached(images, fields), label_maps)
    assert set(terms) == {"cross_entropy", "dice"}
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)


def test_groups_of_several_sizes_are_weighted_by_their_number_of_images() -> None:
    net = network()
    samples = [*pictures(3), *pictures(1, space=(32, 24))]
    trained, task = setting(net, samples, unchanged=True)
    with torch.no_grad():
        together = task.terms(trained, task.shifted(samples, torch.Generator()))
        alone = [task.terms(trained, task.shifted([s], torch.Generator())) for s in samples]
    for name, value in together.items():
        torch.testing.assert_close(value, torch.stack([terms[name] for terms in alone]).mean())


@pytest.mark.parametrize("learned", [False, True])
def test_gradients_reach_the_units_alone(learned: bool) -> None:
    net, samples = network(), pictures()
    trained, task = setting(net, samples, learned=learned)
    with frozen(net):
        terms = task.terms(trained, task.shifted(samples, torch.Generator().manual_seed(0)))
        sum(terms.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in trained.parameters())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert len(list(trained.parameters())) == len(TAPS) * (3 if learned else 2)


def test_images_change_and_labels_stay() -> None:
    samples = pictures()
    _, task = setting(network(), samples)
    ((images, label_maps, fields),) = task.shifted(samples, torch.Generator().manual_seed(0))
    assert not torch.equal(images, torch.stack([s.image for s in samples]))
    assert torch.equal(label_maps, torch.stack([s.label_map for s in samples]))
    assert torch.equal(fields, torch.stack([s.field_of_view for s in samples]))


def test_a_shift_that_moves_the_image_moves_labels_and_field_of_view() -> None:
    samples, net = pictures(), network()
    _, task = setting(net, samples)
    shift = Geometric(GeometricConfig())
    moving = ShiftedTask(net, task.units, TAPS, shift=shift)
    ((images, label_maps, fields),) = moving.shifted(samples, torch.Generator().manual_seed(5))
    again = torch.Generator().manual_seed(5)
    plain = torch.stack([s.image for s in samples])
    parameters = shift.draw(again, plain)
    assert torch.equal(images, shift.apply(plain, parameters))
    given = torch.stack([s.label_map for s in samples]), torch.stack([s.field_of_view for s in samples])
    assert torch.equal(label_maps, shift.apply_label_maps(given[0], parameters))
    assert torch.equal(fields, shift.apply_label_maps(given[1].long(), parameters).bool())
    assert not torch.equal(label_maps, given[0])


def test_neighbouring_slices_are_shifted_as_one_volume() -> None:
    torch.manual_seed(0)
    net = UNet(UNetConfig(widths=(4, 6, 8)), Task(1, ("background", "head")), channels=3).eval()
    samples = [s.replace(image=s.image.repeat(3, 1, 1)) for s in pictures()]
    _, task = setting(net, samples)
    smooth = Appearance(AppearanceConfig(grain=0.0))
    alike = ShiftedTask(net, task.units, TAPS, shift=smooth)
    ((images, _, _),) = alike.shifted(samples, torch.Generator().manual_seed(0))
    assert images.shape == (4, 3, 16, 16)
    assert not torch.equal(images, torch.stack([s.image for s in samples]))
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])


def test_labels_are_required_or_the_network_says_them() -> None:
    net, samples = network(), pictures()
    assert labeled(net, samples, "labels") == samples
    samples[2] = samples[2].unlabeled()
    with pytest.raises(DataError, match=r"'case_2': no label map.*supervision: network"):
        labeled(net, samples, "labels")
    with torch.no_grad():
        expected = net(torch.stack([s.image for s in samples])).argmax(1)
    for sample, label_map in zip(labeled(net, samples, "network"), expected, strict=True):
        assert sample.label_map is not None and torch.equal(sample.label_map, label_map)
