from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unshift.contracts import Card
from unshift.report.content import Report
from unshift.report.verdict import Estimate, average, difference, judge

SUMMARY = ["pipeline", "domain", "seen", "mean", "low", "high"]
COMPARISON = ["pipeline", "domain", "difference", "low", "high", "p_holm"]
BASE = [("baseline", "A", True, 0.90, 0.88, 0.92), ("baseline", "B", False, 0.60, 0.56, 0.64)]


@pytest.fixture
def say(make_report: Any) -> Any:
    """(summary rows, comparison rows, changes) -> the verdict's sentence, from numbers that a reader can redo."""

    def sentence(summary: list[tuple[Any, ...]], comparisons: list[tuple[Any, ...]] = [], **changes: Any) -> str:  # noqa: B006
        settings = {"metric": "dice", "unit": "1"} | changes.pop("kind", {})
        rest = {"region": "head", "n_scored": 20, "n_undefined": 0, "n_missing": 0} | settings
        table = pd.DataFrame([dict(zip(SUMMARY, row, strict=True)) | rest for row in summary])
        columns = {
            "baseline": "baseline",
            "region": "head",
            "metric": settings["metric"],
            "p": 0.01,
            "n": 20,
            "wins": 9,
        }
        pairs = [dict(zip(COMPARISON, row, strict=True)) | columns for row in comparisons]
        names = [*COMPARISON, *columns]
        return judge(
            make_report(
                summary=table,
                comparisons=pd.DataFrame(pairs, columns=names),
                sources=changes.pop("sources", ("A",)),
                pipelines=dict.fromkeys(["baseline", *table["pipeline"]], ""),
                metric=settings["metric"],
                **changes,
            )
        ).sentence

    return sentence


# The interval of the loss by hand: 0.30 ∓ sqrt(0.02² + 0.04²) = 0.2553 … 0.3447
LOSS = "Trained on A, the baseline loses 30.0 Dice points (95 % interval 25.5 to 34.5) on B"


def test_loss_repair_and_harm(say: Any) -> None:
    pairs = [("aug", "B", 0.22, 0.18, 0.26, 0.001), ("he", "B", -0.05, -0.08, -0.02, 0.01)]
    assert say(BASE, pairs) == f"{LOSS}; `aug` recovers 22.0 of them; `he` makes it worse."


def test_one_pipeline_alone(say: Any) -> None:
    assert say(BASE) == f"{LOSS}."


def test_a_repair_counts_only_when_interval_and_p_agree(say: Any) -> None:
    assert say(BASE, [("a", "B", 0.2, -0.01, 0.4, 0.001)]) == f"{LOSS}; `a` does not clearly help."
    assert say(BASE, [("a", "B", 0.2, 0.1, 0.3, 0.05)]) == f"{LOSS}; `a` does not clearly help."
    two = [("a", "B", 0.2, 0.1, 0.3, 0.06), ("b", "B", -0.2, -0.3, -0.1, 0.06)]
    assert say(BASE, two) == f"{LOSS}; no repair clearly helps."


def test_several_repairs(say: Any) -> None:
    rows = [
        (name, "B", gain, gain - 0.01, gain + 0.01, 0.001) for name, gain in zip("xyz", (0.1, 0.31, 0.2), strict=True)
    ]
    assert say(BASE, rows[:2]) == f"{LOSS}; `y` recovers all and `x` recovers 10.0 of them."
    assert say(BASE, rows) == f"{LOSS}; `y` recovers all of them, the most of 3 repairs that help."
    harm = [(name, "B", -0.1, -0.11, -0.09, 0.001) for name in "uvw"]
    assert say(BASE, harm) == f"{LOSS}; no repair clearly helps; 3 of 3 repairs make it worse."


