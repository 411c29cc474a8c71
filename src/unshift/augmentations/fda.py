"""Fourier domain adaptation between sources: an image's lowest amplitudes are replaced by another domain's.

Yang, Soatto, "FDA: Fourier Domain Adaptation for Semantic Segmentation" (CVPR 2020, arXiv 2004.05498). The paper gives
source images the low frequencies of *target* images; here, for generalization, the partner is of another source domain
(as FedDG does with the spectra of other hospitals). With amplitudes A of the image and B of its partner, inside the
centered square of half-width ⌊β · min(height, width)⌋::

    A' = B        β from {0.01, 0.05, 0.09}, one an image; phases, and all other frequencies, stay

then clipped to the range of intensities. Setting: generalization, two source domains or more; supervision is that of
``augmented``, in whose list it stands, with ``train.sampling: balanced``. ``probability: 0`` gives every image back
bit for bit.

Differences from the paper: source to source; each image draws its β, where the paper trains three networks and averages
them; self-training on target images and the entropy of their predictions are left out; the partner is an image of the
same batch; the window is symmetric (the corner blocks of the authors' torch code are not); results are clipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor

from unshift import config
from unshift.augmentations.drawing import coin
from unshift.augmentations.intensities import counted_as_unit
from unshift.augmentations.partners import MixingAugmentation, draw_partners
from unshift.augmentations.spectrum import low_window, mix_amplitude


class Config(config.Config):
    """How often, and the windows.

    ``intensities``: ``unit``, images must be in [0, 1]; ``image``, each image's own range counts as [0, 1] (z-scored
    slices, arbitrary MR units): its spectrum is that of the image so scaled, and the result is in the image's range.
    """

    probability: float = Field(1.0, ge=0, le=1, description="of the swap; other images stay as they are")
    windows: tuple[float, ...] = Field(
        (0.01, 0.05, 0.09), min_length=1, description="half-widths as shares of the shorter side; 0: the mean alone"
    )
    intensities: Literal["unit", "image"] = "unit"

    @field_validator("windows")
    @classmethod
    def _shares(cls, windows: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= window <= 0.5 for window in windows):
            raise ValueError(f"windows are {list(windows)}; shares from 0 to 0.5 are required")
        return windows


class FourierSwap(MixingAugmentation):
    """Parameters: ``swapped`` (bool), ``partner`` (int64, a row of the batch), ``window`` (float32), one an image."""

    Config = Config

    def draw(
        self,
        generator: torch.Generator,
        images: Float[Tensor, "batch channel *space"],
        domains: Sequence[str] = (),
    ) -> dict[str, Tensor]:
        """One partner and one window an image. Without ``domains`` any other image may be the partner.

        Raises:
            ProtocolError: the batch holds one domain only.
        """
        count, windows = len(images), torch.tensor(self.config.windows)
        return {
            "swapped": coin(generator, count, self.config.probability),
            "partner": draw_partners(generator, count, domains),
            "window": windows[torch.randint(len(windows), (count,), generator=generator)],
        }

    def apply(
        self, images: Float[Tensor, "batch channel *space"], parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channel *space"]:
        """Swapped and clipped; the others come back bit for bit.

        Raises:
            DataError: ``intensities`` is ``unit`` and the images are not in [0, 1] (or within 0.05 of it).
        """
        p = {name: value.to(images.device) for name, value in parameters.items()}
        low, span = counted_as_unit(images, self.config.intensities, who="Augmentation fda")
        unit, result = (images - low) / span, images.clone()
        for window in p["window"].unique().tolist():
            at = (p["swapped"] & (p["window"] == window)).nonzero()[:, 0]
            if len(at):
                half_width = low_window(images.shape[2:], round(window, 6))
                found = mix_amplitude(unit[at], unit[p["partner"][at]], torch.zeros(len(at)), half_width=half_width)
                result[at] = found.clamp_(0, 1) * span[at] + low[at]
        return result


MEMBER = FourierSwap
