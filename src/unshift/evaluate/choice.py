"""Which repair of a network is taken: the rule, written down, and the numbers that it looks at.

The rule: among the candidates whose in-domain mean is at most ``tolerance`` below that of ``none`` and whose paired
gain over ``none``, averaged over the simulated shifts, has an interval above 0, the one with the best mean over the
shifts. ``none`` where no candidate is left. A mean over shifts is taken per case first, and regions count the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd

from unshift.errors import DataError, UnknownName
from unshift.evaluate.comparison import compare
from unshift.evaluate.score import EvaluateConfig
from unshift.evaluate.statistics import summarize

NONE = "none"
"""The candidate that changes nothing."""
IN_DOMAIN, SHIFTS = "in-domain", "mean over the shifts"
"""Where candidates are compared: on images as they are, and under simulated shifts."""
_NOISE = 1e-12
"""Two means that differ by less are equal; the first candidate wins."""


class Interval(NamedTuple):
    """A mean and its interval, shares 0 … 1."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """What the rule sees of one candidate.

    Args:
        in_domain, shifted: means over held-out cases, unshifted and over all shifts.
        change, gain: the same, minus ``none``, paired by case.
        verdict: what the rule says of it.
    """

    name: str
    in_domain: Interval
    shifted: Interval
    change: Interval
    gain: Interval
    worst: tuple[str, float]
    verdict: str = ""


@dataclass(frozen=True)
class Choice:
    """The candidate that is saved, and why."""

    name: str
    reason: str
    is_forced: bool
    standings: tuple[Standing, ...]

    @property
    def standing(self) -> Standing:
        """Of the candidate that is saved."""
        return next(s for s in self.standings if s.name == self.name)

    @property
    def before(self) -> Standing:
        """Of ``none``."""
        return next(s for s in self.standings if s.name == NONE)


def choose(
    scores: pd.DataFrame, *, tolerance: float, forced: str = "", config: EvaluateConfig | None = None, seed: int = 0
) -> Choice:
    """Apply the rule.

    Args:
        scores: rows of all candidates on :data:`IN_DOMAIN` and on the shifts.
        tolerance: points that the in-domain mean may lose.
        forced: a candidate to take whatever the rule says; the verdicts stay the rule's.
        config: of the intervals.
        seed: of the bootstrap.

    Raises:
        UnknownName: no candidate of the name ``forced``.
        DataError: no score of ``none`` is defined, in-domain or under the shifts.
    """
    found = standings(scores, config=config, seed=seed)
    names = [s.name for s in found]
    if forced and forced not in names:
        raise UnknownName("candidate", forced, names, where="--choose")
    before = next(s for s in found if s.name == NONE)
    if math.isnan(before.in_domain.mean) or math.isnan(before.shifted.mean):
        raise DataError(
            "Held-out images: no score of the network as it is is defined, because reference and prediction are empty "
            "everywhere. Give source images that show what the network segments."
        )
    kept = [s for s in found if _complaint(s, tolerance) is None]
    best = before
    for standing in kept:
        if best is before or standing.shifted.mean > best.shifted.mean + _NOISE:
            best = standing
    winner = forced or best.name
    judged = tuple(replace(s, verdict=_verdict(s, best, tolerance)) for s in found)
    return Choice(winner, _reason(winner, best, found, forced=bool(forced)), bool(forced), judged)


def standings(scores: pd.DataFrame, *, config: EvaluateConfig | None = None, seed: int = 0) -> list[Standing]:
    """The numbers that the rule looks at, one entry a candidate, in the order of the scores."""
    short = overall(scores)
    means = _by_place(summarize(short, config=config, seed=seed), "mean")
    differences = _by_place(compare(short, baseline=NONE, config=config, seed=seed), "difference")
    shifts = scores[scores["domain"] != IN_DOMAIN].groupby(["pipeline", "domain"], sort=False)["value"].mean()
    nothing = Interval(0.0, 0.0, 0.0)
    found = []
    for name in scores["pipeline"].unique():
        of_shift = shifts[name].dropna()
        worst = (str(of_shift.idxmin()), float(of_shift.min())) if len(of_shift) else ("", math.nan)
        found.append(
            Standing(
                name=str(name),
                in_domain=means[name, IN_DOMAIN],
                shifted=means[name, SHIFTS],
                change=differences.get((name, IN_DOMAIN), nothing),
                gain=differences.get((name, SHIFTS), nothing),
                worst=worst,
            )
        )
    return found


def overall(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a case and candidate for in-domain and one for the mean over shifts; regions averaged.

    Undefined scores (both masks empty) leave the mean.
    """
    place = scores["domain"].map(lambda domain: IN_DOMAIN if domain == IN_DOMAIN else SHIFTS)
    frame = scores.assign(domain=place, seen=place == IN_DOMAIN, region="all")
    keys = ["pipeline", "dataset", "domain", "seen", "patient", "case", "region", "metric", "unit", "fold", "seed"]
    return frame.groupby(keys, sort=False, as_index=False)["value"].mean()


def _by_place(table: pd.DataFrame, column: str) -> dict[tuple[str, str], Interval]:
    rows: Iterable[tuple[str, str, float, float, float]] = table[
        ["pipeline", "domain", column, "low", "high"]
    ].itertuples(index=False, name=None)
    return {(pipeline, domain): Interval(*values) for pipeline, domain, *values in rows}


def _complaint(standing: Standing, tolerance: float) -> str | None:
    """Why the rule does not take a candidate, or None when it may."""
    if standing.name == NONE:
        return "the network as it is"
    if not standing.change.mean >= -(tolerance + 1e-9) / 100:
        return f"{_signed(standing.change.mean)} in-domain; {tolerance:g} may be lost"
    if not standing.gain.low > 0:
        return "no clear gain under the shifts"
    return None


def _verdict(standing: Standing, best: Standing, tolerance: float) -> str:
    if standing.name == best.name and standing.name != NONE:
        return "best by the rule"
    complaint = _complaint(standing, tolerance)
    return complaint or f"{100 * (best.shifted.mean - standing.shifted.mean):.1f} below the best"


def _reason(winner: str, best: Standing, found: Sequence[Standing], *, forced: bool) -> str:
    before = next(s for s in found if s.name == NONE)
    if forced:
        return f"Chosen by hand; the rule's choice is {best.name}."
    if winner == NONE:
        text = "No candidate gains clearly under the shifts at a tolerable cost in-domain: the network stays as it is."
    else:
        means = f"{100 * best.shifted.mean:.1f}, {100 * before.shifted.mean:.1f} without repair"
        text = f"Best mean over the shifts ({means}) among the candidates that the rule admits."
    most = max(found, key=lambda s: s.shifted.mean)
    if most.gain.low > 0 and most.shifted.mean > best.shifted.mean + _NOISE:
        text += (
            f" {most.name} would gain {_signed(most.gain.mean)} at {_signed(most.change.mean)} in-domain; "
            f"`--choose {most.name}` takes it, if that is worth it to you."
        )
    return text


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")
