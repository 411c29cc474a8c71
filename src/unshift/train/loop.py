"""The training loop: phases in order, each one forward and one backward; everything but the mathematics is here.

Killed at any moment and called again, :func:`fit` ends with the weights of an undisturbed run: batches, schedule and
random numbers are pure functions of the step, and a checkpoint holds all the rest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from unshift.contracts import Objective
from unshift.errors import ConfigError
from unshift.randomness import seed_step
from unshift.sample import Batch, UnlabeledBatch
from unshift.train import checkpoint, schedule
from unshift.train.checkpoint import State
from unshift.train.devices import Devices
from unshift.train.interruption import Interruption
from unshift.train.journal import Journal, read_journal
from unshift.train.loader import Ahead, Loader, UnlabeledLoader
from unshift.train.optimization import Turn, build_optimizers, update
from unshift.train.precision import Decision, decide
from unshift.train.record import describe, read_record, write_record
from unshift.train.settings import Progress, TrainConfig

Pair = tuple[Batch, UnlabeledBatch | None]


@dataclass(frozen=True)
class Trained:
    """What a training left in its folder.

    Args:
        folder: holds ``training.json``, ``journal.jsonl``, ``tensorboard/`` and ``checkpoints/``.
        step: updates done.
        best_step, best_score: of the best validation, if any was made.
        finished: always true for what :func:`fit` returns; a training that is stopped otherwise raises.
        stopped: why it ended: ``steps``, ``patience`` or ``max_minutes``.
    """

    folder: Path
    step: int
    best_step: int | None
    best_score: float | None
    finished: bool
    stopped: str


def fit(  # noqa: PLR0913
    objective: Objective,
    loader: Loader,
    *,
    config: TrainConfig,
    folder: Path,
    seed: int,
    devices: Devices | None = None,
    validate: Callable[[Objective], float] | None = None,
    watch: Callable[[Objective], Mapping[str, float]] | None = None,
    unlabeled: UnlabeledLoader | None = None,
    listener: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train ``objective``, or go on with the training in ``folder``, or return it when it is finished.

    Afterwards ``objective`` holds the last weights. With several processes every one of them calls this function;
    only the first one writes.

    Args:
        objective: what is minimized; trained in place.
        loader: batches of the source domains.
        config: settings of the loop.
        folder: of this training alone.
        seed: decides batches and all random numbers. Initial weights are the caller's.
        devices: where to compute; default: one GPU if there is one, else the CPU.
        validate: objective in evaluation mode -> score on held-out source cases; higher is better.
        watch: objective in evaluation mode -> what else to write into the journal beside each score; decides nothing.
        unlabeled: target images, for objectives of adaptation.
        listener: is told about progress after every step and before every validation.

    Raises:
        ConfigError: ``folder`` holds a training of other settings, data or seed; impossible settings.
        NumericalError: a loss or a gradient is not finite.
        KeyboardInterrupt: Ctrl-C, after the state was saved.
    """
    devices = devices or Devices()
    folder.mkdir(parents=True, exist_ok=True)
    description = describe(objective, loader, unlabeled, config=config, seed=seed)
    decision = read_record(folder, description)
    if _is_finished(folder, config):
        checkpoint.load_weights(objective, folder, "last")
        return _trained(folder, checkpoint.read_state(folder, checkpoint.steps_kept(folder)[-1]))
    with devices.determinism(), torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        if decision is None:
            decision = decide(objective, config, devices, first=lambda: _draw(loader, unlabeled, 0, 0), seed=seed)
        fabric = devices.fabric(decision.precision)
        fabric.launch()
        _require_agreement(fabric, decision)
        if fabric.is_global_zero:
            write_record(folder, description, decision)
        training = _Training(
            objective, loader, unlabeled, config, folder, seed, fabric, decision, validate, watch, listener
        )
        return training.run()


