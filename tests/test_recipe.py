"""Recipes are strict; every recipe in the repository is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from experiment_recipes import TINY, tiny
from unshift.config import to_yaml
from unshift.errors import ConfigError, UnknownName
from unshift.recipe import Recipe, digest, parse_recipe, read_recipe, schema

ROOT = Path(__file__).parents[1]
RECIPES = [*sorted((ROOT / "recipes").rglob("*.yaml")), ROOT / "src" / "unshift" / "cli" / "demo.yaml"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_recipe_parses_and_reads_back(path: Path) -> None:
    recipe = read_recipe(path)
    again = parse_recipe(yaml.safe_load(to_yaml(recipe)), where="again")
    assert again == recipe


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"trian": {}}, ConfigError, "trian: unknown key. Did you mean 'train'"),
        ({"train": {"step": 3}}, ConfigError, "train.step: unknown key. Did you mean 'steps'"),
        ({"train": {"steps": "many"}}, ConfigError, "train.steps"),
        ({"dataset": "polip"}, UnknownName, "unknown dataset 'polip'. Did you mean 'polyp'"),
        ({"network": "unett"}, UnknownName, "unknown network 'unett'. Did you mean 'unet'"),
        ({"network": {"name": "unet", "width": [4]}}, ConfigError, "width: unknown key. Did you mean 'widths'"),
        ({"preprocessing": ["minmax"]}, UnknownName, "unknown normalization 'minmax'. Did you mean 'min_max'"),
        ({"pipelines": {"a": {"objective": "erm"}}}, ConfigError, "baseline is 'baseline'; it must be one of"),
        ({"pipelines": {}}, ConfigError, "pipelines"),
        (
            {"pipelines": {"baseline": {"after": "frist"}, "first": {}}},
            ConfigError,
            "pipelines.baseline.after is 'frist'; it must be one of the pipelines ['baseline', 'first']",
        ),
        (
            {"pipelines": {"baseline": {"after": "b"}, "b": {"after": "baseline"}}},
            ConfigError,
            "pipelines.baseline.after: baseline after b after baseline is a circle",
        ),
        ({"pipelines": {"baseline": {"after": "baseline"}}}, ConfigError, "baseline after baseline is a circle"),
        ({"seeds": [1, 1]}, ConfigError, "each may stand once"),
        ({"seeds": []}, ConfigError, "seeds"),
        ({"selection": "best"}, ConfigError, "'last', 'source_validation', 'entropy'"),
        (
            {"selection": "entropy"},
            ConfigError,
            "selection is 'entropy', which compares the weights of every validation",
        ),
        *(
            ({"name": name}, ConfigError, "name: letters a to z, digits, . _ - are allowed; begin with a letter or dig")
            for name in ("../up", "größe", "-a", "", "a b", "a\n")
        ),
        ({"dataset": {}}, ConfigError, "dataset.name: Field required"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        parse_recipe({**TINY, **change}, where="recipe.yaml")
    assert message in str(caught.value)
    assert "recipe.yaml" in str(caught.value)


def test_not_a_mapping() -> None:
    with pytest.raises(ConfigError, match="found list; a recipe is a mapping"):
        parse_recipe([1], where="r")


def test_overrides(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    recipe = read_recipe(path, overrides=["train.steps=11", "seeds=[3, 4]", "name=other"])
    assert (recipe.train.steps, recipe.seeds, recipe.name) == (11, (3, 4), "other")
    path.write_text(yaml.safe_dump({**TINY, "network": "unet"}), encoding="utf-8")
    assert read_recipe(path, overrides=["network.widths=[4, 8]"]).network.settings == {"widths": [4, 8]}
    for wrong, message in (("train.steps", "no '='"), ("name.x=1", "is not a mapping"), ("seeds=[1", "must be YAML")):
        with pytest.raises(ConfigError, match=message):
            read_recipe(path, overrides=[wrong])


def test_a_pipeline_may_have_its_own_network_and_training() -> None:
    recipe = tiny(
        pipelines={"baseline": {}, "big": {"network": {"name": "unet", "widths": [8, 16]}, "train": {"steps": 9}}}
    )
    assert recipe.network_of("big").settings == {"widths": [8, 16]}
    assert recipe.train_of("big").steps == 9
    assert recipe.train_of("baseline").steps == 6


def test_a_pipelines_training_settings_stand_over_the_recipes(tmp_path: Path) -> None:
    document = {**TINY, "pipelines": {"baseline": {}, "long": {"train": {"steps": 9, "validate_every": 100}}}}
    recipe = tiny(**document)
    assert recipe.train_of("long") == recipe.train.model_copy(update={"steps": 9, "validate_every": 100})
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    limited = read_recipe(tmp_path / "r.yaml", overrides=["train.max_minutes=1.0", "train.steps=2"])
    assert (limited.train_of("long").max_minutes, limited.train_of("long").steps) == (1.0, 9)
    (tmp_path / "full.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    assert read_recipe(tmp_path / "full.yaml") == recipe


def test_stages_in_order() -> None:
    rows = {"baseline": {"after": "b"}, "b": {"after": "c"}, "c": {}}
    recipe = tiny(pipelines=rows)
    assert [recipe.stages(name) for name in rows] == [["c", "b", "baseline"], ["c", "b"], ["c"]]


def test_digest_tells_recipes_apart() -> None:
    assert digest(tiny()) == digest(tiny())
    assert digest(tiny()) != digest(tiny(seeds=[1]))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_the_published_schema_is_fresh() -> None:
    """Written by `unshift schema --output docs/reference/recipe.schema.json`."""
    published = json.loads((ROOT / "docs" / "reference" / "recipe.schema.json").read_text(encoding="utf-8"))
    assert published == schema(Recipe)
    assert "unet" in json.dumps(published["properties"]["network"])
    assert "erm" in json.dumps(published["$defs"]["Pipeline"]["properties"]["objective"])
