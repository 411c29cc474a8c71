"""Which weights of a training are tested: rules with a name and a sentence that goes into every table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from unshift.errors import ProtocolError, UnknownName
from unshift.train.checkpoint import read_state, steps_kept


@dataclass(frozen=True)
class SelectionRule:
    """A way to choose weights.

    Args:
        name: as in a recipe.
        sentence: what it does and what it looks at, for readers of a table.
        is_oracle: whether it looks at the target's labels; every table is then marked.
    """

    name: str
    sentence: str
    is_oracle: bool = False


_ALL = (
    SelectionRule("last", "Tested are the weights after the last training step; nothing was selected."),
    SelectionRule(
        "source_validation",
        "Tested are the weights with the best Dice on held-out validation patients of the source domains; the target "
        "was not looked at.",
    ),
    SelectionRule(
        "oracle",
        "ORACLE: tested are, of the weights kept in training, those that score best on the target's own labels. "
        "Nobody has these labels in practice: these figures are a ceiling, not a result.",
        is_oracle=True,
    ),
)
RULES: Mapping[str, SelectionRule] = MappingProxyType({rule.name: rule for rule in _ALL})


def choose(
    rule: str, folder: Path, *, score_step: Callable[[int], float] | None = None
) -> Literal["last", "best"] | int:
    """The weights that a rule chooses, in the words of :func:`unshift.train.checkpoint.load_weights`.

    Args:
        rule: a key of :data:`RULES`.
        folder: of the training.
        score_step: step -> score of its weights on the target, higher is better; asked by ``oracle`` only. Of equal
            scores the earliest step wins.

    Raises:
        UnknownName: no such rule.
        ProtocolError: nothing was kept; no validation was made; the oracle has no scores to go by.
    """
    if rule not in RULES:
        raise UnknownName("selection rule", rule, RULES)
    kept = steps_kept(folder)
    if not kept:
        raise ProtocolError(f"{folder}: no weights were kept; a rule needs some to choose from. Train first.")
    if rule == "last":
        return "last"
    if rule == "source_validation":
        if read_state(folder, kept[-1]).best_step is None:
            raise ProtocolError(
                f"{folder}: no validation was made; source_validation needs one. Give protocol.validation a share of "
                "patients and train.validate_every fewer steps than train.steps, or set selection: last."
            )
        return "best"
    return _best_on_target(folder, kept, score_step)


def _best_on_target(folder: Path, kept: list[int], score_step: Callable[[int], float] | None) -> int:
    if score_step is None:
        raise ProtocolError(f"{folder}: the oracle needs scores on the target and has none. Pass score_step.")
    found = {step: score_step(step) for step in kept}
    defined = {step: value for step, value in found.items() if not math.isnan(value)}
    if not defined:
        raise ProtocolError(f"{folder}: the target's score is undefined at every step. Choose another rule.")
    return max(defined, key=lambda step: (defined[step], -step))
