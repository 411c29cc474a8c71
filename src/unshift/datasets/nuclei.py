"""Cell nuclei under four microscopes and stains (Data Science Bowl 2018): the union of all nuclei.

Caicedo et al. 2019. Fluorescence is grey, hematoxylin-eosin and brightfield are colour; grey is repeated to colour.
"""

from __future__ import annotations

from unshift.contracts import Card
from unshift.datasets.paired import TREE, CardConfig, PairedFolders, PairedRules


class Nuclei(PairedFolders):
    """Images grouped by stain and size, one domain per group."""

    Config = CardConfig
    rules = PairedRules(classes=("background", "nucleus"))
    published = ("fluo-256", "fluo-360", "HE-320x256", "brightfield-1024")
    card = Card(
        title="Nuclei of the Data Science Bowl 2018",
        source="Caicedo et al., Nature Methods 16 (2019); BBBC038; grouped by stain and size.",
        licence="CC0",
        patients="No ids are published: each image is its own patient, though many are tiles of one slide (among the "
        "107 of HE-320x256, 101 pairs adjoin without a seam). In-domain scores and ceilings trained on the target are "
        "optimistic.",
        layout=TREE,
        defects="Touching nuclei are one object in the union mask: it is a semantic, not an instance, segmentation.",
        citation="J. C. Caicedo et al. Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl. "
        "Nat Methods 16, 1247-1253 (2019).",
    )


MEMBER = Nuclei
