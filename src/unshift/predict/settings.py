"""Settings of prediction."""

from __future__ import annotations

from typing import Any, Literal

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
    probabilities: bool = Field(False, description="return the class probabilities beside the label map")

    def deciding(self) -> dict[str, Any]:
        """The settings that decide a label map, for keys under which trainings and scores are stored.

        ``average`` enters where it is not the default, so that what was stored before it existed is still found.
        """
        left_out = {"batch_size", "probabilities"} | ({"average"} if self.average == "probabilities" else set())
        return self.model_dump(mode="json", exclude=left_out)
