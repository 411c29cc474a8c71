"""`unshift robustify` as a newcomer meets it: of an own module, of a bundle, and all that can be typed wrongly."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from robust_models import disc_bundle, write_discs
from unshift.cli.main import build
from unshift.errors import DataError
from unshift.export.bundle import load_bundle, save_bundle

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, base=4):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, base, 3, padding=1), nn.Conv2d(base, 2 * base, 3, padding=1)
        self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(2 * base, base, 2, 2)
        self.last = nn.Conv2d(2 * base, 2, 1)

    def forward(self, x):
        skip = torch.relu(self.first(x))
        deep = torch.relu(self.second(self.pool(skip)))
        return self.last(torch.cat([skip, self.up(deep)], 1))

def build_net(base=4):
    return Net(base)

def listed(widths=()):
    assert widths == [4, 8], widths
    return Net(widths[0])

def of_a_place(path="", norm="", names=()):
    assert path == "/data/a,b.txt", path
    assert norm == ["INSTANCE", {"affine": True}], norm
    assert names == ["a", "b"], names
    return Net()

def ends_in_softmax(base=4):
    return nn.Sequential(Net(base), nn.Softmax(1))

def of_one_size(base=4):
    net = Net(base)
    net.register_forward_pre_hook(check)
    return net

def check(module, given):
    assert given[0].shape[2:] == (48, 48), "only 48 x 48"
"""
QUICK = ("--plugins", "adain", "--levels", "single", "--gates", "none", "--strengths", "1", "--cases", "2")


def call(*arguments: str | Path) -> Result:
    texts = [str(a) for a in ("robustify", *arguments)]
    return CliRunner().invoke(build(texts), texts)


def said(result: Result) -> str:
    return " ".join((result.output + result.stderr).split())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where somebody works: a bundle, a module with its weights, images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    (tmp_path / "net_of_a_newcomer.py").write_text(MODULE, encoding="utf-8")
    save_bundle(tmp_path / "model", disc_bundle())
    write_discs(tmp_path / "discs", 6)
    return tmp_path


def own(*others: str) -> list[str]:
    return [
        "net_of_a_newcomer:build_net",
        "--images",
        "discs",
        "--classes",
        "background,disc",
        "--channels",
        "1",
        *others,
    ]


def test_a_bundle_from_end_to_end(place: Path) -> None:
    before = {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in place.rglob("*") if p.is_file()}
    result = call("model", "--images", "discs", "-o", "robust", "--choose", "adain-single", *QUICK)
    assert result.exit_code == 0, said(result)
    for words in ("level_2", "adain-single *", "Chosen by hand", "All 3 checks hold", "Bundle: robust/bundle"):
        assert words in said(result)
    assert len(load_bundle(place / "robust" / "bundle").plugins) == 1
    assert (place / "robust" / "report.html").is_file()
    assert {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in before} == before


def test_json_is_all_that_is_on_standard_output(place: Path) -> None:
    document = json.loads(call("model", "--images", "discs", "--json", *QUICK).stdout)
    assert document["choice"] in ("none", "adain-single")
    assert [c["name"] for c in document["candidates"]] == ["none", "adain-single"]
    assert Path(document["bundle"]).is_dir()
    plan = json.loads(call("model", "--images", "discs", "--json", "--dry-run", *QUICK).stdout)
    assert plan["candidates"] == "none, adain-single"
    assert plan["predictions"] == str(2 * 4 * 2)


def test_a_dry_run_shows_taps_and_plan_and_writes_nothing(place: Path) -> None:
    before = sorted(place.rglob("*"))
    result = call("model", "--images", "discs", "--dry-run")
    assert result.exit_code == 0
    assert "level_1 1 6" in said(result)
    assert "Dry run: nothing was fitted" in said(result)
    assert sorted(place.rglob("*")) == before