@dataclass
class _Training:
    """The state of one :func:`fit`, and the moves of the loop."""

    objective: Objective
    loader: Loader
    unlabeled: UnlabeledLoader | None
    config: TrainConfig
    folder: Path
    seed: int
    fabric: Fabric
    decision: Decision
    validate: Callable[[Objective], float] | None
    watch: Callable[[Objective], Mapping[str, float]] | None
    listener: Callable[[Progress], None] | None

    def __post_init__(self) -> None:
        if self.decision.channels_last:
            self.objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizers = build_optimizers(self.objective, self.config)
        self.module, *wrapped = self.fabric.setup(self.objective, *self.optimizers.values())
        self.wrapped = dict(zip(self.optimizers, wrapped, strict=True))
        self.interruption = Interruption()
        self.state = State()
        self.saved_step: int | None = None
        self.loss = float("nan")
        self.journal: Journal | None = None
        self.opened = self.began = time.monotonic()
        self.first_step = 0

    def run(self) -> Trained:
        """Resume, loop until an end is reached, leave a complete folder."""
        self._resume()
        self.objective.train()
        ahead = Ahead(self._draw, workers=self.config.workers, steps=self.config.steps, parts=self.config.accumulate)
        try:
            with self.interruption, ahead as batches:
                self._loop(batches)
        except KeyboardInterrupt:
            if not self.interruption.broken:
                self._save()
            raise
        finally:
            if self.journal is not None:
                self.journal.close()
        self.fabric.barrier()  # what follows reads the folder that the first process has just written
        return _trained(self.folder, self.state)

    def _loop(self, batches: Ahead[Pair]) -> None:
        while True:
            ending = self._ending()
            if self._validation_is_due(ending):
                self._validate()
                ending = ending or self._ending()
            if ending:
                self.state.stopped = ending
                self._save()
                self._note("stop", reason=ending, seconds=self._seconds())
                return
            if self._checkpoint_is_due():
                self._save()
            self._advance(batches)
            self._tell("training")

    def _advance(self, batches: Ahead[Pair]) -> None:
        """One step: every phase in order on the same batches."""
        began = time.monotonic()
        step = self.state.step
        parts = [self._moved(batches(step, part)) for part in range(self.config.accumulate)]
        with self.interruption.shield():
            seed_step(self.seed, step, self.fabric.global_rank)
            factor = schedule.factor(step, self.config)
            turns = []
            for phase in self.objective.phases:
                turn = Turn(step, phase, self.module, self.wrapped[phase], factor)
                turns.append((turn, update(self.fabric, turn, parts, config=self.config)))
            self.state.step += 1
            self.state.stopped = ""
            seconds = time.monotonic() - began
            for turn, terms in turns:
                self.loss = sum(terms.values())
                speed = self.config.batch_size * len(parts) / max(seconds, 1e-6)
                self._note(
                    "step",
                    phase=turn.phase,
                    loss=self.loss,
                    terms=terms,
                    lr=self.config.learning_rate * factor,
                    seconds=self._seconds(),
                    images_per_second=speed,
                )

    def _validate(self) -> None:
        """Score the weights of this step on the first process; all learn the result."""
        assert self.validate is not None
        self._tell("validating")
        score, measures = float("nan"), {}
        if self.fabric.is_global_zero:
            modes = {module: module.training for module in self.objective.modules()}
            self.objective.eval()
            try:
                with torch.no_grad():
                    score = float(self.validate(self.objective))
                    measures = dict(self.watch(self.objective)) if self.watch else {}
            finally:
                for module, training in modes.items():
                    module.training = training
        score = self.fabric.broadcast(score)
        state = self.state
        with self.interruption.shield():  # a checkpoint holds all of a validation or nothing of it
            state.validated_step, state.score = state.step, score
            if not math.isnan(score) and (state.best_score is None or score > state.best_score):
                state.best_step, state.best_score, state.stale = state.step, score, 0
            else:
                state.stale += 1
        facts = {"measures": measures} if measures else {}
        self._note("validation", score=score, best_step=state.best_step, seconds=self._seconds(), **facts)

    def _save(self) -> None:
        """Write a checkpoint of this step, then remove what it replaces."""
        if not self.fabric.is_global_zero:
            return
        with self.interruption.shield():
            self.state.seconds = self._seconds()
            self.state.scaler = self.fabric.strategy.precision.state_dict() or None
            path = checkpoint.save(self.folder, self.objective, self.optimizers, self.state)
            checkpoint.prune(self.folder, newest=self.state.step, best=self.state.best_step, keep=self.config.keep)
            if self.saved_step != self.state.step:
                self._note("checkpoint", path=path.name)
            self.saved_step = self.state.step

    def _resume(self) -> None:
        """Go on from the newest checkpoint; the first process decides which one that is."""
        kept = checkpoint.steps_kept(self.folder)
        step = self.fabric.broadcast(kept[-1] if kept else None)
        if step is not None:
            checkpoint.restore(self.folder, self.objective, self.optimizers, step)
            self.state = checkpoint.read_state(self.folder, step)
            self.fabric.strategy.precision.load_state_dict(self.state.scaler or {})
            self.saved_step = step
        earlier = read_journal(self.folder)
        # Steps that a killed session made in vain took time too.
        self.state.seconds = max([self.state.seconds, *(entry.get("seconds", 0.0) for entry in earlier)])
        self.opened, self.first_step = time.monotonic(), self.state.step
        self.began = self.opened - self.state.seconds
        if not self.fabric.is_global_zero:
            return
        self.journal = Journal(self.folder, step=self.state.step, tracker=self.config.tracker)
        if earlier or step is not None:
            self._note("resume", seconds=self.state.seconds, processes=self.fabric.world_size)
        else:
            self._note("precision", **asdict(self.decision))

    def _ending(self) -> str:
        """Why the training ends here, or an empty string."""
        if self.state.step >= self.config.steps:
            return "steps"
        if self.config.patience is not None and self.state.stale >= self.config.patience:
            return "patience"
        if self.config.max_minutes is not None:
            return "max_minutes" if self.fabric.broadcast(self._seconds() >= 60 * self.config.max_minutes) else ""
        return ""

    def _validation_is_due(self, ending: str) -> bool:
        step = self.state.step
        if self.validate is None or step == 0 or self.state.validated_step == step:
            return False
        return bool(ending) or step % self.config.validate_every == 0

    def _checkpoint_is_due(self) -> bool:
        state = self.state
        if state.step == 0 or self.saved_step == state.step:
            return False
        wanted = state.best_step == state.step or (self.config.keep == "all" and state.validated_step == state.step)
        return wanted or state.step % self.config.checkpoint_every == 0

    def _draw(self, step: int, part: int) -> Pair:
        rank, world = self.fabric.global_rank, self.fabric.world_size
        return _draw(self.loader, self.unlabeled, step, part, rank=rank, world=world)

    def _moved(self, pair: Pair) -> Pair:
        """The pair on the device, images in the layout of the weights."""
        return tuple(part and self._laid_out(part.to(self.fabric.device)) for part in pair)  # type: ignore[return-value]

    def _laid_out(self, batch: UnlabeledBatch) -> UnlabeledBatch:
        if not self.decision.channels_last or batch.images.ndim != 4:
            return batch
        return replace(batch, images=batch.images.contiguous(memory_format=torch.channels_last))

    def _seconds(self) -> float:
        return round(time.monotonic() - self.began, 3)

    def _note(self, event: str, **facts: Any) -> None:
        if self.journal is not None:
            self.journal.event(event, self.state.step, **facts)

    def _tell(self, what: Literal["training", "validating"]) -> None:
        if self.listener is None or not self.fabric.is_global_zero:
            return
        done, planned = self.state.step, self.config.steps
        left = None
        if done > self.first_step:
            left = (planned - done) * (time.monotonic() - self.opened) / (done - self.first_step)
            if self.config.max_minutes is not None:
                left = min(left, max(0.0, 60 * self.config.max_minutes - self._seconds()))
        self.listener(Progress(done, planned, self.loss, left, what, self.objective.phases[-1], self.state.score))


