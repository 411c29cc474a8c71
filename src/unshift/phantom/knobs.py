"""Knobs of an acquisition, the straight way from one setting to another, and the grammar of named shifts.

A domain of the phantom is written ``<preset>[+<knob or preset>@<strength>]...``, strength in [0, 1]::

    A                    the preset
    A+gain@0.5           A, its gain moved half of the way to the knob's documented extreme
    A+B@0.25             A, every knob moved a quarter of the way to B
    A+blur@1+shadow@0.5  from left to right

Strength 0 leaves the setting exactly as it was. Behind these a name may hold quality shifts, which take a level from 1
to 5 (``A+B@0.25+old_endoscope@3``): :mod:`unshift.phantom.quality`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from unshift.config import Config
from unshift.errors import ConfigError, UnknownName

K = TypeVar("K", bound="Knobs")


class Knobs(Config):
    """Settings of one acquisition, all real numbers or tuples of them; the defaults are neutral."""


def knob(
    neutral: Any, extreme: Any, meaning: str, *, at_least: float | None = None, at_most: float | None = None
) -> Any:
    """A field of :class:`Knobs`.

    Args:
        neutral: value at which the knob does nothing.
        extreme: value that strength 1 of the named shift means.
        meaning: what it does, with its unit; goes into the documentation and the schema.
        at_least: least value allowed.
        at_most: greatest value allowed.
    """
    return Field(default=neutral, description=meaning, ge=at_least, le=at_most, json_schema_extra={"extreme": extreme})


def extreme(kind: type[Knobs], name: str) -> Any:
    """The value that strength 1 of the shift ``name`` means."""
    extra = kind.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return extra["extreme"]


def interpolate(first: K, second: K, strength: float) -> K:
    """Every knob moved from ``first`` to ``second`` by ``strength``; 0 and 1 give the two exactly.

    Raises:
        ConfigError: strength outside [0, 1].
    """
    check_strength(strength, where="interpolate")
    if strength in (0, 1):
        return second if strength else first
    return _with(
        first, {n: _between(getattr(first, n), getattr(second, n), strength) for n in type(first).model_fields}
    )


def shift(knobs: K, name: str, strength: float) -> K:
    """One knob moved from its value to its documented extreme by ``strength``.

    Raises:
        UnknownName: no such knob.
        ConfigError: strength outside [0, 1].
    """
    known = tuple(type(knobs).model_fields)
    if name not in known:
        raise UnknownName("knob", name, known)
    check_strength(strength, where=f"shift {name!r}")
    return _with(knobs, {name: _between(getattr(knobs, name), extreme(type(knobs), name), strength)})


def override(knobs: K, values: Mapping[str, Any], *, where: str) -> K:
    """A copy with some knobs set.

    Raises:
        UnknownName: no such knob.
        ConfigError: a value of the wrong type or out of range.
    """
    for name in values:
        if name not in type(knobs).model_fields:
            raise UnknownName("knob", name, type(knobs).model_fields, where=where)
    try:
        return _with(knobs, {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{where}: {name} is {values[str(first['loc'][0])]!r}. {first['msg']}.") from None


def parse_domain(text: str, presets: Mapping[str, K]) -> K:
    """The knobs that a domain's name means.

    Raises:
        UnknownName: no such preset, or no such knob.
        ConfigError: a shift without strength, or a strength that is no number in [0, 1].
    """
    base, *shifts = text.split("+")
    if base not in presets:
        raise UnknownName("domain", base, presets, where=f"domain {text!r}" if shifts else "")
    knobs = presets[base]
    for part in shifts:
        name, mark, amount = part.partition("@")
        strength = _strength(amount if mark else None, part=part, text=text)
        if name in presets:
            knobs = interpolate(knobs, presets[name], strength)
        elif name in type(knobs).model_fields:
            knobs = shift(knobs, name, strength)
        else:
            raise UnknownName("knob or preset", name, (*type(knobs).model_fields, *presets), where=f"domain {text!r}")
    return knobs


def check_strength(strength: float, *, where: str) -> None:
    """Raises :class:`ConfigError` unless ``strength`` is in [0, 1]."""
    if not 0 <= strength <= 1:
        raise ConfigError(f"{where}: strength is {strength}; a number from 0 to 1 is required.")


def _strength(amount: str | None, *, part: str, text: str) -> float:
    try:
        if amount is None:
            raise ValueError
        strength = float(amount)
    except ValueError:
        raise ConfigError(
            f"Domain {text!r}: the shift {part!r} has no readable strength; every shift is written "
            "<knob>@<number from 0 to 1>. Write for example 'A+gain@0.5'."
        ) from None
    if not 0 <= strength <= 1:
        raise ConfigError(
            f"Domain {text!r}: the shift {part!r}: strength is {strength}; a number from 0 to 1 is required for a knob "
            "or a preset. Levels 1 to 5 belong to quality shifts, whose names `unshift list shifts` gives."
        )
    return strength


def _between(first: Any, second: Any, strength: float) -> Any:
    if isinstance(first, tuple):
        return tuple(_between(a, b, strength) for a, b in zip(first, second, strict=True))
    return first if strength == 0 else second if strength == 1 else first + (second - first) * strength


def _with(knobs: K, values: Mapping[str, Any]) -> K:
    return type(knobs).model_validate({**{n: getattr(knobs, n) for n in type(knobs).model_fields}, **values})
