"""Settings of prediction."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from unshift.config import Config


class PredictConfig(Config):
    """How logits become a label map on the original grid. None of it changes what the network has learned."""

    batch_size: int = Field(4, ge=1, description="slices or windows per forward pass; the result does not depend on it")
    overlap: float = Field(0.5, ge=0.0, lt=1.0, description="share of a window that its neighbour covers too")
    blend: Literal["gaussian", "constant"] = Field("gaussian", description="weight of a window's pixels")
    padding: Literal["constant", "reflect"] = Field(
        "constant", description="around images smaller than the window; training pads with 0 too"
    )
    mirror: bool = Field(False, description="average the predictions of all flips")
    largest_component: bool = Field(False, description="keep the largest component of each foreground class")
    fill_holes: bool = Field(False, description="fill background that one class encloses")
    average: Literal["probabilities", "logits"] = Field(
        "probabilities", description="of views, flips, and windows; the color-quality paper's code averages logits"
    )
    batch_norm: Literal["running", "batch"] = Field(
        "running", description="batch: statistics of the images predicted together, as RAM-DSIR's test script; marked"
    )
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="a region is where its probability is above it; default: most probable class; marked unless 0.5",
    )
    probabilities: bool = Field(False, description="return the class probabilities beside the label map")

    def deciding(self) -> dict[str, Any]:
        """The settings that decide a label map, for keys under which trainings and scores are stored.

        Later settings enter where they are not the default, so that what was stored before they existed is still
        found. The batch size decides only where batch norm looks at batches.
        """
        later = {"average", "batch_norm", "threshold"}
        left_out = {"probabilities"} | {name for name in later if getattr(self, name) == _default(name)}
        if self.batch_norm == "running":
            left_out.add("batch_size")
        return self.model_dump(mode="json", exclude=left_out)

    def honest(self) -> Self:
        """A copy without what replays a published protocol: how validation in training predicts."""
        return self.model_copy(update={"batch_norm": "running", "threshold": None})


def _default(name: str) -> Any:
    return PredictConfig.model_fields[name].default
