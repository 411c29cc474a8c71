"""The rule by which a repair is taken: its arithmetic by hand, and every way in which a candidate fails it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from unshift.errors import DataError, UnknownName
from unshift.evaluate.choice import IN_DOMAIN, NONE, SHIFTS, choose, overall
from unshift.evaluate.score import to_frame
from unshift.sample import Score

CASES = 12


def row(pipeline: str, domain: str, case: int, value: float, region: str = "head") -> Score:
    return Score(
        run="robustify",
        pipeline=pipeline,
        dataset="source",
        domain=domain,
        patient=f"p{case}",
        case=f"c{case}",
        region=region,
        metric="dice",
        value=value,
        unit="1",
        reference_voxels=10,
        prediction_voxels=10,
        seen=domain == IN_DOMAIN,
    )


def scores(means: dict[str, tuple[float, float, float]], *, noise: float = 0.01) -> pd.DataFrame:
    """Candidate -> means in-domain, at B@1 and at C@1; every candidate has noise of its own."""
    rows = []
    for number, (name, values) in enumerate(means.items()):
        for place, mean in zip((IN_DOMAIN, "B@1", "C@1"), values, strict=True):
            own = np.random.default_rng([number, len(place)]).normal(0, noise if number else 0, CASES)
            rows += [row(name, place, case, mean + own[case] - own.mean()) for case in range(CASES)]
    return to_frame(rows)


def test_the_best_of_those_that_clear_is_taken() -> None:
    found = choose(
        scores(
            {NONE: (0.9, 0.5, 0.7), "mild": (0.9, 0.6, 0.75), "strong": (0.897, 0.8, 0.8), "dear": (0.88, 0.9, 0.9)}
        ),
        tolerance=0.5,
    )
    assert found.name == "strong"
    assert found.standing.shifted.mean == pytest.approx(0.8)
    assert found.standing.gain.mean == pytest.approx(0.2)
    assert found.standing.change.mean == pytest.approx(-0.003)
    assert found.before.worst == ("B@1", pytest.approx(0.5))
    verdicts = {s.name: s.verdict for s in found.standings}
    assert verdicts["dear"] == "−2.0 in-domain; 0.5 may be lost"
    assert verdicts["mild"] == "12.5 below the best"
    assert verdicts[NONE] == "the network as it is"
    assert found.reason == (
        "Best mean over the shifts (80.0, 60.0 without repair) among the candidates that the rule admits. "
        "dear would gain +30.0 at −2.0 in-domain; `--choose dear` takes it, if that is worth it to you."
    )


def test_a_loss_of_exactly_the_tolerance_is_allowed_and_a_hair_more_is_not() -> None:
    for tolerance, name in ((2.0, "dear"), (1.99, NONE)):
        found = choose(scores({NONE: (0.9, 0.5, 0.5), "dear": (0.88, 0.9, 0.9)}, noise=0.0), tolerance=tolerance)
        assert found.name == name


def test_a_gain_that_noise_could_make_is_none() -> None:
    found = choose(scores({NONE: (0.9, 0.5, 0.5), "luck": (0.9, 0.505, 0.505)}, noise=0.2), tolerance=0.5)
    assert found.name == NONE
    assert found.standings[1].gain.mean > 0
    assert found.standings[1].verdict == "no clear gain under the shifts"
    assert "stays as it is" in found.reason


def test_equal_candidates_the_first_wins() -> None:
    same = (0.9, 0.6, 0.6)
    assert choose(scores({NONE: (0.9, 0.5, 0.5), "b": same, "a": same}), tolerance=0.5).name == "b"


def test_by_hand_whatever_the_rule_says() -> None:
    frame = scores({NONE: (0.9, 0.5, 0.5), "good": (0.9, 0.6, 0.6), "dear": (0.7, 0.6, 0.6)})
    found = choose(frame, tolerance=0.5, forced="dear")
    assert (found.name, found.is_forced) == ("dear", True)
    assert "the rule's choice is good" in found.reason
    assert {s.name: s.verdict for s in found.standings}["good"] == "best by the rule"
    with pytest.raises(UnknownName, match="goood"):
        choose(frame, tolerance=0.5, forced="goood")


def test_regions_and_shifts_are_averaged_per_case() -> None:
    rows = [row(NONE, place, 0, value, region) for place, region, value in (
        (IN_DOMAIN, "head", 0.9), (IN_DOMAIN, "neck", 0.7),
        ("B@1", "head", 0.4), ("B@1", "neck", 0.6), ("C@1", "head", 0.8), ("C@1", "neck", math.nan),
    )]  # fmt: skip
    values = overall(to_frame(rows)).set_index("domain")["value"]
    assert values[IN_DOMAIN] == pytest.approx(0.8)
    assert values[SHIFTS] == pytest.approx((0.4 + 0.6 + 0.8) / 3)


def test_nothing_defined_is_an_error() -> None:
    rows = [row(NONE, place, case, math.nan) for place in (IN_DOMAIN, "B@1") for case in range(3)]
    with pytest.raises(DataError, match="empty everywhere"):
        choose(to_frame(rows), tolerance=0.5)


def test_one_patient_clears_nothing() -> None:
    frame = scores({NONE: (0.9, 0.5, 0.5), "good": (0.9, 0.9, 0.9)})
    frame["patient"] = "p"
    assert choose(frame, tolerance=0.5).name == NONE
