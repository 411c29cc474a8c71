"""What the report says of the gap: curves from the journal, maps by the bundle on the original grid, means by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiment_recipes import tiny
from unshift.experiment.gaps import gap_groups, means
from unshift.experiment.run import prepare
from unshift.experiment.testing import bundle_path
from unshift.experiment.training import build_objective
from unshift.export.bundle import Bundle, save_bundle
from unshift.geometry import resize_image
from unshift.report.content import Curve, GalleryItem

WATCHED: dict[str, Any] = {"baseline": {"objective": {"name": "glua", "translation": None}}}


def test_the_report_shows_curves_and_maps_of_the_tested_weights(tmp_path: Path) -> None:
    current, (fold,) = prepare(tiny(pipelines=WATCHED), root=None, runs=tmp_path)
    task, recipe = current.dataset.task, current.recipe
    network: Any = build_objective(recipe, "baseline", task, sources=("A",), seed=0).eval().network
    bundle = Bundle(network=network, task=task, input=recipe.input)
    save_bundle(bundle_path(current.folder, "baseline", fold.name, 0), bundle)
    journal = current.journal_of("baseline", fold, 0)
    journal.parent.mkdir(parents=True)
    entries = [{"event": "validation", "step": step, "measures": {"head": 1 / step}} for step in (1, 2)]
    journal.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    items = []
    for domain in ("A", "B"):
        sample = current.dataset.read(next(case for case in fold.test if case.domain == domain))
        maps = {name: sample.label_map.numpy() for name in ("reference", "prediction")}
        items.append(GalleryItem("baseline", domain, sample.case, "worst", 0.5, sample.image.numpy(), **maps))
    (group,) = gap_groups(current, [fold], items)
    assert group.title == "A → B"
    assert group.curves == [Curve("baseline", "head", [1, 2], [1.0, 0.5])]
    (one,) = group.pictures
    assert one.item is items[1] and sample.field_of_view is not None
    with torch.no_grad():
        small = network.gap_map(resize_image(sample.image, (32, 32))[None])[0]
    expected = (resize_image(small, tuple(sample.space))[0] * sample.field_of_view).numpy()
    np.testing.assert_allclose(one.gap, expected, atol=1e-5)
    assert one.means["head"] == pytest.approx(expected[sample.label_map == 1].mean(), abs=1e-5)
    inside = (sample.label_map == 0) & sample.field_of_view
    assert one.means["background"] == pytest.approx(expected[inside].mean(), abs=1e-5)


def test_means_inside_regions_by_hand() -> None:
    gap, labels = np.array([[0.2, 0.4], [0.6, 1.0]]), np.array([[0, 1], [1, 2]])
    regions = {"both": frozenset({1, 2}), "none": frozenset({3})}
    assert means(gap, labels, regions) == pytest.approx({"both": 2 / 3, "background": 0.2})
    assert means(gap, labels, regions, valid=labels == 1) == pytest.approx({"both": 0.5})


def test_a_run_without_such_objectives_shows_nothing(tmp_path: Path) -> None:
    current, plan = prepare(tiny(), root=None, runs=tmp_path)
    assert list(gap_groups(current, plan, [])) == []
