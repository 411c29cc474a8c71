"""Fetal heads in ultrasound (HC18): filled head masks, one vendor; other vendors have to be simulated.

van den Heuvel et al. 2018. ``NNN_HC`` and ``NNN_2HC`` (``_3HC`` …) are images of one pregnancy: patient ``NNN``.
"""

from __future__ import annotations

from unshift.contracts import Card
from unshift.datasets.paired import TREE, CardConfig, PairedFolders, PairedRules
from unshift.datasets.patients import PatientPattern


class FetalHead(PairedFolders):
    """HC18, one domain."""

    Config = CardConfig
    rules = PairedRules(classes=("background", "head"), channels=1, patient=PatientPattern(pattern=r"^(\d+)_\d*HC$"))
    published = ("HC18",)
    card = Card(
        title="HC18 fetal head circumference",
        source="van den Heuvel et al., PLoS ONE 13(8):e0200412 (2018), doi:10.5281/zenodo.1327317; reduced in size.",
        licence="CC BY 4.0",
        patients="The number before _HC; several images of one pregnancy are NNN_HC, NNN_2HC, …",
        layout=TREE,
        defects="One vendor, so there is no second domain: use it as source, or simulate gain, time-gain compensation "
        "and speckle. The reduction lost the pixel size: distances are in pixels.",
        citation="T. L. A. van den Heuvel et al. Automated measurement of fetal head circumference using 2D "
        "ultrasound images. PLoS ONE 13 (2018).",
    )


MEMBER = FetalHead
