"""Left ventricle and myocardium in cine MRI (Sunnybrook, GE): 420 slices of 45 cases, one vendor.

Labels are 1 left ventricle (blood pool) and 2 myocardium; the region ``epicardium`` is both together. The patient is
the part ``SC-HF-I-01`` of a file's name.
"""

from __future__ import annotations

from unshift.contracts import Card
from unshift.datasets.paired import TREE, CardConfig, PairedFolders, PairedRules
from unshift.datasets.patients import PatientPattern


class CardiacMRI(PairedFolders):
    """Sunnybrook's short-axis slices, one domain."""

    Config = CardConfig
    rules = PairedRules(
        classes=("background", "left_ventricle", "myocardium"),
        regions={"left_ventricle": (1,), "myocardium": (2,), "epicardium": (1, 2)},
        channels=1,
        patient=PatientPattern(pattern=r"^(SC-(?:[A-Z]+-)+\d+)-IM-"),
    )
    published = ("Sunnybrook-GE",)
    card = Card(
        title="Sunnybrook cardiac data",
        source="Radau et al., Cardiac MR left ventricle segmentation challenge (MICCAI 2009); slices, 8-bit.",
        licence="CC0",
        patients="45 cases: the prefix SC-HF-I-NN (failure, infarct), SC-HF-NI-NN, SC-HYP-NN (hypertrophy), SC-N-NN.",
        layout=TREE,
        defects="One vendor, so there is no second domain. The slices lost their pixel size: distances are in pixels.",
        citation="P. Radau et al. Evaluation framework for algorithms segmenting short axis cardiac MRI. "
        "The MIDAS Journal (2009).",
    )


MEMBER = CardiacMRI
