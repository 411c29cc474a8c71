"""A fold cannot be made with a patient on two sides."""

from __future__ import annotations

from typing import Literal

import pytest

from unshift.errors import ProtocolError
from unshift.evaluate.fold import Fold, domain_order
from unshift.sample import Case


def test_seen_is_decided_by_the_domain() -> None:
    a, b = Case("x", "1", "A"), Case("x", "2", "B")
    fold = Fold("B", ("A",), ("B",), (a,), (), (b,))
    assert fold.seen(a)
    assert not fold.seen(b)


@pytest.mark.parametrize("sides", [("train", "validation"), ("train", "test"), ("validation", "test")])
def test_a_patient_on_two_sides_is_named(sides: tuple[str, str]) -> None:
    parts: dict[str, tuple[Case, ...]] = {"train": (), "validation": (), "test": ()}
    parts |= {sides[0]: (Case("x", "P7", "A"),), sides[1]: (Case("y", "P7", "B"),)}
    with pytest.raises(
        ProtocolError,
        match=f"patient 'P7' is in {sides[0]} and, with case 'B/y', in {sides[1]}.*protocol.same_patients: true",
    ):
        Fold("B", ("A",), ("B",), **parts)


def test_a_patient_with_several_images_on_one_side_is_fine() -> None:
    fold = Fold("B", ("A",), ("B",), (Case("x", "P7", "A"), Case("y", "P7", "A")), (), ())
    assert len(fold.train) == 2


def test_a_tested_patient_seen_unlabeled_is_named_unless_the_fold_says_so() -> None:
    seen, tested = Case("x", "P7", "B"), Case("y", "P7", "B")
    with pytest.raises(ProtocolError, match="patient 'P7' is tested and, with case 'B/x', seen unlabeled"):
        Fold("B", ("A",), ("B",), (), (), (tested,), unlabeled=(seen,))
    assert Fold("B", ("A",), ("B",), (), (), (tested,), unlabeled=(tested,), transductive=True).unlabeled


def planned(*pairs: tuple[str, str], kind: Literal["held_out", "upper_bound"] = "held_out") -> list[Fold]:
    return [Fold(t, tuple(s), tuple(t), (), (), (), kind=kind) for s, t in pairs]


def test_domains_left_out_in_turn_have_the_order_in_which_that_is_done() -> None:
    bound = planned(("C", ""), kind="upper_bound")
    assert domain_order([*planned(("BC", "A"), ("AC", "B"), ("AB", "C")), *bound]) == ("A", "B", "C")
    assert domain_order([*planned(("BA", "DC")), *bound]) == ("B", "A", "D", "C")
