"""A dataset, a network and objectives so small that a training takes a second; also run by child processes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from unshift.config import Config
from unshift.contracts import Card, Dataset, Network, Objective, Tap
from unshift.geometry import InputConfig
from unshift.losses.overlap import segmentation_terms
from unshift.randomness import torch_generator
from unshift.sample import Batch, Case, Sample, Task, UnlabeledBatch
from unshift.train.loader import Loader, UnlabeledLoader
from unshift.train.settings import TrainConfig

TASK = Task(channels=1, classes=("background", "disc"))


class Discs(Dataset):
    """Bright discs on noise in the domains a, b and t; the labels of t raise when they are read."""

    card = Card("discs", "drawn", "none", "one per case", "none")

    def __init__(self, per_domain: int = 6, space: Sequence[int] = (16, 16)) -> None:
        super().__init__(Config(), None)
        self.per_domain, self.space = per_domain, tuple(space)
        self.images_read: list[str] = []

    @property
    def task(self) -> Task:
        return Task(channels=1, classes=("background", "disc"), spatial_dims=len(self.space))

    @property
    def domains(self) -> tuple[str, ...]:
        return ("a", "b", "t")

    def cases(self, domain: str) -> list[Case]:
        return [Case(f"{domain}{i}", f"{domain}{i}", domain) for i in range(self.per_domain)]

    def read_image(self, case: Case) -> Sample:
        self.images_read.append(case.key)
        noise = torch.randn(1, *self.space, generator=torch_generator(0, case.key))
        image = self._disc(case).float()[None] + 0.3 * noise
        return Sample(image, case=case.name, patient=case.patient, domain=case.domain)

    def read_label_map(self, case: Case) -> Tensor:
        if case.domain == "t":
            raise AssertionError(f"the label of held-out case {case.key} was read")
        return self._disc(case).long()

    def _disc(self, case: Case) -> Tensor:
        center = torch.rand(len(self.space), generator=torch_generator(1, case.key)) * 6 + 5
        grid = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in self.space), indexing="ij"))
        return (grid - center.view(-1, *[1] * len(self.space))).square().sum(0) < 12


class Tiny(Network):
    """Two convolutions with a norm, and dropout when asked for."""

    def __init__(self, norm: str = "batch", dropout: float = 0.0, width: int = 8) -> None:
        super().__init__(Config(), TASK)
        norms = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
        self.first = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), norms[norm](width), nn.ReLU(), nn.Dropout(dropout)
        )
        self.last = nn.Conv2d(width, 2, 3, padding=1)

    @property
    def taps(self) -> tuple[Tap, ...]:
        return (Tap("level_1", 1, 8),)

    def features(self, images: Tensor) -> list[Tensor]:
        return [self.first(images)]

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        return self.last(features[0])


class Plain(Objective):
    """Cross-entropy and Dice, on noisy copies drawn from the batch's own generator."""

    noise = 0.0

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        noise = torch.randn(batch.images.shape, generator=batch.generator())
        return segmentation_terms(self.network(batch.images + self.noise * noise), batch.label_maps)


class Noisy(Plain):
    """As Plain, with noise."""

    noise = 0.1


class TwoPhases(Plain):
    """First the network, then a judge of its logits on unlabeled images; the judge learns half as fast."""

    phases = ("segment", "judge")

    def __init__(self, network: Network) -> None:
        super().__init__(Config(), TASK, network)
        self.judge = nn.Conv2d(2, 1, 1)

    def parameter_groups(self) -> dict[str, list[dict[str, object]]]:
        judge = {"params": list(self.judge.parameters()), "scale": 0.5}
        return {"judge": [judge], "segment": [{"params": list(self.network.parameters())}]}

    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        if phase == "segment":
            return super().losses(phase, batch, unlabeled)
        assert unlabeled is not None
        judged = self.judge(self.network(unlabeled.images))
        return {"doubt": (judged - 1).square().mean()}


def build(kind: type[Plain] = Noisy, *, norm: str = "batch", dropout: float = 0.2, seed: int = 0) -> Plain:
    """An objective with fixed initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Tiny(norm, dropout)
        return kind(network) if kind is TwoPhases else kind(Config(), TASK, network)


def loader(
    config: TrainConfig, *, dataset: Dataset | None = None, size: tuple[int, ...] = (16, 16), seed: int = 0
) -> Loader:
    """Batches of domains a and b."""
    dataset = dataset or Discs()
    cases = [*dataset.cases("a"), *dataset.cases("b")]
    return Loader(dataset, cases, input=InputConfig(size=size), config=config, seed=seed, prepare=lambda sample: sample)


def target_loader(config: TrainConfig, *, dataset: Dataset | None = None) -> UnlabeledLoader:
    """Unlabeled batches of domain t."""
    dataset = dataset or Discs()
    return UnlabeledLoader(
        dataset,
        dataset.cases("t"),
        input=InputConfig(size=(16, 16)),
        config=config,
        seed=0,
        prepare=lambda sample: sample,
    )


def sha256(path: Path) -> str:
    """Of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
