"""Which weights of a training are tested: rules with a name and a sentence that goes into every table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from unshift.errors import ProtocolError, UnknownName
from unshift.evaluate.unsupervised import PIXELS
from unshift.train.checkpoint import read_state, steps_kept


@dataclass(frozen=True)
class SelectionRule:
    """A way to choose weights.

    Args:
        name: as in a recipe.
        sentence: what it does and what it looks at, for readers of a table.
        is_oracle: whether it looks at the target's labels; every table is then marked.
        compares: whether it scores the weights of every validation, all of which must then be kept.
    """

    name: str
    sentence: str
    is_oracle: bool = False
    compares: bool = False

    @property
    def needs_unlabeled(self) -> bool:
        """Whether it looks at the target's unlabeled images, and so needs some."""
        return self.compares and not self.is_oracle


_KEPT = "Tested are, of the weights kept in training,"
_UNSEEN = "No label of the target was looked at, and of its images only those that adaptation may see."


_ALL = (
    SelectionRule("last", "Tested are the weights after the last training step; nothing was selected."),
    SelectionRule(
        "source_validation",
        "Tested are the weights with the best Dice on held-out validation patients of the source domains; the target "
        "was not looked at.",
    ),
    SelectionRule(
        "entropy",
        f"{_KEPT} those whose predictions on unlabeled images of the target have the lowest mean entropy. {_UNSEEN} A "
        "network that is sure of one class everywhere would win.",
        compares=True,
    ),
    SelectionRule(
        "neighborhood_density",
        f"{_KEPT} those with the highest soft neighborhood density (Saito et al. 2021) of predictions on {PIXELS} "
        f"pixels of each unlabeled image of the target. {_UNSEEN} A network that says the same everywhere would win.",
        compares=True,
    ),
    SelectionRule(
        "translated_validation",
        f"{_KEPT} those with the best Dice on held-out validation patients of the source domains, their images "
        f"translated into the style of unlabeled images of the target by the translator of the same step. {_UNSEEN}",
        compares=True,
    ),
    SelectionRule(
        "oracle",
        "ORACLE: tested are, of the weights kept in training, those that score best on the target's own labels. "
        "Nobody has these labels in practice: these figures are a ceiling, not a result.",
        is_oracle=True,
        compares=True,
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
        score_step: step -> score of its weights by the rule's own measure, higher is better; asked by rules that
            compare only. Of equal scores the earliest step wins.

    Raises:
        UnknownName: no such rule.
        ProtocolError: nothing was kept; no validation was made; a rule that compares has no scores to go by.
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
    return _best_by_score(rule, folder, kept, score_step)


def _best_by_score(rule: str, folder: Path, kept: list[int], score_step: Callable[[int], float] | None) -> int:
    if score_step is None:
        raise ProtocolError(f"{folder}: selection {rule} needs a score for each step and has none. Pass score_step.")
    found = {step: score_step(step) for step in kept}
    defined = {step: value for step, value in found.items() if not math.isnan(value)}
    if not defined:
        raise ProtocolError(f"{folder}: the score of selection {rule} is undefined at every step. Choose another rule.")
    return max(defined, key=lambda step: (defined[step], -step))
