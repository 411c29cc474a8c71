"""Every discovered dataset keeps the promises of ``contracts.Dataset``, the day its file appears.

Generated datasets and the two layouts for data of one's own are held to them in the default run, published ones on the
folder of real images.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from public_packages import write_abdomen, write_fundus, write_mmwhs, write_prostate, write_riga
from unshift import config, discover
from unshift.contracts import Card, Dataset
from unshift.datasets.opening import preparable, recognize
from unshift.datasets.paired import PairedFolders
from unshift.datasets.preparing import prepare
from unshift.errors import DataError, UnknownName
from unshift.sample import Sample

NAMES = discover.names("datasets")
OWN = ("folder", "nnunet")
CARDS = [name for name in NAMES if getattr(discover.load("datasets", name), "published", ())]
PREPARED = tuple(preparable())
DOWNLOADS = {
    "abdominal": write_abdomen,
    "cardiac": write_mmwhs,
    "fundus": write_fundus,
    "prostate": write_prostate,
    "riga_plus": write_riga,
}
WRAPPERS = ("shifted",)
GENERATED = [name for name in NAMES if name not in (*OWN, *CARDS, *WRAPPERS)]


def build(name: str, root: Path | None, **settings) -> Dataset:
    member = discover.load("datasets", name)
    return member(config.parse(member.Config, settings, where="test"), root)


def meets_the_contract(dataset: Dataset, *, per_domain: int) -> None:
    domains = dataset.domains
    assert isinstance(domains, tuple) and domains and len(set(domains)) == len(domains)
    with pytest.raises(UnknownName, match="unknown domain 'no such domain'"):
        dataset.cases("no such domain")
    keys, prints = [], []
    for domain in domains:
        cases = dataset.cases(domain)
        assert cases == sorted(cases, key=lambda case: case.name) == dataset.cases(domain)
        assert all(case.domain == domain and case.patient for case in cases)
        assert {case.split for case in cases} <= {None, "train", "validation", "test"}
        keys += [case.key for case in cases]
        for case in cases[:: max(1, len(cases) // per_domain)][:per_domain]:
            sample = dataset.read(case)
            holds(dataset, sample)
            assert (sample.case, sample.patient, sample.domain) == (case.name, case.patient, domain)
            again = dataset.read_image(case)
            assert again.label_map is None and torch.equal(again.image, sample.image)
            prints.append(dataset.fingerprint(case))
            assert dataset.fingerprint(case) == prints[-1]
    assert len(set(keys)) == len(keys)
    assert len(set(prints)) == len(prints) and all(len(p) == 64 for p in prints)


def holds(dataset: Dataset, sample: Sample) -> None:
    task, image, labels = dataset.task, sample.image, sample.label_map
    assert (image.dtype, image.ndim, image.shape[0]) == (torch.float32, task.spatial_dims + 1, task.channels)
    assert torch.isfinite(image).all()
    assert labels is not None and labels.dtype == torch.int64 and labels.shape == sample.space
    assert labels.min() >= 0 and labels.max() < task.num_classes
    if sample.spacing is not None:
        assert len(sample.spacing) == task.spatial_dims and min(sample.spacing) > 0
    if sample.affine is not None and sample.spacing is not None:
        sizes = sample.affine[:-1, :-1].norm(dim=0)[-task.spatial_dims :]
        assert sizes.tolist() == pytest.approx(sample.spacing, rel=1e-3)
    if sample.field_of_view is not None:
        assert sample.field_of_view.dtype == torch.bool and sample.field_of_view.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_member_introduces_itself(name: str) -> None:
    member = discover.load("datasets", name)
    assert issubclass(member, Dataset) and not inspect.isabstract(member)
    assert issubclass(member.Config, config.Config)
    member.Config()
    assert isinstance(member.card, Card)
    empty = [f.name for f in fields(Card) if not getattr(member.card, f.name)]
    assert set(empty) <= ({"citation"} if name not in CARDS else set())
    assert discover.summary("datasets", name).endswith((".", ":"))


@pytest.mark.parametrize("name", [*OWN, *CARDS])
def test_without_its_folder_it_says_what_it_expects(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)no folder was given.*Expected layout:.*<root>"):
        build(name, None)
    with pytest.raises(DataError, match=r"(?s)gone: no such folder.*Expected layout:.*<root>"):
        build(name, tmp_path / "gone")
    with pytest.raises(DataError):
        build(name, tmp_path).domains  # noqa: B018


@pytest.mark.parametrize("name", GENERATED)
def test_generated_datasets(name: str) -> None:
    meets_the_contract(build(name, None), per_domain=1)


@pytest.mark.parametrize("name", WRAPPERS)
def test_datasets_of_another(name: str) -> None:
    inner = {"name": "phantom", "cases": 2, "size": 64, "domains": ["A", "C"]}
    meets_the_contract(build(name, None, of=inner), per_domain=1)
    with pytest.raises(DataError, match=r"(?s)no folder was given.*Expected layout:.*<root>"):
        build(name, None)


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path)


def test_folder(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for domain in ("A", "B"):
        for stem in ("1", "2"):
            write(tmp_path / domain / "images" / f"{stem}.png", random.integers(0, 256, (9, 7, 3)))
            write(tmp_path / domain / "masks" / f"{stem}.png", random.integers(0, 2, (9, 7)) * 255)
    meets_the_contract(build("folder", tmp_path), per_domain=2)


def test_nnunet(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for case in ("a", "b"):
        write(tmp_path / "imagesTr" / f"{case}_0000.png", random.integers(0, 256, (9, 7)))
        write(tmp_path / "labelsTr" / f"{case}.png", random.integers(0, 3, (9, 7)))
    labels = {"background": 0, "cup": 1, "rim": 2}
    manifest = {"channel_names": {"0": "red-free"}, "labels": labels, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "domains.csv").write_text("case,patient,domain\na,p1,X\nb,p2,Y\n", encoding="utf-8")
    meets_the_contract(build("nnunet", tmp_path), per_domain=2)


@pytest.mark.parametrize("name", PREPARED)
def test_datasets_made_of_a_download(name: str, tmp_path: Path) -> None:
    download = DOWNLOADS[name](tmp_path / "download")
    member = preparable()[name]
    assert member.is_download(download) and not any(
        preparable()[n].is_download(download) for n in PREPARED if n != name
    )
    assert prepare(member, download, tmp_path / name).is_complete
    found, settings = recognize(tmp_path / name)
    dataset = build(found, tmp_path / name, **settings)
    assert found == name and dataset.domains == member.published
    meets_the_contract(dataset, per_domain=1)


@pytest.mark.real
@pytest.mark.parametrize("name", [name for name in CARDS if name not in PREPARED])
def test_published_datasets(name: str, real_data: Path) -> None:
    roots = [folder for folder in sorted(real_data.iterdir()) if folder.is_dir() and _is(name, folder)]
    assert roots, f"no folder of {real_data} holds {name}"
    for root in roots:
        found, settings = recognize(root)
        dataset = build(found, root, **settings)
        assert isinstance(dataset, PairedFolders)
        assert dataset.domains == type(dataset).published
        meets_the_contract(dataset, per_domain=5)


def _is(name: str, folder: Path) -> bool:
    return discover.load("datasets", name).settings_of(folder) is not None


@pytest.mark.real
def test_the_folder_reads_what_no_card_knows(real_data: Path) -> None:
    dataset = build("folder", real_data / "natural")
    assert {case.labels for case in dataset.cases("bsds500")} == {None}
    with pytest.raises(DataError, match="has no label map"):
        dataset.read_label_map(dataset.cases("bsds500")[0])
