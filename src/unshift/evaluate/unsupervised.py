"""How good predictions look on images whose labels nobody has: criteria for choosing weights.

Neither sees a label, and both can be fooled: a network that says the same of every pixel has no entropy when it is sure
of it, and the largest density there is in any case.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from unshift.errors import DataError
from unshift.randomness import numpy_generator

PIXELS = 100
"""Of each image, or volume, that density compares: as many as the authors' segmentation code takes of an image [C]."""
TEMPERATURE = 0.05


def mean_entropy(probabilities: Float[Tensor, "class *space"], valid: Bool[Tensor, "*space"] | None = None) -> float:
    """Mean over valid pixels of -sum p log p, as a share of its most, log(classes): 0 sure everywhere, 1 undecided."""
    pixels = _pixels(probabilities, valid)
    return float(torch.special.entr(pixels).sum(1).mean() / torch.tensor(float(pixels.shape[1])).log())


def neighborhood_density(
    probabilities: Float[Tensor, "class *space"],
    valid: Bool[Tensor, "*space"] | None = None,
    *,
    seed: int,
    count: int = PIXELS,
) -> float:
    """Soft neighborhood density: how many others each pixel's prediction is like; higher is better, at most log(n - 1).

    Saito et al., "Tune it the Right Way", ICCV 2021, with v the class probabilities of a pixel scaled to length 1::

        P_ij = exp(v_i · v_j / 0.05) / sum over k ≠ i of exp(v_i · v_k / 0.05)        j ≠ i
        density = mean over i of - sum over j of P_ij log P_ij

    Dense prediction is subsampled as in the authors' segmentation code: ``count`` pixels drawn at random among the
    valid ones, all of them where there are fewer; the mean over images is then the caller's. Here ``seed`` decides the
    draw, so that weights are compared on the same pixels; theirs draws anew each time, and compares a pixel with
    itself too, which the paper's equation leaves out.

    Raises:
        DataError: fewer than two valid pixels.
    """
    pixels = _pixels(probabilities, valid)
    if len(pixels) < 2:
        raise DataError(f"Neighborhood density: {len(pixels)} valid pixel(s); two or more are required.")
    order = torch.from_numpy(numpy_generator(seed, "density").permutation(len(pixels))[:count])
    vectors = F.normalize(pixels[order], dim=1)
    likeness = (vectors @ vectors.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    return float(torch.special.entr(likeness.softmax(1)).sum(1).mean())


def _pixels(probabilities: Tensor, valid: Tensor | None) -> Float[Tensor, "pixel class"]:
    """Float64. Raises :class:`DataError` where no pixel is valid."""
    pixels = probabilities.double().flatten(1).T
    if valid is not None:
        pixels = pixels[valid.flatten()]
    if not len(pixels):
        raise DataError("Selection: no pixel is in the field of view. Correct the field, or leave the case out.")
    return pixels
