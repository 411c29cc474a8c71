"""ADVENT: a network should be as sure, and at the same places, on target images as on source images.

Vu, Jain, Bucher, Cord, Pérez, "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in Semantic Segmentation"
(CVPR 2019, arXiv 1811.12833). Setting: adaptation, one source domain or more. With P the softmax over C classes, the
discriminator of :mod:`unshift.objectives.adversary` sees each class' share of the pixel's entropy, in [0, 1]::

    I_c = -P_c log P_c / log C
    D:        ½ [ loss(D(I(x_source)), source) + loss(D(I(x_target)), target) ]
    network:  cross-entropy + Dice on the source + 0.001 · loss(D(I(x_target)), source)

``weight: 0`` is ``erm`` bit for bit. Deviations: as in ``adapt_seg_net``; the authors' class-ratio prior and their
direct minimization of entropy (MinEnt) are left out.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.objectives.adversary import AdversaryConfig, OutputAdversary


class Advent(OutputAdversary):
    """The discriminator sees weighted self-information."""

    Config = AdversaryConfig
    name = "advent"

    @staticmethod
    def maps(logits: Float[Tensor, "batch class *space"]) -> Float[Tensor, "batch class *space"]:
        """Shares of the entropy, float32; their sum over classes is 1 where all classes are equally probable."""
        with torch.autocast(logits.device.type, enabled=False):
            logarithms = logits.float().log_softmax(1)
            return -logarithms.exp() * logarithms / math.log(logits.shape[1])


MEMBER = Advent
