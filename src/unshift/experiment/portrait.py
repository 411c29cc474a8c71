"""What the page of `unshift robustify` shows: collected from the result, with pictures predicted once more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from unshift.config import to_yaml
from unshift.contracts import Tap
from unshift.evaluate.choice import IN_DOMAIN, NONE, overall
from unshift.evaluate.comparison import compare, few_patients
from unshift.evaluate.score import EvaluateConfig
from unshift.evaluate.statistics import summarize
from unshift.experiment.candidates import GATED, Fitted, named
from unshift.experiment.record import code_version, environment
from unshift.experiment.repair_plan import describe_shifts, read_case, views
from unshift.experiment.robustify import SCORING, Robustness
from unshift.plugins.bottleneck import LEAST_IMAGES
from unshift.plugins.frozen import chosen
from unshift.report.content import GalleryItem
from unshift.report.repair import RepairReport, write_repair_report
from unshift.sample import Case, Sample

_CONFIG = EvaluateConfig(metrics=("dice",))


def write_page(
    result: Robustness, *, subject: str, command: str, wording: Callable[[str], str] = lambda text: text
) -> Path:
    """Write ``report.html`` and ``tables/`` into the result's folder; returns the page's path.

    Args:
        subject: what the model is and where it is from.
        command: that makes this again.
        wording: puts what is doubted, which names settings, into the words of whoever asked.
    """
    report = portrait(result, subject=subject, command=command)
    return write_repair_report(result.folder, replace(report, doubts=tuple(map(wording, report.doubts))))


def portrait(result: Robustness, *, subject: str, command: str) -> RepairReport:
    """Everything that the page shows."""
    plan = result.plan
    shifts = pd.DataFrame(
        [(s.name, s.preset, s.strength) for s in plan.shifts], columns=["domain", "preset", "strength"]
    )
    title = plan.bundle.card.title or type(plan.bundle.network).__name__
    return RepairReport(
        title=f"{title}: made robust" if result.choice.name != NONE else f"{title}: is there a repair?",
        subject=f"{subject}. Source images: {plan.source.description}.",
        is_labeled=plan.source.is_labeled,
        choice=result.choice,
        rule=rule(plan.config.tolerance),
        summary=place_means(result.scores),
        comparisons=comparisons(result),
        shifts=shifts,
        taps=[(tap.name, tap.stride, tap.channels, used) for tap, used in restyled_taps(result)],
        distances=result.distances,
        measured=result.measured,
        milliseconds=result.milliseconds,
        gallery=list(gallery(result)),
        checks=[(check.name, check.holds, check.detail) for check in result.checks],
        notes=notes(result),
        doubts=result.doubts,
        command=command,
        environment=environment(),
        code_version=code_version(),
        confidence=_CONFIG.confidence,
    )


def comparisons(result: Robustness) -> pd.DataFrame:
    """Every candidate minus ``none``, in-domain and over the shifts."""
    return compare(overall(result.scores), baseline=NONE, config=_CONFIG, seed=result.plan.config.seed)


def caution(result: Robustness) -> str:
    """What a comparison of so few patients cannot say, as the page says it; empty where there are enough."""
    return few_patients(comparisons(result), confidence=_CONFIG.confidence)


def rule(tolerance: float) -> str:
    """The rule of the choice in a sentence."""
    return (
        "The rule: among candidates that lose at most "
        f"{tolerance:g} points in-domain and whose gain over the shifts has an interval above 0, the one with the best "
        f"mean over the shifts; {NONE} where there is no such candidate."
    )


def place_means(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean of every candidate at every place; regions are averaged per case."""
    keys = ["pipeline", "dataset", "domain", "seen", "patient", "case", "metric", "unit", "fold", "seed"]
    frame = scores.assign(region="all").groupby([*keys, "region"], sort=False, as_index=False)["value"].mean()
    return summarize(frame, config=_CONFIG)


def restyled_taps(result: Robustness) -> list[tuple[Tap, bool]]:
    """The network's taps, and whether the choice has a unit there."""
    network = result.plan.bundle.network
    plugin = named(result.fitted, result.choice.name).plugin
    levels = getattr(plugin.config, "levels", ()) if plugin else ()
    used = chosen(network.taps, levels) if levels else ()
    return [(tap, index in used) for index, tap in enumerate(network.taps)]


