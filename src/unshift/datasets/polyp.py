"""Colonoscopy polyps from six hospitals (PolypGen): one domain per hospital, colour frames.

Ali et al., "A multi-centre polyp detection and segmentation dataset for generalisability assessment", Scientific
Data 10:75, 2023. Reduced in size; C3 holds every second frame. Empty masks are frames without a polyp, and count.
"""

from __future__ import annotations

from unshift.contracts import Card
from unshift.datasets.paired import TREE, CardConfig, PairedFolders, PairedRules


class Polyp(PairedFolders):
    """PolypGen's single frames, domains PolypGen-C1 … PolypGen-C6."""

    Config = CardConfig
    rules = PairedRules(classes=("background", "polyp"))
    published = tuple(f"PolypGen-C{centre}" for centre in range(1, 7))
    card = Card(
        title="PolypGen",
        source="Ali et al., Scientific Data 10:75 (2023), doi:10.1038/s41597-023-01981-y; reduced in size.",
        licence="CC BY 4.0",
        patients="No ids are published: each image is its own patient. Frames of one patient may stand on both sides "
        "of a split, so in-domain scores may be optimistic; scores on a hospital that was not trained on are not.",
        layout=TREE,
        defects="Masks without polyp: 5, 32, 1, 81, 2, 5 of 256, 301, 229, 227, 208, 88 in C1 … C6. "
        "C3 holds every second frame. Some images stand twice (C2 001029 = 001030, C5 50000140 = 50000141 and "
        "50000284 = 50000285), others are neighbouring frames; `unshift data check` lists them.",
        citation="S. Ali et al. A multi-centre polyp detection and segmentation dataset for generalisability "
        "assessment. Sci Data 10, 75 (2023).",
    )


MEMBER = Polyp
