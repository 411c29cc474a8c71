from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from unshift.config import parse
from unshift.datasets.opening import open_dataset
from unshift.datasets.shifted import MEMBER, Config, Shifted
from unshift.errors import ConfigError, DataError, UnknownName
from unshift.evaluate.protocol import ProtocolConfig, folds
from unshift.phantom import quality, vendor
from unshift.phantom.quality import degrade
from unshift.randomness import derive

DOMAINS = ["HC18", "HC18+B@0.33", "HC18+B@1", "HC18+gain@0.5"]


@pytest.fixture
def root(write, tmp_path: Path) -> Path:
    """Ten images of five patients, grey, with a head and a black border."""
    random = np.random.default_rng(0)
    for number in range(5):
        for stem in (f"{number:03d}_HC", f"{number:03d}_2HC"):
            image = random.integers(20, 120, (40, 48))
            image[:, 40:] = 0
            mask = np.zeros((40, 48))
            mask[10:30, 10:30] = 255
            write(f"HC18/images/{stem}.png", image)
            write(f"HC18/masks/{stem}.png", mask)
    return tmp_path / "data"


def opened(root: Path | None, **settings: Any) -> Shifted:
    dataset = open_dataset("shifted", root, settings)
    assert isinstance(dataset, Shifted)
    return dataset


def test_each_domain_shows_the_same_patients(root: Path) -> None:
    dataset = opened(root, of="fetal_head", domains=DOMAINS)
    assert dataset.domains == tuple(DOMAINS)
    first = dataset.cases("HC18")
    assert len(first) == 10 and first == open_dataset("fetal_head", root).cases("HC18")
    for domain in DOMAINS[1:]:
        cases = dataset.cases(domain)
        assert [(c.name, c.patient, c.images) for c in cases] == [(c.name, c.patient, c.images) for c in first]
        assert {c.domain for c in cases} == {domain}
        for case, original in zip(cases, first, strict=True):
            assert torch.equal(dataset.read_label_map(case), dataset.read_label_map(original))


def test_images_are_what_the_simulator_makes_of_the_originals(root: Path) -> None:
    dataset, original = opened(root, of="fetal_head", domains=[*DOMAINS, "HC18+C@0"]), open_dataset("fetal_head", root)
    for case in original.cases("HC18")[:2]:
        image = original.read_image(case).image
        read = {
            d: dataset.read_image(next(c for c in dataset.cases(d) if c.name == case.name)) for d in dataset.domains
        }
        assert torch.equal(read["HC18"].image, image) and torch.equal(read["HC18+C@0"].image, image)
        assert (read["HC18+B@1"].domain, read["HC18+B@1"].case) == ("HC18+B@1", case.name)
        lifted = 60 / 60 * (image - 1) + 1 + 6 / 60  # 6 dB of 60
        expected = torch.where(image > 1.5 / 255, lifted, image)
        torch.testing.assert_close(read["HC18+gain@0.5"].image, expected.clamp(0, 1), atol=0.5 / 255 + 1e-3, rtol=0)
        near, far = ((read[d].image - image).abs().mean() for d in ("HC18+B@0.33", "HC18+B@1"))
        assert 0 < float(near) < float(far)


def test_reading_again_and_in_another_order_gives_the_same(root: Path) -> None:
    forward, backward = opened(root, of="fetal_head", domains=DOMAINS), opened(root, of="fetal_head", domains=DOMAINS)
    cases = [case for domain in DOMAINS for case in forward.cases(domain)]
    first = {case.key: forward.read_image(case).image for case in cases}
    assert all(torch.equal(backward.read_image(case).image, first[case.key]) for case in reversed(cases))
    assert all(torch.equal(forward.read_image(case).image, first[case.key]) for case in cases), "from memory"
    first["HC18+B@1/000_HC"].zero_()
    assert float(forward.read_image(forward.cases("HC18+B@1")[1]).image.max()) > 0, "memory is not handed out"
    other = opened(root, of="fetal_head", domains=DOMAINS, seed=1)
    case = other.cases("HC18+B@1")[0]
    assert not torch.equal(other.read_image(case).image, first[case.key])


