from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unshift.errors import ConfigError
from unshift.networks.plausible import doubt, require_probabilities

LOGITS = 3 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_logits_are_no_probabilities() -> None:
    with pytest.raises(ConfigError, match=r"net: its output goes from -\d.* to \d.*\[0, 1\].*set `output: softmax`"):
        require_probabilities(LOGITS, name="net")
    with pytest.raises(ConfigError, match="set `output: sigmoid`"):
        require_probabilities(LOGITS[:, :1], name="net")


@given(seed=st.integers(0, 999), classes=st.integers(1, 4), half=st.booleans())
def test_what_a_softmax_or_sigmoid_gives_is(seed: int, classes: int, half: bool) -> None:
    raw = 20 * torch.randn(2, classes, 4, 4, generator=torch.Generator().manual_seed(seed))
    found = raw.softmax(1) if classes > 1 else raw.sigmoid()
    found = found.bfloat16() if half else found
    require_probabilities(found, name="net")
    assert doubt(found, "softmax" if classes > 1 else "sigmoid")


def test_the_doubt_says_what_was_seen() -> None:
    assert doubt(LOGITS, "softmax") == "" == doubt(LOGITS[:, :1], "sigmoid")
    assert "add up to 1 over the classes" in doubt(LOGITS.softmax(1), "softmax")
    assert "add up" not in doubt(LOGITS.sigmoid(), "softmax")
    assert "`output: sigmoid`" in doubt(LOGITS[:, :1].sigmoid(), "sigmoid")
    assert doubt(LOGITS.softmax(1), "probabilities") == ""


def test_values_that_are_not_finite_say_nothing() -> None:
    broken = torch.full((1, 2, 4, 4), float("nan"))
    require_probabilities(broken, name="net")
    assert doubt(broken, "softmax") == ""
    broken[0, 0, 0, 0] = 7.0
    with pytest.raises(ConfigError, match="from 7 to 7"):
        require_probabilities(broken, name="net")
