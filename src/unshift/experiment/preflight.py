"""What can be known to fail before the first training: labels, repairs, files, the first loss of every objective."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from unshift import discover
from unshift.contracts import Dataset
from unshift.datasets.files import FileDataset
from unshift.errors import DataError, ProtocolError, UnshiftError
from unshift.evaluate.protocol import Fold
from unshift.experiment.events import Event
from unshift.experiment.record import Run
from unshift.experiment.staging import begin, require_first
from unshift.experiment.training import adaptation, apply, build_objective, fit_normalizations, training_key
from unshift.networks.style_bank import fit_bank
from unshift.randomness import seed_step
from unshift.recipe import Recipe, load_config
from unshift.sample import Batch, Case, Sample, UnlabeledBatch
from unshift.train.checkpoint import steps_kept
from unshift.train.loader import Loader, UnlabeledLoader

logger = logging.getLogger(__name__)
_NAMED, _LISTED = 3, 10
_opened: set[frozenset[tuple[str, str, str]]] = set()

Draw = Callable[[str], tuple[Batch, UnlabeledBatch | None]]


def preflight(
    current: Run, plan: Sequence[Fold], *, pipelines: Sequence[str] | None = None, pretrained: bool = True
) -> None:
    """Raise before the first training for what would stop it, a later one, or the test.

    Every image is opened once, and the label maps that are trained on; those that are only tested stay closed, and
    what is wrong with them is found in the test.

    Args:
        pipelines: those that are to be trained and not tested; None for a whole run, with its tests.
        pretrained: whether networks get the weights that they begin with, which may have to be fetched.

    Raises:
        UnshiftError: the message says what to do.
    """
    require_labels(current, plan, tested=pipelines is None or current.recipe.selection == "oracle")
    require_repairs(current, plan, pipelines)
    warn_of_selection(current.recipe)
    require_files(current, plan, tested=pipelines is None)
    require_losses(current, plan, pipelines, pretrained=pretrained)


@contextmanager
def naming(pipeline: str) -> Iterator[None]:
    """Put the pipeline's name before what goes wrong in it: a member knows the setting, not whose it is."""
    try:
        yield
    except UnshiftError as error:
        error.args = (f"Pipeline {pipeline}: {error}",)
        raise


def require_labels(current: Run, plan: Iterable[Fold], *, tested: bool) -> None:
    """Raise for cases without a label map that are to be trained on or tested. No label map is opened.

    Raises:
        ProtocolError: names the domains, and says how a target without labels is predicted.
    """
    for fold in plan:
        if missing := _unlabeled((*fold.train, *fold.validation)):
            raise ProtocolError(
                f"Fold {fold.name!r}: {missing}; what is trained on needs labels. {_remedy(fold)}"
                f"{_layout(current.dataset)}"
            )
        if tested and (missing := _unlabeled(fold.test)):
            raise ProtocolError(
                f"Fold {fold.name!r}: {missing}; a test compares predictions with labels. Add them, or, for a target "
                "without labels, run `unshift train RECIPE --pipeline NAME` and give its bundle and the images to "
                f"`unshift predict`.{_layout(current.dataset)}"
            )


def require_files(current: Run, plan: Iterable[Fold], *, tested: bool) -> None:
    """Raise for files that cannot be read, all of them at once; not where the run has begun, which looked already.

    Raises:
        DataError: names every file, up to a number.
    """
    dataset = current.dataset
    if dataset.root is None or (current.folder / "trainings.json").exists():
        return
    read: dict[str, tuple[Case, Callable[[Case], Sample]]] = {}
    for fold in plan:
        shown = (*fold.unlabeled, *(fold.test if tested else ()))
        read = {case.key: (case, dataset.read_image) for case in shown} | read
        read |= {case.key: (case, dataset.read) for case in (*fold.train, *fold.validation)}
    state = frozenset((key, current.hashes[key], reader.__name__) for key, (_, reader) in read.items())
    if state in _opened:  # by another run of this process: a replay has one for each switch
        return
    wrong: list[str] = []
    for done, (case, reader) in enumerate(read.values(), start=1):
        try:
            reader(case)
        except UnshiftError as error:
            wrong.append(str(error))
        current.listener(Event("open every file", done, len(read)))
    if wrong:
        more = f"\n… and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        listed = "\n".join(wrong[:_LISTED])
        raise DataError(
            f"{dataset.root}: {len(wrong)} of {len(read)} case(s) cannot be used; nothing was trained. Repair them, or "
            f"take their files away; `unshift data check` finds more.\n{listed}{more}"
        )
    _opened.add(state)


def require_repairs(current: Run, plan: Iterable[Fold], pipelines: Sequence[str] | None = None) -> None:
    """Raise for what a pipeline's repair names and cannot use: a file, an image, a package.

    Raises:
        UnshiftError: the repair says which one.
    """
    for fold in plan:
        sources = [case.key for case in fold.train]
        for name in pipelines or current.pipelines(fold):
            for reference in current.recipe.pipelines[name].normalizations:
                where = f"pipelines.{name}.normalizations"
                config = load_config("normalizations", reference, where=where)
                discover.load("normalizations", reference.name, where=where).preflight(config, sources)


