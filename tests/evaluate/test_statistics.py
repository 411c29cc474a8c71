"""Tables: redone by hand, with plain loops, and held to what they promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unshift.errors import ProtocolError, UnknownName
from unshift.evaluate.bootstrap import draw
from unshift.evaluate.score import EvaluateConfig, to_frame
from unshift.evaluate.statistics import (
    all_unseen,
    compare,
    false_alarms,
    pooled,
    pooled_differences,
    ranks,
    summarize,
    worst_rows,
)

MEANS = {("base", "A"): 0.9, ("base", "B"): 0.6, ("base", "C"): 0.7, ("new", "A"): 0.88, ("new", "B"): 0.75}
MEANS |= {("new", "C"): 0.71}
FAST = EvaluateConfig(resamples=200)


def by_hand(frame: pd.DataFrame, domain: str, *, resamples: int) -> np.ndarray:
    """Bootstrap means of one pipeline's domain, patient by patient."""
    part = frame[frame["domain"] == domain]
    patients = sorted(part["patient"].unique())
    means = []
    for counts in draw(len(patients), resamples, 0, domain, str(bool(part["seen"].iloc[0]))):
        drawn = [
            part.loc[part["patient"] == p, "value"].dropna()
            for p, k in zip(patients, counts, strict=True)
            for _ in range(int(k))
        ]
        means.append(pd.concat(drawn).mean())
    return np.array(means)


def test_summary_by_plain_loops(table) -> None:
    frame = table(MEANS)
    summary = summarize(frame, config=FAST).set_index(["pipeline", "domain"])
    assert len(summary) == 6
    for (pipeline, domain), row in summary.iterrows():
        part = frame[(frame["pipeline"] == pipeline) & (frame["domain"] == domain)]
        assert row["mean"] == pytest.approx(part["value"].mean())
        assert (row["n_scored"], row["n_undefined"], row["n_missing"], row["n_patients"]) == (len(part), 0, 0, 8)
        assert row["seen"] == (domain == "A")
    replicates = by_hand(frame[frame["pipeline"] == "base"], "B", resamples=200)
    assert tuple(summary.loc[("base", "B"), ["low", "high"]]) == pytest.approx(
        tuple(np.percentile(replicates, [2.5, 97.5]))
    )


def test_undefined_and_missing_cases_are_counted_and_not_averaged(row) -> None:
    frame = to_frame(
        [
            row("base", "B", "x", 0.5),
            row("base", "B", "y", np.nan, note="undefined"),
            row("base", "B", "z", 0.7),
            row("new", "B", "x", 0.9),
        ]
    )
    summary = summarize(frame).set_index("pipeline")
    columns = ["mean", "n_scored", "n_undefined", "n_missing", "n_patients"]
    assert summary.loc["base", columns].tolist() == pytest.approx([0.6, 2, 1, 0, 2])
    assert summary.loc["new", columns].tolist() == pytest.approx([0.9, 1, 0, 2, 1])
    assert np.isnan(summary.loc["new", "low"])


def test_units_are_never_mixed(row) -> None:
    frame = to_frame(
        [row("p", "B", "x", 3.0, metric="hd", unit="mm"), row("p", "B", "y", 40.0, metric="hd", unit="px")]
    )
    summary = summarize(frame)
    assert summary[["unit", "mean", "n_scored", "n_missing"]].to_numpy().tolist() == [
        ["mm", 3.0, 1, 0],
        ["px", 40.0, 1, 0],
    ]


def test_the_order_of_rows_changes_no_number(table) -> None:
    frame = table(MEANS)
    shuffled = frame.sample(frac=1, random_state=0)
    by = ["pipeline", "domain"]
    for function in (summarize, pooled):
        first, second = (function(f, config=FAST).sort_values(by, ignore_index=True) for f in (frame, shuffled))
        pd.testing.assert_frame_equal(first, second)


def test_rows_stand_in_the_order_of_the_recipe(table) -> None:
    order = {("z", "C"): 0.5, ("z", "A"): 0.5, ("a", "C"): 0.5, ("a", "A"): 0.5}
    summary = summarize(table(order), config=FAST)
    assert summary[["pipeline", "domain"]].to_numpy().tolist() == [["z", "A"], ["z", "C"], ["a", "A"], ["a", "C"]]


