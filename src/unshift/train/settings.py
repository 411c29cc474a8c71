"""What a user decides about training, and what training tells whoever listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from unshift.config import Config


class TrainConfig(Config):
    """Settings of the training loop; one step is one update of the weights by every phase of the objective.

    The effective batch of a step is ``batch_size`` x ``accumulate`` images, however many processes share it.
    """

    steps: int = Field(2000, ge=1)
    batch_size: int = Field(8, ge=1, description="images per forward pass, over all processes")
    learning_rate: float = Field(1e-3, gt=0)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd; the first beta of adam and adamw")
    schedule: Literal["constant", "poly", "cosine"] = "poly"
    warmup: int = Field(0, ge=0, description="steps of linear rise before the schedule")
    accumulate: int = Field(1, ge=1, description="forward passes whose gradients are averaged into one step")
    clip: float | None = Field(None, gt=0, description="largest L2 norm of a phase's gradient")
    precision: Literal["auto", "32", "bf16-mixed", "16-mixed"] = "auto"
    sampling: Literal["pooled", "balanced"] = Field("pooled", description="balanced: as many images of every domain")
    foreground: float = Field(0.5, ge=0, le=1, description="share of patches and slices chosen to show foreground")
    validate_every: int = Field(100, ge=1)
    patience: int | None = Field(None, ge=1, description="validations without improvement before training stops")
    max_minutes: float | None = Field(None, gt=0, description="over all resumptions")
    checkpoint_every: int = Field(100, ge=1)
    keep: Literal["best", "all"] = Field("best", description="all: the weights of every validation")
    workers: int = Field(1, ge=0, description="threads that read ahead; 0 reads when the step needs it")
    cache_gigabytes: float = Field(4.0, ge=0, description="memory for prepared samples")
    tracker: Literal["mlflow"] | None = Field(None, description="also send the journal to a tracker")

    @field_validator("precision", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        """YAML reads ``precision: 32`` as a number."""
        return "32" if value == 32 else value

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.warmup >= self.steps:
            raise ValueError(f"warmup is {self.warmup}; it must be smaller than steps ({self.steps})")
        return self


BYSTANDERS = frozenset({"max_minutes", "checkpoint_every", "workers", "cache_gigabytes", "tracker"})
"""Settings that do not decide the weights at a step, so that a resumed training may change them."""


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Args:
        step, steps: done and planned.
        loss: of the last step, summed over terms; NaN before the first.
        seconds_left: estimate from this session's pace, never beyond ``max_minutes``; None before the first step.
        what: ``training`` or ``validating``.
        phase: the objective's phase of the last update.
        score: the newest validation score, if any.
    """

    step: int
    steps: int
    loss: float
    seconds_left: float | None
    what: Literal["training", "validating"] = "training"
    phase: str = ""
    score: float | None = None

    @property
    def detail(self) -> str:
        """One short line for a person: ``loss 0.412, validation 0.873``."""
        parts = [] if self.loss != self.loss else [f"loss {self.loss:.3f}"]
        parts += [] if self.score is None else [f"validation {self.score:.3f}"]
        parts += ["validating"] if self.what == "validating" else []
        return ", ".join(parts)
