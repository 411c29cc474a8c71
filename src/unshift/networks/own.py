"""Any trained torch.nn.Module: built by ``package.module:function``, or handed over as an object.

Its taps are found by looking at one forward pass (see ``crossing``), or are named by hand. Encoder and decoder are not
taken apart: features are restyled in place while the module's own forward runs, so that ``decode`` does not exist. The
user's object and files are never changed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from math import gcd
from pathlib import Path
from typing import Any, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from unshift.config import parse
from unshift.contracts import FROM_SCRATCH, Network, Tap
from unshift.errors import BundleError, ConfigError, ShapeMismatch
from unshift.networks import builders, catching
from unshift.networks.crossing import Crossing, find_crossing
from unshift.networks.plausible import doubt, require_probabilities
from unshift.networks.pretrained import WeightsConfig
from unshift.networks.recording import Recording
from unshift.networks.sizing import check_input, nearest_size, times
from unshift.randomness import torch_generator
from unshift.sample import Task
from unshift.weights import load_exactly, read_weights

WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.")
"""What DDP, torch.compile and Lightning modules put before the names of the weights."""
_REFUSALS = (TypeError, ValueError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError)


class OwnConfig(WeightsConfig):
    """How to build the module, what its images looked like, what its output means.

    ``weights``: safetensors, or a checkpoint that holds tensors. Names that all begin as DDP, torch.compile or
    Lightning write them are understood; ``prefix`` takes the part of a checkpoint whose names begin so, less the rest.
    """

    builder: str | None = Field(None, description="package.module:function_or_class that returns a torch.nn.Module")
    arguments: dict[str, Any] = Field(default_factory=dict, description="of the builder")
    classes: dict[str, str] = Field(default_factory=dict, description="arguments that are layers of torch.nn, by name")
    prefix: str | None = Field(None, description="of the names in `weights` that are the module's")
    mean: tuple[float, ...] | None = Field(None, description="a channel each, subtracted from images; default 0")
    deviation: tuple[float, ...] | None = Field(None, description="a channel each, dividing images; default 1")
    output: Literal["softmax", "sigmoid", "probabilities"] = Field(
        "softmax",
        description="what the module gives: one logit a class; one logit of the only foreground class; or "
        "probabilities, of every class or of the only foreground class",
    )
    select: str | int | None = Field(None, description="key, attribute or index of the logits in what it returns")
    size_divisor: int | tuple[int, ...] | None = Field(
        None, description="of every side, or of each axis; default: the deepest tap's stride"
    )
    probe: tuple[int, ...] | None = Field(None, description="a size that the module takes; default: a small one")
    taps: Literal["auto"] | tuple[str, ...] = Field(
        "auto", description="names of modules that return the features; an empty list: none, the module is used whole"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.deviation is not None and min(self.deviation) <= 0:
            raise ValueError(f"deviation is {self.deviation}; every entry must be above 0")
        divisors = (self.size_divisor,) if isinstance(self.size_divisor, int) else self.size_divisor or ()
        if any(entry < 1 for entry in (*divisors, *(self.probe or ()))):
            raise ValueError("size_divisor and probe must be 1 or more")
        return self


class Own(Network):
    """A foreign module behind the :class:`Network` contract. ``body`` is that module, or a copy of the user's object.

    In evaluation mode its forward is the module's own, bit for bit, after standardization. The size of a unit's
    feature is known for images whose sides are multiples of ``divisors``.
    """

    Config = OwnConfig

    def __init__(
        self, config: OwnConfig, task: Task, channels: int | None = None, *, module: nn.Module | None = None
    ) -> None:
        super().__init__(config, task, channels)
        self.body = self._build(module)
        self._standardize()
        self._load()
        self._crossing = self._look()
        given = config.size_divisor or tuple(max(axis) for axis in zip(*self.strides, strict=True)) or 1
        self.divisors = (given,) * task.spatial_dims if isinstance(given, int) else given
        self.size_divisor = gcd(*self.divisors)

    @classmethod
    def files(cls, config: OwnConfig) -> tuple[Path, ...]:
        """The weights, and the file that holds the builder."""
        source = builders.source_file(config.builder) if config.builder else None
        return (*super().files(config), *([source] if source else []))

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Named as the modules that make them; the stride is the largest of the axes'."""
        return self._crossing.taps

    @property
    def strides(self) -> tuple[tuple[int, ...], ...]:
        """Of every tap, one number an axis."""
        return self._crossing.strides

    def check(self, images: Float[Tensor, "batch channel *space"]) -> None:
        """Raise :class:`ShapeMismatch` for axes, channels or sides that the network cannot take."""
        check_input(self, images, name=self._name)
        sides = tuple(images.shape[2:])
        if any(side % divisor for side, divisor in zip(sides, self.divisors, strict=True)):
            good = [nearest_size([side], d)[0] for side, d in zip(sides, self.divisors, strict=True)]
            raise ShapeMismatch(
                f"{self._name}: images are {times(sides)}; sides must be multiples of {times(self.divisors)}. "
                f"The nearest good size is {times(good)}: resize or pad the images to it."
            )

    def features(self, images: Float[Tensor, "batch channel *space"]) -> list[Tensor]:
        """Standardized images -> one feature a tap; the decoder is not run."""
        return catching.features(self.body, images, self._crossing.places, self._crossing.cut)

    def decode(self, features: Sequence[Tensor]) -> Float[Tensor, "batch class *space"]:
        """Not possible.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{self._name}: encoder and decoder of {type(self.body).__name__} cannot be separated. "
            "Use restyled(images, restyle)."
        )

    def forward(self, images: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch class *space"]:
        """Images as preprocessing leaves them -> logits."""
        return self._logits(self.body(self._standardized(images)), images)

    def restyled(
        self, images: Float[Tensor, "batch channel *space"], restyle: Callable[[list[Tensor]], Sequence[Tensor]]
    ) -> Float[Tensor, "batch class *space"]:
        """Logits when ``restyle`` replaces the features on their way into the decoder.

        Gradients reach what ``restyle`` returns and the decoder's parameters; never the encoder or the images.
        """
        where = self._crossing
        output = catching.restyled(self.body, self._standardized(images), where.places, where.cut, restyle)
        return self._logits(output, images)

    def _standardized(self, images: Tensor) -> Tensor:
        self.check(images)
        shape = (1, -1) + (1,) * (images.ndim - 2)
        return (images - self.input_mean.view(shape)) / self.input_deviation.view(shape)

    # ------------------------------------------------------------------------------------------------- output

    @torch.no_grad()
    def judge(self, images: Float[Tensor, "batch channel *space"]) -> str:
        """Why the output cannot well be the logits that it is declared to be, or an empty string.

        Args:
            images: real ones, as preprocessing leaves them.

        Raises:
            ConfigError: declared to give probabilities, and it does not.
        """
        output = self._selected(self.body(self._standardized(images)))
        if self.config.output == "probabilities":
            require_probabilities(output, name=self._name)
        return doubt(output, self.config.output)

    def _selected(self, output: Any) -> Tensor:
        """The tensor of the module's output that is meant."""
        key = self.config.select
        try:
            if key is not None:
                by_key = isinstance(key, int) or isinstance(output, Mapping)
                output = output[key] if by_key else getattr(output, str(key))
        except (KeyError, IndexError, AttributeError, TypeError):
            raise ConfigError(
                f"{self._name}: its output has no {key!r}; it is {_shown(output)}. Set `select`."
            ) from None
        if not isinstance(output, Tensor):
            raise ConfigError(
                f"{self._name}: its output is {_shown(output)}; one tensor of logits is required. Set `select` to the "
                "key or index of the logits, or switch off further outputs (deep supervision)."
            )
        return output

    def _logits(self, output: Any, images: Tensor) -> Tensor:
        """One logit a class, exact: of ``[0, z]`` the softmax is the sigmoid of z."""
        found, classes = self._selected(output), self.task.num_classes
        expected = (images.shape[0], classes, *images.shape[2:])
        binary = classes == 2 and self.config.output != "softmax" and found.shape[1:2] == (1,)
        allowed = [list(expected)] if self.config.output != "sigmoid" else []
        allowed += [[expected[0], 1, *expected[2:]]] if classes == 2 and self.config.output != "softmax" else []
        if list(found.shape) not in allowed:
            raise ConfigError(self._shape_problem(list(found.shape), list(expected)))
        if self.config.output == "probabilities":
            both = torch.cat([1 - found, found], dim=1) if binary else found
            return both.clamp_min(torch.finfo(both.dtype).tiny).log()
        return torch.cat([torch.zeros_like(found), found], dim=1) if binary else found

    def _shape_problem(self, found: list[int], expected: list[int]) -> str:
        begin = (
            f"{self._name}: its output is {found}; `output: {self.config.output}` of {self.task.num_classes} classes"
        )
        if self.config.output == "sigmoid" and (self.task.num_classes != 2 or found[1:2] != [1]):
            return (
                f"{begin} is not possible. One logit for the only foreground class is; labels that overlap "
                "(multi-label) are not supported: give each label a network of its own, or a module with one logit a "
                "class, the background among them."
            )
        hint = ""
        if found[1:2] == [1]:
            hint = " For one logit of the only foreground class set `output: sigmoid`."
        elif found[2:] != expected[2:]:
            hint = " Let the module resize its logits to the images' size."
        return f"{begin} needs {expected}.{hint} See `select` and the task's `classes`."

    # ------------------------------------------------------------------------------------------------ building

    @property
    def _name(self) -> str:
        return self.config.builder or type(self.body).__name__

    def _build(self, module: nn.Module | None) -> nn.Module:
        if module is not None:
            self.origin = "a module that was handed over"
            return _copied(module)
        if self.config.builder is None:
            raise ConfigError("network own: no builder. Give `builder: package.module:function_or_class`.")
        return builders.build(self.config.builder, self.config.arguments, self.config.classes)

    def _standardize(self) -> None:
        for name in ("mean", "deviation"):
            values = getattr(self.config, name)
            if values is None:
                continue
            if len(values) != self.in_channels:
                raise ConfigError(
                    f"{self._name}: `{name}` has {len(values)} entries; the input has {self.in_channels} channel(s)."
                )
            getattr(self, f"input_{name}").copy_(torch.tensor(values))
            if self.origin == FROM_SCRATCH:
                self.origin = f"built by {self.config.builder}"

    def _load(self) -> None:
        path = self.config.weights
        if path is not None:
            state = unwrapped_names(read_weights(path), self.body, prefix=self.config.prefix, where=str(path))
            load_exactly(self.body, state, where=str(path))
            self.origin = f"weights file {path.name}"

    def _look(self) -> Crossing:
        """Find the taps on a probe image, in evaluation mode, and check that restyling does what it should."""
        probe, divisors = self._probe()
        taps = None if self.config.taps == "auto" else self.config.taps
        training = [module for module in self.body.modules() if module.training]
        self.body.eval()
        try:
            recording = self._record(probe)
            if self.config.output == "probabilities":
                require_probabilities(self._selected(recording.output), name=self._name)
            isotropic = len(set(divisors)) == 1
            crossing = find_crossing(recording, logits=self._selected, taps=taps, isotropic=isotropic)
            self._verify(crossing, recording)
        finally:
            for module in training:
                module.training = True
        return crossing

    def _record(self, probe: Tensor) -> Recording:
        try:
            return Recording(self.body, probe)
        except _REFUSALS as error:
            reason = " ".join(str(error).split())[:300]
            size, channels = times(tuple(probe.shape[2:])), probe.shape[1]
            raise ConfigError(
                f"{self._name}: its forward fails on a made-up image of {channels} channel(s) and {size} pixels "
                f"({reason}). If it takes another number of channels, change the task's `channels`; if it takes "
                "certain sizes only, set `probe` to one of them."
            ) from None

    def _probe(self) -> tuple[Tensor, tuple[int, ...]]:
        """An image of at least two pixels a side at the deepest stride, not square; and the divisors of its sides."""
        dims, given = self.task.spatial_dims, self.config.size_divisor or 32
        divisors = (given,) * dims if isinstance(given, int) else given
        if len(divisors) != dims or len(self.config.probe or divisors) != dims:
            found = {"size_divisor": self.config.size_divisor, "probe": self.config.probe}
            wrong = ", ".join(f"`{key}` is {value}" for key, value in found.items() if value is not None)
            raise ConfigError(f"{self._name}: {wrong}; they need {dims} entries, one an axis.")
        least = 64 if dims == 2 else 32
        sides = [max(2, -(-least // divisor)) * divisor for divisor in divisors]
        sides[-1] += -(-sides[-1] // (2 * divisors[-1])) * divisors[-1]
        shape = (2 if dims == 2 else 1, self.in_channels, *(self.config.probe or sides))
        like = next(self.body.parameters(), self.input_mean)
        return torch.rand(shape, generator=torch_generator(0, "probe")).to(like), divisors

    def _verify(self, crossing: Crossing, recording: Recording) -> None:
        """Equal copies in place of the features must give equal logits, bit for bit."""
        probe, plain = recording.image, self._logits(recording.output, recording.image)
        with torch.no_grad():
            output = catching.restyled(
                self.body, probe, crossing.places, crossing.cut, lambda features: [f.clone() for f in features]
            )
        if not torch.equal(plain.nan_to_num(), self._logits(output, probe).nan_to_num()):
            raise ConfigError(
                f"{self._name}: two forward passes on one image differ in evaluation mode. Switch off what is random "
                "in its forward (dropout as a function takes training=self.training)."
            )


def own_network(module: nn.Module, task: Task, *, channels: int | None = None, **settings: Any) -> Own:
    """A copy of ``module``, an object, as a :class:`Network`; the object is left as it is.

    Args:
        module: trained; wrappers of DDP and torch.compile are taken off.
        channels: of its input, when they differ from ``task.channels``.
        settings: of :class:`OwnConfig`: ``mean``, ``deviation``, ``output``, … ``builder`` and ``arguments`` say how it
            was built; only a bundle needs them.

    Raises:
        ConfigError: see :class:`Own`.
    """
    return Own(parse(OwnConfig, settings, where="own_network"), task, channels, module=module)


def unwrapped_names(
    state: Mapping[str, Tensor], module: nn.Module, *, prefix: str | None = None, where: str
) -> dict[str, Tensor]:
    """``state`` without what wrappers put before every name, or the part of it whose names begin with ``prefix``.

    Raises:
        BundleError: no name begins with ``prefix``; or only some begin as a wrapper writes them, so that a person has
            to say whether the others may be left out.
    """
    own = module.state_dict().keys()
    if prefix is not None:
        part = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if not part:
            raise BundleError(f"{where}: no name begins with {prefix!r}; found {sorted(state)[:8]}. Set `prefix`.")
        return part
    found = dict(state)
    while found and not found.keys() & own:
        wrapper = next((w for w in WRAPPERS if all(name.startswith(w) for name in found)), None)
        if wrapper is None:
            break
        found = {name.removeprefix(wrapper): value for name, value in found.items()}
    for wrapper in WRAPPERS:
        if own and own <= {name.removeprefix(wrapper) for name in state if name.startswith(wrapper)}:
            others = sorted(name for name in state if not name.startswith(wrapper))
            if others:
                raise BundleError(
                    f"{where}: the module's names stand there after {wrapper!r}, beside others: {others[:8]}. "
                    f"Set `prefix: {wrapper!r}` to leave those out."
                )
    return found


def _copied(module: Any) -> nn.Module:
    while hasattr(module, "_orig_mod") or isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        module = module._orig_mod if hasattr(module, "_orig_mod") else module.module
    try:
        return copy.deepcopy(module)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"{type(module).__name__}: cannot be copied ({error}), and the object itself is not changed. Give a "
            "`builder` and a weights file instead."
        ) from None


def _shown(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor {list(output.shape)}"
    keys = f" with keys {list(output)}" if isinstance(output, Mapping) else ""
    length = f" of {len(output)}" if isinstance(output, list | tuple) else ""
    return f"{type(output).__name__}{keys}{length}"


MEMBER = Own
