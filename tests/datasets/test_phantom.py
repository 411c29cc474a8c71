from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from unshift import discover
from unshift.config import parse
from unshift.contracts import Dataset
from unshift.datasets.phantom import Config, Phantom
from unshift.errors import ConfigError, DataError, UnknownName
from unshift.phantom import quality
from unshift.phantom.quality import degrade
from unshift.randomness import derive
from unshift.sample import Case

SMALL: dict[str, Any] = {"size": 48, "cases": 5}
ORGANS: dict[str, Any] = {"world": "organs", "size": [10, 40, 40], "cases": 2}


def make(**settings: Any) -> Phantom:
    return Phantom(parse(Config, {**SMALL, **settings}, where="recipe"))


@pytest.mark.parametrize("world", ["ultrasound", "endoscopy", "fundus"])
def test_contract(world: str) -> None:
    dataset = make(world=world)
    assert isinstance(dataset, Dataset)
    assert discover.load("datasets", "phantom") is Phantom
    for domain in dataset.domains:
        cases = dataset.cases(domain)
        assert len(cases) == 5
        assert [c.name for c in cases] == sorted({c.name for c in cases})
        assert {c.domain for c in cases} == {domain}
        assert all(c.images == () for c in cases)
        sample = dataset.read_image(cases[0])
        assert sample.label_map is None
        assert sample.image.shape == (dataset.task.channels, 48, 48)
        assert sample.image.dtype == torch.float32
        labels = dataset.read_label_map(cases[0])
        assert labels.dtype == torch.int64
        assert int(labels.max()) < dataset.task.num_classes
        assert torch.equal(dataset.read(cases[0]).label_map, labels)


def test_volumes_and_slices() -> None:
    volumes, slices = make(**ORGANS), make(**{**ORGANS, "size": 40, "dimensions": 2})
    sample = volumes.read(volumes.cases("ct")[1])
    assert sample.image.shape == (1, 10, 40, 40)
    assert sample.spacing == pytest.approx((16.8, 8.4, 8.4))
    assert sample.affine is not None and sample.affine.shape == (4, 4)
    assert sample.image.min() < -900
    sample = slices.read(slices.cases("site1")[0])
    assert sample.image.shape == (1, 40, 40)
    assert slices.task.spatial_dims == 2
    assert volumes.task.spatial_dims == 3


def test_order_other_domains_and_number_of_cases_do_not_matter() -> None:
    first, second = make(cases=5), make(cases=9, domains=["B", "A+gain@0.5", "A"], strength=1.0)
    images = {case.key: first.read(case).image for d in ("A", "B") for case in first.cases(d)}
    for domain in ("B", "A"):
        for case in reversed(second.cases(domain)[:5]):
            assert torch.equal(second.read(case).image, images[case.key])


def test_a_cached_image_cannot_be_spoiled() -> None:
    dataset = make()
    case = dataset.cases("A")[0]
    before = dataset.read(case)
    kept = before.image.clone()
    before.image.zero_()
    before.label_map.fill_(7)
    assert torch.equal(dataset.read(case).image, kept)
    assert int(dataset.read_label_map(case).max()) == 1


def test_the_cache_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unshift.datasets.phantom._CACHE_BYTES", 60_000)
    dataset = make()
    images = [dataset.read(case).image for case in dataset.cases("A")]
    assert 1 <= len(dataset._drawn) <= 3
    for case, image in zip(dataset.cases("A"), images, strict=True):
        assert torch.equal(dataset.read(case).image, image)


def test_frames_share_a_patient_and_not_the_picture() -> None:
    dataset = make(cases=5, frames=2)
    patients = [case.patient for case in dataset.cases("A")]
    assert patients == ["A/0000", "A/0000", "A/0001", "A/0001", "A/0002"]
    one, other = (dataset.read(case) for case in dataset.cases("A")[:2])
    assert not torch.equal(one.image, other.image)
    area = [float((s.label_map == 1).float().mean()) for s in (one, other)]
    assert area[0] == pytest.approx(area[1], rel=0.1)


def test_domains_show_different_patients_unless_paired() -> None:
    apart, paired = make(), make(paired=True)
    ids = [{c.patient for c in apart.cases(d)} for d in apart.domains]
    assert not ids[0] & ids[1]
    a, b = (paired.cases(d)[0] for d in ("A", "B"))
    assert a.patient == b.patient == "0000"
    assert torch.equal(paired.read_label_map(a), paired.read_label_map(b))
    assert not torch.equal(paired.read(a).image, paired.read(b).image)


