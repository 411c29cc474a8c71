"""A map in [0, 1] over an image: clear where it is 0, yellow where it is 1."""

from __future__ import annotations

import numpy as np

from unshift.report.picture import eight_bit

STOPS = ((0.0, (72, 24, 120)), (0.5, (214, 66, 82)), (1.0, (252, 222, 72)))
"""Value and color, evenly rising in lightness, so that it is read without seeing hues."""
MOST = 0.75
"""Of the image that the map hides at 1; below, in proportion."""


def heated(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """uint8 [3, height, width]: ``image`` [channel, height, width] in gray and ``heat`` [height, width] over it."""
    share = np.clip(np.asarray(heat, dtype=np.float64), 0, 1)
    under = eight_bit(np.asarray(image)).mean(axis=0)
    values = [value for value, _ in STOPS]
    over = np.stack([np.interp(share, values, [color[channel] for _, color in STOPS]) for channel in range(3)])
    return np.round(under + MOST * share * (over - under)).astype(np.uint8)


def ramp() -> list[tuple[int, str]]:
    """The colors over middle gray, as (percent, CSS color) from 0 to 100."""
    colors = heated(np.full((1, 1, 11), 0.5), np.linspace(0, 1, 11)[None])[:, 0].T
    return [(10 * place, f"rgb({r} {g} {b})") for place, (r, g, b) in enumerate(colors.tolist())]
