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
