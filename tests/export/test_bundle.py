from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from unshift import discover
from unshift.config import Config, MemberRef
from unshift.contracts import Normalization
from unshift.errors import BundleError, ConfigError
from unshift.export.bundle import MANIFEST, MOST_BYTES, WEIGHTS, Bundle, BundleCard, load_bundle, save_bundle
from unshift.geometry import InputConfig
from unshift.networks.building import build_network
from unshift.predict.settings import PredictConfig
from unshift.sample import Sample, Task

TASK = Task(1, ("background", "rim", "cup"), regions={"disc": frozenset({1, 2}), "cup": frozenset({2})}, spatial_dims=3)
INPUT = InputConfig(size=(16, 16), neighbours=1)


class ShiftConfig(Config):
    scale: float = 2.0


class Shift(Normalization):
    """Learns the mean of its samples and takes it away."""

    Config = ShiftConfig
    mean: Tensor | None = None

    def fit(self, samples: Any) -> Shift:
        self.mean = torch.stack([sample.image.mean() for sample in samples]).mean()
        return self

    def views(self, sample: Sample) -> list[Sample]:
        assert self.mean is not None
        return [sample.replace(image=(sample.image - self.mean) * self.config.scale)]

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.mean is None else {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if state.keys() != {"mean"}:
            raise BundleError(f"Shift: found {sorted(state)}; mean is required.")
        self.mean = state["mean"]


@pytest.fixture(autouse=True)
def shift_is_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    """A normalization of the test's own, found as a member of the family is."""
    names, load = discover.names, discover.load
    own = Shift.__module__.rpartition(".")[2]
    monkeypatch.setattr(discover, "names", lambda f: (*names(f), own) if f == "normalizations" else names(f))
    monkeypatch.setattr(discover, "load", lambda f, n, **k: Shift if n == own else load(f, n, **k))
    assert sys.modules[Shift.__module__].Shift is Shift


def sample(seed: int = 0) -> Sample:
    image = torch.rand(1, 5, 20, 24, generator=torch.Generator().manual_seed(seed))
    return Sample(image, case="a", patient="p", domain="d")


@pytest.fixture
def bundle() -> Bundle:
    torch.manual_seed(0)
    ref = MemberRef.model_validate({"name": "unet", "widths": [2, 4, 8]})
    network = build_network(ref, TASK, INPUT)
    with torch.no_grad():
        network(torch.rand(4, 3, 16, 16))  # running statistics are part of what must come back
    network.standardize(torch.full((3,), 0.25), torch.full((3,), 0.5))
    network.origin = "weights file somewhere.pth"
    return Bundle(
        network=network.eval(),
        task=TASK,
        input=INPUT,
        predict=PredictConfig(batch_size=2, probabilities=True),
        preprocessing=(Shift(ShiftConfig()).fit([sample(1)]),),
        normalizations=(Shift(ShiftConfig(scale=0.5)).fit([sample(2), sample(3)]),),
        card=BundleCard(title="discs", trained_on="phantom vendor A", figures={"dice": 0.91, "cases": 12}),
    )


@pytest.fixture(params=["bundle", "bundle.zip"])
def saved(request: pytest.FixtureRequest, tmp_path: Path, bundle: Bundle) -> Path:
    path = tmp_path / request.param
    save_bundle(path, bundle)
    return path


# --------------------------------------------------------------------------------------------------- round trip


def test_the_same_logits_come_back(bundle: Bundle, saved: Path) -> None:
    loaded = load_bundle(saved)
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.network(x), bundle.network(x))
    assert not loaded.network.training
    assert loaded.network.origin == "weights file somewhere.pth"


def test_all_else_comes_back(bundle: Bundle, saved: Path) -> None:
    loaded = load_bundle(str(saved))
    for name in ("task", "input", "predict", "card", "plugins"):
        assert getattr(loaded, name) == getattr(bundle, name), name
    for stage in ("preprocessing", "normalizations"):
        (mine,), (theirs,) = getattr(bundle, stage), getattr(loaded, stage)
        assert theirs.config == mine.config
        assert torch.equal(theirs.mean, mine.mean)


def test_the_predictions_are_the_same(bundle: Bundle, saved: Path) -> None:
    mine, theirs = (b.predictor("cpu").predict(sample()) for b in (bundle, load_bundle(saved)))
    assert mine.label_map.shape == (5, 20, 24)
    assert torch.equal(mine.label_map, theirs.label_map)
    assert mine.probabilities is not None
    assert theirs.probabilities is not None
    assert torch.equal(mine.probabilities, theirs.probabilities)


def test_saving_again_gives_the_same_bytes(bundle: Bundle, saved: Path, tmp_path: Path) -> None:
    again = tmp_path / f"again{saved.suffix}"
    save_bundle(again, load_bundle(saved))
    content = lambda p: {f.name: f.read_bytes() for f in p.iterdir()} if p.is_dir() else p.read_bytes()  # noqa: E731
    assert content(again) == content(saved)


