"""A recipe: the one file that says what a run does. Strict YAML; the defaults are written out in the run folder."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from unshift import config, discover
from unshift.config import Config, MemberRef
from unshift.errors import ConfigError
from unshift.evaluate.protocol import ProtocolConfig
from unshift.evaluate.score import EvaluateConfig
from unshift.evaluate.select import RULES
from unshift.geometry import InputConfig
from unshift.predict.settings import PredictConfig
from unshift.train.settings import TrainConfig

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class ContentConfig(Config):
    """Images of anything: what style units are trained on beside the sources (plugins such as ``din``)."""

    folder: Path | None = Field(None, description="photographs, searched in all subfolders; default: made-up textures")
    count: int = Field(500, ge=1, description="how many are drawn")


class Pipeline(Config):
    """One row of a table: how the weights are trained, what is put into the network, what is done to the image before.

    Pipelines that agree in ``objective``, ``network``, ``train`` and ``after`` share one training.
    """

    description: str = ""
    objective: MemberRef = MemberRef(name="erm")
    after: str | None = Field(None, description="another pipeline, whose finished training the objective begins from")
    network: MemberRef | None = Field(None, description="instead of the recipe's network")
    train: TrainConfig | None = Field(None, description="settings in place of the recipe's; the others stay")
    plugins: tuple[MemberRef, ...] = Field((), max_length=1, description="units put into the trained network")
    normalizations: tuple[MemberRef, ...] = Field((), description="applied to test images, in order")


class Recipe(Config):
    """dataset -> split -> preprocessing -> training -> selection -> prediction -> scores -> comparison -> report."""

    name: str = Field(json_schema_extra={"pattern": _NAME.pattern}, description="names the run folder")
    description: str = ""
    dataset: MemberRef
    protocol: ProtocolConfig = ProtocolConfig()
    preprocessing: tuple[MemberRef, ...] = Field((), description="applied to every image, in training and in testing")
    input: InputConfig = InputConfig()
    network: MemberRef = MemberRef(name="unet")
    train: TrainConfig = TrainConfig()
    content: ContentConfig = ContentConfig()
    predict: PredictConfig = PredictConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    selection: Literal[
        "last", "source_validation", "entropy", "neighborhood_density", "translated_validation", "oracle"
    ] = "source_validation"
    pipelines: dict[str, Pipeline] = Field({"baseline": Pipeline()}, min_length=1)
    baseline: str = Field("baseline", description="the pipeline that the others are compared with")
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    cite: tuple[str, ...] = ()

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("letters a to z, digits, . _ - are allowed; begin with a letter or digit")
        return name

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.baseline not in self.pipelines:
            raise ValueError(f"baseline is {self.baseline!r}; it must be one of the pipelines {list(self.pipelines)}")
        for name in self.pipelines:
            self._check_stages(name)
        compares = RULES[self.selection].compares
        if compares and any(self.train_of(name).keep != "all" for name in self.pipelines):
            raise ValueError(
                f"selection is {self.selection!r}, which compares the weights of every validation; set train.keep: all"
            )
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds are {list(self.seeds)}; each may stand once")
        return self

    def network_of(self, pipeline: str) -> MemberRef:
        """The pipeline's own network, or the recipe's."""
        return self.pipelines[pipeline].network or self.network

    def train_of(self, pipeline: str) -> TrainConfig:
        """The pipeline's own training settings, or the recipe's."""
        return self.pipelines[pipeline].train or self.train

    def stages(self, pipeline: str) -> list[str]:
        """The pipelines whose trainings it needs, in order: what it comes ``after``, and itself, the last."""
        after = self.pipelines[pipeline].after
        return [*([] if after is None else self.stages(after)), pipeline]

    def _check_stages(self, pipeline: str) -> None:
        seen = [pipeline]
        while (after := self.pipelines[seen[-1]].after) is not None:
            if after not in self.pipelines:
                raise ValueError(
                    f"pipelines.{seen[-1]}.after is {after!r}; it must be one of the pipelines {list(self.pipelines)}"
                )
            if after in seen:
                raise ValueError(
                    f"pipelines.{pipeline}.after: {' after '.join([*seen, after])} is a circle; one of them must begin"
                )
            seen.append(after)


def read_recipe(path: Path, *, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe in a YAML file.

    Args:
        path: the file.
        overrides: ``key.key=value`` settings that replace the file's; the value is YAML.

    Raises:
        ConfigError: unreadable file, unknown key, wrong type, unknown member; all problems of one kind at once.
    """
    return parse_recipe(config.read_yaml(path), where=str(path), overrides=overrides)


