"""Settings are strict, and say what is wrong."""

from __future__ import annotations

import math

import pytest

from unshift.config import parse, to_yaml
from unshift.errors import ConfigError
from unshift.train.settings import BYSTANDERS, Progress, TrainConfig


def test_yaml_round_trip() -> None:
    import yaml

    config = TrainConfig(steps=10, clip=1.0, patience=3, precision="bf16-mixed")
    assert parse(TrainConfig, yaml.safe_load(to_yaml(config)), where="test") == config


def test_precision_32_may_be_written_as_a_number() -> None:
    assert parse(TrainConfig, {"precision": 32}, where="test").precision == "32"


def test_bystanders_are_settings() -> None:
    assert set(TrainConfig.model_fields) >= BYSTANDERS


@pytest.mark.parametrize(
    ("data", "wording"),
    [
        ({"stepps": 1}, "Did you mean 'steps'"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"foreground": 1.5}, "less than or equal to 1"),
        ({"steps": 5, "warmup": 5}, "warmup is 5; it must be smaller than steps \\(5\\)"),
        ({"schedule": "step"}, "'constant', 'poly' or 'cosine'"),
    ],
)
def test_errors(data: dict, wording: str) -> None:
    with pytest.raises(ConfigError, match=wording):
        parse(TrainConfig, data, where="test")


def test_progress_in_words() -> None:
    assert Progress(0, 5, math.nan, None).detail == ""
    assert Progress(1, 5, 0.4119, 3.0, "validating", score=0.5).detail == "loss 0.412, validation 0.500, validating"
