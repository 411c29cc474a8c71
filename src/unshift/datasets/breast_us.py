"""Breast ultrasound lesions: BUS-UCLM (Siemens), and two small sets of other scanners for testing only.

Grey images. The patient of BUS-UCLM is the first four letters of the file's name. BUS-UC-mini and BrEaST-mini are
too small to train on; all their cases declare the split ``test``.
"""

from __future__ import annotations

from unshift.contracts import Card
from unshift.datasets.paired import TREE, CardConfig, PairedFolders, PairedRules
from unshift.datasets.patients import PatientPattern


class BreastUS(PairedFolders):
    """One domain per published set."""

    Config = CardConfig
    rules = PairedRules(
        classes=("background", "lesion"),
        channels=1,
        patient=PatientPattern(pattern=r"^([A-Z]{4})_\d+$|^(\d+)$", scope="domain"),
        test_only=("BUS-UC-mini", "BrEaST-mini"),
    )
    published = ("BUS-UCLM", "BUS-UC-mini", "BrEaST-mini")
    card = Card(
        title="Breast ultrasound of three sources",
        source="BUS-UCLM (Vallez et al. 2025), BUS-UC (Iqbal 2023), BrEaST (Pawlowska et al. 2024); reduced in size.",
        licence="CC BY 4.0",
        patients="BUS-UCLM: first four letters of the name. The two minis: each image its own patient.",
        layout=TREE,
        defects="BUS-UC-mini (20 images) and BrEaST-mini (15) are for testing only: their intervals are wide. "
        "CHCO_000 and CHVI_005 of BUS-UCLM are one image under two patients' names.",
        citation="N. Vallez et al. BUS-UCLM: Breast ultrasound lesion segmentation dataset. Sci Data (2025).",
    )


MEMBER = BreastUS
