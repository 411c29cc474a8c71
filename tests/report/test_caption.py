from __future__ import annotations

from typing import Any

from unshift.report.caption import ORACLE, REPLAY, TRANSDUCTIVE, baseline_name, bootstrap, conditions
from unshift.report.page import render


def test_conditions_name_rule_grid_and_postprocessing(make_report: Any) -> None:
    report = make_report(selection="The last step.", resolution="128 × 128 pixels", postprocessing="holes filled")
    assert conditions(report) == "The last step. Scored on 128 × 128 pixels. Post-processing: holes filled."


def test_the_oracle_is_marked_once(make_report: Any) -> None:
    assert conditions(make_report(is_oracle=True)).endswith(f". {ORACLE}")
    assert conditions(make_report(is_oracle=True, selection="ORACLE: the best step.")).count("ORACLE") == 1
    assert "ORACLE" not in conditions(make_report())


def test_confidence_and_baseline_are_named(make_report: Any) -> None:
    assert bootstrap(make_report(confidence=0.9)).startswith("90 % bootstrap interval")
    assert baseline_name(make_report()) == "the baseline"
    assert baseline_name(make_report({("erm", "vendor B"): 0.5})) == "the baseline erm"


def test_a_transductive_test_is_marked(make_report: Any) -> None:
    assert conditions(make_report(is_transductive=True)).endswith(f". {TRANSDUCTIVE}")
    assert "TRANSDUCTIVE" not in conditions(make_report())
    page = render(make_report(is_transductive=True))
    assert "<strong>TRANSDUCTIVE</strong> What adapts saw" in page and "TRANSDUCTIVE" not in render(make_report())


def test_a_replayed_protocol_is_marked_with_what_was_replayed(make_report: Any) -> None:
    text = conditions(make_report(replayed=("Distances are in voxels.", "A second thing.")))
    assert text.endswith(f". {REPLAY} Distances are in voxels. A second thing.")
    assert "REPLAY" not in conditions(make_report())
