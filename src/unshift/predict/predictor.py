"""One trained model, any sample -> a label map on the sample's own grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unshift.contracts import Normalization
from unshift.errors import ConfigError, NumericalError, ShapeMismatch
from unshift.geometry import InputConfig
from unshift.predict.postprocess import fill_holes, keep_largest
from unshift.predict.settings import PredictConfig
from unshift.predict.views import mirrored, views_of
from unshift.predict.window import check_size, predict_image
from unshift.sample import Prediction, Sample, Task

PRECISIONS = ("32", "bf16-mixed")


class Predictor:
    """preprocessing -> views -> network -> mean of probabilities (or logits) -> label map -> explicit repairs.

    The model runs in evaluation mode, and every module's own mode is restored afterwards: what is predicted does not
    depend on the batch size, on the order of samples or on what the model did before. Labels are never looked at.

    Args:
        model: images [batch, channel, *space] -> logits [batch, task.num_classes, *space]; moved to ``device``.
        uses_field_of_view: the model takes (images, fields of view [batch, *space] or None), as a plugin's does.
        task: channels and classes.
        input: what the network sees of a sample; the same as in training.
        preprocessing: applied to every image as in training; each gives exactly one view.
        normalizations: applied after it, at test time; the views of one go through the next, and all are averaged.
        size_divisor: of the network; every entry of ``input.size`` must be a multiple of it.
        device: where the network runs; predictions come back on the CPU.
        precision: ``32``, or ``bf16-mixed`` for the network's forward pass under autocast.

    Raises:
        ConfigError: a size that the network cannot take; an unknown precision.
    """

    def __init__(  # noqa: PLR0913 - the interface that bundles and runs share
        self,
        model: nn.Module,
        task: Task,
        *,
        input: InputConfig,  # noqa: A002
        config: PredictConfig = PredictConfig(),  # noqa: B008 - frozen
        preprocessing: Sequence[Normalization] = (),
        normalizations: Sequence[Normalization] = (),
        size_divisor: int = 1,
        uses_field_of_view: bool = False,
        device: torch.device | str = "cpu",
        precision: str = "32",
    ) -> None:
        if precision not in PRECISIONS:
            raise ConfigError(f"precision: {precision!r} for prediction; one of {', '.join(PRECISIONS)} is required.")
        check_size(input.size, size_divisor)
        self.device = torch.device(device)
        self.model, self.task, self.input, self.config = model.to(self.device), task, input, config
        self.preprocessing, self.normalizations = tuple(preprocessing), tuple(normalizations)
        self.precision, self.uses_field_of_view = precision, uses_field_of_view

    def predict(self, sample: Sample) -> Prediction:
        """The label map of ``sample`` on its own grid.

        Outside the sample's field of view the prediction is background (label 0, probability 1), whatever the network
        says: there is nothing to segment there.

        Raises:
            ShapeMismatch: the image's channels or axes, or the model's output, do not fit the task.
            NumericalError: the model gives logits that are not finite.
        """
        self._check_channels(sample)
        views = views_of(sample.unlabeled(), self.preprocessing, self.normalizations)
        probabilities = self._probabilities(sample.unlabeled(), views)
        if sample.field_of_view is not None:
            probabilities[:, ~sample.field_of_view] = 0.0
            probabilities[0, ~sample.field_of_view] = 1.0
        label_map, notes = self._repaired(probabilities.argmax(dim=0))
        return Prediction(
            case=sample.case,
            patient=sample.patient,
            domain=sample.domain,
            label_map=label_map,
            probabilities=probabilities if self.config.probabilities else None,
            spacing=sample.spacing,
            affine=sample.affine,
            notes=notes,
            references=tuple(view.reference for view in views if view.reference is not None),
        )

    def _check_channels(self, sample: Sample) -> None:
        if sample.image.shape[0] != self.task.channels:
            raise ShapeMismatch(
                f"Case {sample.case!r}: image has {sample.image.shape[0]} channel(s) but the task has "
                f"{self.task.channels}; both must agree. Convert the image, or use a model made for it."
            )

    def _probabilities(self, sample: Sample, views: Sequence[Sample]) -> Float[Tensor, "class *space"]:
        masked = self.uses_field_of_view and sample.field_of_view is not None

        def network(images: Tensor) -> Tensor:
            one = lambda x: self._output(x, sample.case, masked=masked)  # noqa: E731
            return mirrored(one, images) if self.config.mirror else one(images)

        total: Any = 0.0
        with torch.no_grad(), evaluating(self.model):
            for view in views:
                image = view.image.to(torch.float32)
                if masked:  # the mask travels as one more channel, so that it is cut and resized as the image is
                    assert sample.field_of_view is not None
                    image = torch.cat([image, sample.field_of_view[None].to(image)])
                image = image.to(self.device)
                total = total + predict_image(image, network, size_config=self.input, config=self.config).cpu()
        mean = total / len(views)
        return mean.softmax(dim=0) if self.config.average == "logits" else mean

    def _output(
        self, images: Float[Tensor, "batch channel *space"], case: str, *, masked: bool
    ) -> Float[Tensor, "batch class *space"]:
        fields_of_view = None
        if masked:
            images, fields_of_view = _split_mask(images, self.task.channels)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed"):
            logits = self.model(images, fields_of_view) if self.uses_field_of_view else self.model(images)
        self._check(logits, images, case)
        return logits.float() if self.config.average == "logits" else logits.float().softmax(dim=1)

    def _check(self, logits: Tensor, images: Tensor, case: str) -> None:
        wanted = (images.shape[0], self.task.num_classes, *images.shape[2:])
        if tuple(logits.shape) != wanted:
            raise ShapeMismatch(
                f"Case {case!r}: the model returned {list(logits.shape)} for images {list(images.shape)}; "
                f"{list(wanted)} is required: one channel for each of {', '.join(self.task.classes)}, at the input's "
                "size. Give the model that many output channels."
            )
        if not torch.isfinite(logits).all():
            cause = "the model's weights" if torch.isfinite(images).all() else "the image"
            raise NumericalError(
                f"Case {case!r}: the model returned logits that are not finite; finite numbers are required. "
                f"Check {cause} for NaN and infinite values."
            )

    def _repaired(self, label_map: Int[Tensor, "*space"]) -> tuple[Int[Tensor, "*space"], tuple[str, ...]]:
        notes: tuple[str, ...] = ()
        for wanted, repair in ((self.config.largest_component, keep_largest), (self.config.fill_holes, fill_holes)):
            if wanted:
                label_map, found = repair(label_map, self.task.classes)
                notes += found
        return label_map, notes


def _split_mask(images: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Images whose every slice ends with its mask -> images, and the (central) slice's mask, bool [batch, *space]."""
    slices = images.unflatten(1, (-1, channels + 1))
    middle = slices.shape[1] // 2
    return slices[:, :, :channels].flatten(1, 2), slices[:, middle, channels] > 0.5


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block; every module gets its own mode back, frozen ones included."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def fast_layout(model: nn.Module, size: Sequence[int]) -> nn.Module:
    """The model with channels-last weights where its input is 2-D, which halves the time of convolutions on CPUs.

    Values stay; sums are taken in another order. Not for a model that is being trained: its layout is the loop's.
    """
    if len(size) == 2:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model
