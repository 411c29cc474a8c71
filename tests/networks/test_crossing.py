from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks import nets
from torch import Tensor, nn

from foreign_networks import Blocks, Residual, Student, Tokens
from unshift.errors import ConfigError, UnknownName
from unshift.layers.restyle import restyle as unit
from unshift.networks.catching import features, restyled
from unshift.networks.crossing import Crossing, find_crossing, tap_rows
from unshift.networks.monai_split import SPLITS
from unshift.networks.recording import Recording
from unshift.networks.unet import UNet, UNetConfig
from unshift.sample import Task

TWO = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2}
Table = list[tuple[int, int]]


def image(*space: int, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, *(space or (64, 96)), generator=torch.Generator().manual_seed(0))


def out_of(output: Any) -> Tensor:
    return output["out"] if isinstance(output, dict) else output


def look(module: nn.Module, *space: int, taps: Sequence[str] | None = None, **settings: Any) -> Crossing:
    torch.manual_seed(0)
    return find_crossing(Recording(module.eval(), image(*space)), logits=out_of, taps=taps, **settings)


def table(where: Crossing) -> Table:
    return [(tap.stride, tap.channels) for tap in where.taps]


def run(module: nn.Module, where: Crossing, restyle: Any, x: Tensor) -> Tensor:
    return out_of(restyled(module, x, where.places, where.cut, restyle))


def hold_to_promises(module: nn.Module, where: Crossing, x: Tensor) -> None:
    """Bit identity, the encoder's own path, gradients to units, independence of batch mates."""
    with torch.no_grad():
        plain = out_of(module(x))
        assert torch.equal(run(module, where, lambda fs: fs, x), plain)
        assert torch.equal(run(module, where, lambda fs: [f.clone() for f in fs], x), plain)
        raw = [f.clone() for f in features(module, x, where.places, where.cut)]
        for index, tap in enumerate(where.taps):
            seen: list[Tensor] = []

            def change(fs: list[Tensor], index: int = index, seen: list[Tensor] = seen) -> list[Tensor]:
                seen.extend(f.clone() for f in fs)
                return [f * 2 + 1 if i == index else f for i, f in enumerate(fs)]

            assert not torch.equal(run(module, where, change, x), plain), tap
            assert all(torch.equal(a, b) for a, b in zip(seen, raw, strict=True))
    units = [torch.zeros(tap.channels, requires_grad=True) for tap in where.taps]
    shape = (1, -1, *[1] * (x.ndim - 2))
    shifted = run(module, where, lambda fs: [f + u.view(shape) for f, u in zip(fs, units, strict=True)], x)
    shifted.square().sum().backward()
    assert all(u.grad is not None and u.grad.abs().sum() > 0 for u in units)

    def restyle(fs: list[Tensor]) -> list[Tensor]:
        return [unit(f, torch.full((f.shape[1],), 0.5).to(f), torch.ones(f.shape[1]).to(f)) for f in fs]

    module.double()
    with torch.no_grad():
        together = run(module, where, restyle, x.double())
        alone = torch.cat([run(module, where, restyle, part[None]) for part in x.double()])
    torch.testing.assert_close(together, alone, atol=1e-8, rtol=1e-8)


# ------------------------------------------------------------------------------------------ networks as people write


@pytest.mark.parametrize(
    "module",
    [Student(), Student(relu="in place"), Student(relu="module"), Residual(), Tokens(), Blocks()],
    ids=["functions", "in place", "one module", "residual", "channels last", "blocks"],
)
def test_own_networks_are_restyled_as_by_hand(module: Any) -> None:
    where = look(module)
    assert table(where) == list(zip(module.strides, module.channels, strict=True))
    x = image(32, 64)
    with torch.no_grad():
        changed = [f * (i + 2) - 1 for i, f in enumerate(module.encode(x))]
        expected = module.decode(changed)
        assert torch.equal(run(module, where, lambda fs: [f * (i + 2) - 1 for i, f in enumerate(fs)], x), expected)
    hold_to_promises(module, where, x)


def test_a_volume() -> None:
    module = Student(dims=3)
    where = look(module, 16, 16, 24)
    assert table(where) == [(1, 8), (2, 12), (4, 16)]
    hold_to_promises(module, where, image(16, 16, 16))


