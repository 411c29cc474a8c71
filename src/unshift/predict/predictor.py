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
from unshift.geometry import InputConfig, resize_image
from unshift.predict.most_probable import most_probable
from unshift.predict.postprocess import fill_holes, keep_largest
from unshift.predict.settings import PredictConfig
from unshift.predict.threshold import nested, thresholded
from unshift.predict.transductive import batch_statistics
from unshift.predict.views import mirrored, views_of
from unshift.predict.window import check_size, predict_image
from unshift.sample import Prediction, Sample, Task

PRECISIONS = ("32", "bf16-mixed")


class Predictor:
    """preprocessing -> views -> network -> mean of probabilities (or logits) -> label map -> explicit repairs.

    The model runs in evaluation mode, and every module's own mode is restored afterwards: what is predicted does not
    depend on the batch size, on the order of samples or on what the model did before (but for ``batch_norm: batch``,
    which replays a published protocol). Labels are never looked at.

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
        if config.threshold is not None:
            nested(task)
        if config.batch_norm == "batch" and uses_field_of_view:
            raise ConfigError(
                "predict.batch_norm: 'batch' for a network with units in it, whose statistics are its own. "
                "Set it to running, or remove the pipeline's plugins."
            )

    def predict(self, sample: Sample) -> Prediction:
        """The label map of ``sample`` on its own grid.

        Outside the sample's field of view the prediction is background (label 0, probability 1), whatever the network
        says: there is nothing to segment there.

        Raises:
            ShapeMismatch: the image's channels or axes, or the model's output, do not fit the task.
            NumericalError: the model gives logits that are not finite.
        """
        views = self._views(sample)
        return self._finished(sample, views, self._probabilities(sample.unlabeled(), views))

    def predict_together(self, samples: Sequence[Sample]) -> list[Prediction]:
        """The label map of each, as :meth:`predict`; with ``batch_norm: batch``, pictures are one batch to the network.

        That holds where whole pictures are resized to the input's size. Volumes are batches of their own slices, and
        windows of their own windows.
        """
        pictures = self.input.mode == "resize" and all(len(sample.space) == 2 for sample in samples)
        if self.config.batch_norm == "running" or not pictures:
            return [self.predict(sample) for sample in samples]
        views = [self._views(sample) for sample in samples]
        found = self._joint_probabilities(samples, views)
        return [self._finished(*parts) for parts in zip(samples, views, found, strict=True)]

    def _views(self, sample: Sample) -> list[Sample]:
        self._check_channels(sample)
        return views_of(sample.unlabeled(), self.preprocessing, self.normalizations)

    def _finished(self, sample: Sample, views: Sequence[Sample], probabilities: Tensor) -> Prediction:
        if sample.field_of_view is not None:
            probabilities[:, ~sample.field_of_view] = 0.0
            probabilities[0, ~sample.field_of_view] = 1.0
        threshold = self.config.threshold
        chosen = most_probable(probabilities) if threshold is None else thresholded(probabilities, self.task, threshold)
        label_map, notes = self._repaired(chosen)
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
        with torch.no_grad(), self._modes():
            for view in views:
                image = view.image.to(torch.float32)
                if masked:  # the mask travels as one more channel, so that it is cut and resized as the image is
                    assert sample.field_of_view is not None
                    image = torch.cat([image, sample.field_of_view[None].to(image)])
                image = image.to(self.device)
                total = total + predict_image(image, network, size_config=self.input, config=self.config).cpu()
        mean = total / len(views)
        return mean.softmax(dim=0) if self.config.average == "logits" else mean

    def _joint_probabilities(
        self, samples: Sequence[Sample], views: Sequence[Sequence[Sample]]
    ) -> list[Float[Tensor, "class height width"]]:
        """Of pictures that pass the network as one batch, each on its own grid."""

        def network(images: Tensor) -> Tensor:
            one = lambda x: self._output(x, samples[0].case, masked=False)  # noqa: E731
            return mirrored(one, images) if self.config.mirror else one(images)

        totals: list[Any] = [0.0] * len(samples)
        with torch.no_grad(), self._modes():
            for shown in zip(*views, strict=True):
                images = torch.stack([resize_image(view.image.to(torch.float32), self.input.size) for view in shown])
                found = network(images.to(self.device)).cpu()
                totals = [
                    total + resize_image(part, tuple(sample.space))
                    for total, part, sample in zip(totals, found, samples, strict=True)
                ]
        means = [total / len(views[0]) for total in totals]
        return [mean.softmax(dim=0) for mean in means] if self.config.average == "logits" else means

    @contextmanager
    def _modes(self) -> Iterator[None]:
        """Evaluation mode; batch norm as the settings say."""
        with evaluating(self.model):
            if self.config.batch_norm == "running":
                yield
                return
            with batch_statistics(self.model):
                yield

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
