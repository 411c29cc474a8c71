"""Arrays as small pictures in a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def eight_bit(image: np.ndarray) -> np.ndarray:
    """[channel, height, width] -> uint8; photographs in [0, 1] as they are, others between two percentiles."""
    shown = np.asarray(image[:3] if image.shape[0] == 3 else image[:1], dtype=np.float64)
    low, high = shown.min(), shown.max()
    if low < 0 or high > 1:
        low, high = np.percentile(shown, (0.5, 99.5))
    else:
        low, high = 0.0, 1.0
    scaled = np.clip((shown - low) / max(high - low, 1e-12), 0, 1)
    return np.round(255 * scaled).astype(np.uint8)


def thumbnail(pixels: np.ndarray, width: int, height: float, longest: int) -> Image.Image:
    """uint8 [channel, y, x] drawn ``width`` × ``height``, made smaller where a side is longer than ``longest``."""
    mode = Image.fromarray(np.moveaxis(pixels, 0, -1) if pixels.shape[0] == 3 else pixels[0])
    factor = min(1.0, longest / max(width, height))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return mode.resize(size, Image.Resampling.LANCZOS)


def data_uri(image: Image.Image) -> str:
    """A JPEG that stands in the page itself."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
