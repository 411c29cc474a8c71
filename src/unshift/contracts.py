"""The architecture on one page: what a member of each family promises.

A member is one file; its name is the file's name; it ends with ``MEMBER = TheClass`` and nothing else registers it.
Contract tests (``tests/contract``) hold every member to what stands here the day its file appears.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unshift.config import Config
from unshift.errors import BundleError, DataError
from unshift.sample import Batch, Case, Sample, Task, UnlabeledBatch


class Member:
    """A class with a ``Config`` whose defaults are the published values."""

    Config: ClassVar[type[Config]] = Config

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """Files whose content decides what the member does, beside its settings. Default: those that settings name."""
        named = [Path(value) for value in vars(config).values() if isinstance(value, str | Path)]
        return tuple(path for path in named if path.is_file())


# ------------------------------------------------------------------------------------------------------- files


@dataclass(frozen=True)
class Picture:
    """What a file holds, before a dataset says what it means.

    Args:
        array: float32 [channel, *space] for images; int64 [*space] for label maps.
        spacing: mm in array axis order, or None when the file does not say.
        affine: float64 [4, 4], homogeneous array indices -> RAS+ mm, or None; of a picture, as a one-slice volume.
    """

    array: Tensor
    spacing: tuple[float, ...] | None = None
    affine: Float[Tensor, "n n"] | None = None


class Format(Member, ABC):
    """file <-> Picture, with geometry kept.

    Every reader raises :class:`DataError`, naming the file, for what it cannot read in full; none returns a part.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Lower-case endings with the dot (``.nii.gz``). DICOM is also recognized by its content."""

    @abstractmethod
    def read_image(self, path: Path) -> Picture:
        """float32 [channel, *space]; 8- and 16-bit photographs scaled to [0, 1]; volumes in their own units."""

    @abstractmethod
    def read_label_map(self, path: Path) -> Picture:
        """int64 [*space], the values as stored."""

    @abstractmethod
    def write_label_map(self, path: Path, label_map: Int[Tensor, "*space"], *, like: Picture | None = None) -> None:
        """Write to a temporary name, then rename. ``like`` gives spacing and affine."""


# ---------------------------------------------------------------------------------------------------- datasets


@dataclass(frozen=True)
class Card:
    """What a person must know before they use a dataset."""

    title: str
    source: str
    licence: str
    patients: str
    layout: str
    defects: str = "None known."
    citation: str = ""


class Dataset(Member, ABC):
    """Cases by domain, and the two doors through which their content comes: image and label map.

    ``read_label_map`` is the way to a label (``audit`` also looks at values as stored). Nothing opens it for a held-out
    case before testing begins, except the selection rule ``oracle``.
    """

    card: ClassVar[Card]

    def __init__(self, config: Any, root: Path | None = None) -> None:
        self.config, self.root = config, root

    @property
    @abstractmethod
    def task(self) -> Task:
        """Channels, classes, regions, spatial dimensions."""

    @property
    @abstractmethod
    def domains(self) -> tuple[str, ...]:
        """Names, in a fixed order."""

    @abstractmethod
    def cases(self, domain: str) -> list[Case]:
        """All cases of ``domain``, sorted by name. Raises :class:`UnknownName` for a domain that does not exist."""

    @abstractmethod
    def read_image(self, case: Case) -> Sample:
        """The image with ``task.channels`` channels, its geometry and field of view; ``label_map`` is None."""

    @abstractmethod
    def read_label_map(self, case: Case) -> Int[Tensor, "*space"]:
        """Labels 0 … num_classes - 1. Raises :class:`DataError` naming the file for any other value."""

    def read(self, case: Case) -> Sample:
        """Image and label map on one grid."""
        return self.read_image(case).replace(label_map=self.read_label_map(case))

    def fingerprint(self, case: Case) -> str:
        """SHA-256 of the case's files, for the run's record of what data it saw."""
        digest = hashlib.sha256(case.key.encode())
        for path in (*case.images, case.labels, case.field_of_view):
            if path is None:
                continue
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            for file in files:
                try:
                    digest.update(file.read_bytes())
                except OSError as error:
                    raise DataError(f"{file}: cannot be read ({error}). Check that it exists and its rights.") from None
        return digest.hexdigest()


# ----------------------------------------------------------------------------------------------- normalizations


class Normalization(Member, ABC):
    """Deterministic image -> image, before the network; several views are averaged. State holds no patients' pixels."""

    origin: str = ""
    """Where the weights came from that the normalization brings with it, if any. The run records it."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def preflight(cls, config: Any, sources: Sequence[str]) -> None:
        """Raise, before a training on ``sources`` (names, ``domain/case``), for what could not be used after it."""
        cls.files(config)

    def bind(self, network: Network, size: Sequence[int], before: Sequence[Normalization] = ()) -> None:
        """Hear of the trained network, its input's size and the fitted steps before; preprocessing hears nothing."""

    def fit(self, samples: Iterable[Sample]) -> Self:
        """Learn from source samples (unlabeled). The default has nothing to learn."""
        return self

    @abstractmethod
    def views(self, sample: Sample) -> list[Sample]:
        """One or more normalized copies on the same grid; geometry, label map and field of view are kept."""

    def state_dict(self) -> dict[str, Tensor]:
        """Fitted state as named tensors; empty when there is none."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`; unknown or missing names raise :class:`BundleError`."""
        if state:
            raise BundleError(
                f"{type(self).__name__}: found state {sorted(state)}; this normalization has none. "
                "Use the bundle with the version that wrote it."
            )


