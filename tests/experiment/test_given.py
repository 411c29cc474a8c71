"""Every kind of model that a user may give, and every way to give it wrongly."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from experiment_recipes import TINY, tiny
from robust_models import disc_bundle
from unshift.config import MemberRef
from unshift.errors import BundleError, ConfigError, DataError, MissingDependency
from unshift.experiment.given import ModuleOptions, open_model, source_of_run
from unshift.experiment.run import Result, run
from unshift.export.bundle import save_bundle
from unshift.geometry import InputConfig
from unshift.networks.nnunet_results import NnunetResults
from unshift.plugins.adain import AdaIN
from unshift.sample import Sample

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, base=4, outputs=1):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, base, 3, padding=1), nn.Conv2d(base, 2 * base, 3, padding=1)
        self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(2 * base, base, 2, 2)
        self.last = nn.Conv2d(2 * base, outputs, 1)

    def forward(self, x):
        skip = torch.relu(self.first(x))
        deep = torch.relu(self.second(self.pool(skip)))
        return self.last(torch.cat([skip, self.up(deep)], 1))

def build(base=4):
    return Net(base)
"""
SIGMOID = {"output": "sigmoid"}


@pytest.fixture
def mynet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "mynet_of_a_test.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("mynet_of_a_test")
    sys.modules.pop("mynet_of_a_test", None)


def options(weights: Path | None, **changes: Any) -> ModuleOptions:
    known = {"classes": ("background", "disc"), "channels": 1, "size": (32, 48), "settings": SIGMOID}
    return ModuleOptions(weights=weights, **(known | changes))


def test_a_bundle_in_a_folder_or_a_zip(tmp_path: Path) -> None:
    for name in ("b", "b.zip"):
        save_bundle(tmp_path / name, disc_bundle())
        given = open_model(str(tmp_path / name))
        assert given.subject == f"The bundle {name}"
        assert given.place == tmp_path / name
    assert torch.equal(given.bundle.network.head.weight, disc_bundle().network.head.weight)


def test_units_in_a_bundle_are_named(tmp_path: Path) -> None:
    bundle = disc_bundle()
    plugin = AdaIN(AdaIN.Config()).fit(bundle.network, [Sample(torch.rand(1, 48, 48), "c", "p", "d")], [])
    save_bundle(tmp_path / "b", type(bundle)(bundle.network, bundle.task, bundle.input, plugins=(plugin,)))
    assert "the units in it, adain, were taken out" in open_model(str(tmp_path / "b")).subject


def test_a_run_gives_its_baseline_and_its_own_images(finished: Result) -> None:
    given = open_model(str(finished.folder))
    assert given.subject == "Run tiny: the bundle of its baseline baseline, fold B, seed 0"
    assert given.place is not None
    source = source_of_run(finished.folder, given.place.parents[1].name)
    assert source.is_labeled
    assert {c.domain for c in (*source.fit, *source.held_out)} == {"A"}
    assert not {c.patient for c in source.fit} & {c.patient for c in source.held_out}
    assert len({c.patient for c in source_of_run(finished.folder, "B", most=1).held_out}) == 2


def test_a_run_that_tests_one_source_patient(tmp_path: Path) -> None:
    small = run(tiny(protocol=TINY["protocol"] | {"test": 0.1}), runs=tmp_path)
    with pytest.raises(DataError, match=r"two patients or more"):
        source_of_run(small.folder, "B")


def test_a_run_that_is_not_done(tmp_path: Path, finished: Result) -> None:
    for name in ("recipe.yaml", "run.json"):
        (tmp_path / name).write_bytes((finished.folder / name).read_bytes())
    with pytest.raises(ConfigError, match="no bundle of its baseline 'baseline' yet"):
        open_model(str(tmp_path))


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_a_module_of_ones_own(tmp_path: Path, mynet: Any, ending: str) -> None:
    torch.manual_seed(1)
    module, path = mynet.build(base=6), tmp_path / f"state{ending}"
    if ending == ".pt":
        torch.save({"epoch": 3, "state_dict": module.state_dict()}, path)
    else:
        save_file(module.state_dict(), path)
    given = open_model("mynet_of_a_test:build", options(path, arguments={"base": 6}))
    images = torch.rand(2, 1, 32, 48)
    assert torch.equal(given.bundle.network(images)[:, 1:], module(images))
    assert [(t.stride, t.channels) for t in given.bundle.network.taps] == [(1, 6), (2, 12)]
    assert given.bundle.task.classes == ("background", "disc")
    assert given.bundle.card.title == "build (Net)"
    assert given.subject == f"mynet_of_a_test:build, weights of state{ending}"


