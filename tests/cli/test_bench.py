"""What `unshift bench` prints of a result."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from unshift.cli import bench, console
from unshift.experiment.run import Result

PLACES = [("A", True), ("B", True), ("A", False), ("B", False)]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Console:
    """A wide console that remembers."""
    wide = Console(width=200, record=True)
    for module in (bench, console):
        monkeypatch.setattr(module, "output", wide)
    return wide


def result(pooled: pd.DataFrame) -> Result:
    common = {"pipeline": "erm", "region": "disc", "metric": "dice", "unit": "1", "mean": 0.5, "low": 0.4, "high": 0.6}
    summary = pd.DataFrame([common | {"domain": domain, "seen": seen} for domain, seen in PLACES])
    together = pd.DataFrame(
        [common | row for row in pooled.to_dict(orient="records")], columns=list(dict.fromkeys([*common, *pooled]))
    )
    place = Path("runs")
    return Result(place, place / "report.html", summary, summary, summary.iloc[:0], together, together.iloc[:0])


def test_unseen_domains_stand_first_then_all_of_them_then_those_trained_on(printed: Console) -> None:
    row = pd.DataFrame([{"domain": "all unseen", "seen": False, "mean": 0.55, "low": 0.51, "high": 0.59}])
    bench.show_summary(result(row))
    _, header, line = printed.export_text().splitlines()[:3]
    assert header.split("  ")[0] == "pipeline"
    assert " ".join(header.split()) == "pipeline A B all unseen A (seen) B (seen)"
    assert "55.0 [51.0, 59.0]" in line, "as the result has it, with the recipe's confidence"


def test_one_unseen_domain_has_no_column_beside_it(printed: Console) -> None:
    bench.show_summary(result(pd.DataFrame(columns=["domain", "seen"])))
    assert "all unseen" not in printed.export_text()


def test_json_has_the_rows_over_all_unseen_domains(printed: Console) -> None:
    row = pd.DataFrame([{"domain": "all unseen", "seen": False}])
    bench.show_result(result(row), as_json=True)
    document = json.loads(printed.export_text())
    assert [one["domain"] for one in document["pooled"]] == ["all unseen"] and document["pooled_comparisons"] == []