def test_a_twin_is_the_same_patient_seen_by_another_machine() -> None:
    dataset = make()
    case = dataset.cases("A")[0]
    assert torch.equal(dataset.twin(case, "A").image, dataset.read(case).image)
    assert torch.equal(dataset.twin(case, "A+B@0").image, dataset.read(case).image)
    twin = dataset.twin(case, "B")
    assert (twin.domain, twin.patient, twin.label_map) == ("B", case.patient, None)
    paired = make(paired=True)
    assert torch.equal(paired.twin(paired.cases("A")[0], "B").image, paired.read(paired.cases("B")[0]).image)


def test_strength_moves_every_domain_from_the_first() -> None:
    case = make().cases("B")[0]
    full, half, none = (make(strength=s) for s in (1.0, 0.5, 0.0))
    assert torch.equal(none.read(case).image, full.twin(case, "A").image)
    assert torch.equal(half.read(case).image, full.twin(case, "A+B@0.5").image)
    assert torch.equal(half.read(half.cases("A")[0]).image, full.read(full.cases("A")[0]).image)


def test_overrides_set_single_knobs() -> None:
    changed = make(overrides={"B": {"gain": 20.0, "tgc": [0, 0, 0, 0, 0]}})
    assert changed.knobs("B").gain == 20.0
    assert changed.knobs("B").tgc == (0, 0, 0, 0, 0)
    assert changed.knobs("A") == make().knobs("A")
    case = changed.cases("B")[0]
    assert changed.read(case).image.mean() > make().read(case).image.mean() + 0.1


def test_the_fingerprint_follows_what_decides_the_picture() -> None:
    base = make()
    case = base.cases("B")[0]
    same = [make(cases=3), make(domains=["A", "B"])]
    other = [
        make(seed=1),
        make(size=64),
        make(strength=0.5),
        make(overrides={"B": {"gain": 1.0}}),
        make(world="fundus", domains=["camera1"]),
    ]
    assert all(dataset.fingerprint(case) == base.fingerprint(case) for dataset in same)
    prints = [base.fingerprint(case), base.fingerprint(base.cases("B")[1]), base.fingerprint(base.cases("A")[0])]
    prints += [d.fingerprint(d.cases(d.domains[-1] if d.config.world == "fundus" else "B")[0]) for d in other]
    assert len(set(prints)) == len(prints)


def test_named_shifts_are_domains() -> None:
    dataset = make(domains=["A", "A+gain@0.5", "A+shadow@1+blur@0.25"])
    assert dataset.domains == ("A", "A+gain@0.5", "A+shadow@1+blur@0.25")
    assert dataset.knobs("A+gain@0.5").gain == pytest.approx((dataset.knobs("A").gain + 14.0) / 2)
    assert dataset.read(dataset.cases("A+gain@0.5")[0]).domain == "A+gain@0.5"


def test_quality_shifts_are_domains() -> None:
    """The picture of the part in front, spoiled by the public function; labels, knobs and old fingerprints stay."""
    dataset = make(
        world="endoscopy", domains=["clinic", "clinic+old_endoscope@3", "clinic+fogged@0.5+phone@2"], paired=True
    )
    for case in dataset.cases("clinic")[:2]:
        old, seen = dataset.twin(case, "clinic+old_endoscope@3"), dataset.read_image(case)
        seed = derive(dataset._seeds(case).patient, "quality", dataset._seeds(case).frame)
        expected = degrade(seen.image, "old_endoscope@3", seed=seed, field_of_view=seen.field_of_view)
        assert torch.equal(old.image, expected) and not torch.equal(old.image, seen.image)
        half = dataset.twin(case, "clinic+fogged@0.5")
        expected = degrade(half.image, "phone@2", seed=seed, field_of_view=half.field_of_view)
        assert torch.equal(dataset.twin(case, "clinic+fogged@0.5+phone@2").image, expected)
        assert torch.equal(dataset.twin(case, "clinic+phone@0").image, seen.image)
    assert dataset.knobs("clinic+old_endoscope@3") == dataset.knobs("clinic")
    assert [str(s) for d in dataset.domains for s in dataset.quality(d)] == ["old_endoscope@3", "phone@2"]
    cases = [dataset.cases(d)[0] for d in dataset.domains]
    assert torch.equal(*(dataset.read_label_map(c) for c in cases[:2]))
    assert len({dataset.fingerprint(c) for c in cases}) == 3


