"""Table 3 of DINSeg: what a repair costs beside the segmentation that it repairs, next to the published figures.

Liu et al., ISBI 2021: FLOPs, parameters and time of the transfer part and of the whole pipeline for one image on the
U-Net of 34.5 M parameters. Operations are counted by the rule of :mod:`unshift.experiment.operations`, under which the
network takes the published 159.95 G. Weights are drawn at random: cost does not depend on them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from unshift import discover
from unshift.config import parse
from unshift.contracts import Network, Normalization, Plugin, Tap
from unshift.experiment.operations import count_operations, milliseconds, numbers
from unshift.networks.unet import UNet, UNetConfig
from unshift.normalizations.style_segor import BLOCKS
from unshift.normalizations.vgg import WIDTHS, Vgg
from unshift.normalizations.wavelet import WaveletAutoencoder, save_autoencoder
from unshift.randomness import torch_generator
from unshift.sample import Sample, Task

PER_VALUE = 3
"""Operations of a unit for each value of a feature: normalize, scale, shift."""
PASSES, PASSES_OF_A_FULL_RUN = 40, 130
"""How many forward passes of the network the whole table takes, and with StyleSegor timed to its end: 39 at 96 × 96 and
126 at 64 × 64 on one thread."""
UNIT_TIMES = 10
"""Units are timed so many times as often as the rest, being so much shorter."""
_STYLE_SIDE = 64  # of the images that units are made from; their cost does not depend on it


@dataclass(frozen=True)
class Cost:
    """What one image takes.

    Args:
        operations: by the rule of :mod:`unshift.experiment.operations`.
        parameters: stored numbers; None where the paper says none.
        milliseconds: median; None where it was not measured.
    """

    operations: float
    parameters: float | None
    milliseconds: float | None

    def __add__(self, other: Cost) -> Cost:
        """Both, one after the other."""
        parameters = (self.parameters or 0) + (other.parameters or 0)
        return Cost(
            self.operations + other.operations, parameters, (self.milliseconds or 0) + (other.milliseconds or 0)
        )


@dataclass(frozen=True)
class Timing:
    """For which image, where, and how often."""

    size: int
    device: torch.device
    repeats: int = 5

    @property
    def seldom(self) -> int:
        """Repeats of what takes long."""
        return (self.repeats + 1) // 2

    def of(self, call: Callable[[], object], *, times: int = 1) -> float:
        """Median milliseconds of ``repeats`` × ``times`` calls."""
        return milliseconds(call, repeats=times * self.repeats, device=self.device)


@dataclass(frozen=True)
class Row:
    """One method of the table: ours as counted and measured, and the paper's figures."""

    method: str
    transfer: Cost
    whole: Cost
    paper_transfer: Cost
    paper_whole: Cost
    notes: tuple[str, ...] = ()


def _paper(operations: float, parameters: float | None, time: float) -> Cost:
    return Cost(operations * 1e9, None if parameters is None else parameters * 1e6, time)


PAPER = {
    "StyleSegor": (_paper(49.17, 138.36, 3000), _paper(209.12, 172.89, 3029.88)),
    "WCT-AIN": (_paper(70.77, 10.66, 75), _paper(230.72, 45.19, 104.98)),
    "S-AdaINSeg": (_paper(6.4e-4, None, 0.17), _paper(159.95, 34.53, 30.15)),
    "M-AdaINSeg": (_paper(9.81e-3, None, 0.88), _paper(159.95, 34.53, 30.86)),
    "S-DINSeg": (_paper(1.92e-3, 0.002, 0.20), _paper(159.95, 34.532, 30.26)),
    "M-DINSeg": (_paper(1.94e-2, 0.004, 1.99), _paper(159.95, 34.534, 31.87)),
}
PAPER_MACHINE, PAPER_SIZE = "one GTX 2080 Ti", 400
UNITS = {
    "S-AdaINSeg": ("adain", "single"),
    "M-AdaINSeg": ("adain", "multi"),
    "S-DINSeg": ("din", "single"),
    "M-DINSeg": ("din", "multi"),
}


