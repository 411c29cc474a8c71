"""The nouns check what they hold."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from unshift.errors import ConfigError, ShapeMismatch
from unshift.sample import Batch, Case, Sample, Task, UnlabeledBatch


def test_regions_default_to_the_foreground_classes() -> None:
    task = Task(3, ("background", "rim", "cup"))
    assert task.regions == {"rim": frozenset({1}), "cup": frozenset({2})}
    assert task.num_classes == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0, "classes": ("b", "f")}, "0 channels; at least 1"),
        ({"channels": 1, "classes": ("b",)}, "background and one more"),
        ({"channels": 1, "classes": ("b", "f"), "spatial_dims": 4}, "4 spatial dimensions"),
        ({"channels": 1, "classes": ("b", "f"), "regions": {"r": frozenset({2})}}, "region 'r' has labels"),
        ({"channels": 1, "classes": ("b", "f"), "regions": {"r": frozenset()}}, "needs one or more"),
    ],
)
def test_impossible_tasks(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Task(**arguments)  # type: ignore[arg-type]


def test_a_sample_has_one_grid() -> None:
    with pytest.raises(ShapeMismatch, match=r"Case 'BIDMC_12': label map is 5×4 but image is 4×5"):
        Sample(torch.zeros(1, 4, 5), "BIDMC_12", "p", "d", label_map=torch.zeros(5, 4, dtype=torch.int64))
    with pytest.raises(ShapeMismatch, match="field of view is 4×4"):
        Sample(torch.zeros(1, 4, 5), "c", "p", "d", field_of_view=torch.zeros(4, 4, dtype=torch.bool))


def test_unlabeled_copy() -> None:
    sample = Sample(torch.zeros(1, 2, 2), "c", "p", "d", label_map=torch.zeros(2, 2, dtype=torch.int64))
    assert sample.unlabeled().label_map is None
    assert sample.label_map is not None


def test_an_unlabeled_batch_has_no_place_for_labels() -> None:
    assert not [f.name for f in dataclasses.fields(UnlabeledBatch) if "label" in f.name]
    assert not hasattr(UnlabeledBatch(torch.zeros(1, 1, 2, 2), ("d",), ("c",)), "label_maps")


def test_batch_checks_its_grid_and_moves_whole() -> None:
    with pytest.raises(ShapeMismatch, match="label maps are 2×3×3"):
        Batch(torch.zeros(2, 1, 4, 4), ("d",) * 2, ("c",) * 2, label_maps=torch.zeros(2, 3, 3, dtype=torch.int64))
    batch = Batch(
        torch.zeros(2, 1, 4, 4), ("d",) * 2, ("c",) * 2, 5, label_maps=torch.zeros(2, 4, 4, dtype=torch.int64)
    )
    moved = batch.to("meta")
    assert moved.images.is_meta and moved.label_maps.is_meta and moved.seed == 5
    assert torch.equal(torch.rand(2, generator=batch.generator()), torch.rand(2, generator=batch.generator()))


def test_case_key() -> None:
    assert Case("c1", "p1", "A").key == "A/c1"
