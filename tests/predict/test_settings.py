from __future__ import annotations

import pytest

from unshift.config import parse
from unshift.errors import ConfigError
from unshift.predict.settings import PredictConfig


def test_defaults_repair_nothing() -> None:
    config = PredictConfig()
    assert not (config.mirror or config.largest_component or config.fill_holes or config.probabilities)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size.*greater than or equal to 1"),
        ({"overlap": 1.0}, "overlap.*less than 1"),
        ({"overlap": -0.1}, "overlap.*greater than or equal to 0"),
        ({"blend": "cosine"}, "blend.*'gaussian' or 'constant'"),
        ({"miror": True}, "miror: unknown key. Did you mean 'mirror'"),
    ],
)
def test_impossible_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(PredictConfig, settings, where="recipe")


def test_a_key_changes_with_what_decides_a_label_map_alone() -> None:
    """``average`` stands in keys only where it is not the default: what was stored before it existed is still found."""
    plain = PredictConfig().deciding()
    assert plain == PredictConfig(batch_size=9, probabilities=True).deciding()
    assert set(plain) == {"overlap", "blend", "padding", "mirror", "largest_component", "fill_holes"}
    assert PredictConfig(average="logits").deciding() == plain | {"average": "logits"}


def test_switches_of_published_protocols_are_off_and_stand_in_keys_only_when_on() -> None:
    plain = PredictConfig()
    assert (plain.batch_norm, plain.threshold) == ("running", None)
    switched = PredictConfig(batch_norm="batch", threshold=0.75, batch_size=8)
    added = {"batch_norm": "batch", "threshold": 0.75, "batch_size": 8}
    assert switched.deciding() == plain.deciding() | added
    assert switched.honest() == PredictConfig(batch_size=8)
    assert PredictConfig(threshold=0.75).deciding() == plain.deciding() | {"threshold": 0.75}
    with pytest.raises(ConfigError, match="threshold"):
        parse(PredictConfig, {"threshold": 1.0}, where="recipe")
