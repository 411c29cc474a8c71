"""What stands under every table: how the numbers came about."""

from __future__ import annotations

from unshift.report.content import Report
from unshift.report.number import percent

ORACLE = "ORACLE: weights were selected with the target's own labels; not a result that could be had in practice."

REPLAY = "REPLAY of a published protocol, not ours:"

TRANSDUCTIVE = "TRANSDUCTIVE: what adapts saw the tested images in training, without their labels."


def baseline_name(report: Report) -> str:
    """How prose names the baseline."""
    return "the baseline" if report.baseline == "baseline" else f"the baseline {report.baseline}"


def conditions(report: Report) -> str:
    """Selection rule, grid and post-processing; marks of oracle, transductive tests and replayed protocols."""
    mark = f" {ORACLE}" if report.is_oracle and "ORACLE" not in report.selection else ""
    mark += f" {TRANSDUCTIVE}" if report.is_transductive else ""
    mark += f" {REPLAY} {' '.join(report.replayed)}" if report.replayed else ""
    how = f"Scored on {report.resolution}. Post-processing: {report.postprocessing}."
    return f"{report.selection.rstrip('.')}. {how}{mark}"


def bootstrap(report: Report) -> str:
    """The interval's name: ``95 % bootstrap interval clustered by patient``."""
    return f"{percent(report.confidence)} bootstrap interval clustered by patient"