def test_our_own_u_net_has_the_taps_that_it_says() -> None:
    network = UNet(UNetConfig(widths=(4, 6, 8, 10)), Task(3, ("background", "organ"))).eval()
    where = look(network)
    assert table(where) == [(tap.stride, tap.channels) for tap in network.taps]
    with torch.no_grad():
        for a, b in zip(features(network, image(), where.places, where.cut), network.encode(image()), strict=True):
            assert torch.equal(a, b)


# ------------------------------------------------------------------------------------------------------------- MONAI

MONAI: dict[str, tuple[Any, Table]] = {
    "UNet": (
        lambda: nets.UNet(**TWO, channels=(4, 8, 12, 16), strides=(2, 2, 2), num_res_units=2),
        [(2, 4), (4, 8), (8, 12), (8, 16)],
    ),
    "SegResNet": (lambda: nets.SegResNet(**TWO, init_filters=8), [(1, 8), (2, 16), (4, 32), (8, 64)]),
    "BasicUNet": (
        lambda: nets.BasicUNet(**TWO, features=(4, 6, 8, 10, 12, 4)),
        [(1, 4), (2, 6), (4, 8), (8, 10), (16, 12)],
    ),
    "FlexibleUNet": (
        lambda: nets.FlexibleUNet(3, 2, "efficientnet-b0", decoder_channels=(16, 8, 8, 8, 4)),
        [(2, 16), (4, 24), (8, 40), (16, 112), (32, 320)],
    ),
    "SwinUNETR": (
        lambda: nets.SwinUNETR(**TWO, feature_size=12),
        [(1, 12), (2, 12), (4, 24), (8, 48), (16, 96), (32, 192)],
    ),
    "AttentionUnet": (
        lambda: nets.AttentionUnet(**TWO, channels=(4, 8, 12), strides=(2, 2)),
        [(1, 4), (2, 8), (4, 12)],
    ),
    "DynUNet": (
        lambda: nets.DynUNet(
            **TWO,
            kernel_size=[3] * 3,
            strides=[1, 2, 2],
            upsample_kernel_size=[2, 2],
            filters=[4, 8, 12],
            deep_supervision=True,
            deep_supr_num=1,
        ),
        [(1, 4), (2, 8), (4, 12)],
    ),
    "SegResNetDS": (lambda: nets.SegResNetDS(**TWO, init_filters=8), [(1, 8), (2, 16), (4, 32), (8, 64)]),
}


@pytest.mark.parametrize("name", MONAI)
def test_networks_of_monai(name: str) -> None:
    build, expected = MONAI[name]
    module = build()
    where = look(module)
    assert table(where) == expected
    if name in SPLITS:  # cut by hand elsewhere, for these four: the same bits
        split = SPLITS[name](module)
        with torch.no_grad():
            changed = [f * (i + 2) - 1 for i, f in enumerate(split.features(image()))]
            ours = run(module, where, lambda fs: [f * (i + 2) - 1 for i, f in enumerate(fs)], image())
            assert torch.equal(ours, split.decode(changed))
    hold_to_promises(module, where, image(32, 64) if name != "SwinUNETR" else image(64, 64))


def test_what_crosses_as_tokens_is_told(caplog: pytest.LogCaptureFixture) -> None:
    module = nets.UNETR(3, 2, (64, 96), feature_size=4, hidden_size=24, mlp_dim=16, num_heads=2, spatial_dims=2)
    with caplog.at_level(logging.WARNING):
        where = look(module)
    assert table(where)[0] == (1, 4)
    assert "UNETR: tensors [[2, 24, 24]" in caplog.text
    assert "name `taps` by hand" in caplog.text


# ----------------------------------------------------------------------------------------------------------- by hand


def test_taps_named_by_hand() -> None:
    module = MONAI["BasicUNet"][0]()
    where = look(module, taps=["down_4", "down_2"])
    assert [tap.name for tap in where.taps] == ["down_2", "down_4"]
    assert where.cut.module == "down_4"
    skip = look(module, taps=["down_1"])  # restyled where the encoder ends, not where it is made
    assert (table(skip), skip.cut.module) == ([(2, 6)], "down_4")
    hold_to_promises(module, skip, image(32, 64))


