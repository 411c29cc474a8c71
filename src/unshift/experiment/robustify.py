"""A trained network and source images -> repairs fitted, compared under simulated shifts, the best saved as a bundle.

The network is frozen throughout and a copy of it is worked on: the user's object and files stay as they are. Shifts for
the comparison come from the vendor simulator (``phantom.vendor``); units that are trained on labels see another family
of shifts (``augmentations.appearance``), so that they are not compared on what they were trained on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from unshift.errors import ConfigError
from unshift.evaluate.choice import IN_DOMAIN, NONE, Choice, choose
from unshift.evaluate.score import EvaluateConfig, score, to_frame, write_scores
from unshift.experiment.candidates import Candidate, Fitted, fit, named, origins
from unshift.experiment.content import content_like
from unshift.experiment.events import Event, Listener, silence
from unshift.experiment.first_look import SCORE, low_score
from unshift.experiment.plugging import STYLE_IMAGES, as_network_sees
from unshift.experiment.proof import Check, distances, prove
from unshift.experiment.record import code_version, environment, write_json
from unshift.experiment.repair_plan import Plan, RobustifyConfig, describe_shifts, prepare, read_case, views
from unshift.experiment.shifting import shifted
from unshift.experiment.source import Source
from unshift.experiment.training import apply
from unshift.export.bundle import MANIFEST, Bundle, BundleCard, save_bundle
from unshift.sample import Prediction, Sample, Score
from unshift.train.devices import Devices

STYLE_VOLUMES = 40
"""Patches of volumes that units are fitted on, where pictures may be :data:`STYLE_IMAGES`."""
PROBED = 8
"""Held-out images whose features are looked at."""
SCORING = {
    True: "Dice of the prediction with the reference label maps.",
    False: "Agreement: Dice of the prediction with the network's own prediction on the unshifted image. There are no "
    "labels, so nothing here says that the network is right on its source; a changed prediction counts as a loss.",
}


@dataclass(frozen=True)
class Robustness:
    """What came out.

    Args:
        folder: holds ``bundle``, ``report.html``, ``robustness.json``, ``scores.parquet`` and ``tables``.
        scores: rows of every candidate, place and held-out case.
        fitted: all candidates.
        checks: of the saved bundle and of strength 0.
        distances: of features to the source's statistics, before and after ``measured``: tap, place, before, after.
        milliseconds: candidate -> mean time of predicting one image, reading excluded.
    """

    folder: Path
    plan: Plan
    scores: pd.DataFrame
    choice: Choice
    fitted: tuple[Fitted, ...]
    checks: tuple[Check, ...]
    distances: pd.DataFrame
    measured: str
    milliseconds: Mapping[str, float]

    @property
    def bundle(self) -> Path:
        """What `unshift predict` takes."""
        return self.folder / "bundle"

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is odd about the model on its own images, now that all held-out ones were looked at."""
        found = {subject: text for subject, text in self.plan.doubts.items() if subject != SCORE}
        if self.plan.source.is_labeled:
            found |= low_score(self.choice.before.in_domain.mean, len(self.plan.source.held_out))
        return tuple(found.values())


def execute(plan: Plan, folder: Path, *, listener: Listener = silence) -> Robustness:
    """Fit, compare, choose, save, check. The bundle is written to ``folder/bundle``.

    Raises:
        ConfigError: ``folder/bundle`` is something else.
        UnshiftError: an image that cannot be read; a network that gives no finite numbers.
    """
    check_output(folder)
    fitted = fit_all(plan, listener)
    scores, milliseconds = compare_all(plan, fitted, listener)
    config = EvaluateConfig(metrics=("dice",))
    choice = choose(
        scores, tolerance=plan.config.tolerance, forced=plan.config.choose, config=config, seed=plan.config.seed
    )
    winner = named(fitted, choice.name)
    saved = replace(winner.bundle, card=_card(plan, choice, winner))
    save_bundle(folder / "bundle", saved)
    write_scores(folder / "scores.parquet", scores)
    probes = _probes(plan)
    checks = prove(saved, folder / "bundle", fitted, probes)
    shown = winner if winner.plugin else _best_plugin(fitted, choice)
    table = distances(shown, _by_place(plan)) if shown else pd.DataFrame()
    result = Robustness(folder, plan, scores, choice, fitted, checks, table, shown.name if shown else "", milliseconds)
    write_json(folder / "robustness.json", record(result))
    return result


