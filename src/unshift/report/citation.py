"""The papers behind objectives, plugins, normalizations, augmentations and ways to move colors, for "How to cite"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple


class Work(NamedTuple):
    """A paper: authors as in the recipes' ``cite``, its title, and where and when it appeared."""

    authors: str
    title: str
    place: str

    def __str__(self) -> str:
        return f"{self.authors} {self.title}. {self.place}."


_CQG = Work(
    "Shah R., Fukuda A., Cap Q. H.",
    "Color-Quality Invariance for Robust Medical Image Segmentation",
    "arXiv 2502.07200, 2025",
)
_GLUA = Work(
    "Su Z. et al.",
    "Mind The Gap: Alleviating Local Imbalance for Unsupervised Cross-Modality Medical Image Segmentation",
    "IEEE JBHI 2023",
)
_RAM_DSIR = Work(
    "Zhou Z., Qi L., Shi Y.",
    "Generalizable Medical Image Segmentation via Random Amplitude Mixup and Domain-Specific Image Restoration",
    "ECCV 2022",
)
_FDA = Work("Yang Y., Soatto S.", "FDA: Fourier Domain Adaptation for Semantic Segmentation", "CVPR 2020")
_REINHARD = Work("Reinhard E. et al.", "Color Transfer between Images", "IEEE CG&A 21(5), 2001")
_DIN = Work(
    "Liu Z. et al.", "Generalize Ultrasound Image Segmentation via Instant and Plug & Play Style Transfer", "ISBI 2021"
)

WORKS: Mapping[tuple[str, str], tuple[Work, ...]] = MappingProxyType(
    {
        ("objectives", "adabn"): (
            Work(
                "Li Y. et al.",
                "Adaptive Batch Normalization for practical domain adaptation",
                "Pattern Recognition 2018",
            ),
        ),
        ("objectives", "adapt_seg_net"): (
            Work(
                "Tsai Y.-H. et al.", "Learning to Adapt Structured Output Space for Semantic Segmentation", "CVPR 2018"
            ),
        ),
        ("objectives", "advent"): (
            Work(
                "Vu T.-H. et al.",
                "ADVENT: Adversarial Entropy Minimization for Domain Adaptation in Semantic Segmentation",
                "CVPR 2019",
            ),
        ),
        ("objectives", "augmented"): (_CQG,),
        ("objectives", "cqg"): (_CQG,),
        ("objectives", "dual_norm"): (
            Work(
                "Zhou Z. et al.",
                "Generalizable Cross-modality Medical Image Segmentation via Style Augmentation and Dual Normalization",
                "CVPR 2022",
            ),
        ),
        ("objectives", "erm"): (),
        ("objectives", "fact"): (
            Work("Xu Q. et al.", "A Fourier-based Framework for Domain Generalization", "CVPR 2021"),
        ),
        ("objectives", "fda_adapt"): (_FDA,),
        ("objectives", "glua"): (_GLUA,),
        ("objectives", "mixstyle"): (Work("Zhou K. et al.", "Domain Generalization with MixStyle", "ICLR 2021"),),
        ("objectives", "ram_dsir"): (_RAM_DSIR,),
        ("objectives", "self_training"): (
            Work("French G., Mackiewicz M., Fisher M.", "Self-ensembling for visual domain adaptation", "ICLR 2018"),
        ),
        ("objectives", "slaug"): (
            Work(
                "Su Z. et al.",
                "Rethinking Data Augmentation for Single-Source Domain Generalization in Medical Image Segmentation",
                "AAAI 2023",
            ),
        ),
        ("objectives", "style_translation"): (_GLUA,),
        ("plugins", "adain"): (
            Work(
                "Huang X., Belongie S.",
                "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization",
                "ICCV 2017",
            ),
            _DIN,
        ),
        ("plugins", "din"): (_DIN,),
        ("normalizations", "color_transfer"): (),  # its methods
        ("normalizations", "ct_window"): (),
        ("normalizations", "dcin"): (_CQG,),
        ("normalizations", "histogram_equalization"): (),
        ("normalizations", "histogram_matching"): (),
        ("normalizations", "min_max"): (),
        ("normalizations", "style_segor"): (
            Work(
                "Ma C., Ji Z., Gao M.",
                "Neural Style Transfer Improves 3D Cardiovascular MR Image Segmentation on Inconsistent Data",
                "MICCAI 2019",
            ),
        ),
        ("normalizations", "wct_ain"): (
            Work(
                "Liu Z. et al.",
                "Remove Appearance Shift for Ultrasound Image Segmentation via Fast and Universal Style Transfer",
                "ISBI 2020",
            ),
        ),
        ("normalizations", "zscore"): (),
        ("augmentations", "amplitude_mix"): (_RAM_DSIR,),
        ("augmentations", "appearance"): (),
        ("augmentations", "bigaug"): (
            Work(
                "Zhang L. et al.",
                "Generalizing Deep Learning for Medical Image Segmentation to Unseen Domains via Deep Stacked "
                "Transformation",
                "IEEE TMI 2020",
            ),
        ),
        ("augmentations", "fda"): (_FDA,),
        ("augmentations", "geometric"): (_CQG,),
        ("augmentations", "photometric"): (_CQG,),
        ("augmentations", "rand_conv"): (
            Work(
                "Xu Z. et al.",
                "Robust and Generalizable Visual Representation Learning via Random Convolutions",
                "ICLR 2021",
            ),
        ),
        ("augmentations", "zoom_crop"): (_RAM_DSIR,),
        ("color methods", "lab"): (_REINHARD,),
        ("color methods", "lab_8bit"): (_CQG,),
        ("color methods", "reinhard"): (_REINHARD,),
        ("color methods", "monge_kantorovich"): (
            Work(
                "Pitié F., Kokaram A.",
                "The Linear Monge-Kantorovitch Linear Colour Mapping for Example-Based Colour Transfer",
                "CVMP 2007",
            ),
        ),
        ("color methods", "sliced"): (
            Work(
                "Pitié F., Kokaram A., Dahyot R.",
                "Automated colour grading using colour distribution transfer",
                "CVIU 2007",
            ),
        ),
        ("color methods", "macenko"): (
            Work(
                "Macenko M. et al.", "A method for normalizing histology slides for quantitative analysis", "ISBI 2009"
            ),
        ),
    }
)
"""(family, member) -> what to cite for it; empty for what every textbook has."""


def works_of(members: Iterable[tuple[str, str]], *, cited: Iterable[str]) -> tuple[str, ...]:
    """``cited``, then the works of the members whose titles do not stand in it, each once.

    Args:
        members: (family, name); families that have no table are passed over.
        cited: what a recipe asks to cite, in words.
    """
    found = list(cited)
    families = {family for family, _ in WORKS}
    for work in (work for member in members if member[0] in families for work in WORKS[member]):
        if not any(work.title.casefold() in text.casefold() for text in found):
            found.append(str(work))
    return tuple(found)
