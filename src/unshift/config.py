"""Strict models and YAML: an unknown key or a wrong type is an error that offers the nearest name."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from unshift.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


class Config(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, no coercion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class MemberRef(Config):
    """A family member and its settings: ``erm``, or ``{name: augmented, shear: 10}``."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name: goes to the member's own ``Config``."""
        return dict(self.model_extra or {})


def parse(model: type[Model], data: Any, *, where: str) -> Model:
    """``data`` as a ``model``.

    Args:
        data: what YAML or JSON gave: mappings, lists, strings, numbers.
        where: file or setting named in the error.

    Raises:
        ConfigError: every problem on its own line: the key, what was found, what is required, the nearest key.
    """
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        lines = list(dict.fromkeys(_explain(model, problem) for problem in error.errors()))
        raise ConfigError("\n".join([f"{where}: {len(lines)} problem(s).", *lines])) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: {error}; only plain YAML values are allowed. Quote the value.") from None


def to_plain(model: BaseModel) -> Any:
    """``model`` as mappings, lists, strings and numbers."""
    return model.model_dump(mode="json")


class _UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key written twice (PyYAML keeps the last one silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)  # type: ignore[no-untyped-call]
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_UniqueKeyLoader.add_implicit_resolver(  # numbers of YAML 1.2: PyYAML reads 1e-3 as text
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_value(text: str) -> Any:
    """One YAML value, read as in a recipe.

    Raises:
        ConfigError: not YAML.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{text!r}: must be YAML. {' '.join(str(error).split())}") from None


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ConfigError: the file is missing, is not UTF-8 or is not YAML; a key stands twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Give the path of a recipe (.yaml).") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Give the path of a UTF-8 YAML file.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML. {' '.join(str(error).split())}") from None


def to_yaml(model: BaseModel) -> str:
    """``model`` as YAML that :func:`parse` reads back to an equal model."""
    return yaml.safe_dump(to_plain(model), sort_keys=False, allow_unicode=True)


def _explain(model: type[BaseModel], problem: Any) -> str:
    # Pydantic names the branch of a union (``tuple[int, int]``) as if it were a key.
    location = ".".join(str(part) for part in problem["loc"] if "[" not in str(part)) or "top level"
    if problem["type"] == "extra_forbidden":
        known = sorted(_fields_at(model, problem["loc"][:-1]))
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"  {location}: unknown key.{hint} Known: {', '.join(known)}."
    found, message = problem.get("input"), problem["msg"].removeprefix("Value error, ").replace(" after validation", "")
    shown = "" if problem["type"] == "missing" or isinstance(found, dict) else f" Found {found!r}."
    return f"  {location}: {message}.{shown}"


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> set[str]:
    """Names of the keys allowed at ``location``, following nested models, lists, mappings and unions."""
    models: list[Any] = [model]
    for part in location:
        following: list[Any] = []
        for candidate in models:
            if isinstance(part, str) and part in getattr(candidate, "model_fields", {}):
                following += _models_in(candidate.model_fields[part].annotation)
            else:
                following.append(candidate)
        models = following
    return {name for candidate in models for name in candidate.model_fields}


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for argument in getattr(annotation, "__args__", ()) for m in _models_in(argument)]
