"""SLAug: images recolored as a whole and class by class, fused where the loss is most sensitive.

Su, Yao, Yang, Huang, Wang, Sun, "Rethinking Data Augmentation for Single-Source Domain Generalization in Medical Image
Segmentation" (AAAI 2023, arXiv 2211.14805; Kaiseem/SLAug). Setting: generalization, one source domain or more. With G
and C the two views of :mod:`unshift.augmentations.location_scale`, and s a smooth map of saliency in [0, 1]::

    g = G(x)    c = C(x, y)    s = rescaled( spline( pooled |dL(f(g), y) / dg| ) )    m = s g + (1 - s) c
    loss = L(f(g), y) + L(f(m), y)            L = cross-entropy + Dice, background included

``fusion: false`` leaves the second term out; with ``recoloring: false`` as well, this is ``erm`` bit for bit, or, with
``augmentations``, ``augmented``.

Differences from the authors' code:

* both terms are differentiated at once: the same gradient as their two backward passes before one step.
* the quadratic spline is evaluated at pixels' centers, and its weights sum to 1 at the edges too, where theirs fade.
* falling curves of classes are monotone; theirs need not be.
* images of several channels share a curve, and neighbouring slices the middle slice's label map.
* geometric augmentation is a list of this package's, empty by default; theirs is a chain of its own.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from unshift import config
from unshift.augmentations import bezier, location_scale
from unshift.augmentations.intensities import require_unit
from unshift.config import MemberRef
from unshift.geometry import as_channels, as_slices
from unshift.objectives.views import AugmentingObjective
from unshift.sample import Batch, UnlabeledBatch


class Config(config.Config):
    """What comes before, which parts are on, and how coarse saliency is."""

    augmentations: tuple[MemberRef, ...] = Field((), description="before the views, of image and label map")
    recoloring: bool = Field(True, description="location-scale views; without, views are the images themselves")
    fusion: bool = Field(True, description="the second term, on the views that saliency fuses")
    grid: int = Field(3, ge=1, description="cells of the saliency along each axis; the paper: 3 abdomen, 18 heart")
    include_background: bool = True


class LocationScale(AugmentingObjective):
    """Supervised loss of the global view, and of its fusion with the class-wise one."""

    Config = Config
    ingredients = (location_scale, bezier)

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Terms ``cross_entropy`` and ``dice`` of the global view; ``fused_…`` of the fused one."""
        whole, local, label_maps = self.views(batch)
        if not self.config.fusion:
            return self.supervised(self.network(whole), label_maps)
        with torch.enable_grad():
            whole = whole.detach().requires_grad_()
            terms = self.supervised(self.network(whole), label_maps)
            (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), whole, retain_graph=True)
        share = saliency(gradient, self.config.grid)
        whole = whole.detach()
        fused = self.supervised(self.network(share * whole + (1 - share) * local), label_maps)
        return terms | {f"fused_{name}": value for name, value in fused.items()}

    def views(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Global view, class-wise view, label maps: a pure function of the batch.

        Raises:
            DataError: images that are to be recolored are not in [0, 1] (or within 0.05 of it).
        """
        generator, count, classes = batch.generator(), len(batch.images), self.task.num_classes
        images, label_maps = self.augmented(batch, generator)
        if not self.config.recoloring:
            return images, images, label_maps
        require_unit(images, who="Objective slaug", remedy="(preprocessing: min_max, ct_window)")
        for_whole = location_scale.draw_global(generator, count)
        for_classes = location_scale.draw_local(generator, count, classes)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            slices = as_slices(images, self.task.channels)
            is_stack = slices.ndim > images.ndim
            labels = label_maps[:, None].expand(-1, *slices.shape[2:]) if is_stack else label_maps
            whole = location_scale.global_view(slices, for_whole)
            local = location_scale.local_view(slices, labels, for_classes, classes=classes)
        return (as_channels(whole), as_channels(local), label_maps) if is_stack else (whole, local, label_maps)


@torch.no_grad()
def saliency(gradients: Float[Tensor, "batch channel *space"], grid: int) -> Float[Tensor, "batch 1 *space"]:
    """How much the loss depends on each place, smooth and rescaled to [0, 1] for every image; float32.

    Root mean square over channels, averaged in ``grid`` cells along each axis (fewer where an axis has fewer pixels),
    as the coefficients of a quadratic spline. An image without any gradient has saliency 0.
    """
    with torch.autocast(gradients.device.type, enabled=False):
        exact = gradients.double()
        magnitude = exact.square().mean(1, keepdim=True).sqrt()
        space = magnitude.shape[2:]
        cells = [min(grid, size) for size in space]
        pool: Any = F.adaptive_avg_pool2d if len(space) == 2 else F.adaptive_avg_pool3d
        found = pool(magnitude, cells)
        for axis, (size, count) in enumerate(zip(space, cells, strict=True), start=2):
            found = torch.tensordot(_spline(size, count).to(found), found, dims=([1], [axis])).movedim(0, axis)
        axes = tuple(range(1, found.ndim))
        low, high = found.amin(axes, keepdim=True), found.amax(axes, keepdim=True)
        return torch.where(high > low, (found - low) / (high - low), 0.0).float()


def _spline(size: int, cells: int) -> Float[Tensor, "size cells"]:
    """Weights of the cells at each pixel: quadratic B-splines about the cells' centers, made to sum to 1."""
    places = (torch.arange(size, dtype=torch.float64) + 0.5) * cells / size
    distance = (places[:, None] - torch.arange(cells) - 0.5).abs()
    weights = torch.where(distance < 0.5, 0.75 - distance**2, 0.5 * (1.5 - distance).clamp_min(0) ** 2)
    return weights / weights.sum(1, keepdim=True)


MEMBER = LocationScale
