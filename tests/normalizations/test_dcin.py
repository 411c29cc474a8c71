"""Views have the colors of the references that were meant; what is bad is said; the state is enough elsewhere."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from unshift import discover
from unshift.errors import BundleError, ConfigError, DataError, MissingDependency
from unshift.normalizations.bank import Bank
from unshift.normalizations.color_methods import METHODS, color_method
from unshift.normalizations.dcin import Dcin, DcinConfig
from unshift.normalizations.references import as_batch, describe, fingerprint_of
from unshift.normalizations.zscore import ZScore
from unshift.sample import Sample
from untrained import untrained_network

SIZE = (32, 32)


def photo(number: int, *, side: int = 40, patient: str = "") -> Sample:
    """Smooth colored blobs, different for every number; few pixels reach black or white."""
    generator = torch.Generator().manual_seed(number)
    coarse = torch.rand(1, 3, 5, 5, generator=generator) * 0.6 + 0.2
    image = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")[0]
    return Sample(image, f"c{number:02}", patient or f"p{number:02}", "src")


SOURCE = [photo(number) for number in range(12)]


def fitted(samples: list[Sample] = SOURCE, seed: int = 0, **settings) -> Dcin:
    method = Dcin(Dcin.Config(**settings))
    method.bind(untrained_network(3, seed=seed), SIZE)
    return method.fit(samples)


def colors(image: torch.Tensor, method: str = "lab") -> torch.Tensor:
    return color_method(method).statistics(image[None])[0]


def test_an_image_of_the_bank_finds_itself_and_stays_as_it_is() -> None:
    method = fitted(references=("local",))
    for sample in SOURCE:
        [view] = method.views(sample)
        assert view.reference is not None
        assert (view.reference.kind, view.reference.name) == ("local", f"src/{sample.case}")
        assert view.reference.likeness == pytest.approx(1, abs=1e-5)
        assert (view.image - sample.image).abs().max() <= 1 / 255


def test_every_reference_gives_one_view_with_its_colors(tmp_path: Path) -> None:
    expert = photo(40)
    pixels = (expert.image * 255).round().to(torch.uint8).movedim(0, -1).numpy()
    Image.fromarray(pixels).save(tmp_path / "chosen.png")
    method = fitted(references=(str(tmp_path / "chosen.png"), "global", "local"), nearest=2)
    views = method.views(photo(50))
    assert [v.reference.kind for v in views if v.reference] == ["expert", "global", "local", "local"]
    by_name = {f"src/{s.case}": s.image for s in SOURCE} | {"chosen.png": torch.from_numpy(pixels / 255).movedim(-1, 0)}
    for view in views:
        assert view.reference is not None
        # means and deviations of L, a and b, up to what clipping to RGB's range takes away
        wanted = colors(by_name[view.reference.name].float())
        torch.testing.assert_close(colors(view.image)[3:], wanted[3:], atol=0.7, rtol=0.03)


def test_global_is_the_medoid_and_the_order_of_the_source_changes_nothing() -> None:
    twice = [*SOURCE, *(s.replace(case=f"again {s.case}") for s in SOURCE)]  # every image ties with its copy
    [first] = fitted(twice, references=("global",)).views(photo(50))
    [second] = fitted(twice[::-1], references=("global",)).views(photo(50))
    assert first.reference == second.reference and torch.equal(first.image, second.image)
    common = [photo(3).replace(case=f"copy {i}") for i in range(13)]
    [view] = fitted([*SOURCE, *common], references=("global",)).views(photo(50))
    assert view.reference is not None and view.reference.name in {"src/c03", *(f"src/copy {i}" for i in range(13))}


def test_only_the_inside_counts() -> None:
    field = torch.zeros(40, 40, dtype=torch.bool)
    field[4:36, 4:36] = True
    framed = [s.replace(image=torch.where(field, s.image, 0), field_of_view=field) for s in SOURCE]
    lit = [s.replace(image=torch.where(field, s.image, 1)) for s in framed]
    for name in ("global", "local"):
        dark_view, light_view = (fitted(list(g), references=(name,)).views(g[5])[0] for g in (framed, lit))
        assert dark_view.reference is not None and light_view.reference is not None
        torch.testing.assert_close(dark_view.image[:, field], light_view.image[:, field], atol=2e-3, rtol=0)
    assert fitted(framed, references=("global",)).views(framed[5])[0].reference == (
        fitted(lit, references=("global",)).views(lit[5])[0].reference
    )


def test_the_state_is_enough_and_holds_no_pixels(tmp_path: Path) -> None:
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(tmp_path / "expert.png")
    method = fitted(references=(str(tmp_path / "expert.png"), "global", "local"))
    state = method.state_dict()
    texts = state.pop("texts")
    assert sum(value.numel() for value in state.values()) < 12 * (16 + 20) + 40 and len(texts) < 1000
    assert str(tmp_path) not in bytes(texts.tolist()).decode()
    assert method.config.references == ("expert.png", "global", "local")
    elsewhere = Dcin(method.config)
    elsewhere.load_state_dict({**state, "texts": texts})
    elsewhere.bind(untrained_network(3), SIZE)
    for one, other in zip(method.views(photo(50)), elsewhere.views(photo(50)), strict=True):
        assert torch.equal(one.image, other.image) and one.reference == other.reference
    with pytest.raises(BundleError, match=r"lacks \['local.usual'\]"):
        elsewhere.load_state_dict({**{k: v for k, v in state.items() if k != "local.usual"}, "texts": texts})


def test_another_network_or_preprocessing_is_refused() -> None:
    method = fitted()
    method.bind(untrained_network(3, seed=1), SIZE)
    with pytest.raises(BundleError, match="weights: .* there, .* here"):
        method.views(photo(50))
    method.bind(untrained_network(3), SIZE, [ZScore(ZScore.Config())])
    with pytest.raises(BundleError, match="preprocessing: none there, zscore"):
        method.views(photo(50))
    method.bind(untrained_network(3), (64, 64))
    with pytest.raises(BundleError, match="size: 32×32 there, 64×64 here"):
        method.views(photo(50))
    method.bind(untrained_network(3), SIZE)
    assert len(method.views(photo(50))) == 2


def test_a_bank_in_a_file_does_the_same_as_the_images(tmp_path: Path) -> None:
    path, other = tmp_path / "bank.safetensors", tmp_path / "other.safetensors"
    method = Dcin(Dcin.Config(references=("global", "local"), bank=path))
    method.bind(untrained_network(3), SIZE)
    embedding = method._build()
    Bank.of([describe(s, ["lab"], embedding) for s in SOURCE], fingerprint_of(embedding, ())).save(path)
    method.fit([])
    for one, second in zip(method.views(photo(50)), fitted().views(photo(50)), strict=True):
        assert torch.equal(one.image, second.image) and one.reference == second.reference
    assert method.config.bank is None
    Bank.of([describe(s, ["lab"], embedding) for s in SOURCE], {"model": "other"}).save(other)
    for settings, error, words in (
        ({"bank": other}, BundleError, "model: other there, segmenter UNet"),
        ({"bank": path, "method": "reinhard"}, ConfigError, "--method reinhard"),
        ({"bank": tmp_path / "none"}, ConfigError, "no such bank"),
    ):
        with pytest.raises(error, match=words):
            fitted([], **settings)


def test_bad_references_are_not_chosen_and_bad_experts_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    black = [photo(60).replace(image=torch.zeros(3, 40, 40), case=f"black {i}", patient=f"b{i}") for i in range(20)]
    method = fitted([*SOURCE, *black])
    for sample in (black[0], photo(50)):
        for view in method.views(sample):
            assert view.reference is not None and not view.reference.name.startswith("src/black")
            assert ("the image is constant and nearly black" in view.reference.warning) == (sample is black[0])
            assert view.image.isfinite().all()
    with pytest.raises(DataError, match="all 20 source images are constant and nearly black"):
        fitted(black)
    for name, level in (("black.png", (0, 0, 0)), ("green.png", (10, 250, 20))):
        pixels = np.full((16, 16, 3), level, np.uint8)
        pixels[::2] += 4
        Image.fromarray(pixels).save(tmp_path / name)
        with caplog.at_level(logging.WARNING):
            [view] = fitted(references=(str(tmp_path / name),), flawed="use").views(photo(50))
        assert view.reference is not None and "its colors resemble no source image" in view.reference.warning
        assert name in caplog.text
    assert "the reference is nearly black" in caplog.text
    with pytest.raises(DataError, match=r"black\.png is nearly black; .*`flawed: use`"):
        fitted(references=(str(tmp_path / "black.png"), "global"))
    assert fitted(references=(str(tmp_path / "green.png"),)).views(photo(50))  # other colors are warned of, not refused


def test_an_image_unlike_the_source_is_warned_of() -> None:
    method = fitted(references=("local",))
    generator = torch.Generator().manual_seed(0)
    alien = photo(50).replace(image=(torch.rand(3, 40, 40, generator=generator) > 0.5).float() * 0.9 + 0.02)
    [view] = method.views(alien)
    assert view.reference is not None and "no similar source image: cosine" in view.reference.warning
    assert method.views(SOURCE[0])[0].reference.warning == ""  # type: ignore[union-attr]


def test_grey_pictures_and_volumes() -> None:
    grey = [s.replace(image=s.image[:1]) for s in SOURCE]
    method = Dcin(Dcin.Config())
    method.bind(untrained_network(1), SIZE)
    views = method.fit(grey).views(grey[4])
    assert [v.image.shape for v in views] == [(1, 40, 40)] * 2
    assert (views[1].image - grey[4].image).abs().max() <= 1 / 255
    volumes = [s.replace(image=torch.stack([s.image[:1], s.image[1:2]], 1)) for s in SOURCE]
    method.bind(untrained_network(1), SIZE)
    assert method.fit(volumes).views(volumes[4])[1].reference.name == "src/c04"  # type: ignore[union-attr]


def test_what_is_wrong_is_said_early(tmp_path: Path) -> None:
    for settings in ({"method": "labb"}, {"references": ("local", "local")}, {"references": ("a/x.png", "b/x.png")}):
        with pytest.raises(ValidationError):
            DcinConfig(**settings)
    assert DcinConfig.model_validate_json('{"embedding": "timm:resnet18"}').embedding.settings == {"model": "resnet18"}
    with pytest.raises(DataError, match=r"glob: no such file \(in .*\)\. Did you mean `global`"):
        Dcin.files(DcinConfig(references=("glob",)))
    with pytest.raises(DataError, match="'glob' is none of the 12 source images"):
        fitted(references=("glob",))
    with pytest.raises(ConfigError, match="no trained network is at hand"):
        Dcin(Dcin.Config()).fit(SOURCE)
    with pytest.raises(DataError, match="not fitted"):
        Dcin(Dcin.Config()).views(photo(1))
    with pytest.raises(DataError, match=r"values in .* colors are in 0 … 1"):
        fitted(references=("global",)).views(photo(1).replace(image=photo(1).image * 255))
    assert as_batch(photo(1))[1] is None


def test_preflight_opens_what_a_training_would_only_meet_at_its_end(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), (3, 2, 2)).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("no picture")
    Bank.of((describe(s, ["lab"], None) for s in SOURCE), {}).save(tmp_path / "bank")
    embedded = [replace(describe(s, ["lab"], None), embedding=torch.ones(1)) for s in SOURCE]
    Bank.of(embedded, {"model": "timm x", "preprocessing": "none"}).save(tmp_path / "timm")
    Bank.of(embedded, {"model": "segmenter UNet", "preprocessing": "none"}).save(tmp_path / "own")
    (tmp_path / "cut").write_bytes((tmp_path / "bank").read_bytes()[:300])
    for settings, error, words in (
        ({"references": (str(tmp_path / "black.png"),)}, DataError, "black.png is constant and nearly black"),
        ({"references": (str(tmp_path / "text.png"),)}, DataError, "text.png"),
        ({"references": ("globl",)}, DataError, "Did you mean `global`"),
        ({"bank": tmp_path / "cut"}, BundleError, "cannot be read as a bank"),
        ({"bank": tmp_path / "bank"}, BundleError, "holds no embeddings; `local` needs them"),
        (
            {"bank": tmp_path / "bank", "method": "reinhard", "references": ("global",)},
            ConfigError,
            "--method reinhard",
        ),
        ({"bank": tmp_path / "bank", "references": ("src/none",)}, DataError, "none of the 12 source images"),
        ({"bank": tmp_path / "timm"}, BundleError, "embedded by timm x, and `embedding` is segmenter"),
    ):
        with pytest.raises(error, match=words):
            Dcin.preflight(DcinConfig(**settings), ["src/none"])
    Dcin.preflight(DcinConfig(bank=tmp_path / "bank", references=("global", "src/c03")), [])
    Dcin.preflight(DcinConfig(bank=tmp_path / "own"), [])
    Dcin.preflight(DcinConfig(references=("global", "src/c03")), ["src/c03", "src/c04"])
    with pytest.raises(DataError, match=r"'src/c3' is none of the 2 source images .* such as src/c0"):
        Dcin.preflight(DcinConfig(references=("src/c3",)), ["src/c03", "src/c04"])


def test_preflight_fetches_an_embedding_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = discover.load("embeddings", "lite2")
    calls = []
    monkeypatch.setattr(member, "begin", lambda self: calls.append("begin"))
    Dcin.preflight(DcinConfig(references=("global",), embedding="lite2"), [])
    assert not calls, "the global reference needs none"
    Dcin.preflight(DcinConfig(embedding="lite2"), [])
    assert calls == ["begin"]
    entries = [replace(describe(s, ["lab"], None), embedding=torch.ones(1)) for s in SOURCE]
    Bank.of(entries, {"model": "segmenter UNet", "preprocessing": "none"}).save(tmp_path / "bank")
    with pytest.raises(BundleError, match="model: segmenter UNet there, efficientnet-lite2 here"):
        Dcin.preflight(DcinConfig(embedding="lite2", bank=tmp_path / "bank"), [])

    def missing(self: object) -> None:
        raise MissingDependency("its ImageNet weights are not installed")

    monkeypatch.setattr(member, "begin", missing)
    with pytest.raises(MissingDependency, match="not installed"):
        Dcin.preflight(DcinConfig(embedding="lite2"), [])


def test_several_nearest_are_judged_by_the_first() -> None:
    views = fitted(references=("local",), nearest=9999).views(SOURCE[0])
    assert len(views) == len(SOURCE)
    assert all(view.reference is not None and not view.reference.warning for view in views)


def test_a_source_image_by_its_name_has_its_field_of_view(tmp_path: Path) -> None:
    field = torch.zeros(40, 40, dtype=torch.bool)
    field[4:36, 4:36] = True
    framed = [s.replace(image=torch.where(field, s.image, 0), field_of_view=field) for s in SOURCE]
    named = fitted(framed, references=("src/c03", "global"))
    reference = named.views(photo(50))[0].reference
    assert reference is not None and (reference.kind, reference.name, reference.warning) == ("expert", "src/c03", "")
    bank = Bank.of((describe(s, ["lab"], None) for s in framed), {})
    assert torch.equal(named.state_dict()["chosen.src/c03"], bank.statistics["lab"][bank.names.index("src/c03")])
    again = Dcin(named.config)
    again.load_state_dict(named.state_dict())
    assert torch.equal(again.views(photo(50))[0].image, named.views(photo(50))[0].image)
    with pytest.raises(DataError, match=r"'src/c3' is none of the 12 source images .* such as src/c03"):
        fitted(references=("src/c3",))
    assert "src/c03" not in map(str, Dcin.files(DcinConfig(references=("src/c03",))))
    black = [framed[0].replace(image=torch.zeros(3, 40, 40), case="dark", patient="dark")]
    with pytest.raises(DataError, match="src/dark is constant and nearly black"):
        fitted([*framed, *black], references=("src/dark",))


def test_files_decide_the_key(tmp_path: Path) -> None:
    picture = tmp_path / "expert.png"
    picture.write_bytes(b"x")
    names = [path.name for path in Dcin.files(DcinConfig(references=(str(picture), "global")))]
    assert names[0] == "expert.png"
    assert {"segmenter.py", "pooling.py", "medoid.py", "nearest.py", "references.py"} < set(names)
    assert {"color_moments.py", "color_8bit.py", "color_spaces.py"} < set(names)
    assert "color_transfer.py" not in names


@pytest.mark.parametrize("name", METHODS)
def test_every_color_method_serves(name: str) -> None:
    """Its own reference leaves an image as it is (8-bit Lab: within 3 grey levels, and half a one that rounds the image itself), another one's moves it."""
    method = fitted(SOURCE[:4], references=("local", "global"), method=name)
    for sample in SOURCE[:2]:
        views = method.views(sample)
        assert all(view.image.isfinite().all() and view.image.shape == sample.image.shape for view in views)
        assert (views[0].image - sample.image).abs().max() <= (3.5 if name == "lab_8bit" else 1.01) / 255
