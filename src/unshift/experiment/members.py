"""Every member that a recipe uses, with its settings written out: those that were given, and the defaults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from unshift.config import MemberRef, to_plain
from unshift.recipe import Recipe, load_config


@dataclass(frozen=True)
class Used:
    """A member as the pipelines named will use it."""

    family: str
    name: str
    settings: dict[str, Any]
    pipelines: tuple[str, ...]


def used_members(recipe: Recipe) -> list[Used]:
    """In the order in which the recipe first uses them; pipelines that use a member alike stand in one entry."""
    found: list[Used] = []
    for pipeline, family, reference in _references(recipe):
        settings = to_plain(load_config(family, reference, where=f"pipelines.{pipeline}"))
        same = (u for u in found if (u.family, u.name, u.settings) == (family, reference.name, settings))
        one = next(same, None)
        if one is None:
            found.append(Used(family, reference.name, settings, (pipeline,)))
        elif pipeline not in one.pipelines:
            found[found.index(one)] = replace(one, pipelines=(*one.pipelines, pipeline))
    return found


def own_settings(family: str, reference: MemberRef, *, where: str) -> dict[str, Any]:
    """The settings in which a member differs from its defaults, also inside settings that are mappings."""
    found: dict[str, Any] = load_config(family, reference, where=where).model_dump(mode="json", exclude_defaults=True)
    return found


def cited_as(used: Used) -> list[tuple[str, str]]:
    """(family, name) of what stands behind a member: itself, its way to move colors, augmentations that it names."""
    found = [(used.family, used.name)]
    if used.name in ("color_transfer", "dcin"):
        found.append(("color methods", used.settings["method"]))
    for name in ("augmentations", "geometric", "photometric", "mixing"):
        references = used.settings.get(name) or ()
        found += [("augmentations", one if isinstance(one, str) else one["name"]) for one in references]
    return found


def _references(recipe: Recipe) -> list[tuple[str, str, MemberRef]]:
    """(pipeline, family, reference)."""
    found = []
    for name, pipeline in recipe.pipelines.items():
        found += [(name, "datasets", recipe.dataset)]
        found += [(name, "normalizations", reference) for reference in recipe.preprocessing]
        found += [(name, "networks", recipe.network_of(name)), (name, "objectives", pipeline.objective)]
        found += [(name, "plugins", reference) for reference in pipeline.plugins]
        found += [(name, "normalizations", reference) for reference in pipeline.normalizations]
    return found
