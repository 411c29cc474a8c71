"""What the report shows beside the tables: worst, median and best cases, intensity distributions, training curves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from unshift.config import MemberRef, to_plain, to_yaml
from unshift.evaluate.fold import domain_order
from unshift.evaluate.protocol import Fold, ProtocolConfig
from unshift.evaluate.recovery import gap_recovery
from unshift.evaluate.replay import replayed
from unshift.evaluate.select import RULES
from unshift.evaluate.statistics import false_alarms, worst_rows
from unshift.experiment.gaps import gap_groups
from unshift.experiment.members import cited_as, own_settings, used_members
from unshift.experiment.previewing import sheets
from unshift.experiment.record import Run, read_json
from unshift.experiment.referring import all_references, shown_references
from unshift.experiment.testing import origins, prediction_path
from unshift.formats.reading import read_label_map
from unshift.metrics.policy import METRICS
from unshift.recipe import digest
from unshift.report.citation import works_of
from unshift.report.content import Curve, Distribution, GalleryItem, Report
from unshift.sample import Case

Rank = Literal["worst", "median", "best"]
Key = tuple[str, str, str, str]
_HISTOGRAM_CASES = 40
_BINS = 64
_CHANNELS = {1: ("intensity",), 3: ("red", "green", "blue")}


def collect(
    run: Run,
    plan: list[Fold],
    scores: pd.DataFrame,
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    pooled: pd.DataFrame | None = None,
    pooled_comparisons: pd.DataFrame | None = None,
) -> Report:
    """Everything that the report of a run shows."""
    recipe = run.recipe
    record = read_json(run.folder / "run.json")
    rule = RULES[recipe.selection]
    shown = list(gallery(run, plan, scores))
    return Report(
        title=recipe.description or recipe.name,
        card=run.dataset.card,
        sources=_held_out(plan)[0].sources if len(_held_out(plan)) == 1 else (),
        protocol=describe_protocol(run, plan),
        selection=rule.sentence,
        is_oracle=rule.is_oracle,
        is_transductive=any(fold.transductive for fold in plan),
        recipe=to_yaml(recipe),
        environment=record["environment"],
        code_version=record["code"],
        seeds=recipe.seeds,
        data_hashes=_data_hashes(run),
        command=record["command"],
        scores=scores,
        summary=summary,
        comparisons=comparisons,
        pooled=pooled,
        pooled_comparisons=pooled_comparisons,
        baseline=recipe.baseline,
        pipelines={name: describe_pipeline(run, name) for name in recipe.pipelines},
        metric=recipe.evaluate.metrics[0],
        gallery=shown,
        sheets=list(sheets(run, plan)),
        gaps=list(gap_groups(run, plan, shown)),
        distributions=list(distributions(run, plan)),
        curves=list(curves(run, plan)),
        citations=works_of((one for used in used_members(recipe) for one in cited_as(used)), cited=recipe.cite),
        worst=worst_rows(scores),
        false_alarms=false_alarms(scores),
        references=all_references(run, _held_out(plan)),
        recovery=gap_recovery(scores, baseline=recipe.baseline, config=recipe.evaluate) if _has_bound(plan) else None,
        confidence=recipe.evaluate.confidence,
        statistics=_conventions(run),
        replayed=replayed(recipe.predict, recipe.evaluate),
        postprocessing=_postprocessing(run),
    )


def describe_protocol(run: Run, plan: list[Fold]) -> str:
    """In plain words: what was trained on, what was tested, how patients were split."""
    protocol = run.recipe.protocol
    selects = RULES[run.recipe.selection].needs_unlabeled
    texts = [_describe_fold(fold, protocol, selects=selects) for fold in plan]
    cases = [case for fold in plan for case in (*fold.train, *fold.validation, *fold.test)]
    declared = (
        "Splits that the dataset's owners declare were kept; other patients"
        if any(c.split for c in cases)
        else "Patients"
    )
    split = (
        f"{declared} were split at random (seed {run.recipe.seeds[0]}): {protocol.validation:.0%} of each source's "
        f"patients for validation, {protocol.test:.0%} for the in-domain test. No patient is in two parts."
    )
    return " ".join([*texts, split])


def _describe_fold(fold: Fold, protocol: ProtocolConfig, *, selects: bool) -> str:
    trained = f"({len(fold.train)} cases; {len(fold.validation)} for validation)"
    unseen = sum(not fold.seen(case) for case in fold.test)
    whose = f"the {unseen} cases of held-out patients" if protocol.same_patients else f"all {unseen} cases"
    if protocol.declared_test:
        whose = f"the {unseen} cases that the dataset's owners declare for testing"
    elif fold.unlabeled and not (fold.transductive or protocol.same_patients):
        whose = f"{unseen} cases"
    if fold.kind == "upper_bound":
        chosen = ", its weights chosen by Dice on its own validation patients" if selects else ""
        return (
            f"For gap recovery the baseline was also trained on {', '.join(fold.sources)} itself {trained} and tested "
            f"on {len(fold.test)} held-out cases of it{chosen}; no other table uses this."
        )
    adapted = _describe_adaptation(fold, protocol, selects=selects)
    text = "" if fold.transductive else ", which training never saw"
    return (
        f"Fold {fold.name}: trained on {', '.join(fold.sources)} {trained}, tested on {sum(map(fold.seen, fold.test))} "
        f"held-out cases of the same domains and on {whose} of {', '.join(fold.targets)}{text}.{adapted}"
    )


def _describe_adaptation(fold: Fold, protocol: ProtocolConfig, *, selects: bool) -> str:
    """Which images of the targets adaptation and selection saw; empty where neither looks at any."""
    if not fold.unlabeled:
        return ""
    count, targets = len(fold.unlabeled), ", ".join(fold.targets)
    who = (
        "Pipelines of adaptation, and of all pipelines the choice of weights," if selects else "Pipelines of adaptation"
    )
    if fold.transductive:
        return (
            f" TRANSDUCTIVE: {who[0].lower()}{who[1:]} saw the images of these {count} cases of {targets} in training, "
            "without their labels, and were tested on the same images: figures say how they do on images that are at "
            "hand when they are trained, not on new ones."
        )
    whose = "patients whom the sources show too" if protocol.same_patients else "other patients"
    return (
        f" {who} also saw, without labels, {count} images of {targets}, of {whose}; no tested "
        "patient is among them, as far as the dataset tells patients apart, and all pipelines are tested on the same "
        "cases."
    )


def gallery(run: Run, plan: list[Fold], scores: pd.DataFrame) -> Iterator[GalleryItem]:
    """Worst, median and best case of each domain, chosen by the baseline; every pipeline is shown on the same cases."""
    region, sign = next(iter(run.dataset.task.regions)), METRICS[run.recipe.evaluate.metrics[0]].sign
    rows = scores[(scores["metric"] == run.recipe.evaluate.metrics[0]) & (scores["region"] == region)]
    rows = rows[rows["seed"] == run.recipe.seeds[0]]
    keys = rows[["fold", "pipeline", "domain", "case"]].itertuples(index=False, name=None)
    values: dict[Key, float] = dict(zip(keys, rows["value"], strict=True))
    for fold in _held_out(plan):
        by_key = {case.key: case for case in fold.test}
        for domain in dict.fromkeys(case.domain for case in fold.test):
            if len(_held_out(plan)) > 1 and domain not in fold.targets:
                continue
            key = (fold.name, run.recipe.baseline, domain)
            goodness = {k[3]: sign * v for k, v in values.items() if k[:3] == key}
            for rank, name in _ranked(goodness).items():
                yield from _shown(run, fold, by_key[f"{domain}/{name}"], rank, values)


def distributions(run: Run, plan: list[Fold]) -> Iterator[Distribution]:
    """Histograms of a spread of each domain's images, valid pixels only, as the dataset gives them."""
    plan = _held_out(plan)
    sources = set(plan[0].sources) if len(plan) == 1 else set()
    values: dict[str, np.ndarray] = {}
    for domain in domain_order(plan):
        values[domain] = _values(run, run.dataset.cases(domain))
    channels = run.dataset.task.channels
    names = _CHANNELS.get(
        channels, ("intensity",) if channels == 1 else tuple(f"channel {i + 1}" for i in range(channels))
    )
    for index, channel in enumerate(names):
        pooled = np.concatenate([v[index] for v in values.values()])
        low, high = np.percentile(pooled, [0.1, 99.9])
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        for domain, pixels in values.items():
            density = np.histogram(np.clip(pixels[index], edges[0], edges[-1]), bins=edges, density=True)[0]
            yield Distribution(domain, domain not in sources, channel, edges, density)


