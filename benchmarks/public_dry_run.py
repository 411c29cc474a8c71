"""Both public benchmarks of RAM-DSIR from their downloads to a report, on trees of noise in the published layouts.

python benchmarks/public_dry_run.py [--output docs/results] [--folder FOLDER]

The downloads ask for registration, so none is at hand where this is developed. Two cases a domain (and split) are
written as tests/public_packages.py knows the layouts, prepared as `unshift data prepare` does, and every row of
recipes/ram_dsir/{fundus,prostate}.yaml is trained for two steps on every fold, tested and reported. Scores mean nothing
and are not shown; what is shown is that nothing on the way is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from unshift.datasets import fundus, prostate
from unshift.datasets.preparing import prepare
from unshift.experiment.record import code_version
from unshift.experiment.run import run
from unshift.recipe import read_recipe

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from public_packages import write_fundus, write_prostate  # noqa: E402

SMALL = (
    "input.size=[32, 32]",
    "network={name: ram_unet, width: 4}",
    "train.steps=2",
    "train.batch_size=4",
    "train.validate_every=1",
    "train.workers=0",
    "protocol.validation=0.3",
    "evaluate.resamples=100",
    "seeds=[0]",
)
TREES: dict[str, tuple[type, Callable[[Path], Path]]] = {
    "fundus": (fundus.MEMBER, lambda root: write_fundus(root, size=(80, 72))),
    "prostate": (prostate.MEMBER, lambda root: write_prostate(root, side=384)),
}


HEAD = ("benchmark", "domains", "cases prepared", "findings", "rows", "trainings", "scores", "report [MiB]", "time [s]")


def walk(name: str, folder: Path) -> tuple[str, ...]:
    """One line of the table; ends the program where a row has no score on a domain."""
    member, write = TREES[name]
    done = prepare(member, write(folder / "download" / name), folder / name)
    if not done.is_complete:
        sys.exit("\n".join(f"{p.file}: {p.what}" for p in done.problems))
    recipe = read_recipe(HERE.parent / "recipes" / "ram_dsir" / f"{name}.yaml", overrides=SMALL)
    began = time.monotonic()
    result = run(recipe, root=folder / name, runs=folder / f"runs-{name}")
    unseen = result.scores[~result.scores["seen"]]
    domains = sorted({domain for domain, _ in done.ready})
    wanted = {(row, domain) for row in recipe.pipelines for domain in domains}
    if missing := wanted - set(unseen[["pipeline", "domain"]].itertuples(index=False, name=None)):
        sys.exit(f"{name}: no score of {sorted(missing)}")
    cells = (
        len(domains),
        sum(done.ready.values()),
        len(done.problems),
        len(recipe.pipelines),
        len(list((folder / f"runs-{name}" / "trainings").iterdir())),
        len(result.scores),
        f"{result.report.stat().st_size / 2**20:.1f}",
        f"{time.monotonic() - began:.0f}",
    )
    return (name, *map(str, cells))


def page(rows: list[tuple[str, ...]]) -> str:
    """The Markdown page."""
    table = [HEAD, ("---",) * len(HEAD), *rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    return f"""# Both public benchmarks of RAM-DSIR, dry

`python benchmarks/public_dry_run.py` · code {code_version()}

From a download to a report: trees of noise in the published layouts, two cases in each part of a domain, are prepared;
every row of `recipes/ram_dsir/fundus.yaml` and `prostate.yaml` is trained for two steps (`ram_unet` of width 4, 32 × 32
pixels, one seed) with each domain left out once, tested and reported. The images themselves have to be asked for, and
are not at hand here: **there are no scores of these benchmarks yet**, and those of noise are not shown. Findings are
the counts that differ from the published ones, all warnings.

{lines}

With images: [how-to](../how-to/public-benchmarks.md). `--replay ram_dsir_2022` on volumes is tested by
`tests/cli/test_public_benchmarks.py`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="kept; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        text = page([walk(name, options.folder or Path(temporary)) for name in TREES])
    if options.output is not None:
        (options.output / "public_dry_run.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