def test_no_clear_loss_says_so(say: Any) -> None:
    same = [BASE[0], ("baseline", "B", False, 0.88, 0.84, 0.92)]
    # 0.02 ∓ sqrt(0.02² + 0.04²)
    none = "Trained on A, the baseline shows no clear loss on B (2.0 Dice points, 95 % interval −2.5 to 6.5)"
    assert say(same) == f"{none}."
    assert say(same, [("a", "B", 0.01, -0.01, 0.03, 0.5)]) == f"{none}; there `a` changes nothing clearly."
    assert say(same, [("a", "B", 0.01, 0.005, 0.03, 0.01)]) == f"{none}; there `a` is better by 1.0 Dice points."
    assert say(same, [("a", "B", -0.1, -0.2, -0.05, 0.01)]) == f"{none}; `a` makes it worse."


def test_better_than_in_domain(say: Any) -> None:
    better = [BASE[0], ("baseline", "B", False, 0.97, 0.96, 0.98)]
    # −0.07 ∓ sqrt(0.02² + 0.01²)
    assert say(better) == (
        "Trained on A, the baseline does no worse on B than in-domain: 7.0 Dice points better (95 % interval 4.8 to 9.2)."
    )


def test_several_targets_name_the_worst(say: Any) -> None:
    three = [*BASE, ("baseline", "C", False, 0.85, 0.83, 0.87)]
    pairs = [("a", "C", 0.04, 0.03, 0.05, 0.001), ("a", "B", 0.22, 0.18, 0.26, 0.001)]
    assert say(three, pairs) == f"{LOSS}, the worst of 2 unseen domains; `a` recovers 22.0 of them."
    none = [BASE[0], *[("baseline", name, False, 0.89, 0.85, 0.93) for name in "BC"]]
    assert "no clear loss on any of 2 unseen domains (the largest is on B: 1.0 Dice points" in say(none)
    up = [BASE[0], ("baseline", "B", False, 0.97, 0.96, 0.98), ("baseline", "C", False, 0.98, 0.97, 0.99)]
    assert "does no worse on every unseen domain than in-domain: at least 7.0 Dice points better" in say(up)


def test_regions_and_confidence_are_named(say: Any, make_report: Any) -> None:
    assert "Dice points (90 % interval 25.5 to 34.5)" in say(BASE, confidence=0.9)
    summary = make_report().summary
    both = pd.concat([summary, summary.assign(region="rim")])
    assert "Dice points for head (95 %" in judge(make_report(summary=both)).sentence


def test_several_sources_weigh_the_same(say: Any) -> None:
    rows = [("baseline", "A1", True, 0.94, 0.92, 0.96), ("baseline", "A2", True, 0.86, 0.84, 0.88), BASE[1]]
    # in-domain 0.90 ∓ sqrt(2)·0.02/2; the loss 0.30 ∓ sqrt(0.0002 + 0.0016)
    assert say(rows, sources=("A1", "A2")) == (
        "Trained on A1 and A2, the baseline loses 30.0 Dice points (95 % interval 25.8 to 34.2) on B."
    )


def test_each_domain_left_out_is_compared_with_itself(say: Any) -> None:
    rows = [*BASE, ("baseline", "B", True, 0.80, 0.80, 0.80), ("baseline", "A", False, 0.90, 0.90, 0.90)]
    assert say(rows, sources=()) == (
        "Trained with each domain left out in turn, the baseline loses 20.0 Dice points (95 % interval 16.0 to 24.0) "
        "on B, the worst of 2 unseen domains."
    )


def test_what_cannot_be_said_is_not_said(say: Any) -> None:
    nan = math.nan
    undefined = [BASE[0], ("baseline", "B", False, nan, nan, nan)]
    assert say(undefined) == "Trained on A, the baseline has no defined score on B, so nothing can be concluded."
    assert "was tested on no unseen domain, so this run says nothing about a shift" in say(BASE[:1])
    assert say(BASE[1:]) == (
        "Trained on A, the baseline scores 60.0 Dice points (95 % interval 56.0 to 64.0) on B, "
        "but there is no in-domain score to compare with."
    )
    assert say([*undefined, ("baseline", "C", False, 0.6, 0.56, 0.64)]).startswith(LOSS.replace("on B", "on C"))


