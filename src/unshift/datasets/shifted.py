"""Another dataset as other vendors would show it: its own domains and simulated ones, patient by patient.

``HC18+B@0.5`` is the domain HC18, moved half of the way to the simulator's preset B; ``HC18+gain@0.7`` moves one knob
(:mod:`unshift.phantom.vendor`). ``HC18+old_endoscope@3`` spoils the finished picture, whatever the simulator, at one of
five levels (:mod:`unshift.phantom.quality`). Label maps, patients and file names stay, so an experiment must set
``protocol.same_patients: true``: train on HC18, test HC18 and its shifts on patients that were not trained on.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from unshift import config, discover
from unshift.config import MemberRef
from unshift.contracts import Card, Dataset
from unshift.datasets.opening import open_dataset
from unshift.datasets.paired import CardConfig
from unshift.errors import ConfigError, DataError, UnknownName
from unshift.phantom import degradations, quality, vendor
from unshift.phantom.knobs import Knobs
from unshift.phantom.quality import QualityShift
from unshift.randomness import derive
from unshift.sample import Case, Sample, Task

_CACHE_BYTES = 256 * 2**20
_Meaning = tuple[str, Knobs, tuple[QualityShift, ...]]


class Config(config.Config):
    """Which dataset, and how it is shifted."""

    of: MemberRef | None = Field(None, description="the dataset; default: recognized by the layout of its folder")
    simulator: Literal["ultrasound", "photo"] = "ultrasound"
    domains: tuple[str, ...] | None = Field(
        None, min_length=1, description="its own, or shifts of them; default: each, then each with every preset at 1"
    )
    seed: int = Field(0, description="of speckle, noise and shadows; they are the same at every strength")


class Shifted(Dataset):
    """Pictures are simulated when they are read; the same settings give the same pictures in any order."""

    Config = Config
    card = Card(
        title="Simulated vendors of another dataset",
        source="The original dataset's images, changed by unshift's vendor simulator.",
        licence="That of the original dataset.",
        patients="Those of the original: every domain shows the same patients. Set protocol.same_patients.",
        layout="That of the original dataset.",
        defects="A simulator knows gain, contrast, resolution, speckle, shadows, light and colour; real vendors "
        "also differ in geometry and in who is imaged.",
    )

    def __init__(self, config: Config, root: Path | None = None) -> None:
        super().__init__(config, root)
        self.original = _original(_narrowed(self.config.of, self.config.domains), root)
        self.card = _card(self.original.card)  # type: ignore[misc]
        self._machine = vendor.simulator(self.config.simulator)
        names = self.config.domains or self._all()
        if len(set(names)) != len(names):
            raise ConfigError(f"Dataset 'shifted': domains are {names}; each may stand once. Remove the doubles.")
        self._shifts = {name: self._parse(name) for name in names}
        self._cases: dict[str, dict[str, Case]] = {}
        self._drawn: dict[str, Tensor] = {}
        self._held = 0

    @classmethod
    def files(cls, config: Any) -> tuple[Path, ...]:
        """The source of the simulator and of the quality shifts, and what decides the original dataset."""
        sources = tuple(Path(inspect.getfile(module)) for module in (vendor, quality, degradations))
        if config.of is None:
            return sources
        member = discover.load("datasets", config.of.name)
        return (*sources, Path(inspect.getfile(member)), *member.files(_settings(member, config.of)))

    @property
    def task(self) -> Task:
        """The original's."""
        return self.original.task

    @property
    def domains(self) -> tuple[str, ...]:
        """As they are named in the settings."""
        return tuple(self._shifts)

    def knobs(self, domain: str) -> Knobs:
        """What a domain's name means. Raises :class:`UnknownName` for one that is not among :attr:`domains`."""
        return self._of(domain)[1]

    def quality(self, domain: str) -> tuple[QualityShift, ...]:
        """The quality shifts behind a domain's name. Raises :class:`UnknownName` as :meth:`knobs` does."""
        return self._of(domain)[2]

    def cases(self, domain: str) -> list[Case]:
        """The original domain's cases under the full name of ``domain``."""
        return [replace(case, domain=domain) for case in self._originals(self._of(domain)[0]).values()]

    def read_image(self, case: Case) -> Sample:
        """The original's image as the domain's machine would show it; label map None, field of view as it was."""
        sample = self.original.read_image(self._original(case))
        return sample.replace(image=self._simulated(case, sample), domain=case.domain)

    def read_label_map(self, case: Case) -> Int[Tensor, "*space"]:
        """The original's: no knob moves it."""
        return self.original.read_label_map(self._original(case))

    def fingerprint(self, case: Case) -> str:
        """SHA-256 of the original's fingerprint, the domain's name and what it means, the seed and the versions."""
        config = self.config
        parts = [self.original.fingerprint(self._original(case)), case.key, config.simulator, self.knobs(case.domain)]
        parts += [config.seed, vendor.VERSION]
        if shifts := self.quality(case.domain):
            parts += [quality.VERSION, [shift.steps for shift in shifts]]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _simulated(self, case: Case, sample: Sample) -> Tensor:
        """The picture, from memory when it was drawn before."""
        _, knobs, shifts = self._of(case.domain)
        if knobs == self._machine.neutral and not shifts:
            return sample.image
        if case.key not in self._drawn:
            try:
                image = self._draw(case, sample)
            except DataError as error:
                raise DataError(f"Case {case.key!r}: {error}") from None
            # The simulator's pictures have 8 bits, and are kept as such; quality shifts keep more.
            kept = image if shifts else (255 * image).round().to(torch.uint8)
            if self._held + kept.nbytes > _CACHE_BYTES:
                return image
            self._held += kept.nbytes
            self._drawn[case.key] = kept
        kept = self._drawn[case.key]
        return kept.clone() if shifts else kept / 255

    def _draw(self, case: Case, sample: Sample) -> Tensor:
        original, knobs, shifts = self._of(case.domain)
        seed, field_of_view = derive(self.config.seed, "shifted", original, case.name), sample.field_of_view
        image, kind = sample.image, self.config.simulator
        if knobs != self._machine.neutral:
            image = vendor.simulate(image, kind, knobs, seed=seed, field_of_view=field_of_view)
        return quality.degrade(image, shifts, seed=seed, field_of_view=field_of_view) if shifts else image

    def _all(self) -> tuple[str, ...]:
        own = self.original.domains
        return (*own, *(f"{domain}+{preset}@1" for preset in self._machine.presets for domain in own))

    def _parse(self, name: str) -> _Meaning:
        """The original domain, knobs and quality shifts that a name means; domains that hold a ``+`` themselves win."""
        domains = [d for d in self.original.domains if name == d or name.startswith(f"{d}+")]
        if not domains:
            raise UnknownName("domain", name.partition("+")[0], self.original.domains, where=f"domain {name!r}")
        domain = max(domains, key=len)
        own = (*self._machine.presets, *type(self._machine.neutral).model_fields)
        shifts, spoiled = quality.split(name.removeprefix(domain), own, where=name)
        return domain, self._machine.knobs(shifts, of=domain), spoiled

    def _of(self, domain: str) -> _Meaning:
        if domain not in self._shifts:
            raise UnknownName("domain", domain, self._shifts, where="Dataset 'shifted'")
        return self._shifts[domain]

    def _originals(self, domain: str) -> dict[str, Case]:
        if domain not in self._cases:
            self._cases[domain] = {case.name: case for case in self.original.cases(domain)}
        return self._cases[domain]

    def _original(self, case: Case) -> Case:
        domain = self._of(case.domain)[0]
        cases = self._originals(domain)
        if case.name not in cases:
            raise DataError(f"Case {case.key!r}: {domain!r} has no such case. Take it from cases(domain).")
        return cases[case.name]


