"""What a colour camera does to a scene: lens, illumination, sensor, colour processing, compression.

Order: haze in the scene -> lens blur -> vignetting, uneven light, aperture -> exposure and white balance -> sensor
noise -> gamma -> saturation -> JPEG -> 8 bits.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from scipy import ndimage

from unshift.phantom.knobs import Knobs, knob
from unshift.phantom.shapes import pixel_grid
from unshift.phantom.world import Array, eight_bits

VEIL = np.array([0.82, 0.80, 0.78], dtype=np.float32)
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=np.float32)
# The luminance and chrominance tables of the JPEG standard (ITU-T T.81, annex K), for quality 50.
_LUMINANCE = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_CHROMINANCE = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""


class CameraKnobs(Knobs):
    """What cameras set differently. The defaults are neutral."""

    white_balance: tuple[float, float, float] = knob((1.0, 1.0, 1.0), (0.8, 1.0, 1.6), "factors on red, green, blue")
    exposure: float = knob(0.0, 1.0, "brightness in stops: factor 2 to this power")
    gamma: float = knob(1.0, 2.2, "exponent of the intensity", at_least=0.1)
    saturation: float = knob(1.0, 0.2, "distance of colours from their grey; 0 is grey", at_least=0.0)
    vignetting: float = knob(0.0, 0.9, "share of the light lost in the corners", at_least=0.0, at_most=1.0)
    uneven: float = knob(0.0, 0.8, "relative difference of light from one side to the other", at_least=0.0, at_most=1.0)
    haze: float = knob(0.0, 0.7, "share of a bright veil over the scene", at_least=0.0, at_most=1.0)
    blur: float = knob(0.0, 0.02, "deviation of the lens blur, in image heights", at_least=0.0)
    noise: float = knob(0.0, 0.1, "deviation of the sensor's noise at full light", at_least=0.0)
    jpeg: float = knob(0.0, 6.0, "factor on the JPEG standard's quantization tables; 1 is quality 50", at_least=0.0)
    aperture: float = knob(1.0, 0.42, "radius of the round field of view, in image heights", at_least=0.1)


def photograph(scene: Array, knobs: CameraKnobs, generator: np.random.Generator) -> Array:
    """The picture that a camera takes of a scene.

    Args:
        scene: float32 [3, height, width], radiance in [0, 1].
        knobs: neutral knobs return the scene, rounded to 8 bits.
        generator: for the sensor's noise and the side from which uneven light comes.

    Returns:
        float32 [3, height, width] in [0, 1].
    """
    height, width = scene.shape[1:]
    side = generator.uniform(0, 2 * np.pi)
    grain = generator.standard_normal(scene.shape, dtype=np.float32)
    picture = scene + np.float32(knobs.haze) * (VEIL[:, None, None] - scene)
    if knobs.blur:
        picture = ndimage.gaussian_filter(picture, (0, knobs.blur * height, knobs.blur * height))
    picture = picture * _light(height, width, knobs, side)
    picture = picture * np.float32(2.0**knobs.exposure) * np.array(knobs.white_balance, np.float32)[:, None, None]
    picture = np.clip(noisy(picture, knobs.noise, grain), 0, 1)
    if knobs.gamma != 1:
        picture = picture ** np.float32(knobs.gamma)
    if knobs.saturation != 1:
        picture = saturated(picture, knobs.saturation)
    picture = compressed(picture, knobs.jpeg)
    return eight_bits(picture * field_of_view(height, width, knobs.aperture))


def noisy(picture: Array, deviation: float, grain: Array) -> Array:
    """The picture with a sensor's noise: ``deviation`` at full light, half of it in the dark (shot and read noise).

    Args:
        picture: float32 [channel, height, width] in [0, 1].
        deviation: of the noise where the picture is 1.
        grain: of mean 0 and deviation 1, like the picture.

    Returns:
        Not clipped.
    """
    return picture + np.float32(deviation) * np.sqrt(0.25 + 0.75 * np.clip(picture, 0, 1)) * grain


def saturated(picture: Array, factor: float) -> Array:
    """Colours at ``factor`` times their distance from their grey, clipped to [0, 1]; 1 keeps them, 0 is grey."""
    grey = np.tensordot(LUMA, picture, axes=1)[None]
    return np.clip(grey + np.float32(factor) * (picture - grey), 0, 1)


def field_of_view(height: int, width: int, aperture: float) -> Array:
    """Pixels within the round aperture, bool [height, width]; all of them if it reaches the corners."""
    x, y = pixel_grid(height, width)
    return np.hypot(x, y - 0.5) <= aperture


def compressed(picture: Array, scale: float) -> Array:
    """The loss of JPEG: 8x8 cosine coefficients of brightness and colour rounded to multiples of a table.

    Args:
        picture: float32 [3, height, width] in [0, 1].
        scale: factor on the standard's tables; 0 returns the picture.
    """
    if scale == 0:
        return picture
    height, width = picture.shape[1:]
    padded = np.pad(picture, ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge")
    blocks = np.tensordot(_TO_YCC, padded * 255 - 128, axes=1)
    blocks = blocks.reshape(3, padded.shape[1] // 8, 8, padded.shape[2] // 8, 8)
    tables = [np.array(t.split(), np.float32).reshape(1, 8, 1, 8) for t in (_LUMINANCE, _CHROMINANCE, _CHROMINANCE)]
    table = np.maximum(np.stack(tables) * np.float32(scale), 1)
    rounded = np.round(scipy.fft.dctn(blocks, axes=(2, 4), norm="ortho") / table) * table
    restored = scipy.fft.idctn(rounded, axes=(2, 4), norm="ortho").reshape(padded.shape)
    colour = np.tensordot(np.linalg.inv(_TO_YCC), restored, axes=1)[:, :height, :width]
    return np.clip((colour + 128) / 255, 0, 1).astype(np.float32)


def _light(height: int, width: int, knobs: CameraKnobs, side: float) -> Array:
    x, y = pixel_grid(height, width)
    y = y - 0.5
    corner = (width / height) ** 2 / 4 + 0.25
    fall = 1 - np.float32(knobs.vignetting) * (x * x + y * y) / np.float32(corner)
    tilt = 1 + np.float32(knobs.uneven) * (np.float32(np.cos(side)) * x + np.float32(np.sin(side)) * y)
    return (fall * tilt).astype(np.float32)
