"""One training of one pipeline: stored under the hash of what determines it, and never repeated."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unshift import __version__, discover
from unshift.contracts import Network, Normalization, Objective, Setting
from unshift.errors import ProtocolError
from unshift.evaluate import protocol
from unshift.evaluate.protocol import Fold
from unshift.experiment.events import Event, Job
from unshift.experiment.previewing import previewing
from unshift.experiment.record import Run
from unshift.experiment.selecting import select_step, validator
from unshift.experiment.staging import begin, give_styles, require_whole
from unshift.experiment.watching import watching
from unshift.networks.building import build_network
from unshift.randomness import derive
from unshift.recipe import MemberRef, Recipe, digest, load_config
from unshift.sample import Case, Sample, Task
from unshift.train.checkpoint import load_weights, steps_kept
from unshift.train.loader import Loader, UnlabeledLoader
from unshift.train.loop import Trained, fit
from unshift.train.settings import BYSTANDERS, Progress

_STANDARDIZATION_SAMPLES = 100


@dataclass(frozen=True)
class Training:
    """Selected weights, the step that they are of, and what they were trained with."""

    objective: Objective
    preprocessing: tuple[Normalization, ...]
    key: str
    step: int
    trained: Trained


def train(run: Run, pipeline: str, fold: Fold, *, seed: int) -> Training:
    """Train, or take from the store, and select weights by the recipe's rule.

    Labels of ``fold.train`` and ``fold.validation`` are read; of ``fold.test`` only by the rule ``oracle``. Objectives
    of adaptation are given the images of ``fold.unlabeled``, and those alone. What the pipeline comes ``after`` is
    trained first, or taken from the store; its last weights are begun from, whatever the rule.
    """
    done = _fitted(run, pipeline, fold, seed=seed)
    settings: dict[str, Any] = {"trained": done.trained, "unlabeled": done.unlabeled}
    step = select_step(run, fold, done.objective, preprocessing=done.preprocessing, **settings)
    load_weights(done.objective, done.trained.folder, step)
    done.objective.to(run.devices.device)
    return Training(done.objective.eval(), done.preprocessing, done.key, step, done.trained)


@dataclass(frozen=True)
class _Fitted:
    """A finished training with its last weights."""

    objective: Objective
    preprocessing: tuple[Normalization, ...]
    key: str
    trained: Trained
    unlabeled: UnlabeledLoader | None


def _fitted(run: Run, pipeline: str, fold: Fold, *, seed: int) -> _Fitted:
    recipe, config = run.recipe, run.recipe.train_of(pipeline)
    after = recipe.pipelines[pipeline].after
    first = None if after is None else _fitted(run, after, fold, seed=seed)
    job = train_jobs(run, pipeline, fold, seed=seed)[-1]
    folder = run.store / job.key
    preprocessing = fit_normalizations(recipe.preprocessing, lambda: _unlabeled(run, fold.train))
    objective = build_objective(recipe, pipeline, run.dataset.task, sources=fold.sources, seed=seed)
    protocol.require(objective.setting, fold, objective=recipe.pipelines[pipeline].objective.name)
    if first is not None:
        require_whole(first.trained, recipe=recipe, pipeline=pipeline)
        begin(objective, first.objective, recipe=recipe, pipeline=pipeline)
    if not steps_kept(folder):
        objective.network.standardize(*channel_statistics(apply(preprocessing, s) for s in _spread(run, fold.train)))
    settings: dict[str, Any] = {"input": recipe.input, "config": config, "seed": seed}
    settings["prepare"] = partial(apply, preprocessing)
    adapts = objective.setting.kind == "adaptation"
    loader = Loader(run.dataset, fold.train, **settings)
    unlabeled = UnlabeledLoader(run.dataset, fold.unlabeled, **settings) if adapts else None
    if unlabeled is not None and first is not None:
        give_styles(objective, unlabeled.volumes(), folder)
    held_out = Loader(run.dataset, fold.validation, **settings) if fold.validation else None
    show = previewing(objective, loader, unlabeled, folder)

    begun = False

    def listen(progress: Progress) -> None:
        nonlocal begun
        begun = True
        show(progress)
        run.listener(_event(job.name, progress))

    trained = fit(
        objective,
        loader,
        unlabeled=unlabeled,
        config=config,
        folder=folder,
        seed=seed,
        devices=run.devices,
        validate=validator(run, fold.validation, preprocessing),
        watch=watching(objective, run.dataset.task, held_out, unlabeled),
        listener=listen,
    )
    run.note_training(pipeline, fold, seed, job.key)
    ended = "" if begun else "already there"
    if trained.stopped != "steps":
        ended = f"stopped by {trained.stopped} at step {trained.step}"
    run.listener(Event(job.name, job.total, job.total, ended))
    return _Fitted(objective, preprocessing, job.key, trained, unlabeled)


def train_jobs(run: Run, pipeline: str, fold: Fold, *, seed: int) -> list[Job]:
    """The jobs of training one pipeline, those that it comes after first; one shared training has one key."""
    found = []
    for name in run.recipe.stages(pipeline):
        after, key = run.recipe.pipelines[name].after, training_key(run, name, fold, seed=seed)
        title = f"train {name} · {fold.name} · seed {seed}" + (f" · after {after}" if after else "")
        found.append(Job(title, "train", run.recipe.train_of(name).steps, key))
    return found


def training_key(run: Run, pipeline: str, fold: Fold, *, seed: int) -> str:
    """The hash of what decides the weights: data, split, code and settings of every member that takes part, seed.

    ``max_minutes`` and other :data:`BYSTANDERS` do not enter: a stored training that was stopped by the clock goes on
    when it is given more time, and one that is further along than a limit asks for is used as it is.
    """
    recipe = run.recipe
    objective, network = recipe.pipelines[pipeline].objective, recipe.network_of(pipeline)
    sides = ("train", "validation", *(["unlabeled"] if adaptation(objective) else []))
    parts = {name: [run.hashes[case.key] for case in getattr(fold, name)] for name in sides}
    after = recipe.pipelines[pipeline].after
    return digest(
        __version__,
        recipe.dataset,
        fold.sources,
        parts,
        recipe.input,
        identity("networks", network),
        identity("objectives", objective),
        [identity("normalizations", reference) for reference in recipe.preprocessing],
        recipe.train_of(pipeline).model_dump(mode="json", exclude=set(BYSTANDERS)),
        # Validation chooses the best weights, and depends on how labels are predicted and empty ones counted.
        recipe.predict.honest().deciding(),
        recipe.evaluate.both_empty,
        # The oracle compares the weights of every validation; a training that kept only the best cannot serve it.
        recipe.selection == "oracle",
        seed,
        *([] if after is None else [training_key(run, after, fold, seed=seed)]),
    )


def adaptation(objective: MemberRef) -> bool:
    """Whether the objective sees unlabeled images of the target."""
    setting: Setting = discover.load("objectives", objective.name).setting
    return setting.kind == "adaptation"


def identity(family: str, reference: MemberRef) -> tuple[str, ...]:
    """What a member will do: its settings, its source file, and the content of the files that decide what it does.

    Source that members share is not among them; within a key, the version of unshift stands for it.
    """
    config = load_config(family, reference, where=family)
    member = discover.load(family, reference.name)
    files = (Path(inspect.getfile(member)), *member.files(config))
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return (reference.name, digest(config.model_dump(mode="json")), *hashes)


def build_objective(
    recipe: Recipe, pipeline: str, task: Task, *, sources: Sequence[str], seed: int, pretrained: bool = True
) -> Objective:
    """The pipeline's objective around its network; initial weights are a function of ``seed``.

    ``pretrained`` false leaves out weights that the network's settings would fetch: its shapes are the same.
    """
    reference = recipe.pipelines[pipeline].objective
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "initial weights"))
        network = build_network(recipe.network_of(pipeline), task, recipe.input, pretrained=pretrained)
        member = discover.load("objectives", reference.name)
        config = load_config("objectives", reference, where=f"pipelines.{pipeline}.objective")
        objective: Objective = member(config, task, network, sources)
    return objective


def fit_normalizations(
    references: Sequence[MemberRef],
    samples: Callable[[], Iterable[Sample]],
    *,
    network: Network | None = None,
    size: Sequence[int] = (),
    applied: Sequence[Normalization] = (),
) -> tuple[Normalization, ...]:
    """Build each normalization and fit it on the source samples as the ones before it leave them.

    Args:
        network, size: trained, and its input, for repairs that look through it; preprocessing has none yet.
        applied: steps that ``samples`` have gone through.
    """
    fitted: list[Normalization] = []
    for reference in references:
        config = load_config("normalizations", reference, where="normalization")
        normalization: Normalization = discover.load("normalizations", reference.name)(config)
        before = tuple(fitted)
        if network is not None:
            normalization.bind(network, size, (*applied, *before))
        fitted.append(normalization.fit(apply(before, sample) for sample in samples()))  # type: ignore[operator]
    return tuple(fitted)


def apply(normalizations: Sequence[Normalization], sample: Sample) -> Sample:
    """One view after another.

    Raises:
        ProtocolError: a normalization gives several views, which only test images may have.
    """
    for normalization in normalizations:
        views = normalization.views(sample)
        if len(views) != 1:
            raise ProtocolError(
                f"Case {sample.case!r}: preprocessing {type(normalization).__name__} gives {len(views)} views; "
                "preprocessing gives exactly one. Move it to a pipeline's normalizations."
            )
        sample = views[0]
    return sample


def channel_statistics(samples: Iterable[Sample]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over all valid pixels of ``samples``, float32 [channel]."""
    count, total, squares = 0.0, torch.zeros(()), torch.zeros(())
    for sample in samples:
        values = sample.image.flatten(1).double()
        if sample.field_of_view is not None:
            values = values[:, sample.field_of_view.flatten()]
        count, total, squares = count + values.shape[1], total + values.sum(1), squares + values.square().sum(1)
    mean = total / count
    return mean.float(), (squares / count - mean.square()).clamp_min(0).sqrt().float()


def _unlabeled(run: Run, cases: Sequence[Case]) -> Iterator[Sample]:
    return (run.dataset.read_image(case) for case in cases)


def _spread(run: Run, cases: Sequence[Case]) -> Iterator[Sample]:
    """Evenly spaced cases, at most a hundred: enough for a channel's mean and deviation."""
    step = math.ceil(len(cases) / _STANDARDIZATION_SAMPLES)
    return _unlabeled(run, cases[::step])


def _event(job: str, progress: Progress) -> Event:
    return Event(job, progress.step, progress.steps, progress.detail)