def test_one_that_comes_trained(mynet: Any) -> None:
    given = open_model("mynet_of_a_test:build", options(None, as_built=True))
    assert given.subject == "mynet_of_a_test:build, as its function returns it"


def test_what_a_module_needs_is_asked_for_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        open_model("mynet:build")
    assert all(option in str(caught.value) for option in ("--classes", "--size", "--weights", "--as-built"))
    with pytest.raises(ConfigError, match="Keep one"):
        open_model("mynet:build", options(Path("x.pt"), as_built=True))


def test_weights_that_do_not_fit_name_what_differs(tmp_path: Path, mynet: Any) -> None:
    torch.save(mynet.build(base=6).state_dict(), tmp_path / "state.pt")
    with pytest.raises(
        BundleError, match=r"of another shape: .*first.weight \(\[6, 1, 3, 3\] in the file, \[4, 1, 3, 3\]"
    ):
        open_model("mynet_of_a_test:build", options(tmp_path / "state.pt"))
    with pytest.raises(BundleError, match="no such file"):
        open_model("mynet_of_a_test:build", options(tmp_path / "nothing.pt"))


@pytest.mark.parametrize(
    ("model", "changes", "match"),
    [
        ("no_such_package_anywhere:build", {}, "no module 'no_such_package_anywhere'"),
        ("mynet_of_a_test:biuld", {}, "is not there"),
        ("mynet_of_a_test:build", {"arguments": {"bass": 4}}, "refuses.*bass"),
        ("mynet_of_a_test:build", {"size": (33, 48)}, "nearest good size is 34×48"),
        ("mynet_of_a_test:build", {"settings": {}}, "output: sigmoid"),
        ("mynet_of_a_test:build", {"settings": {"outptu": 1}}, "Did you mean 'output'"),
        ("mynet_of_a_test:build", {"channels": 3}, "channel"),
    ],
)
def test_what_does_not_fit_a_module(mynet: Any, model: str, changes: dict[str, Any], match: str) -> None:
    with pytest.raises((ConfigError, MissingDependency), match=match):
        open_model(model, options(None, as_built=True, **changes))


@pytest.mark.parametrize("name", ["nothing", "empty", "file.pt"])
def test_what_is_no_model_lists_those_that_are(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.pt").write_bytes(b"0")
    with pytest.raises(ConfigError, match="none of the models that are known"):
        open_model(str(tmp_path / name))


def test_options_of_a_module_do_not_go_with_a_bundle(tmp_path: Path) -> None:
    save_bundle(tmp_path / "b", disc_bundle())
    with pytest.raises(ConfigError, match="only one needs them"):
        open_model(str(tmp_path / "b"), options(None))


def test_nnunet_results_are_read_by_their_own_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "nnUNetTrainer__nnUNetPlans__2d"
    folder.mkdir()
    (folder / "plans.json").write_text('{"configurations": {}}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"dataset.json: no such file"):
        open_model(str(folder))
    known = disc_bundle()
    results = NnunetResults(
        settings={},
        checkpoint=folder / "fold_0" / "checkpoint_final.pth",
        task=known.task,
        input=InputConfig(mode="window", size=(48, 48)),
        preprocessing=(MemberRef(name="zscore"),),
        mirror=True,
        spacing=(1.0, 1.0),
        limits=("One of 5 folds is used.", "Not cropped."),
    )
    monkeypatch.setattr(NnunetResults, "network", lambda _: known.network)
    monkeypatch.setattr("unshift.experiment.given.read_nnunet_results", lambda _: results)
    given = open_model(str(folder))
    assert given.subject == f"The nnU-Net results {folder.name}, fold_0/checkpoint_final.pth"
    assert given.bundle.card.limits == "One of 5 folds is used. Not cropped."
    assert given.bundle.predict.mirror
    sample = Sample(torch.rand(1, 60, 50), "c", "p", "d")
    assert given.bundle.predictor().predict(sample).label_map.shape == (60, 50)
