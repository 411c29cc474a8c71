"""AdaBN: trained on the sources alone; the batch norms keep the target's statistics.

Li, Wang, Shi, Hou, Liu, "Adaptive Batch Normalization for practical domain adaptation" (Pattern Recognition 2018; arXiv
1603.04779, "Revisiting Batch Normalization for Practical Domain Adaptation"). Setting: adaptation, one source domain or
more. The loss and every weight are those of ``erm``, bit for bit: batch norms compute from the batch at hand while they
are trained. What differs is what a test uses: means and deviations of target images in place of the sources'.

After each source batch the network sees a batch of unlabeled images, without gradients, and its running statistics move
by ``momentum`` towards theirs; source batches leave them alone. ``statistics: source`` is ``erm`` bit for bit.

Deviations: statistics are running ones of the last steps (about 1 / momentum batches), as torch keeps them for the
sources too, and not those of all target images under the last weights; several targets share one set. Where weights are
selected by ``source_validation`` they are judged with the target's statistics on source images: prefer ``last``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from unshift import config
from unshift.contracts import Network, Objective, Setting
from unshift.errors import ConfigError
from unshift.layers.running_statistics import batch_norms, keeping
from unshift.losses.overlap import segmentation_terms
from unshift.objectives.two_domains import require_target
from unshift.sample import Batch, Task, UnlabeledBatch


class Config(config.Config):
    """Whose statistics are kept, and how fast they move."""

    statistics: Literal["target", "source"] = Field("target", description="source: this is erm")
    momentum: float = Field(0.1, gt=0, le=1, description="of the target's running statistics")
    include_background: bool = True


class AdaBn(Objective):
    """Cross-entropy + Dice on the sources; running statistics from the target."""

    Config = Config
    setting = Setting("adaptation")

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        if config.statistics == "target" and not batch_norms(network):
            raise ConfigError(
                f"Objective adabn: {type(network).__name__} has no batch norm that keeps statistics, so it would be "
                "erm. Choose a network with batch norms, or objective erm."
            )

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Terms ``cross_entropy`` and ``dice`` of the source; nothing is random."""
        c = self.config
        if c.statistics == "source":
            logits = self.network(batch.images)
            return segmentation_terms(logits, batch.label_maps, include_background=c.include_background)
        target = require_target(unlabeled, batch.images, who="Objective adabn")
        with keeping(self.network, 0.0):
            logits = self.network(batch.images)
        if self.training:
            with torch.no_grad(), keeping(self.network, c.momentum):
                self.network(target.images)
        return segmentation_terms(logits, batch.label_maps, include_background=c.include_background)


MEMBER = AdaBn