def test_each_case_draws_its_own_noise() -> None:
    dataset = make(domains=["A", "A+sensor_noise@3"], paired=True)
    changes = [dataset.twin(c, "A+sensor_noise@3").image - dataset.read_image(c).image for c in dataset.cases("A")[:2]]
    changes = [c[:, 20:40, 20:40].flatten() for c in changes]
    assert abs(float(torch.corrcoef(torch.stack(changes))[0, 1])) < 0.3


def test_the_fingerprint_covers_what_a_level_means(monkeypatch: pytest.MonkeyPatch) -> None:
    def prints() -> list[str]:
        dataset = make(domains=["A", "A+phone@2"])
        return [dataset.fingerprint(dataset.cases(d)[0]) for d in dataset.domains]

    before = prints()
    monkeypatch.setattr(quality, "QUALITY", {**quality.QUALITY, "phone": quality.QUALITY["old_endoscope"]})
    assert prints()[0] == before[0] and prints()[1] != before[1]
    monkeypatch.undo()
    monkeypatch.setattr(quality, "VERSION", quality.VERSION + 1)
    assert prints()[0] == before[0] and prints()[1] != before[1]


@pytest.mark.parametrize("world", ["ultrasound", "fundus", "endoscopy"])
def test_every_world_of_pictures_shows_every_quality_shift_that_it_can(world: str) -> None:
    is_color = world != "ultrasound"
    names = [name for name, q in quality.QUALITY.items() if is_color or not q.needs_color]
    first = make(world=world).domains[0]
    dataset = make(world=world, cases=1, domains=[first, *(f"{first}+{n}@{5}" for n in names)], paired=True)
    for domain in dataset.domains[1:]:
        assert not torch.equal(
            dataset.read(dataset.cases(domain)[0]).image, dataset.read(dataset.cases(first)[0]).image
        )


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"domains": ["A+phone@6"]}, ConfigError, "'phone': the level is 6; a whole number from 1"),
        ({"domains": ["A+phone@2.5"]}, ConfigError, "'phone': the level is 2.5"),
        ({"domains": ["A+gain@3"]}, ConfigError, "strength is 3.0.*Levels 1 to 5 belong to quality shifts"),
        ({"domains": ["A+old_endoskope@3"]}, UnknownName, "Did you mean 'old_endoscope'"),
        ({"domains": ["A+phone@2"], "strength": 0.5}, ConfigError, "'phone@2', which comes in levels; strength is 0.5"),
        (
            {"domains": ["A+color_cast@2"]},
            ConfigError,
            "'color_cast@2', which changes colours; the world 'ultrasound' is",
        ),
        ({**ORGANS, "domains": ["ct+phone@2"]}, ConfigError, "the world 'organs' has units of its own"),
        ({"world": "endoscopy", "domains": ["clinic+phone@1"]}, ConfigError, "could be either. Write 'phone@1.0'"),
        ({"world": "ultrasond"}, ConfigError, "world"),
        ({"dimensions": 3}, ConfigError, "dimensions is 3; the world 'ultrasound' has 2"),
        ({"size": [48, 48, 48]}, ConfigError, "2 numbers are needed"),
        ({"size": 8}, ConfigError, "at least 32 pixels"),
        ({"cases": 0}, ConfigError, "cases"),
        ({"strength": 1.5}, ConfigError, "strength"),
        ({"domains": ["A", "D"]}, UnknownName, "unknown domain 'D'"),
        ({"domains": []}, ConfigError, "at least one"),
        ({"domains": ["A", "A"]}, ConfigError, "each may stand once"),
        ({"domains": ["A+gian@1"]}, UnknownName, "Did you mean 'gain'"),
        ({"overrides": {"D": {"gain": 1.0}}}, UnknownName, "overrides: unknown domain 'D'"),
        ({"overrides": {"B": {"gian": 1.0}}}, UnknownName, "overrides of domain 'B'"),
        ({"overrides": {"B": {"dynamic_range": 0.0}}}, ConfigError, "greater than or equal to 5"),
    ],
)
def test_errors_of_the_configuration(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(**settings)


def test_a_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="generated and has none"):
        Phantom(Config(), Path("somewhere"))


def test_unknown_domains_and_foreign_cases() -> None:
    dataset = make()
    with pytest.raises(UnknownName, match="unknown domain 'Z'"):
        dataset.cases("Z")
    with pytest.raises(DataError, match="Case 'photo': not a case of the phantom"):
        dataset.read_image(Case("photo", "1", "A"))