def test_the_oracle_is_named_first(say: Any) -> None:
    assert say(BASE, is_oracle=True).startswith(
        "With weights selected on the target's own labels (oracle), and trained on A, the baseline loses 30.0"
    )


def test_distances_are_worse_when_larger(say: Any) -> None:
    rows = [("baseline", "A", True, 3.0, 2.5, 3.5), ("baseline", "B", False, 9.0, 8.0, 10.0)]
    kind = {"metric": "hd95", "unit": "mm"}
    # 6 ∓ sqrt(1² + 0.5²) = 4.88 … 7.12
    assert say(rows, [("a", "B", -4.0, -5.0, -3.0, 0.001), ("b", "B", 2.0, 1.0, 3.0, 0.001)], kind=kind) == (
        "Trained on A, the baseline is worse by 6.0 mm of HD95 (95 % interval 4.9 to 7.1) on B; `a` recovers 4.0 of them; "
        "`b` makes it worse."
    )


def test_findings_and_costs_from_known_effects(full_report: Any) -> None:
    verdict = judge(full_report)
    assert [f.loss.domain for f in verdict.findings] == ["vendor B", "vendor C"]
    assert [(r.pipeline, r.verdict) for r in verdict.findings[0].repairs] == [("augmented", 1), ("equalized", -1)]
    assert any("on vendor A, `equalized` is worse by" in text for text in verdict.costs)
    assert "`augmented` recovers" in verdict.sentence
    assert "`equalized` makes it worse" in verdict.sentence


ESTIMATE = st.tuples(st.floats(0, 1), st.floats(0.001, 0.2), st.floats(0.001, 0.2)).map(
    lambda t: Estimate(t[0], t[0] - t[1], t[0] + t[2], "1")
)


@given(ESTIMATE, ESTIMATE)
def test_difference_is_antisymmetric(first: Estimate, second: Estimate) -> None:
    one, other = difference(first, second), difference(second, first)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))
    assert one.low <= one.mean <= one.high


def test_intervals_cover_as_they_should() -> None:
    """Against simulation: t-like intervals of two independent means, combined, cover the true difference."""
    generator, hits = np.random.default_rng(0), 0
    for _ in range(2000):
        parts = [generator.normal(mean, 1.0, 60) for mean in (1.0, 0.4)]
        ends = [(x.mean(), 1.96 * x.std(ddof=1) / 60**0.5) for x in parts]
        a, b = (Estimate(m, m - h, m + h, "1") for m, h in ends)
        found = difference(a, b)
        hits += found.low <= 0.6 <= found.high
    assert 0.93 <= hits / 2000 <= 0.965
    assert average([a, a]).high - average([a, a]).low == pytest.approx((a.high - a.low) / 2**0.5)


