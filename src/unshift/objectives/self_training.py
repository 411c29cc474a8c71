"""Self-training: a slow teacher labels target images, and the network learns the labels that the teacher is sure of.

French, Mackiewicz, Fisher, "Self-ensembling for visual domain adaptation" (ICLR 2018, arXiv 1706.05208), the mean
teacher of Tarvainen and Valpola (NeurIPS 2017) with a confidence threshold; for segmentation in medical images see
Perone et al. (NeuroImage 2019, arXiv 1811.06042). Setting: adaptation, one source domain or more. With the network f,
its moving average g, a target image t and its augmented view t', over all pixels::

    loss = cross-entropy + Dice on the source + weight · mean [ confident · cross-entropy(f(t'), argmax g(t)) ]
    confident: the largest probability of g(t) is above the threshold

The network is evaluated and exported. ``weight: 0`` is ``erm`` bit for bit.

Deviations: hard labels, where theirs are the squared difference of probabilities with a term that balances classes; the
student is evaluated, where theirs is the teacher; the teacher's momentum rises as 1 - 1 / (t + 1) up to theirs, 0.99;
views differ in intensities alone, so that the teacher's labels stay where they are. Each domain is normalized with its
own batch statistics, and the target's are kept, as theirs (``statistics: joint`` is one pass over both).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from unshift import config
from unshift.config import MemberRef
from unshift.contracts import Network, Objective, Setting
from unshift.losses.overlap import segmentation_terms
from unshift.objectives import teacher, two_domains
from unshift.objectives.teacher import Teacher
from unshift.objectives.two_domains import Statistics, of_both, require_target
from unshift.objectives.views import augmented, build_still, source_files
from unshift.sample import Batch, Task, UnlabeledBatch


class Config(config.Config):
    """Weight, threshold, teacher, and the view that the student sees."""

    weight: float = Field(1.0, ge=0, description="of the target's term; 0: this is erm")
    threshold: float = Field(0.968, ge=0, lt=1, description="probability from which on a label of the teacher counts")
    momentum: float = Field(0.99, ge=0, lt=1, description="of the teacher, at most")
    augmentations: tuple[MemberRef, ...] = Field(
        (MemberRef(name="photometric"),), description="of the student's target images; may not move label maps"
    )
    statistics: Statistics = Field("target", description="of batch norms: each domain its own, or of both")
    include_background: bool = True


class SelfTraining(Objective):
    """``teacher``: a copy of the network that follows it."""

    Config = Config
    setting = Setting("adaptation")

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Beside the settings' files, those that decide the losses."""
        own = (Path(str(module.__file__)) for module in (teacher, two_domains))
        return (*super().files(config), *source_files(config.augmentations), *own)

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        self.augmentations = build_still(config.augmentations, where="objective self_training")
        self.teacher = Teacher(network) if config.weight else None

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """``cross_entropy`` and ``dice`` of the source; ``pseudo_labels`` of the target, weighted.

        Raises:
            DataError: there is no target image, or of another shape.
        """
        c = self.config
        if self.teacher is None:
            logits = self.network(batch.images)
            return segmentation_terms(logits, batch.label_maps, include_background=c.include_background)
        target = require_target(unlabeled, batch.images, who="Objective self_training")
        self.teacher.follow(self.network, c.momentum)
        told = self.teacher(target.images)
        view, _ = augmented(
            target.images, told.argmax(1), self.augmentations, generator=batch.generator(), channels=self.task.channels
        )
        source_logits, target_logits = of_both(self.network, batch.images, view, c.statistics)
        terms = segmentation_terms(source_logits, batch.label_maps, include_background=c.include_background)
        return terms | {"pseudo_labels": c.weight * pseudo_label_loss(target_logits, told, c.threshold)}


def pseudo_label_loss(
    student: Float[Tensor, "batch class *space"], teacher: Float[Tensor, "batch class *space"], threshold: float
) -> Float[Tensor, ""]:
    """Cross-entropy with the teacher's labels where it is sure, 0 elsewhere, mean over all pixels; in float32."""
    with torch.autocast(student.device.type, enabled=False):
        probability, label = teacher.float().softmax(1).max(1)
        errors = F.cross_entropy(student.float(), label, reduction="none")
        return (errors * (probability > threshold)).mean()


MEMBER = SelfTraining
