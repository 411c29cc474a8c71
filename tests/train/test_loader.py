"""Batches are pure functions; unlabeled ones never open a label; reading ahead changes nothing."""

from __future__ import annotations

import threading

import pytest
import torch
from training_doubles import Discs, loader, target_loader

from unshift.errors import DataError
from unshift.sample import Batch, Case, Sample, UnlabeledBatch
from unshift.train.loader import Ahead, Loader
from unshift.train.settings import TrainConfig


def same(one: UnlabeledBatch, other: UnlabeledBatch) -> bool:
    parts = ("domains", "cases", "seed")
    return torch.equal(one.images, other.images) and all(getattr(one, p) == getattr(other, p) for p in parts)


def test_a_batch_is_a_pure_function_of_its_arguments() -> None:
    config = TrainConfig(batch_size=4)
    forward = [loader(config).batch(step) for step in range(5)]
    one = loader(config)
    for step in (3, 0, 4, 3):
        assert same(one.batch(step), forward[step])
    assert len({batch.seed for batch in forward}) == 5
    assert not same(loader(config, seed=1).batch(0), forward[0])


def test_contents() -> None:
    batch = loader(TrainConfig(batch_size=4)).batch(0)
    assert isinstance(batch, Batch)
    assert batch.images.dtype == torch.float32 and batch.label_maps.dtype == torch.int64
    dataset = Discs()
    for row, (domain, name) in enumerate(zip(batch.domains, batch.cases, strict=True)):
        stored = dataset.read(Case(name, name, domain))
        assert torch.equal(batch.images[row], stored.image)
        assert torch.equal(batch.label_maps[row], stored.label_map)  # type: ignore[arg-type]


def test_parts_and_processes_cut_the_same_stream() -> None:
    whole = [f for s in range(2) for f in loader(TrainConfig(batch_size=8)).batch(s).cases]
    config = TrainConfig(batch_size=4, accumulate=2)
    parts = [f for s in range(2) for p in range(2) for f in loader(config).batch(s, part=p).cases]
    assert parts == whole
    shares = [loader(TrainConfig(batch_size=8)).batch(0, rank=rank, world=2) for rank in range(2)]
    assert sorted(f for share in shares for f in share.cases) == sorted(whole[:8])
    assert shares[0].seed != shares[1].seed


def test_volumes_of_the_target_once_each_and_without_labels() -> None:
    stream = target_loader(TrainConfig(batch_size=4))
    volumes = list(stream.volumes())
    assert len(volumes) == len(stream.cases) and all(len(volume) == 1 for volume in volumes)
    for case, volume in zip(stream.cases, volumes, strict=True):
        assert torch.equal(volume[0], stream.dataset.read_image(case).image)


def test_window_patches_do_not_depend_on_the_process() -> None:
    config = TrainConfig(batch_size=4)
    from unshift.geometry import InputConfig

    dataset = Discs()
    made = Loader(
        dataset,
        dataset.cases("a"),
        input=InputConfig(mode="window", size=(8, 8)),
        config=config,
        seed=0,
        prepare=lambda s: s,
    )
    whole, shares = made.batch(2), [made.batch(2, rank=rank, world=2) for rank in range(2)]
    for rank, share in enumerate(shares):
        assert torch.equal(share.images, whole.images[rank::2])


def test_memory_is_bounded_and_does_not_change_batches() -> None:
    per_sample = 16 * 16 * 5
    for gigabytes, reads in ((0.0, 24), (3 * per_sample / 1e9, 9 + 12), (1.0, 12)):
        dataset = Discs()
        made = loader(TrainConfig(batch_size=12, cache_gigabytes=gigabytes), dataset=dataset)
        two_epochs = [made.batch(0), made.batch(1)]
        assert len(dataset.images_read) == reads
        assert same(two_epochs[1], loader(TrainConfig(batch_size=12)).batch(1))


def test_unlabeled_batches_never_read_a_label() -> None:
    batch = target_loader(TrainConfig(batch_size=12)).batch(0)  # Discs raises when a label of t is read
    assert set(batch.domains) == {"t"}
    assert not hasattr(batch, "label_maps")


def test_fields_of_view_are_joined() -> None:
    def half(sample: Sample) -> Sample:
        field = torch.zeros(sample.space, dtype=torch.bool)
        field[:8] = True
        return sample.replace(field_of_view=field) if sample.domain == "a" else sample

    made = loader(TrainConfig(batch_size=12))
    made.prepare = half
    batch = made.batch(0)
    assert batch.fields_of_view is not None
    expected = [128 if domain == "a" else 256 for domain in batch.domains]
    assert batch.fields_of_view.flatten(1).sum(1).tolist() == expected


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_reading_ahead_changes_nothing(workers: int) -> None:
    drawn = []
    lock = threading.Lock()

    def draw(step: int, part: int) -> tuple[int, int]:
        with lock:
            drawn.append((step, part))
        return step, part

    with Ahead(draw, workers=workers, steps=5, parts=2) as ahead:
        assert [ahead(step, part) for step in range(2, 5) for part in range(2)] == [
            (s, p) for s in (2, 3, 4) for p in (0, 1)
        ]
    assert sorted(drawn) == [(s, p) for s in (2, 3, 4) for p in (0, 1)]  # each once, none beyond the last step


def test_an_error_ahead_is_raised_where_it_is_due() -> None:
    def draw(step: int, part: int) -> int:
        if step == 2:
            raise DataError("case x: file is cut short")
        return step

    with Ahead(draw, workers=2, steps=9) as ahead:
        assert ahead(0) == 0
        assert ahead(1) == 1
        with pytest.raises(DataError, match="case x: file is cut short"):
            ahead(2)


def test_missing_labels_and_unlike_channels() -> None:
    made = loader(TrainConfig(batch_size=12))
    made.dataset.read = lambda case: made.dataset.read_image(case)  # type: ignore[method-assign]
    with pytest.raises(DataError, match="no label map; training needs one"):
        made.batch(0)
    made = loader(TrainConfig(batch_size=12))
    made.prepare = lambda s: s.replace(image=s.image.repeat(2 if s.case == "a3" else 1, 1, 1))
    with pytest.raises(DataError, match="same number of channels"):
        made.batch(0)