def _draw(
    loader: Loader, unlabeled: UnlabeledLoader | None, step: int, part: int, *, rank: int = 0, world: int = 1
) -> Pair:
    batch = loader.batch(step, rank=rank, world=world, part=part)
    return batch, None if unlabeled is None else unlabeled.batch(step, rank=rank, world=world, part=part)


def _require_agreement(fabric: Fabric, decision: Decision) -> None:
    """All processes must compute alike; on unlike machines the rule may choose differently."""
    first = fabric.broadcast(decision)
    if (first.precision, first.channels_last) != (decision.precision, decision.channels_last):
        raise ConfigError(
            f"precision: auto gives {decision.precision} on process {fabric.global_rank} and {first.precision} on "
            "process 0; all must agree. Set precision to one of 32, bf16-mixed, 16-mixed."
        )


def _is_finished(folder: Path, config: TrainConfig) -> bool:
    """Whether nothing is left to do; a training stopped by ``max_minutes`` goes on when it is given more."""
    kept = checkpoint.steps_kept(folder)
    if not kept:
        return False
    state = checkpoint.read_state(folder, kept[-1])
    if state.stopped == "max_minutes":
        return config.max_minutes is not None and state.seconds >= 60 * config.max_minutes
    return bool(state.stopped)


def _trained(folder: Path, state: State) -> Trained:
    return Trained(folder, state.step, state.best_step, state.best_score, True, state.stopped)
