"""How commands end: the machine's own errors are said with the file's name as it is."""

from __future__ import annotations

import pytest
import typer
from rich.console import Console

from unshift.cli import console
from unshift.cli.console import WRONG_INPUT, Bars, estimate, guarded
from unshift.experiment.events import Event, Job


def test_a_files_name_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    @guarded
    def full() -> None:
        raise OSError(28, "No space left on device", "scan [red]7[/red].png")

    with pytest.raises(typer.Exit) as ended:
        full()
    assert ended.value.exit_code == WRONG_INPUT
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "scan [red]7[/red].png: No space left on device; a place that can be read and written to is required." in said
    )
    assert "Check the path, its rights and free space." in said


def test_a_wide_table_goes_on_below_with_the_names_of_its_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "output", Console(width=40))
    header = ["pipeline", *(f"camera{i}" for i in range(5))]
    console.table("dice", header, [[name, *["91.3 [89.7, 93.0]"] * 5] for name in ("erm", "ram_dsir")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40 and sum(line.startswith("dice") for line in lines) == 1
    assert [line.split()[1:] for line in lines if line.startswith("pipeline")] == [[f"camera{i}"] for i in range(5)]
    assert sum(line.startswith("ram_dsir") and "91.3 [89.7, 93.0]" in line for line in lines) == 5


def test_a_table_that_fits_is_one_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "output", Console(width=40))
    console.table("dice", ["pipeline", "a", "b"], [["erm", "91.3", "80.0"]])
    assert capsys.readouterr().out.splitlines()[1].split() == ["pipeline", "a", "b"]


def test_an_estimate_without_an_interval_or_without_a_value() -> None:
    nan = float("nan")
    assert estimate(52.14, 40.2, 63.9) == "52.1 [40.2, 63.9]"
    assert estimate(0.5, -0.25, 1, "+.2f") == "+0.50 [-0.25, +1.00]"
    assert estimate(52.1, nan, nan) == "52.1" and estimate(nan, nan, nan) == "—"


def test_a_training_that_was_stopped_early_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars([Job("train a", "train", 300, "a"), Job("train b", "train", 300, "b")]) as bars:
        bars(Event("train a", 300, 300, "stopped by max_minutes at step 12"))
        bars(Event("train b", 300, 300, "loss 0.4"))
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("train a: stopped by max_minutes at step 12; whole run")
    assert second.startswith("train b: done (300), loss 0.4; whole run")
