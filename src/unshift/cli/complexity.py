"""Table 3 of DINSeg: operations, parameters and time of each repair, beside the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from unshift.cli.console import duration, emit, messages, output, table
from unshift.experiment.complexity import PAPER_MACHINE, PAPER_SIZE, Cost, Row, measure
from unshift.experiment.deployment import Accelerator
from unshift.experiment.record import environment
from unshift.train.devices import Devices

WORD = "complexity"
"""Stands in place of a recipe: ``unshift bench complexity``."""


def complexity(*, size: int | None, full: bool, accelerator: Accelerator, as_json: bool) -> None:
    """Count, measure and print the table."""
    device, size = Devices(accelerator=accelerator).device, size or PAPER_SIZE
    messages.print(f"Counting and timing at {size} × {size} on {device.type}.")
    rows = measure(size, device=device, full=full, expects=say_how_long)
    facts = environment()
    machine = facts["accelerators"] if device.type == "cuda" else facts["machine"]
    if as_json:
        emit({"size": size, "device": device.type, "machine": machine, "rows": [asdict(row) for row in rows]})
        return
    show("transfer part", rows, [(row.transfer, row.paper_transfer) for row in rows])
    show("whole pipeline", rows, [(row.whole, row.paper_whole) for row in rows])
    show_shares(rows)
    output.print(
        f"\nOne image of {size} × {size}. Times: {machine}; the paper's: {PAPER_MACHINE}, {PAPER_SIZE} × {PAPER_SIZE}."
    )
    for row in rows:
        for note in row.notes:
            output.print(f"{row.method}: {note}.", highlight=False, soft_wrap=True)


def say_how_long(seconds: float) -> None:
    """What one pass of the network lets expect."""
    messages.print(f"This takes about {duration(max(seconds, 1.0))}.", highlight=False)


def show(title: str, rows: Sequence[Row], costs: Sequence[tuple[Cost, Cost]]) -> None:
    """Ours beside the paper's."""
    header = ("method", "FLOPs, G", "paper", "parameters, M", "paper", "time, ms", "paper")
    lines = []
    for row, pair in zip(rows, costs, strict=True):
        cells = [row.method]
        for name, unit in (("operations", 1e9), ("parameters", 1e6), ("milliseconds", 1.0)):
            cells += [number(getattr(cost, name), unit) for cost in pair]
        lines.append(cells)
    table(title, header, lines)


def show_shares(rows: Sequence[Row]) -> None:
    """How much of the whole time is the transfer's."""
    lines = []
    for row in rows:
        pairs = ((row.transfer, row.whole), (row.paper_transfer, row.paper_whole))
        lines.append([row.method, *(f"{100 * share(*pair):.3g}" for pair in pairs)])
    table("share of time", ("method", "transfer, %", "paper"), lines)


def share(part: Cost, whole: Cost) -> float:
    """Of the time; 0 where none was measured."""
    return (part.milliseconds or 0.0) / whole.milliseconds if whole.milliseconds else 0.0


def number(value: float | None, unit: float) -> str:
    """Five significant digits above 1, three below; an em dash where there is none."""
    if value is None:
        return "—"
    scaled = value / unit
    if scaled == 0 or scaled >= 1:
        return f"{scaled:,.2f}"
    return f"{scaled:.3g}"
