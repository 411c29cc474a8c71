"""Parts of a preset: together they are all of it, and each keeps the random draws that its steps have in the whole."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from unshift.phantom import quality
from unshift.phantom.degradations import Frame
from unshift.phantom.quality import QUALITY, QualityShift
from unshift.randomness import numpy_generator

PRESETS = [name for name, preset in QUALITY.items() if len(preset.steps) > 1]


@pytest.mark.parametrize("preset", PRESETS)
def test_light_and_detail_are_all_of_a_preset(script: ModuleType, preset: str) -> None:
    parts = script.parts_of(QUALITY[preset])
    assert sorted(parts["light and color"] + parts["detail"]) == sorted(parts["all of it"])
    for whole in ("light and color", "detail"):
        inner = [steps for name, steps in parts.items() if name.startswith("·") and set(steps) <= set(parts[whole])]
        assert sorted(sum(inner, ())) == sorted(parts[whole])


def test_parts_draw_what_they_draw_in_the_whole(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    inside = torch.ones(40, 40, dtype=torch.bool)
    preset, shift = QUALITY["old_endoscope"], QualityShift("old_endoscope", 3)
    whole = quality.degrade(image, (shift,), seed=1, field_of_view=inside)

    def seen(kept: tuple[str, ...]) -> torch.Tensor:
        monkeypatch.setattr(quality, "QUALITY", {shift.name: script.only(preset, kept)})
        return quality.degrade(image, (shift,), seed=1, field_of_view=inside)

    assert torch.equal(seen(()), image) and not torch.equal(whole, image)
    assert torch.equal(seen(script.parts_of(preset)["all of it"]), whole)
    place = [step.apply.__name__ for step in preset.steps].index("noise")
    noise, random = preset.steps[place], numpy_generator(1, "quality", 0, shift.name, place)
    alone = noise.apply(image.numpy(), noise.amounts[shift.level - 1], Frame(inside.numpy(), random))
    np.testing.assert_array_equal(seen(("noise",)).numpy(), alone)


def test_costs_and_shares_by_hand(script: ModuleType) -> None:
    rows = [
        {"patient": p, "case": p, "part": part, "plain": value, "repaired": value + 5}
        for p in "abcd"
        for part, value in (("nothing", 90.0), ("all of it", 50.0), ("detail", 60.0))
    ]
    table = script.costs(pd.DataFrame(rows), ["plain", "repaired"])
    assert table["detail"] == ["30.0 (30.0 to 30.0)", "75 (75 to 75)", "25.0 (25.0 to 25.0)"]
    assert table["nothing"] == ["0.0 (0.0 to 0.0)", "", "−5.0 (−5.0 to −5.0)"]