class Carrier(Network):
    """Hands out stored features and keeps what enters the decoder: a plugin's cost without the network around it."""

    def __init__(self, network: Network, features: Sequence[Tensor]) -> None:
        super().__init__(network.config, network.task, network.in_channels)
        self.stored, self.entered, self._taps = list(features), list(features), network.taps

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Those of the network that the features are of."""
        return self._taps

    def encode(self, images: Tensor) -> list[Tensor]:
        """The stored features, whatever the images."""
        return list(self.stored)

    def features(self, images: Tensor) -> list[Tensor]:
        """The stored features, whatever the images."""
        return list(self.stored)

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """The bottleneck, untouched."""
        self.entered = list(features)
        return features[-1]

    def restyled_values(self) -> int:
        """How many values were replaced on their way into the decoder."""
        pairs = zip(self.stored, self.entered, strict=True)
        return sum(before.numel() for before, after in pairs if after is not before)


def paper_network(device: torch.device | None = None) -> UNet:
    """The segmenter of Table 3, 34,527,041 parameters, random weights, evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet(UNetConfig(outputs=1), Task(3, ("background", "organ")))
    return network.to(device or "cpu").eval()


def network_operations(network: Network, size: int) -> int:
    """Operations of one forward pass for an image of ``size`` × ``size``; nothing is computed."""
    copied = copy.deepcopy(network).to("meta")
    images = torch.empty(1, network.in_channels, size, size, device="meta")
    with torch.no_grad():
        return count_operations(lambda: copied(images))


def unit_plugins(network: Network) -> dict[str, Plugin]:
    """The four kinds of units on ``network``; those of ``din`` hold the numbers of ``adain``, which costs the same."""
    style = [picture(_STYLE_SIDE, seed=i) for i in range(2)]
    plugins: dict[str, Plugin] = {}
    for method, (name, levels) in UNITS.items():
        fitted = _member("plugins", "adain", levels=levels).fit(network, style, [])
        plugins[method] = _member("plugins", name, levels=levels)
        plugins[method].load_state_dict(fitted.state_dict())
    return plugins


def picture(size: int, *, device: torch.device | None = None, seed: int = 0) -> Sample:
    """Noise in three channels, ``size`` × ``size``."""
    image = torch.rand((3, size, size), generator=torch_generator(seed, "complexity"))
    return Sample(image.to(device or "cpu"), str(seed), str(seed), "source")


def _member(family: str, name: str, **settings: Any) -> Any:
    member = discover.load(family, name)
    return member(parse(member.Config, settings, where=name))


def unit_rows(network: Network, segmentation: Cost, timing: Timing) -> Iterator[Row]:
    """The rows of units: counted from the values that they replace, timed without the network around them."""
    images = picture(timing.size, device=timing.device).image[None]
    with torch.no_grad():
        carrier = Carrier(network, network.encode(images))
        for method, plugin in unit_plugins(network).items():
            took = timing.of(partial(plugin.attach(carrier), images), times=UNIT_TIMES)
            values = carrier.restyled_values()
            transfer = Cost(PER_VALUE * values, numbers(*plugin.state_dict().values()), took)
            per_value = PAPER[method][0].operations / (values * (PAPER_SIZE / timing.size) ** 2)
            note = f"{PER_VALUE} operations for each of {values:,} values; the paper's figure is {per_value:.2f} each"
            yield _row(method, transfer, segmentation, note)


def _row(method: str, transfer: Cost, segmentation: Cost, *notes: str) -> Row:
    return Row(method, transfer, transfer + segmentation, *PAPER[method], notes)


def segmentation_cost(network: Network, timing: Timing) -> Cost:
    """The network without a repair."""
    images = picture(timing.size, device=timing.device).image[None]
    with torch.no_grad():
        took = timing.of(partial(network, images))
    return Cost(network_operations(network, timing.size), numbers(*network.parameters()), took)


