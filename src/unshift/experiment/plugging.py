"""Fit a pipeline's plugin on the fold's training images, as the network saw them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from unshift import discover
from unshift.config import MemberRef
from unshift.contracts import Network, Plugin
from unshift.evaluate.protocol import Fold
from unshift.experiment.content import content_like, photographs
from unshift.experiment.record import Run, is_first_process, write_text
from unshift.experiment.training import Training, apply, identity
from unshift.geometry import InputConfig
from unshift.randomness import numpy_generator
from unshift.recipe import Recipe, load_config
from unshift.sample import Sample
from unshift.train.patches import cut, prepare_piece

STYLE_IMAGES = 200
"""As many source images as the paper's style bank has."""


def fit_plugins(run: Run, pipeline: str, fold: Fold, training: Training, *, seed: int) -> tuple[Plugin, ...]:
    """The pipeline's plugins, fitted; labels of ``fold.train`` alone are read.

    What fitting logs is kept in the run folder, ``plugins/<fold>/<seed>/<pipeline>.jsonl``.
    """
    references, content = run.recipe.pipelines[pipeline].plugins, run.recipe.content
    if not references:
        return ()
    cases = fold.train[:: math.ceil(len(fold.train) / STYLE_IMAGES)]
    samples = (apply(training.preprocessing, run.dataset.read(case)) for case in cases)
    foreground = run.recipe.train_of(pipeline).foreground
    style = as_network_sees(samples, run.recipe.input, foreground=foreground, count=STYLE_IMAGES // len(cases))
    colors = run.dataset.task.channels  # of one slice; the network's channels may be neighbouring slices
    images = content_like(style, content.folder, content.count, seed=seed, colors=colors)
    fitted = tuple(fit_plugin(r, training.objective.network, style, images, seed=seed) for r in references)
    lines = [json.dumps(entry) + "\n" for plugin in fitted for entry in plugin.history]
    if lines and is_first_process():
        write_text(run.folder / "plugins" / fold.name / str(seed) / f"{pipeline}.jsonl", "".join(lines))
    return fitted


def identity_of_plugins(recipe: Recipe, pipeline: str) -> list[Any]:
    """What decides the units: members, settings, and the names and sizes of the photographs; empty without plugins.

    Raises:
        DataError: the folder of photographs is missing or holds none.
    """
    references, content = recipe.pipelines[pipeline].plugins, recipe.content
    if not references:
        return []
    files = [] if content.folder is None else [(path, content.folder) for path in photographs(content.folder)]
    found = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path, folder in files]
    return [[identity("plugins", reference) for reference in references], content.count, found]


def fit_plugin(
    reference: MemberRef, network: Network, style: Sequence[Sample], content: Sequence[Sample], *, seed: int
) -> Plugin:
    """Build the plugin that ``reference`` names and fit it on ``network``."""
    config = load_config("plugins", reference, where="plugin")
    plugin: Plugin = discover.load("plugins", reference.name)(config)
    return plugin.fit(network, style, content, seed=seed)


def as_network_sees(
    samples: Iterable[Sample],
    input: InputConfig,  # noqa: A002
    *,
    foreground: float = 0.5,
    count: int = 1,
    seed: int = 0,
) -> list[Sample]:
    """Preprocessed samples cut to the network's input as in training: resized, slices, or patches.

    Args:
        samples: one after another; only one is held whole at a time.
        input: what the network sees of a sample.
        foreground: probability that a slice or patch is chosen to show foreground, where labels are known.
        count: slices or patches of each sample; of images seen whole there is but one.
        seed: decides slices and patches.
    """
    seen: list[Sample] = []
    for sample in samples:
        piece = prepare_piece(sample, input)
        whole = input.mode == "resize" and len(input.size) == len(sample.space)
        for part in range(1 if whole else max(count, 1)):
            generator = numpy_generator(seed, "as the network sees", sample.domain, sample.case, part)
            view = cut(piece, input, foreground=foreground, generator=generator)
            cut_out = Sample(view.image, sample.case, sample.patient, sample.domain, path=sample.path)
            seen.append(cut_out.replace(label_map=view.label_map, field_of_view=view.field_of_view))
    return seen
