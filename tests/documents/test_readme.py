"""What the README and CONTRIBUTING say is true: commands exist, links lead somewhere, the code runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unshift import discover
from unshift.cli.main import VERBS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_commands(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (page.parent / link).exists(), f"{page.name}: {link} leads nowhere"
    for verb in re.findall(r"^\s*(?:\.venv/bin/)?unshift ([a-z]+)", text, flags=re.M):
        assert verb in VERBS, f"{page.name}: there is no `unshift {verb}`"
    for recipe in re.findall(r"recipes/[\w/.-]+\.yaml", text):
        assert (ROOT / recipe).is_file(), f"{page.name}: {recipe} does not exist"


def test_every_member_stands_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for family in discover.FAMILIES:
        for name in discover.names(family):
            assert f"`{name}`" in text, f"README does not name {family}/{name}"


def test_the_python_example_runs(tmp_path: Path) -> None:
    """The README's lines, on a small folder, with fewer steps."""
    rng = np.random.default_rng(0)
    for domain in ("site_a", "site_b", "site_c"):
        for part in ("images", "masks"):
            (tmp_path / "set" / domain / part).mkdir(parents=True)
        for i in range(8):
            mask = np.zeros((40, 40), np.uint8)
            mask[10:25, 5 : 20 + i] = 255
            image = (rng.integers(0, 90, (40, 40, 3)) + mask[..., None] // 2).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / "set" / domain / "images" / f"{i}.png")
            Image.fromarray(mask).save(tmp_path / "set" / domain / "masks" / f"{i}.png")
    (code,) = re.findall(r"```python\n(import unshift.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert len([line for line in code.splitlines() if line]) <= 5
    code = code.replace("path/to/images", "set").replace("steps=500", "steps=2, size=(32, 32)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "site_c" in done.stdout and "report.html" in done.stdout


def test_the_worked_example_meets_the_contract(tmp_path: Path) -> None:
    """CONTRIBUTING's objective, taken from the page, gives finite losses that can be lowered."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    path = tmp_path / "random_gamma.py"
    path.write_text(code, encoding="utf-8")
    check = f"""
import sys, torch
sys.path.insert(0, {str(tmp_path)!r})
from random_gamma import MEMBER
from unshift.config import MemberRef
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.sample import Batch, Task
task = Task(1, ("background", "organ"))
network = build_network(MemberRef.model_validate({{"name": "unet", "widths": [4, 8]}}), task, InputConfig(size=(16, 16)))
objective = MEMBER(MEMBER.Config(), task, network)
labels = torch.zeros(2, 16, 16, dtype=torch.int64); labels[:, 4:12, 4:12] = 1
batch = Batch(labels[:, None].float() * 0.5 + 0.2, ("a",) * 2, ("c",) * 2, 3, label_maps=labels)
optimizer = torch.optim.Adam(objective.parameters(), 1e-2)
values = []
for _ in range(10):
    loss = sum(objective.losses("train", batch).values())
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    values.append(float(loss))
assert values[-1] < values[0], values
"""
    subprocess.run([sys.executable, "-c", check], check=True)
