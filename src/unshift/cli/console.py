"""What all verbs share: where text goes, how errors end a command, how tables and progress are drawn."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from unshift.errors import UnshiftError
from unshift.experiment.events import Event, Job

P = ParamSpec("P")
R = TypeVar("R")
INTERRUPTED = 130
WRONG_INPUT = 2

_PIPED_WIDTH = 160
output = Console() if Console().is_terminal else Console(width=_PIPED_WIDTH)
messages = Console(stderr=True) if Console(stderr=True).is_terminal else Console(stderr=True, width=_PIPED_WIDTH)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """End the command with an honest exit code: 2 for wrong input, 130 for Ctrl-C. Bugs keep their traceback."""

    @functools.wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return command(*arguments, **options)
        except UnshiftError as error:
            messages.print("[bold red]Error[/bold red]", end=" ")
            messages.print(str(error), markup=False, highlight=False)
            raise typer.Exit(WRONG_INPUT) from None
        except OSError as error:  # a full disk, a missing right: the machine's word, without a traceback
            messages.print("[bold red]Error[/bold red]", end=" ")
            said = f"{error.filename or 'file system'}: {error.strerror or error}"
            remedy = "a place that can be read and written to is required. Check the path, its rights and free space."
            messages.print(f"{said}; {remedy}", markup=False, highlight=False)
            raise typer.Exit(WRONG_INPUT) from None
        except KeyboardInterrupt:
            messages.print("\nStopped. What was done is kept: the same command goes on from here.")
            raise typer.Exit(INTERRUPTED) from None

    return run


def emit(data: Any) -> None:
    """Machine-readable output: JSON on standard output, and nothing else there. NaN becomes null."""
    output.print_json(json.dumps(_finite(data), ensure_ascii=False, default=str))


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; columns of figures are right-aligned, and go on below where the line is too short."""
    numbers = [
        all(row[index][:1].isdigit() or row[index][:1] in "+-−—[" for row in rows) for index in range(len(header))
    ]
    for part in _parts([header, *rows], output.width) if all(numbers[1:]) else [range(len(header))]:
        drawn = Table(
            title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False
        )
        for index in part:
            is_figure = bool(index) and numbers[index]
            drawn.add_column(header[index], justify="right" if is_figure else "left", no_wrap=is_figure)
        for row in rows:
            drawn.add_row(*(escape(row[index]) for index in part))
        output.print(drawn)
        title = ""


def estimate(value: float, low: float, high: float, form: str = ".1f") -> str:
    """``52.1 [40.2, 63.9]``; the value alone where it has no interval (one patient), ``—`` where it is not defined."""
    if value != value:
        return "—"
    interval = "" if low != low or high != high else f" [{low:{form}}, {high:{form}}]"
    return f"{value:{form}}{interval}"


def _parts(cells: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Columns side by side as far as they fit, each part with the first column before it and one column at least."""
    first, *widths = (max(len(row[index]) for row in cells) for index in range(len(cells[0])))
    parts, left = [[0]], width - first
    for index, taken in enumerate(widths, start=1):
        if taken + 2 > left and len(parts[-1]) > 1:
            parts.append([0])
            left = width - first
        parts[-1].append(index)
        left -= taken + 2
    return parts


class Bars:
    """A listener that draws what is going on and how long is left.

    On a terminal: one bar for the run, one for the job. Elsewhere: one line when a job ends, so that logs stay short.
    The time left is estimated from the measured seconds per training step and per tested case.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = {job.name: job for job in jobs}
        self.done: dict[str, int] = {}
        self.began: dict[str, tuple[float, int]] = {}
        self.spent: dict[str, float] = {}
        self.said: set[str] = set()
        self.progress = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[note]}", style="dim"),
            console=messages,
            transient=False,
        )
        self.overall: TaskID = self.progress.add_task("[bold]whole run", total=1.0, note="estimating the time left")
        self.current: TaskID = self.progress.add_task("starting", total=None, note="reading the data")

    def __enter__(self) -> Bars:
        if messages.is_terminal:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if messages.is_terminal:
            self.progress.stop()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        now = time.monotonic()
        start, already = self.began.setdefault(event.job, (now, event.done))
        self.done[event.job] = event.done
        if event.detail == "already there":
            self.jobs.pop(event.job, None)
        if event.done > already:
            self.spent[event.job] = (now - start) / (event.done - already)
        left = self.seconds_left()
        note = "estimating the time left" if left is None else f"about {duration(left)} left"
        self.progress.update(self.overall, completed=self.share(), note=note)
        self.progress.update(
            self.current, description=event.job, completed=event.done, total=event.total, note=event.detail
        )
        if not messages.is_terminal and event.done >= event.total and event.job not in self.said:
            self.said.add(event.job)
            count = f" ({event.total})" if event.total > 1 else ""
            detail = f", {event.detail}" if event.detail else ""
            ended = event.detail if event.detail.startswith("stopped") else f"done{count}{detail}"
            messages.print(f"{event.job}: {ended}; whole run: {note}.", highlight=False)

    def seconds_left(self) -> float | None:
        """Estimated seconds to the end of the run; None until something has been measured of every kind it needs."""
        rates = self._rates()
        if "train" not in rates and any(j.kind == "train" for j in self.jobs.values()):
            return None
        return sum(self._left(job) * rates.get(job.kind, 0.05) for job in self.jobs.values())

    def share(self) -> float:
        """Finished part of the run, 0 … 1, by estimated time."""
        rates = self._rates()
        weight = {name: rates.get(job.kind, 0.2 if job.kind == "train" else 0.05) for name, job in self.jobs.items()}
        whole = sum(job.total * weight[name] for name, job in self.jobs.items())
        left = sum(self._left(job) * weight[name] for name, job in self.jobs.items())
        return 1.0 if whole == 0 else 1.0 - left / whole

    def _left(self, job: Job) -> int:
        return max(0, job.total - self.done.get(job.name, 0))

    def _rates(self) -> dict[str, float]:
        by_kind: dict[str, list[float]] = {}
        for name, seconds in self.spent.items():
            if name in self.jobs:
                by_kind.setdefault(self.jobs[name].kind, []).append(seconds)
        return {kind: sum(values) / len(values) for kind, values in by_kind.items()}


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``40 s``, ``3 min 20 s``, ``1 h 05 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _finite(data: Any) -> Any:
    if isinstance(data, float) and (data != data or data in (float("inf"), float("-inf"))):
        return None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data
