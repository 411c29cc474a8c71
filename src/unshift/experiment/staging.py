"""A training that begins from another: what a pipeline takes over from the one that it comes ``after``.

Trainings are stored one by one; the key of the later one holds that of the earlier. What is begun from are the *last*
weights, whatever the recipe's selection rule: a rule scores what a training ends in, not what a later one needs of it,
and no look of ``oracle`` at the target enters a second stage.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from unshift.contracts import Objective
from unshift.errors import ConfigError, ProtocolError
from unshift.experiment.record import is_first_process
from unshift.networks.stored_translator import read_translator, write_translator
from unshift.networks.style_bank import fit_bank
from unshift.recipe import Recipe
from unshift.train.loop import Trained


def begin(objective: Any, first: Objective, *, recipe: Recipe, pipeline: str) -> None:
    """Let the objective of a pipeline begin from that of the pipeline that it comes after.

    An objective that can has a method ``begin_after(first)``: it takes what it needs of ``first``, leaves out the
    phases that learned it, and raises :class:`ConfigError` where ``first`` does not give it.

    Raises:
        ConfigError: also where the objective has no such method.
    """
    chosen = recipe.pipelines[pipeline]
    where = f"pipelines.{pipeline}: after {chosen.after!r}"
    if not hasattr(objective, "begin_after"):
        raise ConfigError(
            f"{where}: objective {chosen.objective.name} takes nothing from another training; style_translation and "
            "glua take a translator. Remove `after`."
        )
    try:
        objective.begin_after(first)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def require_first(objective: Any, *, recipe: Recipe, pipeline: str) -> None:
    """Raise for an objective that wants the styles of a finished translator, and comes after none.

    Raises:
        ConfigError: ``styles: bank`` without ``after``.
    """
    if getattr(objective, "wants_styles", False) and recipe.pipelines[pipeline].after is None:
        raise ConfigError(
            f"objective {recipe.pipelines[pipeline].objective.name}: `styles: bank` takes the styles of a finished "
            "translator, and the row comes after none. Give it `after: NAME` of a row that trains one, or remove "
            "`styles`."
        )


def give_styles(objective: Any, volumes: Iterable[Float[Tensor, "slice channel height width"]], folder: Path) -> None:
    """Fit a bank of the target's styles for an objective that wants one; nothing for others.

    It is kept in the training's folder with the translator whose codes it holds, in one file that
    :func:`~unshift.networks.stored_translator.read_translator` reads: for whoever wants to translate whole volumes.

    Args:
        objective: has ``wants_styles``, ``take_styles`` and a translator to take them from, if it wants any.
        volumes: of the unlabeled target images, one at a time.
        folder: of the training.
    """
    if not getattr(objective, "wants_styles", False):
        return
    path, translator = folder / "translator.safetensors", objective.translating
    bank = read_translator(path)[1] if path.is_file() else None
    if bank is None:
        bank = fit_bank(translator, volumes)
        if is_first_process():
            folder.mkdir(parents=True, exist_ok=True)
            write_translator(path, translator, bank)
    objective.take_styles(bank)


def require_whole(trained: Trained, *, recipe: Recipe, pipeline: str) -> None:
    """Raise where the earlier training is not at its end: it would go on, and the later one was made of less.

    Raises:
        ProtocolError: ``max_minutes`` stopped it.
    """
    if trained.stopped == "max_minutes":
        raise ProtocolError(
            f"pipelines.{pipeline}: after {recipe.pipelines[pipeline].after!r}, whose training max_minutes stopped at "
            f"step {trained.step}; one that is at its end is required. Give it more time: it goes on from there."
        )
