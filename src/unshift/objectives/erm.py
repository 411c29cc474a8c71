"""Empirical risk minimization: all source domains pooled, cross-entropy plus Dice.

The reference point of every comparison ("source only", "baseline", "DeepAll"). Setting: generalization, one or more
source domains. The loss is that of :mod:`unshift.losses.overlap` over the whole grid; images are used as they come.
"""

from __future__ import annotations

from torch import Tensor

from unshift import config
from unshift.contracts import Objective
from unshift.losses.overlap import segmentation_terms
from unshift.sample import Batch, UnlabeledBatch


class Config(config.Config):
    """``include_background``: whether class 0 takes part in the Dice average (the papers here: yes)."""

    include_background: bool = True


class EmpiricalRisk(Objective):
    """Cross-entropy + Dice of the network's logits, averaged over the pooled batch."""

    Config = Config

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Terms ``cross_entropy`` and ``dice``; nothing is random."""
        return segmentation_terms(
            self.network(batch.images), batch.label_maps, include_background=self.config.include_background
        )


MEMBER = EmpiricalRisk
