"""Long-form scores become arrays without losing, doubling or mixing anything."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unshift.errors import DataError, ProtocolError
from unshift.evaluate.cases import by_domain, checked, groups, held_out
from unshift.evaluate.protocol import UPPER_BOUND
from unshift.evaluate.score import to_frame


def test_seeds_and_folds_are_averaged_per_case(row) -> None:
    frame = to_frame(
        [
            row("p", "A", "x", 0.2, seed=0),
            row("p", "A", "x", 0.4, seed=1),
            row("p", "A", "x", np.nan, seed=2),
            row("p", "A", "x", 0.9, seed=0, fold="g"),
            row("p", "A", "y", np.nan),
            row("q", "A", "x", 0.7),
        ]
    )
    (group,) = groups(frame)
    assert group.columns["pipeline"].tolist() == ["p", "q"]
    np.testing.assert_allclose(group.values, [[0.5, 0.7], [np.nan, np.nan]])
    np.testing.assert_array_equal(group.present, [[True, True], [True, False]])
    assert group.names == ("A/x", "A/y")


def test_seen_and_unseen_rows_of_a_domain_stay_apart(row) -> None:
    frame = to_frame([row("p", "A", "x", 0.2, seen=True, fold="B"), row("p", "A", "x", 0.8, fold="A")])
    assert [(g.domain, g.seen, g.values.item()) for g in groups(frame)] == [("A", False, 0.8), ("A", True, 0.2)]


def test_upper_bound_rows_are_set_aside(row) -> None:
    frame = to_frame([row("p", "A", "x", 0.2), row("p", "A", "x", 0.8, fold=UPPER_BOUND + "A")])
    assert held_out(frame)["value"].tolist() == [0.2]
    with pytest.raises(DataError, match="all rows are of upper-bound folds"):
        held_out(frame.iloc[1:])


def test_domains_of_two_datasets_are_told_apart(row) -> None:
    frame = checked(to_frame([row("p", "A", "x", 0.2), row("p", "A", "x", 0.4, dataset="e")]))
    assert frame["domain"].tolist() == ["d/A", "e/A"]


def test_a_row_twice_is_an_error(row) -> None:
    frame = to_frame([row("p", "A", "x", 0.2), row("p", "A", "x", 0.4, run="another")])
    with pytest.raises(ProtocolError, match=r"pipeline 'p' has two values of dice for A/x \(fold 'f', seed 0\)"):
        checked(frame)


def test_what_is_no_table_of_scores() -> None:
    with pytest.raises(DataError, match="columns dataset, .* are missing"):
        checked(pd.DataFrame({"value": [1.0]}))
    with pytest.raises(DataError, match="there is no row"):
        checked(to_frame([]))


def test_rows_are_put_in_the_order_of_domains_and_stay_as_they_were_within_one(row) -> None:
    frame = to_frame([row("p", domain, f"{place}", 0.1) for place, domain in enumerate("CBCXAB")])
    found = by_domain(frame, ("A", "B", "C", "D"))
    assert [*found["domain"] + found["case"]] == ["A4", "B1", "B5", "C0", "C2", "X3"]
    assert found.index.tolist() == [*range(6)]
