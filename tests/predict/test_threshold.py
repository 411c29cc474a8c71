"""A region is where its probability exceeds a number: the published way of disc and cup."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unshift.errors import ConfigError
from unshift.predict.threshold import nested, thresholded
from unshift.sample import Task

DISC = Task(3, ("background", "rim", "cup"), {"disc": frozenset({1, 2}), "cup": frozenset({2})})
ZONES = Task(1, ("background", "a", "b", "c"), {"all": frozenset({1, 2, 3}), "c": frozenset({3})})


def pixels(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows).T[:, None]


def test_by_hand() -> None:
    shown = pixels((0.3, 0.3, 0.4), (0.2, 0.4, 0.4), (0.05, 0.2, 0.75), (0.05, 0.15, 0.8), (0.25, 0.0, 0.75))
    assert thresholded(shown, DISC, 0.75).tolist() == [[0, 1, 1, 2, 0]]
    assert shown.argmax(0).tolist() == [[2, 1, 2, 2, 2]]


def test_labels_that_only_the_larger_region_has_go_by_probability() -> None:
    shown = pixels((0.1, 0.2, 0.5, 0.2), (0.1, 0.5, 0.2, 0.2), (0.1, 0.1, 0.1, 0.7), (0.9, 0.1, 0.0, 0.0))
    assert thresholded(shown, ZONES, 0.6).tolist() == [[2, 1, 3, 0]]


@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_regions_of_the_label_map_are_those_of_the_threshold(seed: int, threshold: float) -> None:
    logits = 3 * torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(seed))
    probabilities = logits.softmax(0)
    labels = thresholded(probabilities, DISC, threshold)
    assert torch.equal(labels > 0, probabilities[[1, 2]].sum(0) > threshold)
    assert torch.equal(labels == 2, probabilities[2] > threshold)


def test_regions_that_do_not_contain_one_another_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"threshold: regions a, b do not contain one another"):
        nested(Task(1, ("background", "a", "b")))
    assert nested(Task(1, ("background", "a"))) == [frozenset({1})]
