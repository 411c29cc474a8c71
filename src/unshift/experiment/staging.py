"""A training that begins from another: what a pipeline takes over from the one that it comes ``after``.

Trainings are stored one by one; the key of the later one holds that of the earlier. What is begun from are the *last*
weights, whatever the recipe's selection rule: a rule scores what a training ends in, not what a later one needs of it,
and no look of ``oracle`` at the target enters a second stage.
"""

from __future__ import annotations

from typing import Any

from unshift.contracts import Objective
from unshift.errors import ConfigError, ProtocolError
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