# ------------------------------------------------------------------------------------------------ augmentations


class Augmentation(Member, ABC):
    """Random batch -> batch. Randomness is data: ``draw`` once, then ``apply``, and apply again to replay."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def draw(self, generator: torch.Generator, images: Float[Tensor, "batch channel *space"]) -> dict[str, Tensor]:
        """Parameters for every image of the batch; only shape and device of ``images`` are looked at."""

    @abstractmethod
    def apply(
        self, images: Float[Tensor, "batch channel *space"], parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "batch channel *space"]:
        """Images in [0, 1] (or near it) -> images, same shape."""

    def apply_label_maps(
        self, label_maps: Int[Tensor, "batch *space"], parameters: Mapping[str, Tensor]
    ) -> Int[Tensor, "batch *space"]:
        """Label maps moved as the images are; photometric augmentations leave them as they are."""
        return label_maps


# ----------------------------------------------------------------------------------------------------- networks


@dataclass(frozen=True)
class Tap:
    """A place where later methods look at, or restyle, an encoder feature.

    Args:
        name: stable name, unique in the network (``level_5``).
        stride: input pixels per feature pixel.
        channels: number of feature channels.
    """

    name: str
    stride: int
    channels: int


FROM_SCRATCH = "from scratch"


class Network(Member, nn.Module, ABC):
    """images -> features at the taps -> logits.

    ``decode(features)`` uses a feature only as the skip (or bottleneck) that enters the decoder, so that restyling
    ``features[i]`` between :meth:`encode` and :meth:`decode` changes the skip's copy and never the encoder's own path.
    Standardization with the source's (or the pretrained weights') channel mean and deviation is part of the network,
    so that what is exported takes images as :mod:`preprocessing` leaves them.
    """

    size_divisor: int = 1
    """Every spatial size given to :meth:`forward` must be a multiple of this."""
    least_factor: int = 1
    """The smallest side that the network takes, in units of ``size_divisor``."""
    origin: str = FROM_SCRATCH
    """Where the weights began: ``from scratch``, or what was loaded. The run records it."""

    def __init__(self, config: Any, task: Task, channels: int | None = None) -> None:
        """``channels``: of the network's input when it differs from ``task.channels`` (neighbouring slices)."""
        super().__init__()
        self.config, self.task = config, task
        self.in_channels = channels or task.channels
        self.register_buffer("input_mean", torch.zeros(self.in_channels))
        self.register_buffer("input_deviation", torch.ones(self.in_channels))
        self.input_mean: Tensor
        self.input_deviation: Tensor

    @property
    @abstractmethod
    def taps(self) -> tuple[Tap, ...]:
        """The features that :meth:`encode` returns, shallow to deep."""

    @abstractmethod
    def features(self, images: Float[Tensor, "batch channel *space"]) -> list[Tensor]:
        """Standardized images -> one feature per tap."""

    @abstractmethod
    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "batch class *space"]:
        """Features -> logits at the input's size."""

    def check(self, images: Float[Tensor, "batch channel *space"]) -> None:
        """Raise :class:`ShapeMismatch` for axes, channels or sides that the network cannot take."""

    def encode(self, images: Float[Tensor, "batch channel *space"]) -> list[Tensor]:
        """Images as preprocessing leaves them -> one feature per tap."""
        self.check(images)
        shape = (1, -1) + (1,) * (images.ndim - 2)
        return self.features((images - self.input_mean.view(shape)) / self.input_deviation.view(shape))

    def forward(self, images: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch class *space"]:
        """Images as preprocessing leaves them -> logits."""
        return self.decode(self.encode(images))

    def restyled(
        self, images: Float[Tensor, "batch channel *space"], restyle: Callable[[list[Tensor]], Sequence[Tensor]]
    ) -> Float[Tensor, "batch class *space"]:
        """Logits when ``restyle`` replaces the features, one per tap, on their way into the decoder.

        The door for plugins. A network whose decoder cannot be called by itself (``own``) overrides it. ``restyle``
        returns tensors of the same shapes, or the list that it got, which gives :meth:`forward` bit for bit.
        """
        return self.decode(restyle(self.encode(images)))

    def standardize(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the channel statistics of the source, unless pretrained weights brought their own.

        Args:
            mean, deviation: float32 [channel] of an image; repeated for the neighbouring slices that the input stacks.
        """
        if self.origin == FROM_SCRATCH:
            repeats = self.in_channels // len(mean)
            mean, deviation = mean.repeat(repeats), deviation.repeat(repeats)
            self.input_mean.copy_(mean)
            self.input_deviation.copy_(deviation.clamp_min(1e-6))


# --------------------------------------------------------------------------------------------------- objectives


@dataclass(frozen=True)
class Setting:
    """What an objective may see.

    ``generalization``: labeled sources only. ``adaptation``: also unlabeled target images.
    """

    kind: Literal["generalization", "adaptation"] = "generalization"
    least_sources: int = 1


class Objective(Member, nn.Module, ABC):
    """Loss terms over source domains. It states mathematics only; the loop owns everything else.

    One :meth:`losses` call is one forward and one backward of one phase, so that DDP's hooks see what they expect:
    the loop calls the *module* (``objective(batch)`` style) through :meth:`forward` with a phase.
    """

    setting: ClassVar[Setting] = Setting()
    phases: ClassVar[tuple[str, ...]] = ("train",)

    def __init__(self, config: Any, task: Task, network: Network, sources: Sequence[str] = ()) -> None:
        super().__init__()
        self.config, self.task, self.network, self.sources = config, task, network, tuple(sources)

    def parameter_groups(self) -> dict[str, list[dict[str, Any]]]:
        """Phase -> optimizer groups; a group may carry ``scale``, a factor on the learning rate."""
        return {self.phases[0]: [{"params": [p for p in self.parameters() if p.requires_grad]}]}

    @abstractmethod
    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        """Term -> scalar; their sum is minimized. All randomness comes from ``batch.generator()``."""

    def forward(
        self,
        images: Float[Tensor, "batch channel *space"] | Batch,
        unlabeled: UnlabeledBatch | None = None,
        *,
        phase: str | None = None,
    ) -> Any:
        """Images -> logits (what is exported); with a ``phase``, a :class:`Batch` -> loss terms (what DDP wraps)."""
        if phase is not None:
            assert isinstance(images, Batch)
            return self.losses(phase, images, unlabeled)
        assert isinstance(images, Tensor)
        return self.network(images)


# ------------------------------------------------------------------------------------------------------ plugins


class Plugin(Member, nn.Module, ABC):
    """Units inserted at the taps of a frozen, trained network. Strength 0 gives the network's output bit for bit.

    What was learned is in ``state_dict()``; ``Member(config)`` followed by ``load_state_dict(state)`` makes an equal
    plugin without a network, which is how a bundle is read. State holds statistics, never patients' pixels.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.history: list[dict[str, float]] = []
        """What fitting logged, one entry a line of the journal; empty where nothing was iterated."""

    @abstractmethod
    def fit(self, network: Network, style: Sequence[Sample], content: Sequence[Sample], *, seed: int = 0) -> Self:
        """Learn the units; the network's weights, running statistics and modes stay as they are.

        Args:
            network: trained; its device is where the work is done.
            style: source images as the network sees them: preprocessed, ``network.in_channels`` channels, the size of
                its input; with ``label_map`` where labels are known, and with ``field_of_view`` where it is.
            content: any other images, in the same form, without labels; may be empty where the member needs none.
            seed: decides all randomness.

        Raises:
            DataError: no style image, or labels are needed and an image has none.
            ConfigError: the network has no taps, or not the ones that the settings name.
        """

    @abstractmethod
    def attach(self, network: Network) -> nn.Module:
        """``network`` with the units in it; the original is left as it was.

        Returns:
            A module ``(images, fields_of_view=None) -> logits``; ``fields_of_view`` is bool [batch, *space] of the
            images, or None when all of every image is valid.
        """