def _narrowed(reference: MemberRef | None, names: tuple[str, ...] | None) -> MemberRef | None:
    """The reference with the published domains that ``names`` are shifts of: the others need not be in the folder."""
    if reference is None or names is None or "domains" in reference.settings:
        return reference
    member: type[Dataset] = discover.load("datasets", reference.name, where="dataset shifted: of")
    own = dict.fromkeys(name.partition("+")[0] for name in names)
    published = getattr(member, "published", ())
    if not issubclass(member.Config, CardConfig) or not own.keys() <= set(published):
        return reference
    return MemberRef(name=reference.name, **reference.settings, domains=list(own))


def _original(reference: MemberRef | None, root: Path | None) -> Dataset:
    if reference is None and root is None:
        raise DataError(
            "Simulated vendors: no folder was given; the original's root (--data), or `of: phantom`, is required.\n"
            "Expected layout: that of the original dataset, for example <root>/<domain>/images."
        )
    if reference is None:
        assert root is not None
        return open_dataset(root)
    if reference.name == "shifted":
        raise ConfigError("Dataset 'shifted': of is 'shifted'; an original is required. Join the shifts with +.")
    return open_dataset(reference.name, root, reference.settings)


def _settings(member: type[Dataset], reference: MemberRef) -> Any:
    return config.parse(member.Config, reference.settings, where=f"dataset {reference.name}")


def _card(card: Card) -> Card:
    own = Shifted.card
    return replace(
        card,
        title=f"{card.title}, with simulated vendors",
        source=f"{card.source} Changed by unshift's vendor simulator.",
        patients=f"{card.patients} {own.patients}",
        defects=f"{card.defects} {own.defects}",
    )


MEMBER = Shifted
