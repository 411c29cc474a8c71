"""Arrays as pictures: levels, sizes, and a JPEG that can be read back."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from unshift.report.picture import data_uri, eight_bit, thumbnail


def test_photographs_as_they_are_and_others_between_percentiles() -> None:
    assert eight_bit(np.array([[[0.0, 0.5, 1.0]]])).tolist() == [[[0, 128, 255]]]
    levels = eight_bit(np.linspace(-1000, 1000, 201).reshape(1, 1, -1))
    assert levels[0, 0, 0] == 0 and levels[0, 0, -1] == 255 and abs(int(levels[0, 0, 100]) - 128) <= 1
    assert eight_bit(np.zeros((2, 3, 3))).shape == (1, 3, 3)


def test_the_longest_side_is_kept_below_the_limit() -> None:
    pixels = np.zeros((3, 40, 80), np.uint8)
    assert thumbnail(pixels, 80, 40, 20).size == (20, 10)
    assert thumbnail(pixels, 80, 160, 100).size == (50, 100)  # pixels four times as tall as wide
    assert thumbnail(pixels[:1], 80, 40, 999).size == (80, 40)


def test_it_is_a_jpeg_in_the_page() -> None:
    text = data_uri(Image.new("RGB", (8, 6), (10, 200, 30)))
    found = Image.open(io.BytesIO(base64.b64decode(text.removeprefix("data:image/jpeg;base64,"))))
    assert found.format == "JPEG" and found.size == (8, 6)