def parse_recipe(data: Any, *, where: str, overrides: Iterable[str] = ()) -> Recipe:
    """As :func:`read_recipe`, from what YAML gave."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: found {type(data).__name__}; a recipe is a mapping with `name` and `dataset`.")
    for override in overrides:
        _set(data, override)
    recipe = config.parse(Recipe, _inherited(data), where=where)
    check_members(recipe, where=where)
    return recipe


def check_members(recipe: Recipe, *, where: str) -> None:
    """Every name is a member and every member's settings are right, before anything is built.

    Raises:
        UnknownName: with the nearest name.
        ConfigError: a member's settings are wrong.
    """
    load_config("datasets", recipe.dataset, where=f"{where}: dataset")
    for reference in recipe.preprocessing:
        load_config("normalizations", reference, where=f"{where}: preprocessing")
    for name, pipeline in recipe.pipelines.items():
        load_config("objectives", pipeline.objective, where=f"{where}: pipelines.{name}.objective")
        load_config("networks", recipe.network_of(name), where=f"{where}: network")
        for family, references in (("normalizations", pipeline.normalizations), ("plugins", pipeline.plugins)):
            for reference in references:
                load_config(family, reference, where=f"{where}: pipelines.{name}.{family}")


def load_config(family: str, reference: MemberRef, *, where: str) -> Any:
    """The member's own ``Config`` filled with the reference's settings."""
    member = discover.load(family, reference.name, where=where)
    return config.parse(member.Config, reference.settings, where=f"{where} {reference.name!r}")


def digest(*parts: Any) -> str:
    """16 hexadecimal digits that identify plain data (models, mappings, sequences, strings, numbers)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_plain).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def _inherited(data: dict[str, Any]) -> dict[str, Any]:
    """``data`` with the recipe's training settings under those of each pipeline that has its own."""
    shared, rows = data.get("train"), data.get("pipelines")
    if not isinstance(shared, dict) or not isinstance(rows, dict):
        return data
    own = {name: row for name, row in rows.items() if isinstance(row, dict) and isinstance(row.get("train"), dict)}
    merged = {name: {**row, "train": {**shared, **row["train"]}} for name, row in own.items()}
    return {**data, "pipelines": {**rows, **merged}}


def _set(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override!r}: no '='; write key.key=value, for example train.steps=100.")
    value = config.read_value(text)
    *parents, last = key.split(".")
    for parent in parents:
        if isinstance(data.get(parent), str) and parent in ("dataset", "network", "objective"):
            data[parent] = {"name": data[parent]}
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise ConfigError(f"--set {override!r}: {parent!r} is not a mapping; name a key that exists.")
    data[last] = value


def schema(model: type[Recipe]) -> dict[str, Any]:
    """The recipe's JSON schema, in which every reference to a member offers that family's names."""
    document = model.model_json_schema()
    document["title"] = "unshift recipe"
    reference = document["$defs"].pop("MemberRef")
    families = {"dataset": "datasets", "network": "networks", "objective": "objectives"}
    lists = {"preprocessing": "normalizations", "normalizations": "normalizations", "plugins": "plugins"}
    for owner in (document, document["$defs"]["Pipeline"]):
        for key, family in (families | lists).items():
            if key in owner["properties"]:
                entry = _named(reference, discover.names(family))
                owner["properties"][key] = {"type": "array", "items": entry} if key in lists else entry
    return document


def _named(reference: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """A member: its name alone, or a mapping with its name and settings."""
    full = {**reference, "properties": {"name": {"enum": list(names)}}, "additionalProperties": True}
    return {"anyOf": [{"enum": list(names)}, full]}