@pytest.mark.parametrize(
    ("repairs", "words"),
    [
        (("fix",), "`fix` recovers 30.0 of them; but `fix` costs 12.0 on C."),
        (
            ("fix", "mend", "patch"),
            "`fix` recovers 30.0 of them, the most of 3 repairs that help; but `fix` costs 12.0 on C, and 3 of them "
            "cost up to 12.0 on C.",
        ),
    ],
)
def test_a_repair_that_costs_elsewhere_is_not_praised_alone(repairs: tuple[str, ...], words: str) -> None:
    """Summary and differences of equal repairs: +30 on B, -12 on C, -0.4 in-domain."""
    names = {"A": (0.99, True), "B": (0.33, False), "C": (0.66, False)}
    summary = pd.DataFrame(
        [
            dict(pipeline="baseline", domain=d, region="r", metric="dice", mean=m, low=m - 0.02, high=m + 0.02)
            | dict(n_scored=9, n_undefined=0, n_missing=0, unit="1", seen=s)
            for d, (m, s) in names.items()
        ]
    )
    gains = {"A": -0.004, "B": 0.30, "C": -0.12}
    comparisons = pd.DataFrame(
        [
            dict(pipeline=name, baseline="baseline", domain=d, region="r", metric="dice", difference=g, low=g - 0.001)
            | dict(high=g + 0.001, p=0.001, p_holm=0.002, n=9, wins=0, seen=names[d][1])
            for name in repairs
            for d, g in gains.items()
        ]
    )
    scores = summary.assign(patient="p", case="c", value=summary["mean"], dataset="d", fold="f", seed=0)
    report = Report(
        title="t",
        card=Card("t", "s", "l", "p", "x"),
        sources=("A",),
        protocol="",
        selection="",
        is_oracle=False,
        recipe="",
        environment={},
        code_version="",
        seeds=(0,),
        data_hashes={},
        command="",
        scores=scores,
        summary=summary,
        comparisons=comparisons,
        baseline="baseline",
        pipelines=dict.fromkeys(("baseline", *repairs), ""),
    )
    assert words in judge(report).sentence


def over_all(make_report: Any, gains: dict[str, tuple[float, float, float]], **changes: Any) -> str:
    """The sentence on two unseen domains together, of a baseline at 0.6 and paired differences with intervals."""
    kind = {"metric": "dice", "unit": "1"} | changes
    common = {"domain": "all unseen", "seen": False, "region": "head", "n_domains": 2} | kind
    means = [{"pipeline": "baseline", "mean": 0.6, "low": 0.58, "high": 0.62, **common}]
    rows = [
        {"pipeline": name, "difference": d, "low": low, "high": high, "p_holm": math.nan, "n": 40, **common}
        for name, (d, low, high) in gains.items()
    ]
    names = [*common, "pipeline", "difference", "low", "high", "p_holm", "n"]
    pairs = pd.DataFrame(rows, columns=names)
    summary = make_report().summary
    summary = summary[summary["metric"] == kind["metric"]]
    return judge(
        make_report(summary=summary, metric=kind["metric"], pooled=pd.DataFrame(means), pooled_comparisons=pairs)
    ).together


def test_the_mean_over_unseen_domains_is_said_with_its_intervals_alone(make_report: Any) -> None:
    start = "On the mean over 2 unseen domains, the baseline scores 60.0 Dice points (95 % interval 58.0 to 62.0)"
    assert over_all(make_report, {}) == f"{start}."
    gains = {"a": (-0.02, -0.03, -0.01), "b": (0.032, 0.01, 0.054), "c": (0.002, -0.005, 0.009)}
    assert over_all(make_report, gains) == (
        f"{start}; against it, `b` is 3.2 better (1.0 to 5.4), `c` is 0.2 better (−0.5 to 0.9, which holds 0) and "
        "`a` is 2.0 worse (1.0 to 3.0); paired, and not tested."
    )
    assert "`a` is 0.0 apart (0.0 to 0.0, which holds 0); paired" in over_all(make_report, {"a": (0.0, 0.0, 0.0)})
    assert over_all(make_report, gains | {"d": (-0.1, -0.2, -0.05)}) == (
        f"{start}; against it, `b` is 3.2 better (1.0 to 5.4), the best of 4 pipelines, of which 1 has an interval "
        "above 0 and 2 one below; paired, and not tested."
    )


def test_of_distances_a_negative_difference_is_better(make_report: Any) -> None:
    said = over_all(make_report, {"a": (-3.0, -4.0, -1.0)}, metric="hd95", unit="mm")
    assert "scores 0.6 mm of HD95 (95 % interval" in said and "`a` is 3.0 better (1.0 to 4.0);" in said


def test_nothing_is_said_of_a_mean_that_was_not_computed(full_report: Any) -> None:
    assert judge(full_report).together == ""
