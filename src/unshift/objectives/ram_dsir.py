"""RAM-DSIR: a view with mixed amplitudes that must be segmented alike, and from whose bottleneck the image is restored.

Zhou, Qi, Shi, "Generalizable Medical Image Segmentation via Random Amplitude Mixup and Domain-Specific Image
Restoration", ECCV 2022, arXiv 2208.03901. Setting: generalization, two or more source domains. With x the
(geometrically augmented) image, x~ its view with low frequencies' amplitudes moved towards another source domain, t the
label map, f the network, E its bottleneck, R_k the restoration decoder with the norms of the image's own domain k::

    L = DC(f(x), t) + DC(f(x~), t) + 0.5 (KL(f(x), f(x~)) + KL(f(x~), f(x))) + 0.1 sum over k of MSE(R_k(E(x~_k)), x_k)

DC is cross-entropy + Dice; KL is averaged over all elements; x is scaled to [-1, 1] for R_k; the sum over domains is no
mean. The encoder learns at half the rate where images are restored. Restoration reaches the encoder alone: the
segmentation decoder gets no gradient from it, and R_k is no part of what is exported.

Differences from the authors' code, beside those of ``amplitude_mix`` and ``zoom_crop``:

* one pass over both views; ``passes: two`` is theirs: each view has batch statistics of its own, which takes away in
  training a part of the very shift that evaluation meets.
* the divergence comes from logits; theirs takes the logarithm of probabilities, which overflows from logits of 17 in
  half precision. Of ``regions`` it counts outside as well as inside, without which it is no divergence.
* Dice is the mean over images and classes (or regions); theirs is one figure for the whole batch, which the largest
  region decides.
* ``outputs: regions`` computes overlapping regions' logits from class logits (:mod:`unshift.losses.regions`); theirs
  are independent, so that a cup can be more probable than the disc that holds it.
* every pass over a domain is reshuffled and drawn anew; theirs repeats the first pass of all but the largest domain.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from unshift import config
from unshift.augmentations.intensities import counted_as_unit
from unshift.config import MemberRef
from unshift.contracts import Network, Objective, Setting
from unshift.errors import ProtocolError
from unshift.layers import domain_batch_norm
from unshift.losses.consistency import sigmoid_divergence, softmax_divergence
from unshift.losses.overlap import segmentation_terms
from unshift.losses.regions import region_logits, region_masks, region_terms
from unshift.networks import restoration
from unshift.networks.restoration import RestorationDecoder, bottleneck_of, encoder_parameters
from unshift.objectives.views import augmented, build_augmentations, build_still, source_files
from unshift.sample import Batch, Task, UnlabeledBatch


class Config(config.Config):
    """The lists of augmentations, the weights, and what is trained.

    Each part can be switched off: ``mixing: []`` leaves one view (then ``consistency_weight: 0`` too, for there is
    nothing to compare), a weight of 0 leaves its term out. With everything off and ``geometric: []`` this is ``erm``.

    ``intensities``: ``unit``, images must be in [0, 1]; ``image``, each image's own range counts as [0, 1] when it is
    restored (give ``amplitude_mix`` the same).
    """

    geometric: tuple[MemberRef, ...] = Field(
        (MemberRef(name="zoom_crop"),), description="one draw, of images and label maps, shared by both views"
    )
    mixing: tuple[MemberRef, ...] = Field(
        (MemberRef(name="amplitude_mix"),), description="makes the second view; may not move label maps"
    )
    consistency_weight: float = Field(0.5, ge=0, description="of the symmetric divergence between the predictions")
    restoration_weight: float = Field(0.1, ge=0, description="of each source domain's restoration error")
    encoder_rate: float = Field(
        0.5, gt=0, description="factor on the learning rate of the network's `encoder`, if it has one, when restoring"
    )
    outputs: Literal["classes", "regions"] = Field("classes", description="softmax of classes, or sigmoid of regions")
    passes: Literal["one", "two"] = Field("one", description="calls of the network; two: one for each view")
    intensities: Literal["unit", "image"] = "unit"
    include_background: bool = Field(True, description="in Dice; only for outputs: classes")

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.consistency_weight and not self.mixing:
            raise ValueError(
                f"consistency_weight is {self.consistency_weight} but mixing is empty; there is no second view to "
                "compare. Set consistency_weight: 0"
            )
        return self


class RamDsir(Objective):
    """Two supervised views, their divergence, and the restoration of the first from the second's bottleneck."""

    Config = Config
    setting = Setting("generalization", least_sources=2)

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, the source of views and restoration: a training under other code is another."""
        own = (Path(str(module.__file__)) for module in (restoration, domain_batch_norm))
        return (*super().files(config), *source_files((*config.geometric, *config.mixing)), *own)

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        self.geometric = build_augmentations(config.geometric, where="objective ram_dsir: geometric")
        self.mixing = build_still(config.mixing, where="objective ram_dsir: mixing")
        self.restoration: RestorationDecoder | None = None
        if config.restoration_weight:
            tap = bottleneck_of(network, where="objective ram_dsir")
            dims = network.task.spatial_dims
            self.restoration = RestorationDecoder(dims, tap, network.in_channels, self.sources)

    def parameter_groups(self) -> dict[str, list[dict[str, Any]]]:
        """The encoder at its own rate while images are restored, all else at the full one."""
        slow = encoder_parameters(self.network) if self.restoration else []
        taken = {id(parameter) for parameter in slow}
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in taken]
        groups: list[dict[str, Any]] = [{"params": slow, "scale": self.config.encoder_rate}] if slow else []
        return {"train": [*groups, {"params": rest}]}

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Weighted terms, in float32: ``cross_entropy``, ``dice``; of the second view ``mixed_cross_entropy``,
        ``mixed_dice``; ``consistency``; ``restoration``.

        Raises:
            ProtocolError: the batch holds one domain only, or one that is not a source.
            DataError: ``intensities`` is ``unit`` and images to restore are not in [0, 1].
        """
        images, mixed, label_maps = self.views(batch)
        logits, bottleneck = self._predicted([images] if mixed is None else [images, mixed])
        terms = self._supervised(logits[0], label_maps)
        if mixed is not None:
            terms |= {f"mixed_{name}": value for name, value in self._supervised(logits[1], label_maps).items()}
        if self.config.consistency_weight:
            terms["consistency"] = self.config.consistency_weight * self._divergence(logits[0], logits[1])
        if self.restoration is not None:
            restored = self.restoration(bottleneck, batch.domains)
            error = restoration_error(restored, self._target(images), batch.domains)
            terms["restoration"] = self.config.restoration_weight * error
        return terms

    def views(
        self, batch: Batch
    ) -> tuple[
        Float[Tensor, "batch channel *space"], Float[Tensor, "batch channel *space"] | None, Int[Tensor, "batch *space"]
    ]:
        """Augmented images, the same with mixed amplitudes (None when ``mixing`` is empty), and their label maps.

        A pure function of the batch.
        """
        strangers = set(batch.domains) - set(self.sources)
        if self.sources and strangers:
            raise ProtocolError(
                f"Objective ram_dsir: the batch holds {', '.join(sorted(strangers))}; only the source domains "
                f"{', '.join(self.sources)} may be mixed and restored. Give the loader cases of the sources alone."
            )
        settings = {"generator": batch.generator(), "channels": self.task.channels, "domains": batch.domains}
        images, label_maps = augmented(batch.images, batch.label_maps, self.geometric, **settings)  # type: ignore[arg-type]
        if not self.mixing:
            return images, None, label_maps
        mixed, _ = augmented(images, label_maps, self.mixing, **settings)  # type: ignore[arg-type]
        return images, mixed, label_maps

    def _predicted(self, views: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Logits of each view, and the bottleneck of the last."""
        calls = views if self.config.passes == "two" else [torch.cat(list(views)) if len(views) > 1 else views[0]]
        logits: list[Tensor] = []
        count, deepest = len(views[0]), torch.empty(0)
        for images in calls:
            if self.restoration is None:
                found = self.network(images)
            else:
                features = self.network.encode(images)
                found, deepest = self.network.decode(features), features[-1]
            logits += found.split(count)
        return logits, deepest[-count:]

    def _supervised(self, logits: Tensor, label_maps: Tensor) -> dict[str, Tensor]:
        if self.config.outputs == "classes":
            return segmentation_terms(logits, label_maps, include_background=self.config.include_background)
        regions = self.task.regions
        return region_terms(region_logits(logits, regions), region_masks(label_maps, regions))

    def _divergence(self, first: Tensor, second: Tensor) -> Tensor:
        if self.config.outputs == "classes":
            return softmax_divergence(first, second)
        return sigmoid_divergence(region_logits(first, self.task.regions), region_logits(second, self.task.regions))

    def _target(self, images: Tensor) -> Tensor:
        """Images scaled to [-1, 1]."""
        low, span = counted_as_unit(images, self.config.intensities, who="Objective ram_dsir")
        return 2 * (images - low) / span - 1


def restoration_error(
    restored: Float[Tensor, "batch channel *space"],
    images: Float[Tensor, "batch channel *space"],
    domains: Sequence[str],
) -> Float[Tensor, ""]:
    """Sum over the domains of the mean squared error over their images; float32 also under autocast."""
    with torch.autocast(restored.device.type, enabled=False):
        errors = (restored.float() - images.float()).square().flatten(1).mean(1)
        share = torch.tensor([1 / sum(name == own for own in domains) for name in domains])
        return (errors * share.to(errors.device)).sum()


MEMBER = RamDsir
