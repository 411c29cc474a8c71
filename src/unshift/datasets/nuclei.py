"""Cell nuclei under four microscopes and stains (Data Science Bowl 2018): the union of all nuclei.

Caicedo et al. 2019. Fluorescence is grey, hematoxylin-eosin and brightfield are colour; grey is repeated to colour.

No patients are published. Many images are tiles of one slide: their edges continue each other. ``nuclei_slides.csv``
says which (`benchmarks/nuclei_slides.py` finds them), so that no slide it knows is on both sides of a split.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from unshift.contracts import Card
from unshift.datasets.paired import TREE, CardConfig, PairedFolders, PairedRules
from unshift.datasets.problem import Scan

_DIGITS = 16
"""Of a name, which is a hash, that tell images apart."""


class Nuclei(PairedFolders):
    """Images grouped by stain and size, one domain per group."""

    Config = CardConfig
    rules = PairedRules(classes=("background", "nucleus"))
    published = ("fluo-256", "fluo-360", "HE-320x256", "brightfield-1024")
    card = Card(
        title="Nuclei of the Data Science Bowl 2018",
        source="Caicedo et al., Nature Methods 16 (2019); BBBC038; grouped by stain and size.",
        licence="CC0",
        patients="No ids are published. Tiles that adjoin without a seam are one patient (230 images of 52 slides); of "
        "other images each is its own, though some may show one slide.",
        layout=TREE,
        defects="Touching nuclei are one object in the union mask: it is a semantic, not an instance, segmentation.",
        citation="J. C. Caicedo et al. Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl. "
        "Nat Methods 16, 1247-1253 (2019).",
    )

    def look(self) -> Scan:
        """The pairs; of images of one slide the patient is the slide."""
        scan = super().look()
        slide = slides()
        named = (replace(case, patient=slide.get(case.name[:_DIGITS], case.patient)) for case in scan.cases)
        return replace(scan, cases=tuple(named))


@cache
def slides() -> Mapping[str, str]:
    """The first digits of an image's name -> its slide, of images that adjoin another one."""
    with Path(__file__).with_name("nuclei_slides.csv").open(encoding="utf-8", newline="") as file:
        return {row["image"]: row["slide"] for row in csv.DictReader(file)}


MEMBER = Nuclei