def curves(run: Run, plan: list[Fold]) -> Iterator[Curve]:
    """Training loss and source validation of each training, read from its journal."""
    plan, keys = _held_out(plan), read_json(run.folder / "trainings.json")
    done: set[str] = set()
    for fold in plan:
        for pipeline in run.pipelines(fold):
            key = keys[f"{fold.name}/{run.recipe.seeds[0]}/{pipeline}"]
            if key not in done:
                done.add(key)
                name = pipeline if len(plan) == 1 else f"{pipeline} · {fold.name}"
                yield from _curves_of(run.journal_of(pipeline, fold, run.recipe.seeds[0]), name)


def _curves_of(journal: Path, name: str) -> Iterator[Curve]:
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    # Of several phases the last one's: an adversary's loss is another curve.
    losses = list({line["step"]: sum(line["terms"].values()) for line in lines if "terms" in line}.items())
    scores = [(line["step"], line["score"]) for line in lines if line.get("event") == "validation"]
    for quantity, pairs in (("training loss", losses), ("source validation, mean Dice", scores)):
        if pairs:
            yield Curve(name, quantity, [step for step, _ in pairs], [value for _, value in pairs])


def _ranked(goodness: Mapping[str, float]) -> dict[Rank, str]:
    """Names of the worst, median and best case; fewer when there are fewer than three cases."""
    ordered = sorted((name for name, value in goodness.items() if value == value), key=lambda name: goodness[name])
    ordered = ordered or list(goodness)
    places: dict[int, Rank] = {len(ordered) // 2: "median", len(ordered) - 1: "best", 0: "worst"}
    return {rank: ordered[place] for place, rank in sorted(places.items())}


def _shown(run: Run, fold: Fold, case: Case, rank: Rank, values: Mapping[Key, float]) -> Iterator[GalleryItem]:
    sample = run.dataset.read(case)
    assert sample.label_map is not None
    for pipeline in run.recipe.pipelines:
        path = prediction_path(run.folder, pipeline, fold.name, run.recipe.seeds[0], case)
        file = path.with_name(path.name + (".png" if sample.label_map.ndim == 2 else ".nii.gz"))
        yield GalleryItem(
            pipeline=pipeline,
            domain=case.domain,
            case=case.name,
            rank=rank,
            score=values[fold.name, pipeline, case.domain, case.name],
            image=sample.image.numpy(),
            reference=sample.label_map.numpy(),
            prediction=read_label_map(file).array.numpy(),
            spacing=sample.spacing,
            references=shown_references(run, pipeline, fold, case),
        )


def _values(run: Run, cases: list[Case]) -> np.ndarray:
    """Pixels of a spread of cases, float32 [channel, n]."""
    chosen = cases[:: max(1, len(cases) // _HISTOGRAM_CASES)][:_HISTOGRAM_CASES]
    parts = []
    for case in chosen:
        sample = run.dataset.read_image(case)
        pixels = sample.image.flatten(1)
        parts.append((pixels if sample.field_of_view is None else pixels[:, sample.field_of_view.flatten()]).numpy())
    return np.concatenate(parts, axis=1)


def _data_hashes(run: Run) -> Mapping[str, str]:
    by_domain: dict[str, list[str]] = {}
    for key, value in sorted(run.hashes.items()):
        by_domain.setdefault(key.split("/", 1)[0], []).append(value)
    return {domain: f"{len(values)} cases, {digest(values)}" for domain, values in by_domain.items()}


def describe_pipeline(run: Run, pipeline: str) -> str:
    """What a pipeline is: its members with the settings that differ from their defaults, its own training settings."""
    recipe, chosen = run.recipe, run.recipe.pipelines[pipeline]
    parts = [f"objective {_words('objectives', chosen.objective, pipeline)}"]
    parts += [f"network {_words('networks', recipe.network_of(pipeline), pipeline)}"]
    parts += [f"after {chosen.after}"] if chosen.after else []
    shared, own = to_plain(recipe.train), to_plain(recipe.train_of(pipeline))
    changed = {name: value for name, value in own.items() if value != shared[name]}
    parts += [f"trained with {_listed(changed)}"] if changed else []
    for family, references in (("plugins", chosen.plugins), ("normalizations", chosen.normalizations)):
        parts += [f"{family}: {', '.join(_words(family, one, pipeline) for one in references)}"] if references else []
    technical = "; ".join([*parts, *origins(run.folder, pipeline)])
    return f"{chosen.description} ({technical})" if chosen.description else technical


def _words(family: str, reference: MemberRef, pipeline: str) -> str:
    """``din`` or, with settings that differ from its defaults, ``din (levels multi, strength 0.5)``."""
    settings = _listed(own_settings(family, reference, where=f"pipelines.{pipeline}"))
    return f"{reference.name} ({settings})" if settings else reference.name


def _listed(settings: Mapping[str, Any]) -> str:
    """``size [32, 32], judges {"width": 4}``."""
    words = {key: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for key, v in settings.items()}
    return ", ".join(f"{key} {text}" for key, text in words.items())


def _postprocessing(run: Run) -> str:
    config = run.recipe.predict
    steps = [
        text
        for wanted, text in (
            (config.largest_component, "largest component of each class"),
            (config.fill_holes, "holes filled"),
        )
        if wanted
    ]
    return ", ".join(steps) or "none"


def _held_out(plan: list[Fold]) -> list[Fold]:
    return [fold for fold in plan if fold.kind == "held_out"]


def _has_bound(plan: list[Fold]) -> bool:
    return any(fold.kind == "upper_bound" for fold in plan)


def _conventions(run: Run) -> tuple[str, ...]:
    """What a reader must know to redo the numbers."""
    config = run.recipe.evaluate
    return (
        f"Cases whose reference and prediction are both empty are {config.both_empty}.",
        f"Distances where one of the two is empty: {config.one_empty}.",
        f"Tolerance of nsd: {config.tolerance:g} (mm, or px where spacing is unknown).",
    )
