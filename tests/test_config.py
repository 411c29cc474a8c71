"""Strict models and YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from unshift import config
from unshift.config import Config, MemberRef
from unshift.errors import ConfigError


class Inner(Config):
    steps: int = 3
    rate: float = 0.1


class Outer(Config):
    inner: Inner = Inner()
    several: dict[str, Inner] = {}
    names: tuple[str, ...] = ()
    member: MemberRef = MemberRef(name="erm")


def test_yaml_round_trip(tmp_path: Path) -> None:
    model = Outer(
        several={"a": Inner(steps=5)}, names=("x", "ü"), member=MemberRef.model_validate({"name": "m", "k": 2})
    )
    path = tmp_path / "r.yaml"
    path.write_text(config.to_yaml(model), encoding="utf-8")
    assert config.parse(Outer, config.read_yaml(path), where="r") == model


def test_member_by_name_or_with_settings() -> None:
    assert config.parse(Outer, {"member": "erm"}, where="r").member.settings == {}
    assert config.parse(Outer, {"member": {"name": "augmented", "shear": 10}}, where="r").member.settings == {
        "shear": 10
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"iner": {}}, "iner: unknown key. Did you mean 'inner'"),
        ({"inner": {"step": 3}}, "inner.step: unknown key. Did you mean 'steps'"),
        ({"several": {"a": {"rat": 1.0}}}, "several.a.rat: unknown key. Did you mean 'rate'"),
        ({"inner": {"steps": "3"}}, "inner.steps: Input should be a valid integer. Found '3'"),
        ({"inner": {"steps": 2.5}}, "inner.steps"),
        ({"names": "x"}, "names: Input should be a valid array"),
        ({"member": {"shear": 1}}, "member.name: Field required"),
        ({"names": {1, 2}}, "only plain YAML values"),
    ],
)
def test_what_is_wrong_is_named(data: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match="here") as caught:
        config.parse(Outer, data, where="here")
    assert message in str(caught.value)


def test_all_problems_at_once() -> None:
    with pytest.raises(ConfigError, match="2 problem") as caught:
        config.parse(Outer, {"inner": {"steps": "x"}, "nmes": []}, where="here")
    assert "inner.steps" in str(caught.value) and "nmes" in str(caught.value)


def test_whole_numbers_are_fractions_but_not_the_reverse() -> None:
    assert config.parse(Inner, {"rate": 1}, where="r").rate == 1.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "not valid YAML"),
        (b"\xff\xfe\x00", "cannot be read|not valid"),
        (b"a: 1\na: 2", "key 'a' stands twice"),
    ],
)
def test_files_that_are_not_yaml(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        config.read_yaml(path)


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("2E4", 2e4), ("1.5e-3", 1.5e-3), ("abc", "abc"), ("7", 7)]
)
def test_numbers_as_people_write_them(text: str, value: object) -> None:
    assert config.read_value(text) == value
    assert type(config.read_value(text)) is type(value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        config.read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        config.read_yaml(tmp_path)
