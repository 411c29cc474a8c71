"""The organs world: abdominal MR volumes of several sites, and their CT twin.

MR is in arbitrary units that differ between sites; CT is in Hounsfield units.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from scipy import ndimage

from unshift.phantom.abdomen import TISSUES, Abdomen, label_map
from unshift.phantom.knobs import Knobs, knob
from unshift.phantom.shapes import Waves
from unshift.phantom.world import Array, Rendering, Seeds, World
from unshift.sample import Task

EXTENT_MM = (168.0, 336.0, 336.0)
_SLICES = 24  # of the volume that a single slice is cut from
_FWHM = 2.3548

#            air    fat    muscle liver  r.kid  l.kid  spleen bone   blood  bowel  lung
_T1 = (0.0, 420.0, 170.0, 250.0, 140.0, 140.0, 125.0, 190.0, 60.0, 100.0, 12.0)
_T2 = (0.0, 240.0, 130.0, 190.0, 620.0, 620.0, 510.0, 140.0, 40.0, 760.0, 20.0)
_T1_FAT_SAT = (0.0, 160.0, 420.0, 620.0, 470.0, 470.0, 390.0, 300.0, 180.0, 260.0, 25.0)
_HU = (-1000.0, -100.0, 55.0, 110.0, 170.0, 170.0, 125.0, 420.0, 160.0, 25.0, -820.0)


class OrganKnobs(Knobs):
    """What sites and modalities set differently. The defaults are neutral."""

    tissue: tuple[float, float, float, float, float, float, float, float, float, float, float] = knob(
        _T1, _T2, f"signal of {', '.join(TISSUES)}, in the image's units"
    )
    texture: float = knob(0.0, 0.15, "relative variation within a tissue", at_least=0.0)
    inversion: float = knob(0.0, 1.0, "0 as is; 1 the contrast between tissues reversed", at_least=0.0, at_most=1.0)
    bias: float = knob(0.0, 0.5, "deviation of the logarithm of the smooth bias field", at_least=0.0)
    noise: float = knob(0.0, 0.12, "deviation of the noise, as share of the span of all tissues", at_least=0.0)
    rician: float = knob(
        1.0, 0.0, "1: noise of a magnitude image (Rician); 0: Gaussian, as in CT", at_least=0.0, at_most=1.0
    )
    thickness: float = knob(0.0, 20.0, "full width at half maximum of the slice profile in mm", at_least=0.0)
    blur: float = knob(0.0, 5.0, "deviation of the blur within the slice in mm", at_least=0.0)


NEUTRAL = OrganKnobs()
PRESETS = MappingProxyType(
    {
        "site1": OrganKnobs(tissue=_T1, texture=0.04, bias=0.08, noise=0.02, thickness=5.0, blur=1.0),
        "site2": OrganKnobs(tissue=_T2, texture=0.06, bias=0.2, noise=0.03, thickness=8.0, blur=1.5),
        "site3": OrganKnobs(tissue=_T1_FAT_SAT, texture=0.05, bias=0.25, noise=0.06, thickness=7.0, blur=2.5),
        "ct": OrganKnobs(tissue=_HU, texture=0.012, noise=0.008, rician=0.0, thickness=4.0, blur=1.0),
    }
)


class Organs(World):
    """Liver, kidneys and spleen in volumes [depth, height, width], or in single axial slices."""

    presets = PRESETS
    size = (24, 96, 96)
    dimensions = (3, 2)
    are_pictures = False

    def task(self, dimensions: int) -> Task:
        """One channel; four organs."""
        classes = ("background", "liver", "right_kidney", "left_kidney", "spleen")
        return Task(channels=1, classes=classes, spatial_dims=dimensions)

    def render(self, seeds: Seeds, knobs: Knobs, size: tuple[int, ...]) -> Rendering:
        """One volume in its units, with spacing and affine; with two sizes one slice, chosen by the frame."""
        assert isinstance(knobs, OrganKnobs)
        frame = np.random.default_rng(seeds.frame)
        abdomen = Abdomen.draw(np.random.default_rng(seeds.patient))
        shape = size if len(size) == 3 else (5, *size)
        spacing = tuple(
            e / n for e, n in zip(EXTENT_MM, (size[0] if len(size) == 3 else _SLICES, *shape[1:]), strict=True)
        )
        first = 0.5 * spacing[0] if len(size) == 3 else EXTENT_MM[0] * frame.uniform(0.25, 0.85) - 2 * spacing[0]
        x, y, z = _grid(shape, spacing, first)
        tissues = abdomen.tissues(x, y, z)
        image = acquired(_signal(abdomen, tissues, knobs, (x, y, z)), knobs, spacing, frame)
        if len(size) == 3:
            return Rendering(image[None], label_map(tissues), None, spacing, _affine(spacing, first))
        return Rendering(image[None, 2], label_map(tissues[2]), None, spacing[1:])


def acquired(signal: Array, knobs: OrganKnobs, spacing: tuple[float, ...], generator: np.random.Generator) -> Array:
    """Partial volume, bias field and noise on a true signal.

    Rician noise is the magnitude of the signal with Gaussian noise in both of its quadratures: in air its mean is
    sqrt(pi / 2) times the deviation, not 0.

    Args:
        signal: float32 [depth, height, width], in the image's units.
        knobs: ``tissue``, ``texture`` and ``inversion`` are not looked at, but for the span of ``tissue``.
        spacing: mm.
        generator: for the bias field and the noise.
    """
    wave = Waves.draw(generator, 0.9, count=4, axes=3)
    quadratures = generator.standard_normal((2, *signal.shape), dtype=np.float32)
    widths = [knobs.thickness / _FWHM / spacing[0], knobs.blur / spacing[1], knobs.blur / spacing[2]]
    if max(widths) > 0:
        signal = ndimage.gaussian_filter(signal, widths, mode="nearest", truncate=3)
    if knobs.bias:
        places = np.meshgrid(*(np.linspace(0, 1, n, dtype=np.float32) for n in signal.shape), indexing="ij")
        signal = signal * np.exp(np.float32(knobs.bias) * wave(*places))
    if not knobs.noise:
        return signal
    real = signal + (deviation := np.float32(noise_deviation(knobs))) * quadratures[0]
    magnitude = np.sqrt(real * real + (deviation * quadratures[1]) ** 2)
    return real + np.float32(knobs.rician) * (magnitude - real)


def noise_deviation(knobs: OrganKnobs) -> float:
    """Deviation of the noise in each quadrature, in the image's units."""
    return knobs.noise * (max(knobs.tissue) - min(knobs.tissue))