def test_images_of_known_patients_do_not_narrow_the_interval(table) -> None:
    frame = table(MEANS)
    copies = [frame.assign(case=frame["case"] + f"-{k}") for k in range(4)]
    once, four = (summarize(f, config=FAST) for f in (frame, pd.concat(copies, ignore_index=True)))
    pd.testing.assert_frame_equal(once[["mean", "low", "high"]], four[["mean", "low", "high"]])
    assert (four["n_scored"] == 4 * once["n_scored"]).all()


def test_seeds_do_not_narrow_the_interval(table) -> None:
    frame = table(MEANS)
    seeds = pd.concat([frame.assign(seed=k) for k in range(3)], ignore_index=True)
    pd.testing.assert_frame_equal(summarize(frame, config=FAST), summarize(seeds, config=FAST))


def test_the_caption_says_how(table) -> None:
    caption = summarize(table(MEANS), config=EvaluateConfig(resamples=300, confidence=0.9)).attrs["caption"]
    assert "90%" in caption and "300 resamples" in caption and "patients" in caption


def test_confidence_and_seed_are_used(table) -> None:
    frame = table(MEANS)
    wide, narrow = (summarize(frame, config=EvaluateConfig(confidence=c, resamples=200)) for c in (0.99, 0.5))
    assert (wide["high"] - wide["low"] > narrow["high"] - narrow["low"]).all()
    assert (summarize(frame, config=FAST, seed=1)["low"] != summarize(frame, config=FAST)["low"]).any()


def test_pooled_counts_each_domain_once(table) -> None:
    frame = table(MEANS)
    rows = pooled(frame, config=FAST).set_index(["pipeline", "domain"])
    base = frame[frame["pipeline"] == "base"]
    expected = np.mean([base.loc[base["domain"] == d, "value"].mean() for d in "BC"])
    assert rows.loc[("base", "all unseen"), "mean"] == pytest.approx(expected)
    assert rows.loc[("base", "all unseen"), "n_domains"] == 2
    replicates = np.mean([by_hand(base, d, resamples=200) for d in "BC"], axis=0)
    found = tuple(rows.loc[("base", "all unseen"), ["low", "high"]])
    assert found == pytest.approx(tuple(np.percentile(replicates, [2.5, 97.5])))
    seen = summarize(frame, config=FAST).set_index(["pipeline", "domain"]).loc[("base", "A")]
    assert tuple(rows.loc[("base", "all seen"), ["mean", "low", "high"]]) == pytest.approx(
        tuple(seen[["mean", "low", "high"]])
    )


def test_copies_of_the_same_patients_do_not_narrow_the_pooled_interval(row) -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.2, 0.9, 12)
    rows = [row("p", domain, f"x{i}", v) for domain in ("B", "B+blur@3") for i, v in enumerate(values)]
    others = [row("p", domain, f"{domain}{i}", v) for domain in ("B", "C") for i, v in enumerate(values)]
    width = {}
    for name, part in (("copies", rows), ("one", rows[:12]), ("others", others)):
        frame = to_frame(part)
        frame["patient"] = frame["case"]  # the fixture puts the domain before it
        table = pooled(frame, config=FAST).set_index("domain").loc["all unseen"]
        width[name] = table["high"] - table["low"]
        people = 24 if name == "others" else 12
        assert table["n_patients"] == people, "of copies, each patient once"
    assert width["copies"] == pytest.approx(width["one"])
    assert width["others"] < 0.85 * width["one"]


def test_pooled_differences_by_hand(table) -> None:
    """Means of the domains' mean differences of cases; replicates draw patients within each domain; A is seen."""
    frame = table(MEANS)
    (found,) = pooled_differences(frame, baseline="base", config=FAST).itertuples()
    values = frame.set_index(["pipeline", "domain", "patient", "case"])["value"]
    cases = (values["new"] - values["base"]).reset_index().assign(pipeline="new", seen=False)
    unseen = cases[cases["domain"] != "A"]
    assert found.difference == pytest.approx(unseen.groupby("domain")["value"].mean().mean())
    replicates = np.mean([by_hand(unseen, d, resamples=200) for d in "BC"], axis=0)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(replicates, [2.5, 97.5])))
    assert (found.pipeline, found.baseline, found.domain, found.seen) == ("new", "base", "all unseen", False)
    assert (found.n, found.n_patients, found.n_undefined, found.n_domains) == (len(unseen), 16, 0, 2)
    assert (found.wins, found.ties, found.losses) == ((unseen["value"] > 0).sum(), 0, (unseen["value"] < 0).sum())
    assert np.isnan(found.p) and np.isnan(found.p_holm)