def test_a_module_of_ones_own(place: Path) -> None:
    module = __import__("net_of_a_newcomer").build_net(base=6)
    torch.save(module.state_dict(), place / "state.pt")
    result = call(*own("--weights", "state.pt", "--argument", "base=6", "--size", "48,48", "--dry-run"))
    assert result.exit_code == 0, said(result)
    assert "net_of_a_newcomer:build_net, weights of state.pt" in said(result)
    assert "2 12" in said(result)
    wrong = call(*own("--weights", "state.pt", "--size", "48,48"))
    assert wrong.exit_code == 2
    assert "first.weight ([6, 1, 3, 3] in the file, [4, 1, 3, 3] required)" in said(wrong)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing", "--images", "discs"], "nothing: no such file or folder, and none of the models"),
        (["discs", "--images", "discs"], "a folder, and none of the models"),
        (["model"], "--images: missing"),
        (["model", "--images", "nothing"], "no such folder"),
        (["model", "--images", "discs", "-o", "."], None),
        (["model", "--images", "discs", "--plugins", "adian"], "unknown plugin 'adian'. Did you mean 'adain'"),
        (["model", "--images", "discs", "--levels", "level_7"], "unknown tap 'level_7'"),
        (["model", "--images", "discs", "--gates", "far"], "gates"),
        (["model", "--images", "discs", "--strengths", "a"], "--strengths: 'a'; numbers"),
        (["model", "--images", "discs", "--strengths", "2"], "numbers above 0, to 1"),
        (
            ["model", "--images", "discs", "--choose", "best"],
            "--choose: 'best' is no candidate. Candidates: none, adain-single",
        ),
        (["model", "--images", "discs", "--simulator", "photo"], "1 channel(s); 3 are required"),
        (["model", "--images", "discs", "--weights", "x.pt"], "only one needs them"),
        (own(), "--size: of its input"),
        (own("--as-built", "--size", "47,48"), "nearest good size is 48×48"),
        (own("--as-built", "--size", "a,b"), "--size: 'a,b'; numbers"),
        (own("--as-built", "--size", "48,48", "--argument", "base"), "no '='"),
        (own("--as-built", "--size", "48,48", "--taps", "nothing"), "nothing"),
        (own("--as-built", "--size", "48,48", "--mean", "1,2"), "build_net: --mean has 2 entries"),
        (own("--as-built", "--size", "48,48", "--output-kind", "sigmoid"), "--output-kind sigmoid of 2 classes"),
        (own("--as-built", "--size", "48,48", "--output-kind", "probabilities"), "give --output-kind softmax"),
        (own("--as-built", "--size", "48,48", "--set", "select=out"), "its output has no 'out'"),
        (own("--as-built", "--size", "48,48", "--set", "outptu=1"), "--set outptu: unknown key"),
        (own("--as-built", "--size", "48,48", "--gates", "far"), "--gates"),
        (own("--weights", "discs/images/p00.png", "--size", "48,48"), "p00.png: is no file of weights"),
        (["net_of_a_newcomer:of_one_size", *own("--as-built", "--size", "48,48")[1:]], "--set probe=[224,224]"),
        (own("--weights", "nothing.pt", "--size", "48,48"), "nothing.pt: no such file"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(place: Path, arguments: list[str], words: str | None) -> None:
    if words is None:
        save_bundle(place / "bundle", disc_bundle())
        arguments, words = ["bundle", *arguments[1:]], "holds the model that was given"
    result = call(*arguments)
    assert result.exit_code == 2, said(result)
    assert "Traceback" not in said(result)
    assert words in said(result)


@pytest.mark.parametrize(("count", "words"), [(0, "holds no image"), (1, "1 image(s) of 1 patient(s)")])
def test_an_empty_folder_and_one_image(place: Path, count: int, words: str) -> None:
    folder = write_discs(place / "few", count, masks=False) / "images"
    folder.mkdir(parents=True, exist_ok=True)
    result = call("model", "--images", folder)
    assert result.exit_code == 2
    assert words in said(result)


def test_values_that_are_no_labels(place: Path) -> None:
    for path in (place / "discs" / "masks").iterdir():
        Image.fromarray(np.full((48, 48), 7, np.uint8)).save(path)
    result = call("model", "--images", "discs", *QUICK)
    assert result.exit_code == 2
    assert "outside the task (7)" in said(result)


def test_a_list_needs_no_brackets(place: Path) -> None:
    model = ["net_of_a_newcomer:listed", *own("--as-built", "--size", "48,48", "--dry-run")[1:]]
    for text in ("widths=4,8", "widths=[4, 8]"):
        result = call(*model, "--argument", text)
        assert result.exit_code == 0, said(result)
    assert "must be" not in said(call(*model, "--argument", "widths='4,8'"))
    assert "refuses {'widths': '4,8'}" in said(call(*model, "--argument", "widths='4,8'"))


def test_a_path_with_a_comma_is_no_list(place: Path) -> None:
    model = ["net_of_a_newcomer:of_a_place", *own("--as-built", "--size", "48,48", "--dry-run")[1:]]
    given = ("path=/data/a,b.txt", "norm=[INSTANCE, {affine: true}]", "names=a, b")
    result = call(*model, *(word for text in given for word in ("--argument", text)))
    assert result.exit_code == 0, said(result)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("norm=('INSTANCE', {'affine': True})", "a tuple; a list is required. Write [INSTANCE, {affine: true}]"),
        ("norm=[INSTANCE, {affine: true}", "a number, a word, a list such as 8,16 or YAML is required"),
        ("norm=a: b: c", "a number, a word, a list such as 8,16 or YAML is required"),
    ],
)
def test_what_cannot_be_read_is_quoted_as_typed(place: Path, typed: str, words: str) -> None:
    result = call(*own("--as-built", "--size", "48,48", "--argument", typed))
    assert result.exit_code == 2
    assert f"--argument {typed!r}: {words}" in said(result)


