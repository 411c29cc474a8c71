"""The page of RAM-DSIR shows a loop that runs."""

from __future__ import annotations

import re
from pathlib import Path

import torch

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "ram_dsir.md"


def test_a_loop_of_your_own_mixes_and_learns() -> None:
    torch.manual_seed(0)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL))
    names: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    images, mixed, network = names["images"], names["mixed"], names["network"]
    assert isinstance(images, torch.Tensor) and isinstance(mixed, torch.Tensor)
    assert mixed.shape == images.shape and not torch.equal(mixed, images)
    assert isinstance(network, torch.nn.Module)
    assert any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
