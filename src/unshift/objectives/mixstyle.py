"""MixStyle: the statistics of shallow features, mixed between images while training.

Zhou, Yang, Qiao, Xiang, "Domain Generalization with MixStyle" (ICLR 2021; KaiyangZhou/mixstyle-release). Setting:
generalization, one or more source domains. With probability p a step mixes, after each of the chosen taps, with an
own l ~ Beta(a, a) for every image and a partner j::

    x' = (l σ + (1 - l) σ_j) (x - μ) / σ + l μ + (1 - l) μ_j        μ, σ of each channel, no gradient through them

and minimizes ``erm``'s loss of the logits. Evaluation and export know nothing of it. ``probability: 0`` is ``erm`` bit
for bit, or, with ``augmentations``, ``augmented``.

Differences from the authors' code:

* the taps are a U-Net's: ``shallow``, its first two levels (by default), in place of a ResNet's first blocks. What a
  tap holds is changed where it is made, so that deeper levels and the skip both see it.
* a partner is another image, drawn for each image; theirs is a permutation, in which some are their own partners.
  ``partner: other_domain`` draws from the other source domains of the batch, as theirs with domain labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from unshift import config
from unshift.augmentations import partners
from unshift.augmentations.drawing import coin
from unshift.config import MemberRef
from unshift.contracts import Network
from unshift.networks import rewriting
from unshift.objectives.views import AugmentingObjective
from unshift.sample import Batch, Task, UnlabeledBatch

_EPS = 1e-6


class Config(config.Config):
    """What comes before, where, how often and how strongly styles are mixed, and with whom."""

    augmentations: tuple[MemberRef, ...] = Field((), description="before the network, of image and label map")
    probability: float = Field(0.5, ge=0, le=1, description="of mixing at a tap, for each step")
    alpha: float = Field(0.1, gt=0, description="of the Beta distribution of an image's own share")
    taps: Literal["shallow"] | tuple[str, ...] = Field("shallow", description="the first two, or names of taps")
    partner: Literal["any", "other_domain"] = Field(
        "any", description="any other image of the batch, or of another domain"
    )
    include_background: bool = True


class MixStyle(AugmentingObjective):
    """Cross-entropy + Dice of the logits of features whose styles are mixed."""

    Config = Config
    ingredients = (partners, rewriting)

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        names = [tap.name for tap in network.taps[:2]] if config.taps == "shallow" else config.taps
        self.places = rewriting.find_taps(network, names)

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Terms ``cross_entropy`` and ``dice``.

        Raises:
            ProtocolError: styles are mixed and there is nobody to mix with: one image, or one domain where another is
                asked for.
        """
        generator, count = batch.generator(), len(batch.images)
        images, label_maps = self.augmented(batch, generator)
        draws = self.draw(generator, count, batch.domains)
        with rewriting.Rewriting(self.network, [self.places[tap] for tap in draws], _changing(draws)):
            logits = self.network(images)
        return self.supervised(logits, label_maps)

    def draw(
        self, generator: torch.Generator, count: int, domains: Sequence[str]
    ) -> dict[int, tuple[Int[Tensor, "batch"], Float[Tensor, "batch"]]]:
        """For each tap that is mixed in this step, by its number: every image's partner and own share."""
        mixed = coin(generator, len(self.places), self.config.probability).tolist()
        known = domains if self.config.partner == "other_domain" else ()
        draws = {}
        for tap in [number for number, is_mixed in enumerate(mixed) if is_mixed]:
            partner = partners.draw_partners(generator, count, known)
            draws[tap] = (partner, beta(generator, count, self.config.alpha))
        return draws


def _changing(draws: dict[int, tuple[Tensor, Tensor]]) -> rewriting.Change:
    ordered = list(draws.values())
    return lambda place, features: mix_style(features, *ordered[place])


def mix_style(
    features: Float[Tensor, "batch channel *space"], partner: Int[Tensor, "batch"], share: Float[Tensor, "batch"]
) -> Float[Tensor, "batch channel *space"]:
    """Features whose channels' means and deviations are partly their partners'.

    Args:
        features: of any floating type, which the result has; computed in float32.
        partner: for each image, whose statistics are mixed in.
        share: of the image's own, in [0, 1].
    """
    with torch.autocast(features.device.type, enabled=False):
        exact = features.float()
        variance, mean = torch.var_mean(exact.detach(), dim=tuple(range(2, exact.ndim)), correction=0, keepdim=True)
        deviation = (variance + _EPS).sqrt()
        own = share.to(exact.device, exact.dtype).view(-1, *(1,) * (exact.ndim - 1))
        partner = partner.to(exact.device)
        mixed_mean = own * mean + (1 - own) * mean[partner]
        mixed_deviation = own * deviation + (1 - own) * deviation[partner]
        return ((exact - mean) / deviation * mixed_deviation + mixed_mean).to(features.dtype)


def beta(generator: torch.Generator, count: int, alpha: float) -> Float[Tensor, "batch"]:
    """Draws of Beta(alpha, alpha), float32, from the generator.

    torch's own Beta takes no generator. A gamma variable of shape a is one of shape a + 1 times U^(1/a); of shape
    a + 1 it comes by Marsaglia and Tsang's rejection. Ratios are taken of logarithms: both may be tiny.
    """
    first, second = (_log_gamma_draws(generator, count, alpha) for _ in range(2))
    return torch.sigmoid(first - second).float()


def _log_gamma_draws(generator: torch.Generator, count: int, shape: float) -> Float[Tensor, "count"]:
    """Logarithms of gamma variables of ``shape`` > 0, float64."""
    d = shape + 1 - 1 / 3
    c = 1 / (9 * d) ** 0.5
    kept = torch.empty(0, dtype=torch.float64)
    while len(kept) < count:
        x = torch.randn(2 * count, generator=generator, dtype=torch.float64)
        u = torch.rand(2 * count, generator=generator, dtype=torch.float64)
        v = (1 + c * x) ** 3
        good = (v > 0) & (u.log() < 0.5 * x**2 + d - d * v + d * v.clamp_min(1e-300).log())
        kept = torch.cat([kept, (d * v[good]).log()])
    uniform = torch.rand(count, generator=generator, dtype=torch.float64).clamp_min(1e-300)
    return kept[:count] + uniform.log() / shape


MEMBER = MixStyle
