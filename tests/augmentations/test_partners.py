from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unshift.augmentations.partners import draw_partners
from unshift.errors import ProtocolError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(domains=st.lists(st.sampled_from("abcd"), min_size=2, max_size=12), seed=st.integers(0, 999))
def test_a_partner_is_of_another_domain(domains: list[str], seed: int) -> None:
    if len(set(domains)) > 1:
        partners = draw_partners(generator(seed), len(domains), domains).tolist()
        assert all(domains[partner] != own for partner, own in zip(partners, domains, strict=True))


def test_domains_are_equally_likely_whatever_their_size() -> None:
    """Of b (one image) and c (three), each is drawn half of the time, and c's images a sixth each."""
    domains = ("a", "b", "c", "c", "c")
    found = Counter(int(draw_partners(generator(seed), 5, domains)[0]) for seed in range(3000))
    assert set(found) == {1, 2, 3, 4}
    assert found[1] / 3000 == pytest.approx(1 / 2, abs=0.04)
    assert all(found[row] / 3000 == pytest.approx(1 / 6, abs=0.03) for row in (2, 3, 4))


def test_without_domains_any_other_image() -> None:
    found = Counter(int(draw_partners(generator(seed), 4)[1]) for seed in range(600))
    assert set(found) == {0, 2, 3} and min(found.values()) > 150


def test_ones_own_domain_when_asked_for() -> None:
    found = Counter(int(draw_partners(generator(seed), 3, ("a", "a", "b"), own=True)[0]) for seed in range(900))
    assert found[2] / 900 == pytest.approx(1 / 2, abs=0.06) and found[0] > 150 and found[1] > 150
    assert draw_partners(generator(), 2, ("a", "a"), own=True).shape == (2,)


def test_one_domain_or_one_image_is_an_error_that_says_what_to_set() -> None:
    with pytest.raises(ProtocolError, match="only 'Drishti'.*\n*.*sampling: balanced"):
        draw_partners(generator(), 4, ("Drishti",) * 4)
    with pytest.raises(ProtocolError, match="a batch of 1 images holds one image"):
        draw_partners(generator(), 1)