def robustify(
    bundle: Bundle,
    source: Source,
    folder: Path,
    *,
    config: RobustifyConfig | None = None,
    listener: Listener = silence,
) -> Robustness:
    """:func:`prepare` and :func:`execute` in one."""
    return execute(prepare(bundle, source, config or RobustifyConfig()), folder, listener=listener)


def check_output(folder: Path) -> None:
    """Raise before hours pass where the bundle could not be written.

    Raises:
        ConfigError: ``folder`` is a file, or something other than a bundle lies where the bundle goes.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; the output is a folder. Give another path.")
    place = folder / "bundle"
    if place.exists() and not (place / MANIFEST).is_file():
        raise ConfigError(f"{place}: exists and is no bundle, so it is not overwritten. Give another path.")


def fit_all(plan: Plan, listener: Listener = silence) -> tuple[Fitted, ...]:
    """Every candidate fitted on the source's first part, in the plan's order."""
    config, bundle = plan.config, plan.bundle
    most = STYLE_VOLUMES if len(bundle.input.size) == 3 else STYLE_IMAGES
    cases = plan.source.fit[:: -(-len(plan.source.fit) // most)]

    def samples() -> Iterator[Sample]:
        for case in cases:
            yield apply(bundle.preprocessing, read_case(plan.source, case, labeled=plan.source.is_labeled))

    style = as_network_sees(samples(), bundle.input, count=most // len(cases), seed=config.seed)
    colors = bundle.task.channels if bundle.network.in_channels != bundle.task.channels else None
    trains = any(c.plugin and "steps" in c.plugin.settings for c in plan.candidates)
    count = config.content_count if trains else 0
    content = content_like(style, config.content, count, seed=config.seed, colors=colors) if count else []
    done: dict[str, Fitted] = {}
    for candidate in sorted(plan.candidates, key=_gated_last):
        said = silence if candidate.name == NONE else listener
        said(Event(f"fit {candidate.name}", 0, 1, f"{len(style)} source images"))
        done[candidate.name] = fit(
            candidate,
            bundle,
            samples=samples,
            style=style,
            content=content,
            siblings=list(done.values()),
            seed=config.seed,
        )
        said(Event(f"fit {candidate.name}", 1, 1, f"{done[candidate.name].seconds:.1f} s"))
    return tuple(done[candidate.name] for candidate in plan.candidates)


def compare_all(
    plan: Plan, fitted: Sequence[Fitted], listener: Listener = silence
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Scores of every candidate on every held-out image, unshifted and shifted; and milliseconds an image."""
    device = Devices(accelerator=plan.config.accelerator).device
    predictors = {one.name: one.bundle.predictor(device) for one in fitted}
    spent = dict.fromkeys(predictors, 0.0)
    rows: list[Score] = []
    done = 0
    for case in plan.source.held_out:
        reference = read_case(plan.source, case, labeled=plan.source.is_labeled)
        for place, sample in views(plan, reference):
            for name, predictor in predictors.items():
                began = time.perf_counter()
                prediction = predictor.predict(sample)
                spent[name] += time.perf_counter() - began
                if reference.label_map is None:  # the first: `none`, in-domain
                    reference = reference.replace(label_map=prediction.label_map)
                rows += _scored(plan, name, place, prediction, reference)
            done += len(predictors)
            listener(Event("compare", done, plan.predictions, f"{case.key} {place}"))
    images = len(plan.source.held_out) * len(plan.places)
    return to_frame(rows), {name: 1000 * seconds / images for name, seconds in spent.items()}


