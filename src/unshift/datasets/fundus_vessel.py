"""Retinal vessels on photographs of three cameras: CHASE_DB1 (Nidek), HRF (Canon), LES_AV (Visucam).

Colour photographs with vessel masks and fields of view. In CHASE_DB1 ``Image_01L`` and ``Image_01R`` are the two eyes
of one child; in HRF the numbers of ``01_dr``, ``01_g`` and ``01_h`` start anew for each group of subjects (15 with
diabetic retinopathy, 15 with glaucoma, 15 healthy), so a file is a subject; in LES_AV a file is a subject.
"""

from __future__ import annotations

from unshift.contracts import Card
from unshift.datasets.paired import TREE, CardConfig, PairedFolders, PairedRules
from unshift.datasets.patients import PatientPattern


class FundusVessel(PairedFolders):
    """One domain per camera."""

    Config = CardConfig
    rules = PairedRules(
        classes=("background", "vessel"),
        patient=PatientPattern(pattern=r"^(Image_\d+)[LR]$|^(\d+_(?:dr|g|h))$|^(\d+)$", scope="domain"),
    )
    published = ("CHASE_DB1", "HRF", "LES_AV")
    card = Card(
        title="Fundus vessels of three cameras",
        source="CHASE_DB1: Kingston University (Fraz et al. 2012). HRF: FAU Erlangen-Nuremberg (Budai et al. 2013). "
        "LES_AV: Orlando et al. 2018. Reduced in size.",
        licence="CC BY 4.0",
        patients="CHASE_DB1: 14 children, two eyes each (Image_NN). HRF: 45 subjects. LES_AV: 22 images.",
        layout=TREE,
        defects="CHASE_DB1 shows children without disease, HRF and LES_AV adults, a part of them ill: a domain is a "
        "camera and a population at once.",
        citation="M. Fraz et al. IEEE Trans Biomed Eng 59 (2012). A. Budai et al. Int J Biomed Imaging (2013). "
        "J. I. Orlando et al. MICCAI (2018).",
    )


MEMBER = FundusVessel
