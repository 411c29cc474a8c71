"""Findings are plain data, and errors among them are raised together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unshift.datasets.problem import Problem, Scan, raise_errors
from unshift.errors import DataError

ERROR = Problem("missing mask", "error", Path("a.png"), "has no mask; one is required", "Add it.")
WARNING = Problem("stray file", "warning", Path("b.txt"), "is no image", "Move it.")


def test_a_problem_reads_as_a_sentence_and_as_json() -> None:
    assert str(ERROR) == "a.png: has no mask; one is required. Add it."
    assert json.loads(json.dumps(ERROR.to_dict())) == {
        "kind": "missing mask",
        "severity": "error",
        "file": "a.png",
        "what": "has no mask; one is required",
        "remedy": "Add it.",
    }


def test_only_errors_are_raised_and_all_at_once() -> None:
    assert Scan((), (), (ERROR, WARNING)).errors == (ERROR,)
    raise_errors(Path("root"), [WARNING])
    with pytest.raises(DataError, match=r"(?s)root: 2 problems .*a\.png: has no mask.*a\.png: has no mask") as caught:
        raise_errors(Path("root"), [ERROR, WARNING, ERROR])
    assert "b.txt" not in str(caught.value)
    with pytest.raises(DataError, match="… and 8 more"):
        raise_errors(Path("root"), [ERROR] * 20)
