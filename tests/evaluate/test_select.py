"""Selection rules choose what they say."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from unshift.errors import ProtocolError, UnknownName
from unshift.evaluate import select
from unshift.evaluate.select import RULES, choose

UNSUPERVISED = {"entropy", "neighborhood_density", "translated_validation"}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A training with weights after steps 10, 20 and 30, the best validation after 20."""
    state = SimpleNamespace(steps=[10, 20, 30], best_step=20)
    monkeypatch.setattr(select, "steps_kept", lambda folder: state.steps)
    monkeypatch.setattr(select, "read_state", lambda folder, step: state)
    return state


def test_last_and_source_validation(kept: SimpleNamespace) -> None:
    assert choose("last", Path()) == "last"
    assert choose("source_validation", Path()) == "best"


def test_only_rules_that_compare_ask_for_scores(kept: SimpleNamespace) -> None:
    def forbidden(step: int) -> float:
        raise AssertionError("asked for a score")

    assert {n for n, r in RULES.items() if not r.compares} == {"last", "source_validation"}
    assert {n for n, r in RULES.items() if r.needs_unlabeled} == UNSUPERVISED
    for rule in RULES.values():
        if rule.compares:
            with pytest.raises(AssertionError, match="asked for a score"):
                choose(rule.name, Path(), score_step=forbidden)
        else:
            choose(rule.name, Path(), score_step=forbidden)


@pytest.mark.parametrize(
    ("scores", "step"),
    [((0.1, 0.3, 0.2), 20), ((0.1, 0.1, 0.1), 10), ((math.nan, 0.1, math.nan), 20), ((-1.0, -2.0, -0.5), 30)],
)
@pytest.mark.parametrize("rule", sorted({"oracle", *UNSUPERVISED}))
def test_the_best_score_wins_and_of_equals_the_first(
    kept: SimpleNamespace, rule: str, scores: tuple[float, ...], step: int
) -> None:
    found = dict(zip(kept.steps, scores, strict=True))
    assert choose(rule, Path(), score_step=found.__getitem__) == step


def test_the_oracle_says_so() -> None:
    assert [name for name, rule in RULES.items() if rule.is_oracle] == ["oracle"]
    assert RULES["oracle"].sentence.startswith("ORACLE")
    assert "target" in RULES["oracle"].sentence
    assert all(rule.name == name and rule.sentence.endswith(".") for name, rule in RULES.items())
    assert all("No label of the target was looked at" in RULES[name].sentence for name in UNSUPERVISED)


def test_what_cannot_be_chosen(kept: SimpleNamespace) -> None:
    with pytest.raises(ProtocolError, match="selection oracle needs a score for each step"):
        choose("oracle", Path())
    with pytest.raises(ProtocolError, match="undefined at every step"):
        choose("oracle", Path(), score_step=lambda step: math.nan)
    with pytest.raises(UnknownName, match="unknown selection rule 'orakel'. Did you mean 'oracle'"):
        choose("orakel", Path())
    kept.best_step = None
    with pytest.raises(ProtocolError, match="no validation was made; source_validation needs one"):
        choose("source_validation", Path())
    kept.steps = []
    with pytest.raises(ProtocolError, match="no weights were kept"):
        choose("last", Path())
