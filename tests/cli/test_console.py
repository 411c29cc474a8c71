"""How commands end: the machine's own errors are said with the file's name as it is."""

from __future__ import annotations

import pytest
import typer

from unshift.cli.console import WRONG_INPUT, guarded


def test_a_files_name_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    @guarded
    def full() -> None:
        raise OSError(28, "No space left on device", "scan [red]7[/red].png")

    with pytest.raises(typer.Exit) as ended:
        full()
    assert ended.value.exit_code == WRONG_INPUT
    assert "scan [red]7[/red].png: No space left on device." in capsys.readouterr().err
