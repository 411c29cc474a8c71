from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unshift.config import MemberRef
from unshift.contracts import Network, Tap
from unshift.errors import ConfigError, UnknownName
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.networks.restoration import RestorationDecoder, bottleneck_of, encoder_parameters
from unshift.sample import Task

TASK = Task(3, ("background", "cup"))


def network(name: str, **settings: object) -> Network:
    return build_network(MemberRef(name=name, **settings), TASK, InputConfig(size=(64, 64)))


def bottleneck(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("domains", "expected"), [(3, 614_755), (5, 617_635)])
def test_parameters_are_those_of_the_paper(domains: int, expected: int) -> None:
    tap = bottleneck_of(network("ram_unet"), where="test")
    decoder = RestorationDecoder(2, tap, 3, tuple("abcde"[:domains]))
    assert sum(p.numel() for p in decoder.parameters()) == expected


@pytest.mark.parametrize("dims", [2, 3])
def test_the_image_has_the_inputs_size_and_lies_between_minus_one_and_one(dims: int) -> None:
    decoder = RestorationDecoder(dims, Tap("deep", 4, 6), 2, ("a", "b"))
    with torch.no_grad():
        found = decoder(100 * bottleneck(3, 6, *[3] * dims), ("a", "b", "b"))
    assert found.shape == (3, 2, *[12] * dims) and float(found.abs().max()) <= 1


@pytest.mark.parametrize("dims", [2, 3])
def test_a_block_is_that_of_torchs_own_modules(dims: int) -> None:
    torch.manual_seed(0)
    decoder, x = RestorationDecoder(dims, Tap("deep", 2, 8), 2, ("a", "b")), bottleneck(5, 8, *[4] * dims)
    (block,) = decoder.blocks
    for norm in block.norms:
        nn.init.normal_(norm.weight, 1, 0.3)
        nn.init.normal_(norm.bias, 0, 0.3)
    batch_norm, mode = (nn.BatchNorm2d, "bilinear") if dims == 2 else (nn.BatchNorm3d, "trilinear")
    expected = []
    with torch.no_grad():
        for domain, rows in enumerate((slice(0, 2), slice(2, 5))):
            y = x[rows]
            for step, layer in enumerate((block.halve, block.turn, block.mix)):
                alone = batch_norm(4)
                alone.weight.copy_(block.norms[step].weight[domain])
                alone.bias.copy_(block.norms[step].bias[domain])
                y = F.relu(alone(layer(y)))
                y = F.interpolate(y, scale_factor=2, mode=mode, align_corners=False) if step == 0 else y
            expected.append(decoder.head(y).tanh())
        torch.testing.assert_close(decoder(x, ("a", "a", "b", "b", "b")), torch.cat(expected))
    kernels = [layer.kernel_size[0] for layer in (block.halve, block.turn, block.mix, decoder.head)]
    assert kernels == [3, 1, 3, 3]


@pytest.mark.parametrize("dims", [2, 3])
def test_weights_begin_as_kaiming_says_for_relu_and_outputs(dims: int) -> None:
    torch.manual_seed(0)
    decoder = RestorationDecoder(dims, Tap("deep", 4, 64), 3, ("a", "b"))
    weights = [p.detach() for p in decoder.parameters() if p.ndim > 2]
    assert len(weights) == 7
    for weight in weights:
        expected = math.sqrt(2 / (weight.shape[0] * weight[0, 0].numel()))
        assert float(weight.std()) == pytest.approx(expected, rel=0.12)
        assert float(weight.abs().max()) > 2 * expected, "normal, not uniform"


def test_each_image_is_restored_with_the_images_of_its_own_domain_alone() -> None:
    decoder, x = RestorationDecoder(2, Tap("deep", 4, 8), 3, ("a", "b", "c")), bottleneck(6, 8, 5, 5)
    domains = ("c", "a", "b", "a", "c", "a")
    whole = decoder(x, domains)
    for name in "abc":
        rows = [row for row, domain in enumerate(domains) if domain == name]
        torch.testing.assert_close(decoder(x[rows], [name] * len(rows)), whole[rows])


def test_order_does_not_matter_and_domains_do() -> None:
    decoder, x = RestorationDecoder(2, Tap("deep", 4, 8), 3, ("a", "b")).eval(), bottleneck(4, 8, 5, 5)
    for block in decoder.blocks:
        for norm in block.norms:
            norm.running_mean[1] += 1
    with torch.no_grad():
        one, other = decoder(x, ("a", "b", "a", "b")), decoder(x, ("b", "a", "b", "a"))
        turned = decoder(x.flip(0), ("b", "a", "b", "a"))
    assert float((one - other).abs().max()) > 1e-3
    torch.testing.assert_close(turned.flip(0), one)


def test_a_domain_without_norms() -> None:
    with pytest.raises(UnknownName, match="restoration: unknown domain 'Drishti1'.*'Drishti'"):
        RestorationDecoder(2, Tap("deep", 2, 4), 1, ("Drishti", "REFUGE"))(bottleneck(1, 4, 2, 2), ("Drishti1",))
    with pytest.raises(ConfigError, match="0 source domains"):
        RestorationDecoder(2, Tap("deep", 2, 4), 1, ())


@pytest.mark.parametrize("stride", [1, 3, 12])
def test_strides_that_upsampling_by_two_does_not_reach(stride: int) -> None:
    with pytest.raises(ConfigError, match=f"its stride is {stride}; a power of 2"):
        RestorationDecoder(2, Tap("deep", stride, 8), 3, ("a",))


@pytest.mark.parametrize(
    ("name", "settings"),
    [("unet", {"widths": [4, 8, 16]}), ("monai_net", {"encoder": "efficientnet-lite0"}), ("ram_unet", {"width": 4})],
)
def test_bottlenecks_of_networks_are_restored_from(name: str, settings: dict[str, object]) -> None:
    built = network(name, **settings)
    tap = bottleneck_of(built, where="test")
    deepest = built.encode(torch.rand(2, 3, 64, 64))[-1]
    assert deepest.shape == (2, tap.channels, 64 // tap.stride, 64 // tap.stride)
    assert RestorationDecoder(2, tap, 3, ("a",))(deepest, ("a", "a")).shape == (2, 3, 64, 64)


class Backwards(Network):
    """A network whose taps run from deep to shallow."""

    taps = (Tap("deep", 4, 4), Tap("shallow", 1, 4))

    def features(self, images: Tensor) -> list[Tensor]:
        return [images]

    def decode(self, features: object) -> Tensor:
        return torch.zeros(1)


def test_networks_without_a_bottleneck_say_so() -> None:
    with pytest.raises(ConfigError, match=r"test: Backwards has the taps deep \(stride 4\), shallow \(stride 1\)"):
        bottleneck_of(Backwards(None, TASK), where="test")
    arguments = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2, "features": [4, 4, 8, 8, 16, 4]}
    own = network("own", builder="monai.networks.nets:BasicUNet", arguments=arguments)
    with pytest.raises(ConfigError, match="encoder and decoder cannot be called apart.*restoration_weight: 0"):
        bottleneck_of(own, where="test")


def test_encoders_are_found_by_their_name() -> None:
    ram = network("ram_unet")
    assert sum(p.numel() for p in encoder_parameters(ram)) == 1_967_904
    flexible = network("monai_net", encoder="efficientnet-lite0")
    assert encoder_parameters(flexible) and isinstance(flexible.body, nn.Module)
    assert encoder_parameters(network("unet", widths=[4, 8])) == []