def warn_of_selection(recipe: Recipe) -> None:
    """Say where weights would be selected on images that a pipeline is not trained for."""
    found = [name for name in recipe.pipelines if recipe.selection == "source_validation" and _translates(recipe, name)]
    if found:
        logger.warning(
            "selection is source_validation: Dice on source images as they are, and %s learn from translated ones. Set "
            "selection: last.",
            ", ".join(found),
        )


def _translates(recipe: Recipe, pipeline: str) -> bool:
    reference = recipe.pipelines[pipeline].objective
    config = load_config("objectives", reference, where=f"pipelines.{pipeline}.objective")
    return hasattr(discover.load("objectives", reference.name), "translated") or bool(
        getattr(config, "translation", None)
    )


def require_losses(
    current: Run, plan: Sequence[Fold], pipelines: Sequence[str] | None = None, *, pretrained: bool = True
) -> None:
    """Build every objective, and ask it once for its losses, before anything is trained: of the first fold of a kind.

    A batch is of two images, or one of each source. The objective is in evaluation mode, without gradients, on the CPU,
    with first weights, and thrown away. One whose training is in the store is not asked.

    Raises:
        UnshiftError: the objective, or the network, says what is wrong, behind the pipeline's name.
    """
    seed = current.recipe.seeds[0]
    for fold in {fold.kind: fold for fold in reversed(plan)}.values():
        draw, asked = _drawing(current, fold), set()
        for name in pipelines or current.pipelines(fold):
            for stage in current.recipe.stages(name):
                key = training_key(current, stage, fold, seed=seed)
                if key not in asked and not steps_kept(current.store / key):
                    _ask(current, stage, fold, draw=draw, pretrained=pretrained)
                asked.add(key)


def _ask(current: Run, pipeline: str, fold: Fold, *, draw: Draw, pretrained: bool) -> None:
    recipe, task = current.recipe, current.dataset.task
    after, seed = recipe.pipelines[pipeline].after, recipe.seeds[0]
    with naming(pipeline):
        how: dict[str, Any] = {"sources": fold.sources, "seed": seed, "pretrained": pretrained}
        objective: Any = build_objective(recipe, pipeline, task, **how)
        require_first(objective, recipe=recipe, pipeline=pipeline)
        if after is not None:
            first = build_objective(recipe, after, task, **how)
            begin(objective, first, recipe=recipe, pipeline=pipeline)
    batch, unlabeled = draw(pipeline)
    with naming(pipeline), torch.random.fork_rng(devices=[]), torch.no_grad():
        seed_step(seed, 0)
        if unlabeled is not None and getattr(objective, "wants_styles", False):
            objective.take_styles(fit_bank(objective.translating, [unlabeled.images]))
        objective.eval()
        for phase in objective.phases:
            objective(batch, unlabeled, phase=phase)


def _drawing(current: Run, fold: Fold) -> Draw:
    """Pipeline -> a first batch of the fold's, small; pipelines that sample alike get the same one."""
    recipe, dataset = current.recipe, current.dataset

    @cache
    def fitted() -> Any:
        return fit_normalizations(recipe.preprocessing, lambda: (dataset.read_image(case) for case in fold.train))

    @cache
    def drawn(kind: Any, sampling: str, foreground: float, size: int) -> Any:
        changes = {"sampling": sampling, "foreground": foreground, "batch_size": size, "accumulate": 1}
        cases = fold.train if kind is Loader else fold.unlabeled
        config = recipe.train.model_copy(update=changes)
        prepare = lambda sample: apply(fitted(), sample)  # noqa: E731
        loader = kind(dataset, cases, input=recipe.input, config=config, seed=recipe.seeds[0], prepare=prepare)
        return loader.batch(0)

    def draw(pipeline: str) -> tuple[Batch, UnlabeledBatch | None]:
        config = recipe.train_of(pipeline)
        how = config.sampling, config.foreground, min(config.batch_size, max(2, len(fold.sources)))
        adapts = adaptation(recipe.pipelines[pipeline].objective)
        return drawn(Loader, *how), drawn(UnlabeledLoader, *how) if adapts else None

    return draw


def _unlabeled(cases: Iterable[Case]) -> str:
    """What stands in a message about cases without a label map; empty where all have one."""
    found = sorted({case.key for case in cases if not case.is_labeled})
    if not found:
        return ""
    domains = sorted({key.partition("/")[0] for key in found})
    shown = ", ".join(found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
    return f"{len(found)} case(s) of {', '.join(domains)} have no label map ({shown})"


def _remedy(fold: Fold) -> str:
    if fold.kind == "upper_bound":
        return "Add them, or set protocol.upper_bound: false, for it trains on the target itself."
    return "Add them, or give protocol.sources the domains that have labels, and protocol.targets the others."


def _layout(dataset: Dataset) -> str:
    """Where label maps are looked for, as the end of a message."""
    return f"\n{dataset.expected}" if isinstance(dataset, FileDataset) else ""
