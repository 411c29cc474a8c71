"""Any 2-D network of this package with GLUA's local mask: one level's feature, larger where a domain gap is seen.

Of "Mind The Gap" (Su et al., JBHI 2023, arXiv 2205.11888) it is known that a local feature mask gives weight to
features whose gap is large [P]. What it is made of is an inference from a class that nothing uses in the authors'
sibling repository: a discriminator D of a 256-channel feature f, its absolute tanh times f added to f ([C]; that it is
the mask is [F], of high plausibility). Here, at every place, with the gap g in [0, 1]::

    f' = f (1 + g)      literal:    g = |tanh D(f)|             [C]
                        symmetric:  g = min(1, |2 D(f) - 1|)    [F] sure of either domain, not of the source alone

D says 1 for the source. g carries no gradient to f. In the literal form a place that is surely the target's has g = 0,
and one where D is undecided 0.46 [D]. The objective ``glua`` makes this network of the recipe's and trains D; a bundle
names it. ``inference: running_mean`` takes the target's mean gap, one number, for g: D is then not needed [F].

The level is the bottleneck, whatever its width, unless ``tap`` names another; then the skip's copy alone is masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from unshift import config
from unshift.config import MemberRef
from unshift.contracts import Network, Tap
from unshift.errors import ConfigError, UnknownName
from unshift.networks.discriminator import FeatureDiscriminator
from unshift.networks.domain_gap import MaskName, gap_of
from unshift.networks.wrapping import built, reference, take_standardization
from unshift.sample import Task

_WHO = "network local_mask"


class Config(config.Config):
    """``of``: the network that is masked; None of one that was handed over."""

    of: MemberRef | None = MemberRef(name="unet")
    tap: str = Field("bottleneck", description="the masked level: the deepest, or a tap's name")
    mask: MaskName = "symmetric"
    inference: Literal["computed", "running_mean"] = "computed"


class LocalMask(Network):
    """``network`` is what is masked, ``discriminator`` D, ``running_gap`` the mean of g over target images."""

    Config = Config

    def __init__(self, config: Any, task: Task, channels: int | None = None, *, network: Network | None = None) -> None:
        """``network``: handed over, and changed in place; it becomes part of this one."""
        super().__init__(config, task, channels)
        self.network = network or built(config.of, task, channels, who=_WHO)
        self.config = config.model_copy(update={"of": reference(self.network, who=_WHO)})
        self.place = _place(self.network, config.tap)
        self.discriminator = FeatureDiscriminator(self.network.taps[self.place].channels)
        self.register_buffer("running_gap", torch.zeros(()))
        self.running_gap: Tensor
        self.origin, self.size_divisor = self.network.origin, self.network.size_divisor
        self.least_factor = max(2, self.network.least_factor)  # D's instance norms need more than one place
        take_standardization(self, self.network)

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Those of the network."""
        return self.network.taps

    def check(self, images: Float[Tensor, "batch channel *space"]) -> None:
        """Raise :class:`ShapeMismatch` for axes, channels or sides that the network cannot take."""
        self.network.check(images)

    def features(self, images: Float[Tensor, "batch channel *space"]) -> list[Tensor]:
        """Standardized images -> one feature a tap, one of them masked."""
        return self.masked(self.network.features(images))

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "batch class *space"]:
        """Features, masked already -> logits."""
        return self.network.decode(features)

    def unmasked(self, images: Float[Tensor, "batch channel *space"]) -> list[Tensor]:
        """Images as preprocessing leaves them -> features as the network makes them."""
        self.check(images)
        shape = (1, -1, 1, 1)
        return self.network.features((images - self.input_mean.view(shape)) / self.input_deviation.view(shape))

    def masked(self, features: Sequence[Tensor], gap: Tensor | None = None) -> list[Tensor]:
        """The features, the masked level times 1 + g; ``gap``: g, where it is known already."""
        found = list(features)
        if self.config.mask == "none":
            return found
        if gap is None:
            gap = self.gap(found[self.place])
        found[self.place] = found[self.place] * (1 + gap).to(found[self.place].dtype)
        return found

    def gap(self, feature: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch 1 *space"]:
        """The gap g of the masked level's feature, float32 in [0, 1]; a gradient reaches D and never the feature."""
        if self.config.inference == "running_mean" and not self.training:
            return self.running_gap.expand(len(feature), 1, *feature.shape[2:])
        with torch.autocast(feature.device.type, enabled=False):
            exact = feature.detach() if feature.dtype == torch.float64 else feature.detach().float()
            return gap_of(self.discriminator(exact), self.config.mask)

    @torch.no_grad()
    def gap_map(self, images: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch 1 *space"]:
        """How sure D is of the domain at every place: 0 undecided, 1 sure; float32, enlarged to the images' size.

        The symmetric gap whatever the mask is, so that what is shown means the same for all of them, and as D says it
        even where a test takes the running mean.
        """
        gap = gap_of(self.discriminator(self.unmasked(images)[self.place].float()), "symmetric")
        return F.interpolate(gap, images.shape[2:], mode="bilinear", align_corners=False)


def _place(network: Network, name: str) -> int:
    """Number of the tap.

    Raises:
        ConfigError: volumes; a network without taps, or whose last tap is not the deepest.
        UnknownName: no tap of this name.
    """
    names = [tap.name for tap in network.taps]
    strides = [tap.stride for tap in network.taps]
    if network.task.spatial_dims != 2 or not names or strides[-1] != max(strides):
        found = f"{network.task.spatial_dims}-D with the taps {', '.join(names) or 'none'}"
        raise ConfigError(
            f"{_WHO}: {type(network).__name__} is {found}; a 2-D network whose last tap is the bottleneck is required. "
            "Choose another network, or give `input.size` two numbers."
        )
    if name == "bottleneck":
        return len(names) - 1
    if name not in names:
        raise UnknownName("tap", name, ("bottleneck", *names), where=_WHO)
    return names.index(name)


MEMBER = LocalMask
