"""`unshift bench complexity`: Table 3 as a person and as a program meets it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from unshift.cli.complexity import number, share
from unshift.cli.main import build
from unshift.experiment.complexity import PAPER, Cost


def call(*arguments: str) -> Result:
    return CliRunner().invoke(build(list(arguments)), list(arguments))


@pytest.fixture(scope="module")
def printed() -> str:
    result = call("bench", "complexity", "--size", "32", "--accelerator", "cpu")
    assert result.exit_code == 0, result.output
    assert "This takes about" in result.stderr
    return result.stdout


def test_every_row_beside_the_papers(printed: str) -> None:
    transfer, whole, _ = printed.split("method")[1:4]
    for method in PAPER:
        assert method in transfer and method in whole
    for figure in ("49.17", "138.36", "3,000.00", "70.77", "10.66", "75.00", "0.00064", "0.00192", "0.0194", "0.17"):
        assert figure in transfer, figure
    for figure in ("209.12", "172.89", "3,029.88", "230.72", "159.95", "34.53", "30.15", "31.87"):
        assert figure in whole, figure
    assert printed.count("the paper's figure is 3.00 each") == 1
    assert "GTX 2080 Ti" in printed and "60 evaluations" in printed


def test_shares_of_the_time(printed: str) -> None:
    lines = [line.split() for line in printed.partition("share of time")[2].splitlines()]
    shares = {line[0]: line[-1] for line in lines if line and line[0] in PAPER and len(line) == 3}
    assert shares == {
        "StyleSegor": "99",
        "WCT-AIN": "71.4",
        "S-AdaINSeg": "0.564",
        "M-AdaINSeg": "2.85",
        "S-DINSeg": "0.661",
        "M-DINSeg": "6.24",
    }


def test_json() -> None:
    result = call("bench", "complexity", "--size", "32", "--accelerator", "cpu", "--json")
    document = json.loads(result.stdout)
    assert (document["size"], document["device"]) == (32, "cpu")
    rows = {row["method"]: row for row in document["rows"]}
    assert rows["S-DINSeg"]["transfer"]["parameters"] == 2048
    assert rows["M-DINSeg"]["whole"]["parameters"] == 34_527_041 + 3840
    assert rows["StyleSegor"]["paper_transfer"]["milliseconds"] == 3000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("complexity", "--size", "30"), "30"),
        (("complexity", "--data", "x"), "belong to a recipe"),
        (("complexity", "--dry-run"), "belong to a recipe"),
        (("recipe.yaml", "--size", "32"), "belong to `unshift bench complexity`"),
        (("recipe.yaml", "--full"), "belong to `unshift bench complexity`"),
    ],
)
def test_options_that_do_not_fit(arguments: tuple[str, ...], message: str) -> None:
    result = call("bench", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_numbers() -> None:
    assert number(None, 1.0) == "—"
    assert number(159.95e9, 1e9) == "159.95"
    assert number(1_920_000, 1e9) == "0.00192"
    assert share(Cost(0, 0, 1.0), Cost(0, 0, 4.0)) == 0.25
    assert share(Cost(0, 0, 1.0), Cost(0, 0, None)) == 0