def test_memory_is_limited(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unshift.datasets.shifted._CACHE_BYTES", 2 * 40 * 48)
    dataset, free = opened(root, of="fetal_head", domains=DOMAINS), opened(root, of="fetal_head", domains=DOMAINS)
    for _ in range(2):
        for case in dataset.cases("HC18+B@1"):
            assert torch.equal(dataset.read_image(case).image, free.read_image(case).image)
    assert len(dataset._drawn) == 2


def test_held_out_patients_alone_are_tested_on_shifts(root: Path) -> None:
    """Train on a part of HC18, test the rest as other vendors show it: no patient on two sides."""
    dataset = opened(root, of="fetal_head", domains=DOMAINS)
    config = ProtocolConfig(sources=("HC18",), same_patients=True, validation=0.2, test=0.4)
    (fold,) = folds(dataset, config, seed=3)
    trained = {case.patient for case in (*fold.train, *fold.validation)}
    assert len(trained) == 3 and {case.domain for case in (*fold.train, *fold.validation)} == {"HC18"}
    for domain in DOMAINS:
        tested = [case for case in fold.test if case.domain == domain]
        assert len(tested) == 4 and trained.isdisjoint(case.patient for case in tested)


def test_the_fingerprint_covers_files_knobs_seed_and_version(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prints(**settings: Any) -> dict[str, str]:
        dataset = opened(root, of="fetal_head", domains=DOMAINS, **settings)
        return {case.key: dataset.fingerprint(case) for domain in DOMAINS for case in dataset.cases(domain)}

    before = prints()
    assert len(set(before.values())) == len(before) == 40
    assert prints() == before
    assert not set(prints(seed=1).values()) & set(before.values())
    image = root / "HC18" / "images" / "000_HC.png"
    image.write_bytes(image.read_bytes() + b"\0")
    changed = {key for key, value in prints().items() if value != before[key]}
    assert changed == {f"{domain}/000_HC" for domain in DOMAINS}
    moved = {**vendor.SCANNERS, "B": vendor.SCANNERS["B"].model_copy(update={"gain": 1.0})}
    machine = vendor.Simulator(vendor.ScannerKnobs(), moved, None, 0, vendor.SIMULATORS["ultrasound"].render)
    monkeypatch.setattr(vendor, "SIMULATORS", {"ultrasound": machine})
    changed = {key for key, value in prints().items() if value != before[key]}
    assert {key.partition("/")[0] for key in changed if not key.endswith("/000_HC")} == {"HC18+B@0.33", "HC18+B@1"}
    monkeypatch.setattr(vendor, "VERSION", vendor.VERSION + 1)
    assert not set(prints().values()) & set(before.values())


def test_the_card_is_the_originals_and_says_what_was_done(root: Path) -> None:
    card = opened(root, of="fetal_head").card
    assert card.title == "HC18 fetal head circumference, with simulated vendors"
    assert "CC BY 4.0" in card.licence and "van den Heuvel" in card.citation
    assert "same_patients" in card.patients and "simulator" in card.source


def test_defaults_recognize_the_folder_and_show_every_preset(root: Path) -> None:
    dataset = opened(root)
    assert dataset.domains == ("HC18", "HC18+B@1", "HC18+C@1", "HC18+D@1")
    assert dataset.task == open_dataset("fetal_head", root).task
    two = opened(None, of={"name": "phantom", "cases": 1, "domains": ["A", "B"]})
    assert two.domains[:4] == ("A", "B", "A+B@1", "B+B@1"), (
        "of a domain called B, the preset B still is the simulator's"
    )
    assert two.knobs("B") == vendor.ScannerKnobs() and two.knobs("B+B@1") == vendor.SCANNERS["B"]


def test_domains_of_the_original_may_hold_a_plus() -> None:
    inner = {"name": "phantom", "cases": 1, "size": 32, "domains": ["A", "A+gain@0.5"]}
    dataset = opened(None, of=inner, domains=["A+gain@0.5", "A+gain@0.5+gain@0.5", "A+noise@1"])
    assert [dataset.knobs(d).gain for d in dataset.domains] == [0, 6, 0]
    original = dataset.original.read_image(dataset.original.cases("A+gain@0.5")[0])
    assert torch.equal(dataset.read_image(dataset.cases("A+gain@0.5")[0]).image, original.image)


def test_only_the_domains_that_are_shifted_need_be_in_the_folder(write, tmp_path: Path) -> None:
    write("PolypGen-C4/images/a.png", np.zeros((12, 12, 3)))
    write("PolypGen-C4/masks/a.png", np.zeros((12, 12)))
    names, root = ["PolypGen-C4", "PolypGen-C4+sensor_noise@2"], tmp_path / "data"
    dataset = opened(root, of="polyp", simulator="photo", domains=names)
    assert dataset.original.domains == ("PolypGen-C4",)
    assert [case.name for case in dataset.cases(names[1])] == ["a"]
    with pytest.raises(DataError, match="PolypGen-C1"):
        opened(root, of="polyp", simulator="photo", domains=["PolypGen-C1+sensor_noise@2"])


def test_photographs() -> None:
    inner = {"name": "phantom", "world": "endoscopy", "cases": 1, "size": 48, "domains": ["clinic"]}
    dataset = opened(None, of=inner, simulator="photo", domains=["clinic", "clinic+haze@0.5"])
    clear, hazy = (dataset.read_image(dataset.cases(d)[0]).image for d in dataset.domains)
    assert float(hazy.mean()) > float(clear.mean()) and float(hazy.std()) < float(clear.std())


def test_files_that_decide_what_it_does(root: Path, tmp_path: Path) -> None:
    found = MEMBER.files(parse(Config, {"of": "fetal_head"}, where="test"))
    own = ["vendor.py", "quality.py", "degradations.py"]
    assert [path.name for path in found] == [*own, "fetal_head.py"]
    assert [path.name for path in MEMBER.files(Config())] == own


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"domains": ["HC19+B@1"]}, UnknownName, r"domain 'HC19\+B@1': unknown domain 'HC19'.*HC18"),
        ({"domains": ["HC18+E@1"]}, UnknownName, r"domain 'HC18\+E@1': unknown knob or preset or quality shift 'E'"),
        ({"domains": ["HC18+B"]}, ConfigError, "no readable strength"),
        ({"domains": ["HC18+B@2"]}, ConfigError, "strength is 2.0.*Levels 1 to 5 belong to quality shifts"),
        ({"domains": ["HC18+phone@6"]}, ConfigError, "'phone': the level is 6; a whole number"),
        ({"domains": ["HC18+phone@2.5"]}, ConfigError, "'phone': the level is 2.5; a whole number"),
        ({"domains": ["HC18+fone@2"]}, UnknownName, "'fone'. Did you mean 'phone'"),
        ({"domains": ["HC18+phone@2+B@1"]}, ConfigError, "Write them last"),
        ({"domains": ["HC18", "HC18"]}, ConfigError, "each may stand once"),
        ({"of": "shifted"}, ConfigError, "an original is required"),
        ({"of": "fetal_heads"}, UnknownName, "fetal_head"),
        ({"simulator": "sonar"}, ConfigError, "simulator"),
    ],
)
def test_wrong_settings(root: Path, settings: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        opened(root, **{"of": "fetal_head", **settings})


def test_a_picture_that_cannot_be_simulated_is_named(root: Path) -> None:
    dataset = opened(root, of="fetal_head", simulator="photo", domains=["HC18", "HC18+haze@1"])
    with pytest.raises(DataError, match=r"Case 'HC18\+haze@1/000_2HC': .*1 channel\(s\); 3 are required"):
        dataset.read_image(dataset.cases("HC18+haze@1")[0])
    with pytest.raises(UnknownName, match=r"unknown domain 'HC18\+B@1'"):
        dataset.cases("HC18+B@1")


def test_quality_shifts_are_made_by_the_public_function(root: Path) -> None:
    """Of the picture as the simulator leaves it, whatever the simulator; label maps stay; drawn case by case."""
    domains = ["HC18", "HC18+old_endoscope@3", "HC18+B@0.33", "HC18+B@0.33+sensor_noise@2+phone@1", "HC18+phone@0"]
    dataset = opened(root, of="fetal_head", domains=domains)
    read = {d: [dataset.read(case) for case in dataset.cases(d)[:2]] for d in domains}
    for index in (0, 1):
        seed = derive(0, "shifted", "HC18", read["HC18"][index].case)
        clean, spoiled, moved, both, zero = (read[d][index] for d in domains)
        assert torch.equal(spoiled.image, degrade(clean.image, "old_endoscope@3", seed=seed))
        assert torch.equal(both.image, degrade(moved.image, "sensor_noise@2+phone@1", seed=seed))
        assert torch.equal(zero.image, clean.image)
        assert torch.equal(spoiled.label_map, clean.label_map) and spoiled.domain == "HC18+old_endoscope@3"
    assert dataset.knobs("HC18+old_endoscope@3") == vendor.ScannerKnobs()
    assert (
        dataset.quality("HC18+B@0.33") == ()
        and list(map(str, dataset.quality(domains[3]))) == domains[3].split("+")[2:]
    )
    again = dataset.read_image(dataset.cases(domains[1])[0]).image
    assert torch.equal(again, read[domains[1]][0].image), "from memory"
    again.zero_()
    assert float(dataset.read_image(dataset.cases(domains[1])[0]).image.max()) > 0, "memory is not handed out"


def test_memory_counts_what_quality_shifts_keep(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unshift.datasets.shifted._CACHE_BYTES", 9 * 40 * 48)
    dataset = opened(root, of="fetal_head", domains=["HC18+phone@2", "HC18+B@1"])
    for domain in dataset.domains:
        for case in dataset.cases(domain):
            dataset.read_image(case)
    kept = {key: value.dtype for key, value in dataset._drawn.items()}
    assert list(kept.values()) == [torch.float32, torch.float32, torch.uint8]


def test_the_fingerprint_covers_what_a_level_means(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domains = ["HC18", "HC18+B@1", "HC18+phone@2", "HC18+B@1+phone@2"]

    def prints() -> dict[str, str]:
        dataset = opened(root, of="fetal_head", domains=domains)
        return {d: dataset.fingerprint(dataset.cases(d)[0]) for d in domains}

    before = prints()
    assert len(set(before.values())) == 4
    monkeypatch.setattr(quality, "QUALITY", {**quality.QUALITY, "phone": quality.QUALITY["old_endoscope"]})
    assert {d for d, value in prints().items() if value != before[d]} == set(domains[2:])
    monkeypatch.undo()
    monkeypatch.setattr(quality, "VERSION", quality.VERSION + 1)
    assert {d for d, value in prints().items() if value != before[d]} == set(domains[2:])


def test_a_shift_of_colours_refuses_a_grey_picture_by_its_case(root: Path) -> None:
    dataset = opened(root, of="fetal_head", domains=["HC18+color_cast@2"])
    with pytest.raises(
        DataError, match=r"Case 'HC18\+color_cast@2/000_2HC': .*'color_cast@2': the image has 1 channel"
    ):
        dataset.read_image(dataset.cases("HC18+color_cast@2")[0])


@pytest.mark.real
def test_polyps_under_every_quality_shift(real_data: Path) -> None:
    """Real colour pictures: black outside stays, the mean change grows."""
    names = [f"+{name}@{level}" for name in quality.QUALITY for level in (1, 3, 5)]
    original = open_dataset("polyp", real_data / "polyp")
    domain = original.domains[0]
    dataset = opened(real_data / "polyp", of="polyp", domains=[domain, *(domain + n for n in names)])
    for number in (0, 1):
        clean = dataset.read_image(dataset.cases(domain)[number]).image
        outside = torch.from_numpy(~vendor.lit(clean.numpy(), fringe=6))
        for name in quality.QUALITY:
            found = [dataset.read_image(dataset.cases(f"{domain}+{name}@{n}")[number]).image for n in (1, 3, 5)]
            changes = [float((f - clean).abs().mean()) for f in found]
            assert 0.001 < changes[0] < changes[1] < changes[2], name
            assert all(torch.equal(f[:, outside], clean[:, outside]) for f in found), name


@pytest.mark.real
def test_heads_stay_visible_on_every_simulated_vendor(real_data: Path) -> None:
    """The skull, the brightest structure of most heads, stays brighter than the brain at strength 1."""
    dataset = opened(real_data / "fetal_head_us", of="fetal_head")
    for domain in dataset.domains[1:]:
        brighter = []
        for case in dataset.cases(domain)[::13]:
            sample = dataset.read(case)
            assert sample.label_map is not None
            head = sample.label_map.numpy() > 0
            values = sample.image[0].numpy()
            inner, outer = _eroded(head, 26), head & ~_eroded(head, 12)
            brighter.append(values[outer].mean() > values[inner].mean())
        assert np.mean(brighter) > 0.7, domain


def _eroded(mask: np.ndarray, pixels: int) -> np.ndarray:
    return ndimage.distance_transform_edt(mask) > pixels
