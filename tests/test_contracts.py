"""What the base classes do for their members."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unshift.contracts import Card, Dataset, Network, Normalization, Objective, Tap
from unshift.errors import BundleError, DataError
from unshift.sample import Batch, Case, Sample, Task, UnlabeledBatch

TASK = Task(2, ("background", "organ"))


class Doubling(Network):
    taps = (Tap("only", 1, 2),)

    def __init__(self) -> None:
        super().__init__(None, TASK)
        self.weight = nn.Parameter(torch.tensor(2.0))

    def features(self, images: Tensor) -> list[Tensor]:
        return [images]

    def decode(self, features: list[Tensor]) -> Tensor:
        return features[0] * self.weight


class Plain(Objective):
    def losses(self, phase: str, batch: Batch, unlabeled: UnlabeledBatch | None = None) -> dict[str, Tensor]:
        return {phase: self.network(batch.images).mean()}


class OneFile(Dataset):
    card = Card("t", "s", "l", "p", "x")
    task, domains = TASK, ("d",)

    def cases(self, domain: str) -> list[Case]:
        return [Case("c", "p", domain, images=(self.root / "i.bin",), labels=self.root / "l.bin")]

    def read_image(self, case: Case) -> Sample:
        return Sample(torch.zeros(2, 3, 3), case.name, case.patient, case.domain)

    def read_label_map(self, case: Case) -> Tensor:
        return torch.ones(3, 3, dtype=torch.int64)


def test_standardization_is_part_of_the_network() -> None:
    network = Doubling()
    network.standardize(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 4.0]))
    images = torch.tensor([3.0, 8.0]).view(1, 2, 1, 1)
    assert network(images).flatten().tolist() == [2.0, 4.0]
    assert {"input_mean", "input_deviation"} <= network.state_dict().keys()


def test_pretrained_weights_keep_their_own_standardization() -> None:
    network = Doubling()
    network.origin = "a file"
    network.standardize(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 4.0]))
    assert network.input_mean.tolist() == [0.0, 0.0]


def test_a_constant_channel_does_not_divide_by_zero() -> None:
    network = Doubling()
    network.standardize(torch.zeros(2), torch.zeros(2))
    assert torch.isfinite(network(torch.ones(1, 2, 1, 1))).all()


def test_forward_is_decode_of_encode_and_a_changed_feature_reaches_the_logits() -> None:
    network, images = Doubling(), torch.rand(1, 2, 4, 4)
    features = network.encode(images)
    assert torch.equal(network(images), network.decode(features))
    assert not torch.equal(network(images), network.decode([features[0] + 1]))


def test_objective_is_called_with_images_or_with_a_phase() -> None:
    objective = Plain(None, TASK, Doubling(), ("d",))
    batch = Batch(torch.ones(1, 2, 2, 2), ("d",), ("c",), label_maps=torch.zeros(1, 2, 2, dtype=torch.int64))
    assert torch.equal(objective(batch.images), objective.network(batch.images))
    assert objective(batch, phase="train")["train"].item() == 2.0
    assert [len(g["params"]) for g in objective.parameter_groups()["train"]] == [1]


def test_read_puts_image_and_label_map_on_one_grid(tmp_path: Path) -> None:
    dataset = OneFile(None, tmp_path)
    sample = dataset.read(dataset.cases("d")[0])
    assert sample.label_map is not None and int(sample.label_map.sum()) == 9


def test_fingerprint_follows_every_byte(tmp_path: Path) -> None:
    dataset = OneFile(None, tmp_path)
    (case,) = dataset.cases("d")
    (tmp_path / "i.bin").write_bytes(b"1")
    with pytest.raises(DataError, match=r"l\.bin: cannot be read"):
        dataset.fingerprint(case)
    (tmp_path / "l.bin").write_bytes(b"2")
    first = dataset.fingerprint(case)
    assert dataset.fingerprint(case) == first
    (tmp_path / "l.bin").write_bytes(b"3")
    assert dataset.fingerprint(case) != first


def test_fingerprint_of_a_series_folder_follows_its_files(tmp_path: Path) -> None:
    series = tmp_path / "i.bin"
    series.mkdir()
    (series / "1.dcm").write_bytes(b"a")
    (tmp_path / "l.bin").write_bytes(b"2")
    dataset = OneFile(None, tmp_path)
    first = dataset.fingerprint(dataset.cases("d")[0])
    (series / "2.dcm").write_bytes(b"b")
    assert dataset.fingerprint(dataset.cases("d")[0]) != first


def test_a_normalization_without_state_refuses_one() -> None:
    class Same(Normalization):
        def views(self, sample: Sample) -> list[Sample]:
            return [sample]

    same = Same(None)
    assert same.state_dict() == {}
    assert same.fit([]) is same
    same.load_state_dict({})
    with pytest.raises(BundleError, match=r"Same: found state \['mean'\]; this normalization has none"):
        same.load_state_dict({"mean": torch.zeros(1)})
