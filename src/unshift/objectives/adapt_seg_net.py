"""AdaptSegNet: softmax maps of target images should look like those of source images.

Tsai, Hung, Schulter, Sohn, Yang, Chandraker, "Learning to Adapt Structured Output Space for Semantic Segmentation"
(CVPR 2018, arXiv 1802.10349). Setting: adaptation, one source domain or more. With f the network, P its softmax, D the
discriminator of :mod:`unshift.objectives.adversary`::

    D:        ½ [ loss(D(P(x_source)), source) + loss(D(P(x_target)), target) ]
    network:  cross-entropy + Dice on the source + 0.001 · loss(D(P(x_target)), source)

``adversary: least_squares`` is the variant of the authors' code, with ``weight: 0.01``. ``weight: 0`` is ``erm``, bit
for bit.

Deviations: single-level (the paper's second discriminator, on an inner level's auxiliary prediction, is left out: the
networks here have none); Dice beside cross-entropy; one optimizer kind, schedule and batch size for all parts, with the
discriminator at a tenth of the rate (theirs: SGD 2.5e-4 and Adam 1e-4); batch norms are trained on both domains
(``statistics``), where theirs are frozen.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.objectives.adversary import AdversaryConfig, OutputAdversary


class AdaptSegNet(OutputAdversary):
    """The discriminator sees probabilities."""

    Config = AdversaryConfig
    name = "adapt_seg_net"

    @staticmethod
    def maps(logits: Float[Tensor, "batch class *space"]) -> Float[Tensor, "batch class *space"]:
        """Softmax over classes, float32."""
        with torch.autocast(logits.device.type, enabled=False):
            return logits.float().softmax(1)


MEMBER = AdaptSegNet
