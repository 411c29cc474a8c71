"""Colors with the statistics of the source's average image, or of a picture that the user names.

Reinhard et al., "Color Transfer between Images", IEEE CG&A 2001, and what followed it; the repair of one reference in
"Color-Quality Invariance for Robust Medical Image Segmentation" (DCIN), whose several references are the member `dcin`.

``method``: ``lab``, mean and deviation in CIE-Lab, is the default since the published tables were made with it (in 8
bits, which ``lab_8bit`` has). ``reinhard``, which the paper cites, works on logarithms: moved to another hospital's
colors, polyp images have 9 % of their values clipped, with ``lab`` 2 %; retinal images without a field of view 7 % and
19 %. ``monge_kantorovich`` moves covariances too, ``sliced`` whole distributions, ``macenko`` the stains of slides.

Statistics are taken inside the field of view, and outside the result is 0. Grey images have lightness moved only. A
constant or nearly black image is moved all the same (an under-exposed one is what this repairs) and warned of; one
without the stains that ``macenko`` needs is left as it is, and warned of. Such source images count in no average.

State is one row of statistics: no pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from jaxtyping import Float
from torch import Tensor

from unshift.config import Config
from unshift.contracts import Normalization
from unshift.errors import BundleError, DataError
from unshift.normalizations.color_method import average
from unshift.normalizations.color_methods import color_method, degenerate, source_files
from unshift.normalizations.references import as_batch, read_picture
from unshift.sample import Sample

logger = logging.getLogger(__name__)
_STATE = "statistics"


class ColorTransferConfig(Config):
    """``reference``: a photograph without a border (no field of view is known of it); null is the source's average."""

    method: Literal["lab", "lab_8bit", "reinhard", "monge_kantorovich", "sliced", "macenko"] = "lab"
    reference: Path | None = None


class ColorTransfer(Normalization):
    """The colors of one reference for all images."""

    Config = ColorTransferConfig

    def __init__(self, config: ColorTransferConfig) -> None:
        super().__init__(config)
        self._method = color_method(config.method)
        self._reference: Float[Tensor, " size"] | None = None

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """The picture, and the code that moves colors."""
        return (*super().files(config), *source_files())

    @classmethod
    def preflight(cls, config: Any, sources: Sequence[str]) -> None:
        """Take the colors of the named picture, before a training rather than after it."""
        if config.reference is not None:
            cls(config).fit([])

    def fit(self, samples: Iterable[Sample]) -> Self:
        """Average the statistics of source images, or take those of the named picture.

        Raises:
            DataError: no source image with colors to take; the picture cannot be read, or has none; values beyond
                [0, 1]; an empty field of view.
            ShapeMismatch: neither one nor three channels.
        """
        if self.config.reference is not None:
            rows = [self._describe(read_picture(self.config.reference))]
            where = str(self.config.reference)
        else:
            rows, where = [self._describe(sample) for sample in samples], "the source"
        good = [row for row in rows if row is not None]
        if not good:
            raise DataError(
                f"color_transfer: {where} has no image whose colors can be taken ({len(rows)} looked at); one that is "
                f"not constant, black or over-exposed, and that {self.config.method} can read, is required."
            )
        self._reference = average(torch.stack(good))
        if self.config.reference is not None:  # where the picture lay means nothing elsewhere
            self.config = self.config.model_copy(update={"reference": Path(self.config.reference.name)})
        return self

    def views(self, sample: Sample) -> list[Sample]:
        """One view in [0, 1]; 0 outside the field of view.

        Raises:
            DataError: not fitted; values beyond [0, 1]; an empty field of view.
            ShapeMismatch: neither one nor three channels.
        """
        if self._reference is None:
            raise DataError("color_transfer: not fitted; fit it on source images, or load its state.")
        images, inside = as_batch(sample)
        own = self._method.statistics(images, inside)
        flaw = degenerate(images, inside).words(0)
        if flaw:
            logger.warning("Case %r: the image is %s; its colors are moved all the same.", sample.case, flaw)
        if not self._method.usable(own)[0]:
            logger.warning("Case %r: %s finds too little to move; left as it is.", sample.case, self._method.name)
        [image] = self._method.transfer(images, self._reference[None].to(own), inside, own)
        return [sample.replace(image=image if inside is None else torch.where(inside, image, 0))]

    def state_dict(self) -> dict[str, Tensor]:
        """float32 [size]: the reference's statistics, whose meaning the method decides."""
        return {} if self._reference is None else {_STATE: self._reference}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`; needs no file and no source image."""
        row = state.get(_STATE)
        if set(state) != {_STATE} or row is None or row.shape != (self._method.size,):
            raise BundleError(
                f"color_transfer: found state {[(name, list(value.shape)) for name, value in state.items()]}; "
                f"{_STATE} [{self._method.size}] of {self._method.name} is required. Use the version that wrote it."
            )
        self._reference = row

    def _describe(self, sample: Sample) -> Float[Tensor, " size"] | None:
        images, inside = as_batch(sample)
        flaw = degenerate(images, inside).words(0)
        row = self._method.statistics(images, inside).float().cpu()
        if not flaw and self._method.usable(row)[0]:
            return row[0]
        logger.warning(
            "Case %r: %s; not taken as a reference.", sample.case, flaw or f"too little for {self._method.name}"
        )
        return None


MEMBER = ColorTransfer