def test_what_is_doubted_is_said_once(place: Path) -> None:
    model = ["net_of_a_newcomer:ends_in_softmax", *own("--as-built", "--size", "48,48", "--choose", "none")[1:]]
    result = call(*model, "-o", "robust", *QUICK)
    assert result.exit_code == 0, said(result)
    assert " ".join(result.output.split()).count("All outputs of the network lie in [0, 1]") == 1
    page = (place / "robust" / "report.html").read_text(encoding="utf-8")
    assert "All outputs of the network lie in [0, 1]" in page


def test_predicting_says_of_each_image_what_it_can_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an option that `unshift predict` lacks, nor a path taken for color markup."""
    words = "x [red].npy: has 2 channel(s). Set `channels` to the file's number; name it: `trust=['net:build']`."
    monkeypatch.setattr("unshift.cli.predict.predict_files", lambda *_, **__: [(Path("x.npy"), DataError(words))])
    texts = ["predict", "model", "x.npy"]
    result = CliRunner().invoke(build(texts), texts)
    assert result.exit_code == 1
    shown = words.replace("`trust=['net:build']`", "--trust net:build")
    assert f"not done {shown}" in said(result)
    document = json.loads(CliRunner().invoke(build([*texts, "--json"]), [*texts, "--json"]).stdout)
    assert document["failed"] == [{"image": "x.npy", "error": shown}]


def test_a_module_of_one_size_goes_with_a_probe(place: Path) -> None:
    model = ["net_of_a_newcomer:of_one_size", *own("--as-built", "--size", "48,48", "--dry-run")[1:]]
    result = call(*model, "--set", "probe=48,48")
    assert result.exit_code == 0, said(result)


def test_what_is_declared_wrongly_is_doubted_before_anything_is_fitted(place: Path) -> None:
    result = call("net_of_a_newcomer:ends_in_softmax", *own("--as-built", "--size", "48,48", "--dry-run")[1:])
    assert result.exit_code == 0, said(result)
    assert "Warning All outputs of the network lie in [0, 1]" in said(result)
    assert "--output-kind probabilities" in said(result)
    right = call("model", "--images", "discs", "--dry-run")
    assert "Warning" not in said(right)


def test_all_bad_files_are_named_before_anything_is_fitted(place: Path) -> None:
    Image.fromarray(np.full((48, 48), 128, np.uint8)).save(place / "discs" / "masks" / "p01.png")
    (place / "discs" / "masks" / "p04.png").write_bytes(b"no picture")
    result = call("model", "--images", "discs", "--dry-run")
    assert result.exit_code == 2
    assert "2 problems" in said(result) and "p01.png" in said(result) and "p04.png" in said(result)


def test_without_labels_it_is_said_before_the_table_and_of_two_patients_no_test_is_made(place: Path) -> None:
    result = call("model", "--images", "discs/images", "-o", "robust", *QUICK)
    assert result.exit_code == 0, said(result)
    assert result.stdout.index("No labels: agreement") < result.stdout.index("over shifts")
    assert "2 patients are too few for a test" in said(result)
    assert "fit adain-single: done," in said(result)
    page = (place / "robust" / "report.html").read_text(encoding="utf-8")
    assert "Few patients." in page and "<small>wins" in page
