"""Messages as protobuf's own library writes them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from public_packages import example
from unshift.errors import DataError
from unshift.formats.example import read_example

PATH = Path("slice.tfrecords")
VALUES = {"a": [b"", b"\x00\xff" * 200], "b": [1.5, -2.0], "c": [0, 1, -1, 300, 2**63 - 1, -(2**63)], "ü": [7]}


def test_what_protobuf_wrote_is_read() -> None:
    assert read_example(example(VALUES), PATH) == {name: tuple(value) for name, value in VALUES.items()}
    assert read_example(b"", PATH) == {}


names = st.text(max_size=8)
lists = st.one_of(
    st.lists(st.binary(max_size=40), min_size=1, max_size=3),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(names, lists, max_size=4))
def test_any_message(values) -> None:
    assert read_example(example(values), PATH) == {name: tuple(value) for name, value in values.items()}


def test_lists_that_are_not_packed_and_fields_of_other_numbers() -> None:
    integers = bytes([0x08, 5, 0x08, 0xAC, 0x02])  # field 1, varint, twice: 5, 300
    floats = b"\x0d\x00\x00\xc0\x3f"  # field 1, 32 bits: 1.5
    stray = b"\x79" + bytes(8)  # field 15, 64 bits

    def message(name: str, number: int, content: bytes) -> bytes:
        feature = bytes([number << 3 | 2, len(content)]) + content
        entry = bytes([0x0A, len(name)]) + name.encode() + bytes([0x12, len(feature)]) + feature + stray
        features = bytes([0x0A, len(entry)]) + entry
        return stray + bytes([0x0A, len(features)]) + features

    assert read_example(message("n", 3, integers), PATH) == {"n": (5, 300)}
    assert read_example(message("x", 2, floats), PATH) == {"x": (1.5,)}
    with pytest.raises(DataError, match="slice.tfrecords: a record is no tf.train.Example .a list of bytes holds"):
        read_example(message("n", 1, integers), PATH)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_message_that_is_cut_off_or_garbled_is_an_error_or_another_message(data) -> None:
    """Never another exception than DataError."""
    message = bytearray(example(VALUES))
    place = data.draw(st.integers(0, len(message) - 1))
    if data.draw(st.booleans()):
        message = message[:place]
    else:
        message[place] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(DataError):
        assert isinstance(read_example(bytes(message), PATH), dict)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (b"\x0a\x05ab", "5 bytes are announced"),
        (b"\xff" * 11, "a number of more than 10 bytes"),
        (b"\x0b", "wire type 3"),
        (b"\x80", "ends within a number"),
    ],
)
def test_damage_is_named(message: bytes, what: str) -> None:
    with pytest.raises(DataError, match=what):
        read_example(message, PATH)