def test_where_weights_came_from_does_not_leave(bundle: Bundle, tmp_path: Path) -> None:
    bundle.network.config = bundle.network.config.model_copy(update={"weights": Path("/home/anna/patients/w.pth")})
    save_bundle(tmp_path / "b", bundle)
    assert "anna" not in (tmp_path / "b" / MANIFEST).read_text()
    load_bundle(tmp_path / "b")


def test_there_is_nothing_but_yaml_and_safetensors(saved: Path) -> None:
    names = zipfile.ZipFile(saved).namelist() if saved.is_file() else [f.name for f in saved.iterdir()]
    assert sorted(names) == [MANIFEST, WEIGHTS, "normalizations_0.safetensors", "preprocessing_0.safetensors"]


def test_a_member_without_state_has_no_file(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(tmp_path / "b", replace(bundle, preprocessing=(), normalizations=()))
    assert sorted(f.name for f in (tmp_path / "b").iterdir()) == [MANIFEST, WEIGHTS]
    assert load_bundle(tmp_path / "b").preprocessing == ()


# ------------------------------------------------------------------------------------------------------- saving


def test_an_earlier_bundle_is_replaced_and_nothing_is_left_beside(bundle: Bundle, saved: Path) -> None:
    save_bundle(saved, replace(bundle, card=BundleCard(title="second")))
    assert load_bundle(saved).card.title == "second"
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("kind", ["folder", "file", "zip"])
def test_what_is_no_bundle_is_not_overwritten(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "precious.zip"
    if kind == "folder":
        path.mkdir()
        (path / "thesis.tex").write_text("years")
    elif kind == "file":
        path.write_text("years")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("thesis.tex", "years")
    with pytest.raises(BundleError, match="exists and is no bundle"):
        save_bundle(path, bundle)
    assert path.exists()


def test_a_failure_while_writing_leaves_the_earlier_bundle(
    bundle: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space"):
        save_bundle(saved, replace(bundle, card=BundleCard(title="second")))
    assert load_bundle(saved).card.title == "discs"
    assert list(saved.parent.iterdir()) == [saved]


def seen(bundle: Bundle, count: int = 4) -> list[Sample]:
    """What the bundle's network sees of some images."""
    generator = torch.Generator().manual_seed(1)
    return [Sample(torch.rand(3, 16, 16, generator=generator), f"{i}", "p", "d") for i in range(count)]


@pytest.mark.parametrize("style", ["mean", "nearest"])
def test_a_plugin_comes_back_and_predicts_the_same(bundle: Bundle, tmp_path: Path, style: str) -> None:
    member = discover.load("plugins", "adain")
    plugin = member(member.Config(style=style, levels="multi", strength=0.7)).fit(bundle.network, seen(bundle), [])
    made = replace(bundle, plugins=(plugin,), predict=PredictConfig(probabilities=True))
    save_bundle(tmp_path / "b.zip", made)
    back = load_bundle(tmp_path / "b.zip")
    assert [type(p) for p in back.plugins] == [member] and back.plugins[0].config == plugin.config
    ours, theirs = (b.predictor().predict(sample()).probabilities for b in (made, back))
    plain = replace(made, plugins=()).predictor().predict(sample()).probabilities
    assert ours is not None and theirs is not None and plain is not None
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, plain)
    save_bundle(tmp_path / "again.zip", back)
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()


def test_two_plugins_are_refused(bundle: Bundle) -> None:
    member = discover.load("plugins", "adain")
    plugin = member(member.Config(levels="single")).fit(bundle.network, seen(bundle), [])
    with pytest.raises(ConfigError, match="2 plugins on one network; one is the most"):
        replace(bundle, plugins=(plugin, plugin)).predictor()


@pytest.mark.parametrize("name", ["b", "b.zip"])
@pytest.mark.parametrize("part", ["manifest", "all"])
def test_oversize_is_refused_unread(
    bundle: Bundle, tmp_path: Path, name: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_bundle(tmp_path / name, bundle)
    load_bundle(tmp_path / name)
    monkeypatch.setitem(MOST_BYTES, part, 100)
    with pytest.raises(BundleError, match="bytes; at most 100 are read"):
        load_bundle(tmp_path / name)


@pytest.mark.parametrize("name", ["b", "b.zip"])
def test_files_that_fit_one_by_one_but_not_together_are_refused_unread(
    bundle: Bundle, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_bundle(tmp_path / name, bundle)
    save_bundle(tmp_path / "folder", bundle)
    sizes = [file.stat().st_size for file in (tmp_path / "folder").glob("*.safetensors")]
    monkeypatch.setitem(MOST_BYTES, "all", sum(sizes))
    load_bundle(tmp_path / name)
    monkeypatch.setitem(MOST_BYTES, "all", sum(sizes) - 1)
    monkeypatch.setattr("unshift.export.bundle.verified", lambda *_: pytest.fail("a file was read"))
    assert max(sizes) < sum(sizes) - 1
    with pytest.raises(BundleError, match="are read. That is no bundle"):
        load_bundle(tmp_path / name)


def test_a_network_that_nobody_could_build_again_is_not_saved(bundle: Bundle, tmp_path: Path) -> None:
    member = discover.load("networks", "own")
    module = torch.nn.Conv2d(3, 3, 1)
    network = member(member.Config(taps=()), bundle.network.task, 3, module=module).eval()
    with pytest.raises(BundleError, match="holds an object, which nobody could build again"):
        save_bundle(tmp_path / "b", replace(bundle, network=network))
    assert not any(tmp_path.iterdir())


def test_where_a_normalizations_weights_came_from_comes_back(bundle: Bundle, tmp_path: Path) -> None:
    bundle.normalizations[0].origin = "photographs, 20 steps"
    save_bundle(tmp_path / "b", bundle)
    loaded = load_bundle(tmp_path / "b")
    assert loaded.normalizations[0].origin == "photographs, 20 steps" and loaded.preprocessing[0].origin == ""


def test_strangers_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    class Stranger(Shift):
        pass

    with pytest.raises(BundleError, match="Stranger is no member of normalizations"):
        save_bundle(tmp_path / "b", replace(bundle, preprocessing=(Stranger(ShiftConfig()),)))
    assert not any(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------ damages


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    data = yaml.safe_load((folder / MANIFEST).read_text())
    change(data)
    (folder / MANIFEST).write_text(yaml.safe_dump(data))
    return folder


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    save_bundle(tmp_path / "b", bundle)
    return tmp_path / "b"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2, unshift="9.9"), r"format is 2; .* reads format 1. Use the unshift .*, 9.9"),
        (lambda d: d.pop("format"), "format is None"),
        (lambda d: d.update(netwrk=1), "netwrk: unknown key. Did you mean 'network'"),
        (lambda d: d.pop("task"), "task: Field required"),
        (lambda d: d["task"].update(classes=["background"]), "background and one more class are required"),
        (lambda d: d["network"].update(width=3), "width: unknown key. Did you mean 'widths'"),
        (lambda d: d["network"].update(name="unett"), "unknown network 'unett'. Did you mean 'unet'"),
        (lambda d: d["network"].update(widths=[2, 4, 16]), r"network.safetensors: the weights do not fit UNet"),
        (lambda d: d["input"].update(size=[15, 16]), "unet needs multiples of 4"),
        (lambda d: d.update(plugins=[{"member": {"name": "dim"}}]), "unknown plugin 'dim'"),
        (lambda d: d["sha256"].pop(WEIGHTS), "but sha256 lists"),
        (lambda d: d["sha256"].update({WEIGHTS: "0" * 64}), r"network.safetensors: SHA-256 is .* says 000000000000"),
        (lambda d: d["preprocessing"][0].update(state="../secret.safetensors"), "needs the files"),
        (
            lambda d: (
                d["preprocessing"][0].update(state="../secret.safetensors"),
                d["sha256"].update({"../secret.safetensors": d["sha256"].pop("preprocessing_0.safetensors")}),
            ),
            r"names \['../secret.safetensors'\]; a bundle's files lie beside",
        ),
    ],
)
def test_a_changed_manifest_is_named(folder: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        load_bundle(edited(folder, change))


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"a: [", b"\xff\xfe\x00", b"format: 1\nformat: 1\n", b"[" * 5000])
def test_a_damaged_manifest(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=MANIFEST):
        load_bundle(folder)


