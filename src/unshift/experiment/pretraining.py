"""Train a module on images without labels: steps that repeat themselves, and progress that survives an interruption.

What :mod:`unshift.experiment.transfer` learns its weights with. Small beside ``train``: one device, Adam, no domains,
no validation.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.func import functional_call

from unshift.config import Config
from unshift.errors import ConfigError, NumericalError
from unshift.experiment.events import Event, Listener, silence
from unshift.randomness import torch_generator
from unshift.recipe import digest
from unshift.train.devices import Devices
from unshift.train.interruption import Interruption
from unshift.train.precision import candidate_precision

SAVE_EVERY = 100
LOG_EVERY = 10
_GRAY_SHARE = 0.3
_POWERS = (0.5, 2.0)
_LUMA = (0.299, 0.587, 0.114)
logger = logging.getLogger(__name__)


class PretrainConfig(Config):
    """``steps`` of Adam on ``batch`` crops of ``size`` pixels; the rate falls to zero over the second half."""

    steps: int = Field(default=2000, ge=1)
    batch: int = Field(default=4, ge=2)
    size: int = Field(default=128, ge=32, multiple_of=16)
    learning_rate: float = Field(default=1e-3, gt=0)
    seed: int = 0


def pretrain(
    module: nn.Module,
    images: Sequence[Float[Tensor, "3 height width"]],
    config: PretrainConfig,
    *,
    output: Path,
    devices: Devices,
    listener: Listener = silence,
) -> None:
    """Minimize what ``module(images, generator)`` returns, named terms, over its parameters that require gradients.

    Every 100 steps, and on Ctrl-C, progress is stored beside ``output`` and the same call goes on from there; losses go
    to ``<output>.jsonl``. On one CPU an interrupted training ends with the weights of an undisturbed one.

    Args:
        module: trained in place. It gets float32 images in [0, 1] and draws all randomness from the generator. Where
            the device computes in bfloat16, it finds its parameters and buffers in bfloat16 and follows them.
        images: sides of at least ``config.size``.
        config: steps, batch, size, rate, seed.
        output: of the finished weights; only its folder and name are used.
        devices: where to compute.
        listener: told of each step.

    Raises:
        ConfigError: stored progress belongs to other settings, images or weights.
        NumericalError: the loss is not finite.
    """
    device = devices.device
    module.to(device).train()
    for value in module.parameters():
        value.data = value.data.contiguous(
            memory_format=torch.channels_last if value.ndim == 4 else torch.contiguous_format
        )
    named = {name: value for name, value in module.named_parameters() if value.requires_grad}
    progress = _Progress(output, named, key=_key(config, named, images))
    optimizer = torch.optim.Adam(named.values(), lr=config.learning_rate)
    done = progress.restore(optimizer)
    mixed = candidate_precision(devices)[0] == "bf16-mixed"
    with Interruption() as interruption, progress.log_from(done) as log:
        try:
            for step in range(done, config.steps):
                with interruption.shield():
                    _set_rate(optimizer, config, step)
                    generator = torch_generator(config.seed, "pretrain loss", step)
                    terms = _step(module, optimizer, draw(images, config, step).to(device), generator, mixed=mixed)
                    done = step + 1
                listener(Event(f"train {output.stem}", done, config.steps, _words(terms)))
                if done % LOG_EVERY == 0 or done == config.steps:
                    log.write(json.dumps({"step": done, **terms}) + "\n")
                if done % SAVE_EVERY == 0:
                    progress.store(optimizer, done)
        except KeyboardInterrupt:
            if done and not interruption.broken:
                progress.store(optimizer, done)
            raise
    module.eval()


def finish(output: Path, config: PretrainConfig, figures: Mapping[str, float]) -> None:
    """Once the weights are written: remove stored progress, end the log with the settings and what was measured."""
    last = {"step": config.steps, "settings": config.model_dump(mode="json"), "held_out": dict(figures)}
    with _log_file(output).open("a", encoding="utf-8") as log:
        log.write(json.dumps(last) + "\n")
    _progress_file(output).unlink(missing_ok=True)


def draw(images: Sequence[Tensor], config: PretrainConfig, step: int) -> Float[Tensor, "batch 3 size size"]:
    """The batch of a step: random crops, mirrored, some grey, of random brightness (a power from 0.5 to 2)."""
    generator = torch_generator(config.seed, "pretrain", step)
    crops = []
    for index in torch.randint(len(images), (config.batch,), generator=generator).tolist():
        image = images[index]
        top, left = (int(torch.randint(n - config.size + 1, (), generator=generator)) for n in image.shape[1:])
        crop = image[:, top : top + config.size, left : left + config.size]
        mirror, gray, power = torch.rand(3, generator=generator).tolist()
        if mirror < 0.5:
            crop = crop.flip(2)
        if gray < _GRAY_SHARE:
            crop = torch.tensordot(crop.new_tensor(_LUMA), crop, dims=1).expand(3, -1, -1)
        crops.append(crop.clamp(0, 1) ** (_POWERS[0] * (_POWERS[1] / _POWERS[0]) ** power))
    return torch.stack(crops)


def _set_rate(optimizer: torch.optim.Optimizer, config: PretrainConfig, step: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * min(1.0, 2 * (1 - step / config.steps))


def _step(
    module: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, generator: torch.Generator, *, mixed: bool
) -> dict[str, float]:
    """One update. Casting the weights once is faster than autocast, which pads by reflection in float32."""
    optimizer.zero_grad(set_to_none=True)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    state = {name: value.to(torch.bfloat16) for name, value in tensors.items()} if mixed else tensors
    terms = functional_call(module, state, (images, generator))
    total = torch.stack(list(terms.values())).sum()
    if not total.isfinite():
        raise NumericalError(f"The loss is {float(total.detach())}; finite is required. Lower the learning rate.")
    total.backward()
    optimizer.step()
    return {name: float(value.detach()) for name, value in terms.items()}


def _words(terms: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in terms.items())


def _key(config: PretrainConfig, named: Mapping[str, Tensor], images: Sequence[Tensor]) -> str:
    """Settings, initial weights and images; of the images, sums are enough to notice others."""
    begin = [(name, list(value.shape), float(value.detach().double().sum())) for name, value in named.items()]
    return digest(config, begin, len(images), [float(image.double().sum()) for image in images])


def _progress_file(output: Path) -> Path:
    return output.with_name(f".{output.name}.progress")


def _log_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.jsonl")


class _Progress:
    """Parameters and Adam's moments in one file beside the output, and the log of losses."""

    def __init__(self, output: Path, named: Mapping[str, nn.Parameter], *, key: str) -> None:
        self.file, self.log, self.named, self.key = _progress_file(output), _log_file(output), named, key
        self.file.parent.mkdir(parents=True, exist_ok=True)

    def store(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        tensors: dict[str, Tensor] = {}
        for name, value in self.named.items():
            state = optimizer.state[value]
            parts = {"value": value, "first": state["exp_avg"], "second": state["exp_avg_sq"]}
            tensors.update({f"{part}/{name}": tensor.detach().cpu().contiguous() for part, tensor in parts.items()})
        draft = self.file.with_name(f"{self.file.name}.partial")
        draft.write_bytes(save(tensors, metadata={"key": self.key, "step": str(step)}))
        draft.replace(self.file)

    def restore(self, optimizer: torch.optim.Optimizer) -> int:
        """Steps done; 0 when nothing is stored."""
        if not self.file.is_file():
            return 0
        try:
            with safe_open(self.file, framework="pt") as opened:
                facts = opened.metadata()
            tensors = load_file(self.file)
        except SafetensorError as error:
            raise ConfigError(f"{self.file}: cannot be read ({error}). Delete it to begin again.") from None
        if facts["key"] != self.key:
            raise ConfigError(
                f"{self.file}: is the progress of a training with other settings or images. "
                "Repeat the command that began it, delete the file, or choose another --output."
            )
        step = int(facts["step"])
        state: dict[int, dict[str, Any]] = {}
        for index, (name, value) in enumerate(self.named.items()):
            with torch.no_grad():
                value.copy_(tensors[f"value/{name}"])
            moments = {"exp_avg": tensors[f"first/{name}"], "exp_avg_sq": tensors[f"second/{name}"]}
            state[index] = {"step": torch.tensor(float(step)), **moments}
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        logger.info("%s: goes on after step %d.", self.file, step)
        return step

    def log_from(self, step: int) -> Any:
        """The log opened for more lines, without those of steps that come again."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if step and self.log.is_file() else []
        whole = [line for line in lines if line.endswith("}")]  # the last may have been cut off
        kept = [line for line in whole if json.loads(line)["step"] <= step]
        self.log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        return self.log.open("a", encoding="utf-8", buffering=1)