def test_a_large_domain_counts_no_more_than_a_small_one_and_small_distances_win(row) -> None:
    hd = {"metric": "hd95", "unit": "mm"}
    moved = [("B", f"b{i}", -1.0) for i in range(8)] + [("C", "x", 5.0), ("C", "y", 1.0), ("C", "z", np.nan)]
    rows = [row("base", d, c, 10.0, **hd) for d, c, _ in moved] + [row("new", d, c, 10 + v, **hd) for d, c, v in moved]
    (found,) = pooled_differences(to_frame(rows), baseline="base").itertuples()
    assert found.difference == pytest.approx((-1 + 3) / 2)
    assert (found.wins, found.ties, found.losses, found.n, found.n_undefined) == (8, 0, 2, 10, 1)


def test_pooled_differences_pair_seeds_and_refuse_what_has_no_partner(row) -> None:
    rows = [row(p, d, "x", v + s, seed=s) for d in "BC" for s in (0, 1) for p, v in (("base", 0.0), ("new", 0.5))]
    (found,) = pooled_differences(to_frame(rows), baseline="base").itertuples()
    assert (found.difference, found.n, found.wins) == (0.5, 2, 2)
    with pytest.raises(ProtocolError, match="1 score"):
        pooled_differences(to_frame(rows[:-1]), baseline="base")
    alone = to_frame([row("base", d, "x", 0.1) for d in "BC"])
    empty = pooled_differences(alone, baseline="base")
    assert empty.empty and {*compare(alone, baseline="base").columns} < {*empty.columns}


def test_all_unseen_is_of_two_domains_or_more(table) -> None:
    frame = table(MEANS)
    means, changes = all_unseen(frame, baseline="base", config=FAST)
    expected = pooled(frame, config=FAST)
    pd.testing.assert_frame_equal(means, expected[~expected["seen"]].reset_index(drop=True))
    pd.testing.assert_frame_equal(changes, pooled_differences(frame, baseline="base", config=FAST))
    first, second = all_unseen(frame[frame["domain"] != "C"], baseline="base", config=FAST)
    assert first.empty and second.empty
    assert {*first.columns} == {*means.columns} and {*second.columns} == {*changes.columns}


def test_all_unseen_of_two_datasets(row) -> None:
    """Domains of one name in two datasets are two."""
    rows = [row(p, "B", "x", v, dataset=d) for d in "de" for p, v in (("base", 0.2), ("new", 0.3))]
    means, changes = all_unseen(to_frame(rows), baseline="base")
    assert means["n_domains"].tolist() == [2, 2] and changes["difference"].tolist() == pytest.approx([0.1])


def test_pooled_leaves_out_a_domain_without_any_value(row) -> None:
    frame = to_frame([row("p", "B", "x", 0.4), row("p", "B", "y", 0.6), row("p", "C", "x", np.nan)])
    (found,) = pooled(frame, config=FAST).itertuples()
    assert (found.mean, found.n_domains, found.n_scored, found.n_undefined) == (pytest.approx(0.5), 1, 2, 1)


def test_worst_domain_and_worst_tenth_of_patients(row) -> None:
    rows = [row("p", "B", f"b{i}", 0.5 + i / 100) for i in range(15)]
    rows += [row("p", "C", f"c{i}-{k}", 0.4 + (i + k) / 10) for i in range(5) for k in range(2)]
    rows += [row("p", "A", "a", 0.0, seen=True)]
    frame = to_frame(rows)
    found = worst_rows(frame).set_index("row")
    assert found.loc["worst domain", ["where", "n"]].tolist() == ["B", 15]
    assert found.loc["worst domain", "value"] == pytest.approx(np.mean([0.5 + i / 100 for i in range(15)]))
    # 20 patients, so the worst 2: c0 with a mean of 0.45, and b0 with 0.5
    assert found.loc["worst decile", ["where", "n"]].tolist() == ["C, B", 2]
    assert found.loc["worst decile", "value"] == pytest.approx((0.45 + 0.5) / 2)


