"""The verdict: one plain sentence, computed from the summary and the comparisons, that claims no more than they do.

A loss is *clear* when its interval excludes 0. A repair *helps* or *harms* when the interval of its paired
difference to the baseline excludes 0 and its Holm-adjusted p is below 0.05; otherwise nothing is said of it. Of the
mean over unseen domains, which is not tested, the intervals are said and no more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from unshift.report.content import Report
from unshift.report.number import LOWER_IS_BETTER, interval, listing, percent, plain, title

LEVEL = 0.05
ONE_POINT = 0.01


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval, in the metric's own scale; ``unit`` as in the scores."""

    mean: float
    low: float
    high: float
    unit: str
    confidence: float = 0.95

    @property
    def is_defined(self) -> bool:
        """Whether mean and interval are numbers."""
        return not any(math.isnan(v) for v in (self.mean, self.low, self.high))


@dataclass(frozen=True)
class Loss:
    """How much worse the baseline is on an unseen domain than in-domain; positive is worse; None: cannot be said."""

    domain: str
    score: Estimate | None
    loss: Estimate | None

    @property
    def is_clear(self) -> bool:
        """Whether the whole interval is a loss."""
        return self.loss is not None and self.loss.low > 0


@dataclass(frozen=True)
class Repair:
    """A pipeline against the baseline on one domain; positive ``gain`` is better; ``verdict`` is +1, 0 or -1."""

    pipeline: str
    gain: Estimate
    p: float
    n: int
    verdict: int


@dataclass(frozen=True)
class Finding:
    """One unseen domain: what is lost there, and what each repair does about it."""

    loss: Loss
    repairs: tuple[Repair, ...]


SPELLED_OUT = 2
"""Repairs whose costs elsewhere the sentence names one by one."""
COMPARED = 3
"""Repairs whose change of the mean over unseen domains is said one by one; of more, the best and how many."""


@dataclass(frozen=True)
class Verdict:
    """A sentence (names of pipelines in back quotes), and what it rests on, domain by domain.

    Args:
        together: the sentence on the mean over unseen domains; empty where that was not computed.
    """

    sentence: str
    findings: tuple[Finding, ...]
    costs: tuple[str, ...]
    together: str = ""


