"""CRC-32C against its published values and against TensorBoard's implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow as independent

from unshift.formats.crc32c import crc32c, masked_crc32c

ASCENDING = bytes(range(32))


@pytest.mark.parametrize(
    ("data", "expected"),  # RFC 3720, B.4
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (ASCENDING, 0x46DD794E),
        (ASCENDING[::-1], 0x113FDB5C),
    ],
)
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@pytest.mark.parametrize("length", [1, 3, 16383, 16384, 16385, 20480, 40961])
def test_equals_another_implementation_at_every_path(length: int) -> None:
    data = np.random.default_rng(length).integers(0, 256, length).astype(np.uint8).tobytes()
    assert crc32c(data) == independent.crc32c(data)
    assert masked_crc32c(data) == independent.masked_crc32c(data)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 20000), st.integers(0, 7))
def test_one_turned_bit_is_seen(place: int, bit: int) -> None:
    data = bytearray(20001)
    before = crc32c(bytes(data))
    data[place] ^= 1 << bit
    assert crc32c(bytes(data)) != before
