"""Candidate repairs of a trained network: units at each level, with and without a gate, and normalizations."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unshift import discover
from unshift.config import MemberRef
from unshift.contracts import Normalization, Plugin
from unshift.errors import UnknownName
from unshift.evaluate.choice import NONE
from unshift.experiment.plugging import fit_plugin
from unshift.experiment.training import apply, fit_normalizations
from unshift.export.bundle import Bundle
from unshift.plugins.frozen import chosen
from unshift.recipe import load_config
from unshift.sample import Sample

GATED, STATISTICS = "distance", "statistics"
Level = str | tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """One way to repair: a plugin, a normalization, or nothing."""

    name: str
    plugin: MemberRef | None = None
    normalization: MemberRef | None = None


@dataclass(frozen=True)
class Fitted:
    """A candidate with what it learned.

    Args:
        bundle: the model with the repair in it.
        seconds: that fitting took.
    """

    candidate: Candidate
    bundle: Bundle
    seconds: float

    @property
    def name(self) -> str:
        """Of the candidate."""
        return self.candidate.name

    @property
    def plugin(self) -> Plugin | None:
        """The fitted units, if any."""
        return self.bundle.plugins[0] if self.bundle.plugins else None


@dataclass(frozen=True)
class Grid:
    """What candidates are made of.

    Args:
        levels: ``single``, ``multi``, or names of taps joined by ``+``; those that mean the same taps stand once.
        gates, objectives: settings of plugins that have them; the first is not named in a candidate.
        steps: of plugins that are trained; None for their own default.
        is_labeled: where labels are missing, a task is trained on what the network itself says of unshifted images.
    """

    plugins: Sequence[str]
    levels: Sequence[str]
    gates: Sequence[str]
    objectives: Sequence[str]
    normalizations: Sequence[str]
    steps: int | None
    is_labeled: bool

    def candidates(self, bundle: Bundle) -> list[Candidate]:
        """``none`` first; then plugins × objectives × levels × gates; then normalizations.

        Raises:
            UnknownName: a plugin, tap or normalization that does not exist.
            ConfigError: a setting is wrong.
        """
        found = [Candidate(NONE)]
        for plugin in self.plugins:
            fields = set(discover.load("plugins", plugin, where="--plugins").Config.model_fields)
            choices = itertools.product(
                self.objectives if "objective" in fields else [""],
                _distinct(self.levels, bundle),
                self.gates if "gate" in fields else [""],
            )
            found += [self._units(plugin, fields, *choice) for choice in choices]
        for name in self.normalizations:
            load_config("normalizations", MemberRef(name=name), where="--normalizations")
            found.append(Candidate(name, normalization=MemberRef(name=name)))
        return found

    def _units(self, plugin: str, fields: set[str], objective: str, level: Level, gate: str) -> Candidate:
        settings: dict[str, Any] = {"levels": level if isinstance(level, str) else list(level)}
        settings |= {"gate": gate} if gate else {}
        settings |= {"objective": objective} if objective else {}
        settings |= {"steps": self.steps} if self.steps and "steps" in fields else {}
        if "task" in objective and "supervision" in fields:
            settings["supervision"] = "labels" if self.is_labeled else "network"
        words = [plugin, level if isinstance(level, str) else "+".join(level)]
        words += [objective] if objective not in ("", STATISTICS) else []
        words += ["gated"] if gate == GATED else []
        reference = MemberRef.model_validate({"name": plugin, **settings})
        load_config("plugins", reference, where="plugin")
        return Candidate("-".join(words), plugin=reference)


def _distinct(levels: Sequence[str], bundle: Bundle) -> list[Level]:
    """Levels that mean different taps, in order."""
    kept: dict[tuple[int, ...], Level] = {}
    for word in levels:
        level: Level = word if word in ("single", "multi") else tuple(word.split("+"))
        kept.setdefault(chosen(bundle.network.taps, level), level)
    return list(kept.values())


def fit(
    candidate: Candidate,
    bundle: Bundle,
    *,
    samples: Callable[[], Iterable[Sample]],
    style: Sequence[Sample],
    content: Sequence[Sample],
    siblings: Sequence[Fitted] = (),
    seed: int = 0,
) -> Fitted:
    """The candidate fitted on source images.

    Args:
        bundle: the model without a plugin; its normalizations stay and the candidate's comes after them.
        samples: preprocessed source images, one after another, for normalizations.
        style: the same as the network sees them, for plugins.
        content: other images in the same form.
        siblings: fitted already; units that differ by their gate alone are taken from there and not fitted again.
        seed: decides all randomness.
    """
    began = time.monotonic()
    if candidate.plugin is not None:
        same = _ungated(candidate.plugin, siblings)
        plugin = same or fit_plugin(candidate.plugin, bundle.network, style, content, seed=seed)
        bundle = replace(bundle, plugins=(plugin,))
    elif candidate.normalization is not None:
        before = bundle.normalizations
        added = fit_normalizations(
            [candidate.normalization],
            lambda: (apply(before, s) for s in samples()),
            network=bundle.network,
            size=bundle.input.size,
            applied=(*bundle.preprocessing, *before),
        )
        bundle = replace(bundle, normalizations=(*before, *added))
    return Fitted(candidate, bundle, time.monotonic() - began)


def _ungated(reference: MemberRef, siblings: Sequence[Fitted]) -> Plugin | None:
    """The gated sibling's units without their gate, where one was fitted with otherwise equal settings."""
    settings = reference.settings
    if settings.get("gate") != "none" or settings.get("objective", STATISTICS) != STATISTICS:
        return None
    wanted = settings | {"gate": GATED}
    for sibling in siblings:
        known = sibling.candidate.plugin
        if sibling.plugin is not None and known and known.name == reference.name and known.settings == wanted:
            plugin: Plugin = type(sibling.plugin)(sibling.plugin.config.model_copy(update={"gate": "none"}))
            plugin.load_state_dict(
                {name: value for name, value in sibling.plugin.state_dict().items() if not name.startswith("gate.")}
            )
            plugin.history = sibling.plugin.history
            return plugin
    return None


def origins(normalizations: Sequence[Normalization]) -> dict[str, str]:
    """Where the weights came from that normalizations brought, for a bundle's card."""
    return {f"{type(n).__module__.rpartition('.')[2]} weights": n.origin for n in normalizations if n.origin}


def named(fitted: Sequence[Fitted], name: str) -> Fitted:
    """The candidate of that name. Raises :class:`UnknownName`."""
    for one in fitted:
        if one.name == name:
            return one
    raise UnknownName("candidate", name, [one.name for one in fitted], where="--choose")