def wct_ain_row(segmentation: Cost, timing: Timing) -> Row:
    """WCT-AIN with VGG-19's widths; operations are counted while it repairs one image, its style being known."""
    with torch.random.fork_rng(devices=[]), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        autoencoder, file = WaveletAutoencoder(option="cat5"), Path(folder) / "wct_ain.safetensors"
        save_autoencoder(file, autoencoder, origin="random")
        member: Normalization = _member("normalizations", "wct_ain", weights=str(file))
        member.fit([picture(_STYLE_SIDE, device=timing.device)])
    sample = picture(timing.size, device=timing.device)
    operations = count_operations(partial(member.views, sample))
    cost = Cost(operations, numbers(*autoencoder.parameters()), timing.of(partial(member.views, sample)))
    notes = ("unpooling is 'cat5', as the published parameters suggest; the published FLOPs are nearer to 'sum'",)
    return _row("WCT-AIN", cost, segmentation, *notes)


def style_segor_row(segmentation: Cost, timing: Timing, *, full: bool) -> Row:
    """StyleSegor at the image's own size; every evaluation costs the same, so two of them say what all cost."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vgg = Vgg("vgg16", WIDTHS[:BLOCKS])
        for layer in vgg.features:
            if isinstance(layer, nn.Conv2d):  # features must not fade, or the optimization ends at once
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    evaluations = discover.load("normalizations", "style_segor").Config().evaluations
    one, two, whole = (_style_segor(vgg, count, timing) for count in (1, 2, evaluations))
    once, twice = count_operations(one), count_operations(two)
    if full:
        took, how = milliseconds(whole, repeats=1, device=timing.device), "timed to the end"
    else:
        first, second = (milliseconds(call, repeats=timing.seldom, device=timing.device) for call in (one, two))
        took, how = first + (evaluations - 1) * max(second - first, 0.0), "their time is reckoned from two of them"
    cost = Cost(once + (evaluations - 1) * (twice - once), numbers(*vgg.parameters()), took)
    paper = "the paper's figures are one forward pass of all of VGG-16 and its parameters; up to relu4_3 it is used"
    return _row("StyleSegor", cost, segmentation, f"{evaluations} evaluations, forward and backward; {how}", paper)


def _style_segor(vgg: Vgg, evaluations: int, timing: Timing) -> Callable[[], object]:
    """What repairs one image."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "vgg16.safetensors"
        save_file(vgg.state_dict(), file)
        member: Normalization = _member(
            "normalizations", "style_segor", weights=str(file), width=None, style="first", evaluations=evaluations
        )
        style = picture(_STYLE_SIDE, device=timing.device)
        member.fit([style.replace(image=style.image**4)])  # another style, or there is nothing to optimize
    return partial(member.views, picture(timing.size, device=timing.device))


def measure(
    size: int = PAPER_SIZE,
    *,
    device: torch.device,
    repeats: int = 5,
    full: bool = False,
    expects: Callable[[float], None] = lambda seconds: None,
) -> list[Row]:
    """All rows of the table, in its order.

    Args:
        size: height and width of the image, a multiple of 16.
        device: where times are taken.
        repeats: of which times are medians.
        full: time StyleSegor's optimization to its end, in place of two evaluations of it.
        expects: is told once how many seconds the table will take, reckoned from the network's own time.

    Raises:
        ShapeMismatch: the network cannot take this size.
    """
    timing, network = Timing(size, device, repeats), paper_network(device)
    segmentation = segmentation_cost(network, timing)
    expects((PASSES_OF_A_FULL_RUN if full else PASSES) * (segmentation.milliseconds or 0.0) / 1000)
    rows = [style_segor_row(segmentation, timing, full=full), wct_ain_row(segmentation, timing)]
    return [*rows, *unit_rows(network, segmentation, timing)]