@pytest.mark.parametrize(
    ("taps", "error", "message"),
    [
        (["down_5"], UnknownName, "unknown tap 'down_5'. Did you mean 'down_4'"),
        (["final_conv"], ConfigError, r"\['final_conv'\] are not used after final_conv"),
        (["down_4.max_pooling", "down_4"], ConfigError, r"\['down_4.max_pooling'\] are not used after down_4"),
    ],
)
def test_names_that_do_not_cross(taps: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        look(MONAI["BasicUNet"][0](), taps=taps)


def test_modules_that_are_called_again_are_numbered() -> None:
    module = Residual()
    assert [tap.name for tap in look(module).taps] == ["convs.0", "act#2", "convs.3"]
    assert [tap.name for tap in look(module, taps=["act#2", "act#4"]).taps] == ["act#2", "convs.3"]
    with pytest.raises(ConfigError, match="act is called 4 times. Write act#1 … act#4"):
        look(module, taps=["act"])
    with pytest.raises(ConfigError, match=r"\['head'\] are not used after head"):
        look(module, taps=["head"])


def test_names_as_found_may_be_given_too() -> None:
    found = look(Student())
    assert [tap.name for tap in found.taps] == ["forward:relu#1", "forward:relu#2", "forward:relu#3"]
    assert [tap.name for tap in look(Student(), taps=["forward:relu#3"]).taps] == ["forward:relu#3"]


def test_none_at_all() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with pytest.raises(ConfigError, match=r"Sequential: no tensor of reduced size crosses.*`taps: \[\]`"):
        look(flat)
    assert look(flat, taps=[]).taps == ()


# ---------------------------------------------------------------------------------------------------- what is no tap


class Strange(nn.Module):
    """The input itself, a stored table, a pooled pyramid and a gate cross beside the features."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 6, 2, 2), nn.Conv2d(6, 6, 2, 2)
        self.up, self.head = nn.Upsample(scale_factor=2.0), nn.Conv2d(9, 2, 1)
        self.register_buffer("table", torch.rand(1, 6, 32, 48))

    def forward(self, x: Tensor) -> Tensor:
        one = self.down(x)
        pyramid = nn.functional.adaptive_avg_pool2d(one, 2)
        gate = one.mean((2, 3), keepdim=True)
        deep = self.deep(one)
        y = self.up(deep) * torch.sigmoid(gate) + one + self.table + self.up(pyramid).mean((2, 3), keepdim=True)
        return self.head(torch.cat([self.up(y), x], 1))


def test_input_tables_gates_and_pyramids_are_no_taps() -> None:
    module = Strange()
    where = look(module)
    assert [tap.name for tap in where.taps] == ["down", "deep"]
    hold_to_promises(module, where, image())


def test_axes_of_different_strides() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, stride=(1, 2)),
        nn.Conv2d(4, 6, 3, padding=1, stride=2),
        nn.Upsample(scale_factor=(2.0, 4.0)),
        nn.Conv2d(6, 2, 1),
    )
    with pytest.raises(ConfigError, match="no tensor of reduced size"):
        look(module)
    where = look(module, isotropic=False)
    assert (table(where), where.strides) == ([(4, 6)], ((2, 4),))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4), st.booleans())
def test_any_plain_u_net(widths: list[int], added: bool) -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [3, *([widths[0]] * len(widths) if added else widths)]
            pairs = list(itertools.pairwise(sizes))
            self.down = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairs)
            self.up = nn.ModuleList(nn.Conv2d(o if added else i + o, i, 1) for i, o in pairs[1:])
            self.head, self.pool = nn.Conv2d(sizes[1], 7, 1), nn.AvgPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            found = []
            for conv in self.down:
                x = conv(self.pool(x) if found else x)
                found.append(x)
            found.pop()
            for conv in reversed(self.up):
                x, skip = nn.functional.interpolate(x, scale_factor=2.0), found.pop()
                x = conv(x + skip if added else torch.cat([x, skip], 1))
            return self.head(x)

    expected = [widths[0]] * len(widths) if added else widths
    assert table(look(Plain(), 32, 48)) == [(2**i, width) for i, width in enumerate(expected)]


def test_rows_for_people() -> None:
    network = UNet(UNetConfig(widths=(4, 8)), Task(1, ("background", "organ")))
    assert tap_rows(network, (32, 48)) == [("level_1", 1, 4, (32, 48)), ("level_2", 2, 8, (16, 24))]