def record(result: Robustness) -> dict[str, Any]:
    """The result as plain data: what ``robustness.json`` holds."""
    plan = result.plan
    return {
        "choice": result.choice.name,
        "reason": result.choice.reason,
        "forced": result.choice.is_forced,
        "doubts": list(result.doubts),
        "scoring": SCORING[plan.source.is_labeled],
        "shifts": describe_shifts(plan),
        "source": plan.source.description,
        "fitted_on": len(plan.source.fit),
        "held_out": len(plan.source.held_out),
        "config": plan.config.model_dump(mode="json"),
        "candidates": [
            asdict(standing) | {"seconds_to_fit": one.seconds, "milliseconds": result.milliseconds[one.name]}
            for standing, one in zip(result.choice.standings, result.fitted, strict=True)
        ],
        "taps": [vars(tap) for tap in plan.bundle.network.taps],
        "distances": result.distances.to_dict(orient="records"),
        "checks": [asdict(check) for check in result.checks],
        "code": code_version(),
        "environment": environment(),
    }


def _gated_last(candidate: Candidate) -> bool:
    """Gated units are fitted first: their ungated siblings take theirs from them."""
    return candidate.plugin is not None and candidate.plugin.settings.get("gate") == "none"


def _scored(plan: Plan, name: str, place: str, prediction: Prediction, reference: Sample) -> list[Score]:
    return score(
        replace(prediction, domain=place),
        reference.replace(domain=place),
        plan.bundle.task,
        config=EvaluateConfig(metrics=("dice",)),
        run="robustify",
        pipeline=name,
        dataset="source",
        seen=place == IN_DOMAIN,
    )


def _by_place(plan: Plan) -> dict[str, list[Sample]]:
    """Some held-out images as they are and under the strongest shifts, as the network sees them."""
    strongest = [shift for shift in plan.shifts if shift.strength == max(s.strength for s in plan.shifts)]
    samples = [read_case(plan.source, case, labeled=False) for case in plan.source.held_out[:PROBED]]
    found = {IN_DOMAIN: samples}
    found |= {shift.name: [shifted(s, shift, seed=plan.config.seed) for s in samples] for shift in strongest}
    preprocessing, seed = plan.bundle.preprocessing, plan.config.seed
    return {
        place: as_network_sees((apply(preprocessing, s) for s in group), plan.bundle.input, seed=seed)
        for place, group in found.items()
    }


def _probes(plan: Plan) -> list[Sample]:
    """A held-out image as it is and under the last shift: what the saved bundle is tried on."""
    sample = read_case(plan.source, plan.source.held_out[0], labeled=False)
    return [sample, shifted(sample, plan.shifts[-1], seed=plan.config.seed)]


def _best_plugin(fitted: Sequence[Fitted], choice: Choice) -> Fitted | None:
    """Of the candidates with units, the one with the best mean over the shifts."""
    means = {standing.name: standing.shifted.mean for standing in choice.standings}
    return max((one for one in fitted if one.plugin), key=lambda one: means[one.name], default=None)


def _card(plan: Plan, choice: Choice, winner: Fitted) -> BundleCard:
    """The model's own card with what was changed and the figures that speak for it."""
    card, found, before = plan.bundle.card, choice.standing, choice.before
    kind = "Dice" if plan.source.is_labeled else "agreement"
    figures = {
        "repair": choice.name,
        f"{kind} in-domain, before": round(100 * before.in_domain.mean, 2),
        f"{kind} in-domain, after": round(100 * found.in_domain.mean, 2),
        f"{kind} over simulated shifts, before": round(100 * before.shifted.mean, 2),
        f"{kind} over simulated shifts, after": round(100 * found.shifted.mean, 2),
        "held-out source images": len(plan.source.held_out),
        "simulator": plan.kind,
        **origins(winner.bundle.normalizations),
    }
    title = card.title or type(plan.bundle.network).__name__
    return card.model_copy(
        update={
            "title": title if choice.name == NONE else f"{title} + {choice.name}",
            "intended_use": card.intended_use or "Research; not a medical device.",
            "limits": " ".join([card.limits, "Figures are of simulated shifts, not of another scanner."]).strip(),
            "code_version": code_version(),
            "figures": {**card.figures, **figures},
        }
    )