@pytest.mark.parametrize("name", [WEIGHTS, "preprocessing_0.safetensors"])
def test_missing_and_damaged_files_are_named(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}: SHA-256"):
        load_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing from the bundle"):
        load_bundle(folder)


def test_zips_that_are_damaged(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    save_bundle(path, bundle)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="neither a folder nor a whole zip"):
        load_bundle(path)
    flipped = bytearray(whole)
    flipped[200] ^= 1  # in the first file's content: the zip's own checksum speaks
    path.write_bytes(flipped)
    with pytest.raises(BundleError, match="network.safetensors: cannot be read .*CRC"):
        load_bundle(path)


def test_a_zip_with_files_that_would_land_elsewhere_writes_nothing(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "inner" / "b.zip"
    save_bundle(path, bundle)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../escaped.txt", "x")
    load_bundle(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["b.zip", "inner"]


@pytest.mark.parametrize("kind", ["missing", "empty folder", "text"])
def test_what_is_no_bundle_is_not_loaded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "b"
    if kind == "empty folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("hello")
    with pytest.raises(BundleError, match="no such bundle|that is no bundle|neither a folder nor"):
        load_bundle(path)


def test_a_zip_of_the_folder_around_a_bundle(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    """As file managers make it: one folder at the top; macOS adds another of its own."""
    path = tmp_path / "sent.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"robust/{file.name}")
            archive.writestr(f"__MACOSX/robust/._{file.name}", "x")
    back = load_bundle(path).network.state_dict()
    assert all(torch.equal(value, back[name]) for name, value in bundle.network.state_dict().items())
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(folder / MANIFEST, f"another/{MANIFEST}")
    with pytest.raises(BundleError, match="that is no bundle"):  # of two, which is meant nobody can know
        load_bundle(path)