def inverted(values: Array, inversion: float) -> Array:
    """Signals of all tissues with their contrast turned around the middle; air keeps its signal."""
    body = values[1:]
    turned = body + np.float32(inversion) * (body.max() + body.min() - 2 * body)
    return np.concatenate([values[:1], turned])


def _signal(abdomen: Abdomen, tissues: Array, knobs: OrganKnobs, grid: tuple[Array, Array, Array]) -> Array:
    values = inverted(np.array(knobs.tissue, np.float32), knobs.inversion)
    signal = values[tissues]
    if not knobs.texture:
        return signal
    contrast = signal - values[TISSUES.index("air")]
    return signal + np.float32(knobs.texture) * contrast * abdomen.texture(*np.broadcast_arrays(*grid))


def _grid(shape: tuple[int, ...], spacing: tuple[float, ...], first: float) -> tuple[Array, Array, Array]:
    """Body coordinates x, y, z of the voxel centres, ready to broadcast to [depth, height, width]."""
    z = (first + spacing[0] * np.arange(shape[0])) / EXTENT_MM[0]
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in shape[1:])
    return x.astype("f4")[None, None], y.astype("f4")[None, :, None], z.astype("f4")[:, None, None]


def _affine(spacing: tuple[float, ...], first: float) -> Array:
    """Slices run from feet to head, rows from front to back, columns from the patient's right to left."""
    affine = np.zeros((4, 4))
    affine[0, 2], affine[1, 1], affine[2, 0] = -spacing[2], -spacing[1], spacing[0]
    affine[:, 3] = (EXTENT_MM[2] / 2 - spacing[2] / 2, EXTENT_MM[1] / 2 - spacing[1] / 2, first, 1)
    return affine