def notes(result: Robustness) -> dict[str, str]:
    """Heading -> sentences: how it was done, and what a reader must not conclude."""
    plan, config = result.plan, result.plan.config
    trained = [c for c in plan.candidates if c.plugin and "task" in str(c.plugin.settings.get("objective", ""))]
    content = f"photographs of {config.content.name}" if config.content else "made-up textures"
    found = {
        "Score": SCORING[plan.source.is_labeled],
        "Images": (
            f"{plan.source.description}. Divided at random by patient (seed {config.seed}): repairs were fitted on "
            f"{len(plan.source.fit)} images and compared on {len(plan.source.held_out)} of other patients. The network "
            "itself may have been trained on any of them."
        ),
        "Shifts": describe_shifts(plan),
        "Fitting": (
            "The network stays frozen. Style units take channel statistics of the source images; those that are "
            f"trained also see {config.content_count} content images ({content}) for at most {config.steps} steps."
        ),
        "Choice": f"{rule(config.tolerance)} {result.choice.reason}",
        "Time": "Milliseconds an image are of the whole prediction in this run, one image at a time.",
        "Settings": "`" + " ".join(to_yaml(config).split("\n")).strip() + "`",
    }
    if any(c.plugin and c.plugin.settings.get("gate") == GATED for c in plan.candidates):
        found["Gate"] = (
            "Candidates called gated leave an image alone while its bottleneck statistics lie within what source "
            "images show, and restyle it more the further they lie outside. The threshold is from source images alone."
        )
    elif GATED in config.gates:
        found["Gate"] = (
            f"No gated candidate was tried: to tell what is usual, {LEAST_IMAGES} images to fit on are needed."
        )
    if trained:
        found["Two families of shifts"] = (
            "Units with the objective `task` were trained under random shifts of the augmentation `appearance`; the "
            "comparison here uses the vendor simulator. They are not the same shifts, but both are made up."
        )
    return found


def gallery(result: Robustness) -> Iterator[GalleryItem]:
    """Worst, median and best held-out image of ``none``, in-domain and under the strongest shift of each preset."""
    plan = result.plan
    strongest = max(shift.strength for shift in plan.shifts)
    places = [IN_DOMAIN, *(shift.name for shift in plan.shifts if shift.strength == strongest)]
    shown = [named(result.fitted, name) for name in dict.fromkeys([NONE, result.choice.name])]
    cases = {read_case(plan.source, case, labeled=False).case: case for case in plan.source.held_out}
    means = result.scores.groupby(["pipeline", "domain", "case"])["value"].mean()
    for place in places:
        values = means[NONE, place]
        for rank, name in ranked(values).items():
            reference, sample = _pair(result, cases[name], place)
            for one in shown:
                yield _item(one, place, rank, float(means[one.name, place, name]), reference, sample)


def ranked(values: pd.Series) -> dict[str, str]:
    """Names of the worst, median and best case; fewer when there are fewer than three."""
    ordered = list(values.dropna().sort_values(kind="stable").index) or list(values.index)
    places = {len(ordered) // 2: "median", len(ordered) - 1: "best", 0: "worst"}
    return {rank: ordered[place] for place, rank in sorted(places.items())}


def _pair(result: Robustness, case: Case, place: str) -> tuple[Sample, Sample]:
    """The held-out case with what it was scored against, and its image at ``place``."""
    plan = result.plan
    reference = read_case(plan.source, case, labeled=plan.source.is_labeled)
    if reference.label_map is None:
        device = plan.bundle.network.input_mean.device
        reference = reference.replace(label_map=plan.bundle.predictor(device).predict(reference).label_map)
    return reference, dict(views(plan, reference))[place]


def _item(one: Fitted, place: str, rank: str, value: float, reference: Sample, sample: Sample) -> GalleryItem:
    predicted = one.bundle.predictor(one.bundle.network.input_mean.device).predict(sample).label_map
    assert reference.label_map is not None
    return GalleryItem(
        pipeline=one.name,
        domain=place,
        case=sample.case,
        rank=rank,  # type: ignore[arg-type]
        score=value,
        image=sample.image.numpy(),
        reference=reference.label_map.numpy(),
        prediction=predicted.numpy(),
        spacing=sample.spacing,
    )
