"""Label maps beside numpy's argmax, and ties by hand."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from unshift.predict.most_probable import most_probable


@given(st.integers(1, 6), st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(0, 10_000), st.booleans())
def test_as_numpy_says_ties_included(classes: int, space: list[int], seed: int, last: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 4, (classes, *space), generator=generator) / 4
    shown = values.movedim(0, -1).contiguous().movedim(-1, 0) if last else values
    before = shown.clone()
    found = most_probable(shown)
    assert found.dtype == torch.int64
    assert (found.numpy() == values.numpy().argmax(0)).all()
    assert torch.equal(shown, before)


def test_of_equal_classes_the_first() -> None:
    assert most_probable(torch.tensor([[0.5, 0.2, 0.4], [0.5, 0.4, 0.2], [0.0, 0.4, 0.4]])).tolist() == [0, 1, 0]