def test_ranks_by_hand(row) -> None:
    """On B a beats b beats c by their means; on C a and b are equal; c's second patient on C was never scored."""
    values = {"a": (0.9, 0.5, 0.6), "b": (0.7, 0.6, 0.6), "c": (0.8, 0.1, 0.9)}
    frame = to_frame([row(name, "B", "x", v[0]) for name, v in values.items()]
                     + [row(name, "B", "y", v[1]) for name, v in values.items()]
                     + [row(name, "C", "z", v[2]) for name, v in values.items()]
                     + [row(name, "C", "w", 0.6) for name in "ab"])  # fmt: skip
    found = ranks(frame).set_index(["row", "pipeline"])
    assert found.loc["B", "rank"].to_dict() == {"a": 1, "b": 2, "c": 3}
    assert found.loc["C", "rank"].to_dict() == {"a": 2.5, "b": 2.5, "c": 1}
    assert found.loc["all domains", "rank"].to_dict() == {"a": 1.75, "b": 2.25, "c": 2}
    x, y, z = {"a": 1, "b": 3, "c": 2}, {"a": 2, "b": 1, "c": 3}, {"a": 2.5, "b": 2.5, "c": 1}
    assert found.loc["all patients", "rank"].to_dict() == pytest.approx({n: (x[n] + y[n] + z[n]) / 3 for n in "abc"})
    assert found.xs("a", level="pipeline")["n"].to_dict() == {"B": 2, "C": 2, "all domains": 2, "all patients": 3}


def test_the_smallest_distance_is_the_first_and_seen_domains_do_not_count(row) -> None:
    rows = [row(n, "B", "x", v, metric="hd95", unit="mm") for n, v in (("a", 9.0), ("b", 2.0))]
    rows += [row(n, "A", "x", v, metric="hd95", unit="mm", seen=True) for n, v in (("a", 1.0), ("b", 8.0))]
    found = ranks(to_frame(rows))
    assert found[found["row"] == "B"].set_index("pipeline")["rank"].to_dict() == {"a": 2, "b": 1}
    assert "A" not in set(found["row"])
    assert ranks(to_frame([row("p", "A", "x", 0.1, seen=True)])).empty


def test_the_worst_distances_are_the_largest(row) -> None:
    rows = [row("p", "B", f"b{i}", float(i), metric="hd95", unit="mm") for i in range(10)]
    rows += [row("p", "C", f"c{i}", 4.0, metric="hd95", unit="mm") for i in range(10)]
    found = worst_rows(to_frame(rows)).set_index("row")
    assert found.loc["worst domain", "where"] == "B"
    assert found.loc["worst decile", "value"] == pytest.approx((9 + 8) / 2)


def test_worst_rows_of_a_chosen_metric_and_region(row) -> None:
    frame = to_frame([row("p", "B", "x", 0.1), row("p", "B", "x", 0.9, region="cup", metric="nsd")])
    assert worst_rows(frame)["value"].tolist() == [0.1, 0.1]
    assert worst_rows(frame, metric="nsd", region="cup")["value"].tolist() == [0.9, 0.9]
    with pytest.raises(UnknownName, match="unknown metric 'dize'. Did you mean 'dice'"):
        worst_rows(frame, metric="dize")


def test_no_unseen_value_no_worst_row(row) -> None:
    assert worst_rows(to_frame([row("p", "A", "x", 0.1, seen=True)])).empty


def test_false_alarms(row) -> None:
    empty = {"reference_voxels": 0, "value": np.nan}
    rows = [row("p", "B", "x", **empty | {"prediction_voxels": 0})]
    rows += [row("p", "B", "y", **empty | {"prediction_voxels": 5, "seed": 0, "value": 0.0})]
    rows += [row("p", "B", "y", **empty | {"prediction_voxels": 0, "seed": 1})]
    rows += [row("p", "B", "y", **empty | {"prediction_voxels": 5, "seed": 0, "metric": "jaccard"})]
    rows += [row("p", "B", "z", 0.7)]
    (found,) = false_alarms(to_frame(rows)).itertuples()
    assert (found.n_empty, found.n_false_alarm, found.rate) == (2, 0.5, 0.25)
