"""FACT: amplitudes mixed over the whole spectrum, and a slow teacher that must agree across the two views.

Xu, Zhang, Zhang, Wang, Tian, "A Fourier-based Framework for Domain Generalization" (CVPR 2021, arXiv 2105.11120;
MediaBrain-SJTU/FACT), for segmentation: what the paper says of a class score holds for every pixel. Setting:
generalization, one or more source domains. With the student f, its moving average g, softmax at temperature T::

    |X'| = (1 - l) |X| + l |Z|,  phase of X,  l ~ U(0, 1)          Z of a random image of the batch
    loss = ½ L(f(x)) + ½ L(f(x')) + w(t) [ KL(g(x) ‖ f(x')) + KL(g(x') ‖ f(x)) ]
    w(t) = 2 exp(-5 (1 - min(t / warmup, 1))²)                     L = cross-entropy + Dice, background included

The student is what is evaluated and exported. ``amplitude: false`` leaves x' = x, ``weight: 0`` the teacher out; both:
``erm`` bit for bit, or, with ``augmentations``, ``augmented``.

Differences from the authors' code:

* mixing in batch on the device; results are clipped to [0, 1] and not rounded to 8 bits. The partner is an image of
  the same batch, of any domain and the image itself not excluded, as theirs is of the whole training set.
* warm-up in steps: theirs is 5 of 50 epochs, hence 200 of the default 2000.
* KL is averaged over pixels; the teacher's momentum, min(1 - 1 / (t + 1), 0.9995), is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from unshift import config
from unshift.augmentations import partners, spectrum
from unshift.augmentations.drawing import uniform
from unshift.augmentations.intensities import require_unit
from unshift.config import MemberRef
from unshift.contracts import Network
from unshift.geometry import as_channels, as_slices
from unshift.objectives import teacher
from unshift.objectives.teacher import Teacher
from unshift.objectives.views import AugmentingObjective
from unshift.sample import Batch, Task, UnlabeledBatch


class Config(config.Config):
    """What comes before, the mixing, and the teacher."""

    augmentations: tuple[MemberRef, ...] = Field((), description="before the views, of image and label map")
    amplitude: bool = Field(True, description="mix amplitudes; without, both views are the image")
    partner: Literal["any_domain", "other_domain"] = "any_domain"
    weight: float = Field(2.0, ge=0, description="of agreement with the teacher; 0: no teacher")
    warmup: int = Field(200, ge=0, description="steps until the weight is reached")
    temperature: float = Field(10.0, gt=0)
    momentum: float = Field(0.9995, ge=0, lt=1, description="of the teacher, at most")
    include_background: bool = True


class Fact(AugmentingObjective):
    """``teacher``: a copy of the network that follows it; how often it did is the step."""

    Config = Config
    ingredients = (spectrum, partners, teacher)

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__(config, task, network, sources)
        self.teacher = Teacher(network) if config.weight else None

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """``cross_entropy`` and ``dice`` of the image, ``mixed_…`` of the mixed one, ``agreement``; weighted."""
        images, mixed, label_maps = self.views(batch)
        if not self.config.amplitude and self.teacher is None:
            return self.supervised(self.network(images), label_maps)
        both = torch.cat([images, mixed])
        first, second = self.network(both).chunk(2)
        plain, other = self.supervised(first, label_maps), self.supervised(second, label_maps)
        terms = {n: 0.5 * v for n, v in plain.items()} | {f"mixed_{n}": 0.5 * v for n, v in other.items()}
        if self.teacher is None:
            return terms
        self.teacher.follow(self.network, self.config.momentum)
        told, told_mixed = self.teacher(both).chunk(2)
        divergence = disagreement(told, second, temperature=self.config.temperature)
        divergence = divergence + disagreement(told_mixed, first, temperature=self.config.temperature)
        return terms | {"agreement": self.ramp(int(self.teacher.updates)) * divergence}

    def views(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Images, mixed images, label maps: a pure function of the batch.

        Raises:
            DataError: images that are to be mixed are not in [0, 1] (or within 0.05 of it).
            ProtocolError: partners of another domain are wanted, and the batch holds one domain only.
        """
        generator, count = batch.generator(), len(batch.images)
        images, label_maps = self.augmented(batch, generator)
        if not self.config.amplitude:
            return images, images, label_maps
        require_unit(images, who="Objective fact", remedy="(preprocessing: min_max, ct_window)")
        own = self.config.partner == "any_domain"
        partner = partners.draw_partners(generator, count, batch.domains, own=own)
        share = 1 - uniform(generator, (count,), 0, 1).float()
        with torch.no_grad():
            slices = as_slices(images, self.task.channels)
            found = spectrum.mix_amplitude(slices, partner, share, half_width=slices.shape[-2:]).clamp_(0, 1)
        return images, as_channels(found) if slices.ndim > images.ndim else found, label_maps

    def ramp(self, step: int) -> float:
        """The weight of agreement at a step."""
        done = min(step / self.config.warmup, 1.0) if self.config.warmup else 1.0
        return float(self.config.weight * math.exp(-5 * (1 - done) ** 2))


def disagreement(
    teacher: Float[Tensor, "batch class *space"], student: Float[Tensor, "batch class *space"], *, temperature: float
) -> Float[Tensor, ""]:
    """KL(teacher ‖ student) of softened probabilities, mean over images and pixels; float32 also under autocast."""
    with torch.autocast(student.device.type, enabled=False):
        told = (teacher.float() / temperature).log_softmax(1)
        said = (student.float() / temperature).log_softmax(1)
        return F.kl_div(said, told, reduction="none", log_target=True).sum(1).mean()


MEMBER = Fact
