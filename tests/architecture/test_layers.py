"""An import points only downward, and members never import members."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "unshift"
LAYERS = (
    ("errors",),
    ("sample", "config", "discover", "randomness", "weights"),
    ("contracts",),
    ("geometry", "embedding"),
    ("formats", "normalizations", "augmentations", "layers", "losses", "metrics", "phantom"),
    ("networks", "datasets"),
    ("objectives", "plugins", "embeddings"),
    ("train", "predict"),
    ("evaluate",),
    ("report", "export", "audit"),
    ("recipe",),
    ("experiment",),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(text: str) -> list[tuple[str, ...]]:
    """Dotted paths below ``unshift`` that a module's text imports, wherever in the text they stand."""
    found: list[tuple[str, ...]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            if node.module == "unshift":
                found += [("unshift", alias.name) for alias in node.names]
            elif node.module and node.module.startswith("unshift."):
                base = tuple(node.module.split("."))
                found += [(*base, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names if alias.name.startswith("unshift.")]
    return found


def violations(place: tuple[str, ...], text: str, *, members: frozenset[tuple[str, str]] = frozenset()) -> list[str]:
    """Imports of the module at ``place`` (``("objectives", "erm")``) that point upward, sideways or to a sibling."""
    wrong = []
    for path in imports(text):
        target = path[1]
        if target not in LEVEL:
            continue
        if LEVEL[target] > LEVEL[place[0]]:
            wrong.append(f"{'/'.join(place)} imports {'.'.join(path)}: upward")
        elif LEVEL[target] == LEVEL[place[0]] and target != place[0] and LEVEL[target] > 1:
            wrong.append(f"{'/'.join(place)} imports {'.'.join(path)}: sideways")
        elif len(path) > 2 and place in members and (target, path[2]) in members and (target, path[2]) != place:
            wrong.append(f"{'/'.join(place)} imports {'.'.join(path)}: a member imports a member")
    return wrong


def modules() -> dict[tuple[str, ...], str]:
    files = {p.relative_to(SOURCE).with_suffix("").parts: p for p in SOURCE.rglob("*.py")}
    return {place: path.read_text(encoding="utf-8") for place, path in files.items()}


def all_members() -> frozenset[tuple[str, str]]:
    return frozenset((p[0], p[1]) for p, text in modules().items() if len(p) == 2 and "\nMEMBER = " in text)


@pytest.mark.parametrize("place", sorted(modules()), ids="/".join)
def test_imports_point_downward(place: tuple[str, ...]) -> None:
    if place == ("__init__",):
        return
    assert place[0] in LEVEL, f"{place[0]} has no layer: add it to LAYERS and to docs/explanation/architecture.md"
    assert violations(place, modules()[place], members=all_members()) == []


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (("losses", "overlap"), "from unshift.train.loop import fit"),
        (("losses", "overlap"), "def f():\n    import unshift.evaluate.score"),
        (("train", "loop"), "from unshift.predict.window import slide"),
        (("objectives", "erm"), "from unshift.objectives.augmented import Augmented"),
    ],
)
def test_each_kind_of_violation_is_seen(place: tuple[str, ...], text: str) -> None:
    members = frozenset({("objectives", "erm"), ("objectives", "augmented")})
    assert len(violations(place, text, members=members)) == 1


def test_the_architecture_page_lists_these_layers() -> None:
    page = (SOURCE.parents[1] / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    for level, names in enumerate(LAYERS, start=1):
        assert f"{level}. `{' '.join(names)}`" in page
