"""The tables of finished runs as pages: ``python benchmarks/collect_results.py runs/polyp-quick … [--output FOLDER]``.

Each page has the command, the code version, the machine, the seeds and the tables that the run's report shows.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from unshift.experiment.record import read_run

TABLES = ("headline", "differences", "worst", "metric_hd95", "metric_recall", "metric_precision", "false_alarms")


def page(run: Path, output: Path) -> Path:
    recipe, record = read_run(run)
    environment = record["environment"]
    lines = [
        f"# {recipe.name}",
        "",
        recipe.description,
        "",
        "```",
        f"unshift bench {command(recipe.name)}",
        "```",
        "",
        f"Code {record['code']}; started {record['started'][:10]}; {environment['machine']}, accelerators: "
        f"{environment['accelerators']}; torch {environment['torch']}, MONAI {environment['monai']}; "
        f"seeds {', '.join(map(str, recipe.seeds))}. The recipe with every default is "
        f"[{recipe.name}.yaml]({recipe.name}.yaml); the tables at full precision are CSV files beside this page.",
        "",
    ]
    for name in TABLES:
        table = run / "tables" / f"{name}.md"
        if table.is_file():
            shutil.copy(table.with_suffix(".csv"), output / f"{recipe.name}_{name}.csv")
            lines += [table.read_text(encoding="utf-8").strip(), ""]
    lines += ["Data: " + " · ".join(recipe.cite), ""] if recipe.cite else []
    shutil.copy(run / "recipe.yaml", output / f"{recipe.name}.yaml")
    path = output / f"{recipe.name}.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def command(name: str) -> str:
    dataset = name.removesuffix("-quick").replace("-", "_")
    return f"recipes/{dataset}/quick.yaml --data path/to/{dataset}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    arguments = parser.parse_args()
    for folder in arguments.runs:
        print(page(folder, arguments.output))