def judge(report: Report) -> Verdict:
    """The verdict on ``report``'s headline metric and region."""
    findings = tuple(Finding(loss_on(report, d), repairs_on(report, d, seen=False)) for d in report.unseen())
    return Verdict(_sentence(report, findings), findings, _costs(report), _together(report))


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Interval of ``first - second`` for independent means, from their own intervals (MOVER).

    Source:
        Zou & Donner 2008, Statistics in Medicine 27:1693, eq. 3. Conservative when the two are positively correlated.
    """
    mean = first.mean - second.mean
    low = mean - math.hypot(first.mean - first.low, second.high - second.mean)
    high = mean + math.hypot(first.high - first.mean, second.mean - second.low)
    return Estimate(mean, low, high, first.unit, first.confidence)


def average(parts: Sequence[Estimate]) -> Estimate:
    """Mean of independent means, each weighing the same, with its interval (MOVER)."""
    mean = sum(e.mean for e in parts) / len(parts)
    low = mean - math.hypot(*(e.mean - e.low for e in parts)) / len(parts)
    high = mean + math.hypot(*(e.high - e.mean for e in parts)) / len(parts)
    return Estimate(mean, low, high, parts[0].unit, parts[0].confidence)


def loss_on(report: Report, domain: str) -> Loss:
    """The baseline's loss on ``domain``.

    In-domain is the domain itself where it was also tested as a source (each domain left out in turn), else the mean
    of the sources.
    """
    score = _score(report, domain, seen=False)
    itself = _score(report, domain, seen=True)
    sources = [_score(report, d, seen=True) for d, seen in report.columns() if seen]
    known = [itself] if itself else [s for s in sources if s]
    if score is None or not known:
        return Loss(domain, score, None)
    inside = average(known)
    lower = report.metric in LOWER_IS_BETTER
    return Loss(domain, score, difference(score, inside) if lower else difference(inside, score))


def repairs_on(report: Report, domain: str, *, seen: bool) -> tuple[Repair, ...]:
    """Every compared pipeline on ``domain``, best first."""
    frame = headline_comparisons(report)
    frame = frame[(frame["domain"] == domain) & (frame["seen"] == seen)]
    found = [_repair(report, row) for _, row in frame.iterrows()]
    return tuple(sorted((r for r in found if r.gain.is_defined), key=lambda r: -r.gain.mean))


def headline_comparisons(report: Report) -> pd.DataFrame:
    """Rows of the headline metric and region, with a column ``seen`` (taken from the summary where it is absent)."""
    frame = report.comparisons
    frame = frame[(frame["metric"] == report.metric) & (frame["region"] == report.headline_region)]
    if "seen" not in frame.columns:
        unseen = set(report.unseen())
        frame = frame.assign(seen=[domain not in unseen for domain in frame["domain"]])
    return frame


def is_clear(low: float, high: float, p_holm: float) -> bool:
    """Whether a paired difference may be called one: interval excludes 0 and Holm-adjusted p is below 0.05."""
    return (low > 0 or high < 0) and p_holm < LEVEL


def _score(report: Report, domain: str, *, seen: bool) -> Estimate | None:
    frame = report.summary
    rows = frame[
        (frame["pipeline"] == report.baseline)
        & (frame["metric"] == report.metric)
        & (frame["region"] == report.headline_region)
        & (frame["domain"] == domain)
        & (frame["seen"] == seen)
    ]
    found = [Estimate(r["mean"], r["low"], r["high"], r["unit"], report.confidence) for _, r in rows.iterrows()]
    return found[0] if found and found[0].is_defined else None


def _repair(report: Report, row: pd.Series) -> Repair:
    unit = headline_unit(report)
    gain = Estimate(row["difference"], row["low"], row["high"], unit, report.confidence)
    if report.metric in LOWER_IS_BETTER:
        gain = Estimate(-gain.mean, -gain.high, -gain.low, unit, report.confidence)
    sign = (1 if gain.mean > 0 else -1) if is_clear(row["low"], row["high"], row["p_holm"]) else 0
    return Repair(str(row["pipeline"]), gain, float(row["p_holm"]), int(row["n"]), sign)


def headline_unit(report: Report) -> str:
    """The unit of the headline metric (``1``, ``mm`` or ``px``)."""
    return str(report.summary.loc[report.summary["metric"] == report.metric, "unit"].iloc[0])


def _sentence(report: Report, findings: tuple[Finding, ...]) -> str:
    measure = _measure(report)
    trained = f"Trained on {listing(report.sources)}" if report.sources else "Trained with each domain left out in turn"
    if report.is_oracle:
        trained = f"With weights selected on the target's own labels (oracle), and t{trained[1:]}"
    name = "the baseline" if report.baseline == "baseline" else f"the baseline `{report.baseline}`"
    if not findings:
        return f"{trained}, {name} was tested on no unseen domain, so this run says nothing about a shift."
    losses = [f.loss for f in findings if f.loss.loss is not None]
    if not losses:
        return f"{trained}, {name} {_without_loss(findings, measure)}."
    focus = max(losses, key=lambda found: found.loss.mean if found.loss else -math.inf)
    repairs = next(f.repairs for f in findings if f.loss is focus)
    clauses = [f"{trained}, {name} {_loss_clause(losses, focus, measure)}", *_repair_clauses(focus, repairs, measure)]
    clauses += _elsewhere(report, findings, [r.pipeline for r in repairs if r.verdict > 0])
    return "; ".join(clauses) + "."


def _without_loss(findings: tuple[Finding, ...], measure: str) -> str:
    scored = [f.loss for f in findings if f.loss.score is not None]
    if not scored:
        return f"has no defined score on {listing([f.loss.domain for f in findings])}, so nothing can be concluded"
    said = [
        f"{plain(s.score.mean, s.score.unit)} {measure} ({_range(s.score)}) on {s.domain}" for s in scored if s.score
    ]
    return f"scores {listing(said)}, but there is no in-domain score to compare with"


def _loss_clause(losses: list[Loss], focus: Loss, measure: str) -> str:
    assert focus.loss is not None
    size, many = focus.loss, len(losses) > 1
    if focus.is_clear:
        rank = f", the worst of {len(losses)} unseen domains" if many else ""
        verb = "loses" if size.unit == "1" else "is worse by"
        return f"{verb} {plain(size.mean, size.unit)} {measure} ({_range(size)}) on {focus.domain}{rank}"
    if size.high < 0:
        where = "every unseen domain" if many else focus.domain
        least = "at least " if many else ""
        gain = Estimate(-size.mean, -size.high, -size.low, size.unit, size.confidence)
        better = f"{least}{plain(gain.mean, gain.unit)} {measure} better ({_range(gain)})"
        return f"does no worse on {where} than in-domain: {better}"
    where = f"any of {len(losses)} unseen domains (the largest is on {focus.domain}: " if many else f"{focus.domain} ("
    return f"shows no clear loss on {where}{plain(size.mean, size.unit)} {measure}, {_range(size)})"


def _repair_clauses(focus: Loss, repairs: tuple[Repair, ...], measure: str) -> list[str]:
    if not repairs:
        return []
    helps = [r for r in repairs if r.verdict > 0]
    harms = [r for r in repairs if r.verdict < 0]
    clauses = []
    if helps and focus.is_clear:
        clauses.append(_recoveries(helps, focus))
    elif helps:
        said = [f"`{r.pipeline}` is better by {plain(r.gain.mean, r.gain.unit)}" for r in helps]
        clauses.append(f"there {listing(said)} {measure}")
    elif focus.is_clear:
        clauses.append("no repair clearly helps" if len(repairs) > 1 else f"{_names(repairs)} does not clearly help")
    elif not harms:
        clauses.append(f"there {_names(repairs)} {'changes' if len(repairs) == 1 else 'change'} nothing clearly")
    if harms:
        verb = "makes" if len(harms) == 1 else "make"
        named = _names(harms) if len(harms) < 3 else f"{len(harms)} of {len(repairs)} repairs"
        clauses.append(f"{named} {verb} it worse")
    return clauses


def _elsewhere(report: Report, findings: tuple[Finding, ...], helping: Sequence[str]) -> list[str]:
    """What a repair that helps on the worst domain costs on others; less than a point is left to the page below."""
    places = [(f.loss.domain, f.repairs) for f in findings]
    places += [(domain, repairs_on(report, domain, seen=True)) for domain, seen in report.columns() if seen]
    found = {}
    for pipeline in helping:
        costs = [
            (-r.gain.mean, f"{plain(-r.gain.mean, r.gain.unit)} on {domain}")
            for domain, repairs in places
            for r in repairs
            if r.pipeline == pipeline and r.verdict < 0 and (r.gain.unit != "1" or r.gain.mean <= -ONE_POINT)
        ]
        if costs:
            found[pipeline] = costs
    if len(found) <= SPELLED_OUT:
        return [f"but `{name}` costs {listing([words for _, words in costs])}" for name, costs in found.items()]
    most = max((cost for costs in found.values() for cost in costs), key=lambda cost: cost[0])
    best = next(iter(helping))
    own = f"`{best}` costs {listing([words for _, words in found[best]])}, and " if best in found else ""
    return [f"but {own}{len(found)} of them cost up to {most[1]}"]


def _recoveries(helps: Sequence[Repair], focus: Loss) -> str:
    if len(helps) > 2:
        return f"{_recovered(helps[0], focus)} of them, the most of {len(helps)} repairs that help"
    return listing([_recovered(repair, focus) for repair in helps]) + " of them"


def _recovered(repair: Repair, focus: Loss) -> str:
    assert focus.loss is not None
    part = "all" if repair.gain.mean >= focus.loss.mean else plain(repair.gain.mean, repair.gain.unit)
    return f"`{repair.pipeline}` recovers {part}"


def _measure(report: Report) -> str:
    unit = headline_unit(report)
    shown = f"{title(report.metric)} points" if unit == "1" else f"{unit} of {title(report.metric)}"
    return f"{shown} for {report.headline_region}" if len(report.regions) > 1 else shown


def _names(repairs: Sequence[Repair]) -> str:
    return listing([f"`{r.pipeline}`" for r in repairs])


def _range(estimate: Estimate) -> str:
    return f"{percent(estimate.confidence)} interval {interval(estimate.low, estimate.high, estimate.unit)}"


def _together(report: Report) -> str:
    """What the baseline scores on the mean over unseen domains, and what others change there."""
    means, pairs = (f[f["region"] == report.headline_region] for f in report.together(report.metric))
    own = means[means["pipeline"] == report.baseline]
    found = [Estimate(r["mean"], r["low"], r["high"], r["unit"], report.confidence) for _, r in own.iterrows()]
    score = next((estimate for estimate in found if estimate.is_defined), None)
    if score is None:
        return ""
    name = "the baseline" if report.baseline == "baseline" else f"the baseline `{report.baseline}`"
    text = f"On the mean over {int(own['n_domains'].iloc[0])} unseen domains, {name} scores "
    text += f"{plain(score.mean, score.unit)} {_measure(report)} ({_range(score)})"
    repairs = [_repair(report, row) for _, row in pairs.iterrows()]
    repairs = sorted((r for r in repairs if r.gain.is_defined), key=lambda r: -r.gain.mean)
    if not repairs:
        return f"{text}."
    if len(repairs) <= COMPARED:
        return f"{text}; against it, {listing([_shift_by(r) for r in repairs])}; paired, and not tested."
    up, down = sum(r.gain.low > 0 for r in repairs), sum(r.gain.high < 0 for r in repairs)
    return (
        f"{text}; against it, {_shift_by(repairs[0])}, the best of {len(repairs)} pipelines, of which {up} "
        f"{'has' if up == 1 else 'have'} an interval above 0 and {down} one below; paired, and not tested."
    )


def _shift_by(repair: Repair) -> str:
    """By how much a pipeline is better or worse, with the interval of that, and whether it may be nothing."""
    gain, is_better = repair.gain, repair.gain.mean >= 0
    low, high = (gain.low, gain.high) if is_better else (-gain.high, -gain.low)
    word = "apart" if gain.mean == 0 else "better" if is_better else "worse"
    size = f"{plain(abs(gain.mean), gain.unit)} {word}"
    return f"`{repair.pipeline}` is {size} ({interval(low, high, gain.unit)}{', which holds 0' if low <= 0 else ''})"


def _costs(report: Report) -> tuple[str, ...]:
    """What repairs change in-domain, where that is clear."""
    measure = _measure(report)
    said = []
    for domain in [d for d, seen in report.columns() if seen]:
        for repair in repairs_on(report, domain, seen=True):
            if repair.verdict:
                verb = "is better by" if repair.verdict > 0 else "is worse by"
                size = plain(abs(repair.gain.mean), repair.gain.unit)
                said.append(
                    f"In-domain, on {domain}, `{repair.pipeline}` {verb} {size} {measure} (paired difference, "
                    f"{_range(repair.gain)})."
                )
    return tuple(said)
