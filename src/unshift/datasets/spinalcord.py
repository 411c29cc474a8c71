"""White and gray matter of the spinal cord in MRI from six sites, as slices or as NIfTI volumes.

The spinal cord gray matter challenge (Prados et al. 2017). Labels are 1 white matter and 2 gray matter; scored are
``gray_matter`` and the ``cord``, which is both. Two sessions of one subject (``sub-10062Ses1``, ``Ses2``) are one
patient. A handful of subjects: for plumbing (3-D, spacing, affine), not for statistics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from unshift.contracts import Card
from unshift.datasets.listing import listing
from unshift.datasets.paired import TREE, CardConfig, PairedFolders, PairedRules
from unshift.datasets.patients import PatientPattern


class Config(CardConfig):
    """Slices (2) or volumes (3): they stand in two folders."""

    dimensions: Literal[2, 3] = Field(2, description="2: PNG slices; 3: NIfTI volumes. The root must hold these files")


class SpinalCord(PairedFolders):
    """One domain per site."""

    Config = Config
    rules = PairedRules(
        classes=("background", "white_matter", "gray_matter"),
        regions={"gray_matter": (2,), "cord": (1, 2)},
        channels=1,
        patient=PatientPattern(pattern=r"^(sub-\d+)(?:Ses\d+)?(?:_\d+)?$"),
    )
    published = ("CEITEC", "Juntendo", "Milan", "NWU", "Philips", "UCL")
    card = Card(
        title="Spinal cord gray matter of six sites",
        source="Spinal cord gray matter segmentation challenge, Prados et al., NeuroImage 152 (2017); cropped.",
        licence="CC0",
        patients="sub-NNNN, whatever the session: six subjects.",
        layout=TREE,
        defects="143 slices of 8 volumes: no statistics can rest on them. The slices lost their spacing; the volumes "
        "have theirs.",
        citation="F. Prados et al. Spinal cord grey matter segmentation challenge. NeuroImage 152, 312-329 (2017).",
    )

    def __init__(self, config: Any, root: Path | None = None) -> None:
        self.rules = self.rules.model_copy(update={"spatial_dims": config.dimensions})
        super().__init__(config, root)

    @classmethod
    def settings_of(cls, root: Path) -> dict[str, Any] | None:
        """Recognized by its sites; the ending of the first image tells slices from volumes."""
        settings = super().settings_of(root)
        if settings is None:
            return None
        first = [path for paths in listing(root / cls.published[0] / "images").files.values() for path in paths][:1]
        return {"dimensions": 3 if first and ".nii" in first[0].name else 2}


MEMBER = SpinalCord
