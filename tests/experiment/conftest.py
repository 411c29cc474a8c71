"""A finished tiny run that tests read and leave as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiment_recipes import tiny
from unshift.experiment.run import Result, run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder: Path = tmp_path_factory.mktemp("runs")
    return run(tiny(), runs=folder)
