"""Files stop at 400 lines, functions at 60; names say something; tests mirror sources; nothing falls back."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "unshift").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FOREIGN = {"pickle", "torchvision", "timm", "segmentation_models_pytorch"}
MEANINGLESS = {"utils", "util", "helpers", "common", "misc", "core"}


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_sizes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    assert path.stem not in MEANINGLESS
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{node.name} in line {node.lineno} is longer than 60 lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_source_has_its_test(path: Path) -> None:
    if path.name == "__init__.py" or path.parent.name == "cli":  # the command line is tested verb by verb
        return
    place = path.relative_to(ROOT / "src" / "unshift")
    mirror = ROOT / "tests" / place.parent / f"test_{path.name}"
    assert mirror.is_file(), f"{place} has no test; write {mirror.relative_to(ROOT)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_falls_back_or_prints(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
            assert ast.unparse(node.type) not in ("Exception", "BaseException"), (
                f"line {node.lineno} catches everything"
            )
        if isinstance(node, ast.Import):
            assert not {a.name.split(".")[0] for a in node.names} & FOREIGN, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FOREIGN:
            assert [a.name for a in node.names] == ["UnpicklingError"], f"line {node.lineno} imports {node.module}"
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("load_state_dict"):
            assert "strict" not in {k.arg for k in node.keywords}, f"line {node.lineno} loads part of a state"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            pytest.fail(f"line {node.lineno} prints")


def test_license_and_papers_are_there() -> None:
    for name in ("LICENSE", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md", "README.md"):
        assert (ROOT / name).stat().st_size > 200, name
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") <= 150
