"""What `unshift robustify` will do, decided before the first image is predicted: candidates, shifts, images."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from unshift.config import Config
from unshift.errors import ConfigError, DataError
from unshift.evaluate.choice import IN_DOMAIN, NONE
from unshift.experiment.candidates import GATED, Candidate, Grid
from unshift.experiment.events import Job
from unshift.experiment.first_look import LOOKED_AT, doubts
from unshift.experiment.plugging import STYLE_IMAGES
from unshift.experiment.shifting import Kind, Shift, describe, pick_kind, shifted, simulated_shifts
from unshift.experiment.source import Source, require_whole_files
from unshift.export.bundle import Bundle
from unshift.plugins.bottleneck import LEAST_IMAGES
from unshift.sample import Case, Sample
from unshift.train.devices import Devices


class RobustifyConfig(Config):
    """What is tried, how it is compared, and what may be lost."""

    plugins: tuple[str, ...] = Field(("adain", "din"), description="families of units")
    levels: tuple[str, ...] = Field(("single", "multi"), min_length=1, description="or taps, joined by +")
    gates: tuple[Literal["none", "distance"], ...] = Field(("none", "distance"), min_length=1)
    objectives: tuple[Literal["statistics", "task", "statistics+task"], ...] = Field(
        ("statistics", "task"), min_length=1, description="of units that are trained"
    )
    normalizations: tuple[str, ...] = ()
    steps: int = Field(200, ge=1, description="of units that are trained, at most")
    content: Path | None = Field(None, description="photographs; default: made-up textures")
    content_count: int = Field(200, ge=1)
    simulator: Kind = "auto"
    strengths: tuple[float, ...] = Field((0.5, 1.0), min_length=1, description="of every preset of the simulator")
    tolerance: float = Field(0.5, ge=0, description="points that the in-domain mean may lose")
    choose: str = Field("", description="take this candidate whatever the rule says")
    seed: int = 0
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass(frozen=True)
class Plan:
    """All that is decided before anything is fitted.

    Args:
        doubts: what is odd about the model on its own images, by subject; see :func:`first_look.doubts`.
    """

    bundle: Bundle
    source: Source
    config: RobustifyConfig
    kind: str
    shifts: tuple[Shift, ...]
    candidates: tuple[Candidate, ...]
    doubts: Mapping[str, str] = field(default_factory=dict)

    @property
    def places(self) -> tuple[str, ...]:
        """In-domain and the shifts."""
        return (IN_DOMAIN, *(shift.name for shift in self.shifts))

    @property
    def jobs(self) -> list[Job]:
        """Fitting by candidate, then predicting."""
        fitting = [Job(f"fit {c.name}", "train", 1, c.name) for c in self.candidates if c.name != NONE]
        return [*fitting, Job("compare", "test", self.predictions, "compare")]

    @property
    def predictions(self) -> int:
        """Held-out images × places × candidates."""
        return len(self.source.held_out) * len(self.places) * len(self.candidates)


def prepare(bundle: Bundle, source: Source, config: RobustifyConfig) -> Plan:
    """Check everything and decide what will be done; nothing is fitted.

    Args:
        bundle: a trained model; a plugin in it is taken out, for another is looked for. Its network is copied.
        source: images of the kind that it was trained on.

    Raises:
        UnshiftError: a name, a number or an image that is wrong; of images and masks, all bad ones are named.
    """
    require_whole_files(source)
    device = Devices(accelerator=config.accelerator).device
    network = copy.deepcopy(bundle.network).to(device).eval()
    bundle = replace(bundle, network=network, plugins=())
    first = [read_case(source, case, labeled=source.is_labeled) for case in source.held_out[:LOOKED_AT]]
    kind = pick_kind(first) if config.simulator == "auto" else config.simulator
    gates = _gates(bundle, source, config)
    grid = Grid(
        config.plugins,
        config.levels,
        gates,
        config.objectives,
        config.normalizations,
        config.steps,
        is_labeled=source.is_labeled,
    )
    found = grid.candidates(bundle)
    if config.choose:
        names = [c.name for c in found]
        if config.choose not in names:
            raise ConfigError(f"`choose`: {config.choose!r} is no candidate. Candidates: {', '.join(names)}.")
    shifts = simulated_shifts(kind, config.strengths)
    shifted(first[0].unlabeled(), shifts[-1], seed=config.seed)  # a simulator that refuses these images does so now
    return Plan(bundle, source, config, kind, tuple(shifts), tuple(found), doubts(bundle, first))


def _gates(bundle: Bundle, source: Source, config: RobustifyConfig) -> tuple[str, ...]:
    """The gates of the settings, less the one by distance where too few images tell what is usual.

    Raises:
        DataError: no gate is left.
    """
    whole = bundle.input.mode == "resize" and len(bundle.input.size) == bundle.task.spatial_dims
    count = min(len(source.fit), STYLE_IMAGES) if whole else STYLE_IMAGES
    gates = tuple(gate for gate in config.gates if gate != GATED or count >= LEAST_IMAGES)
    if not gates:
        raise DataError(
            f"{source.description}: {count} images to fit on; a gate by distance needs {LEAST_IMAGES} or more. "
            "Add source images, or set `gates` to none."
        )
    return gates


def read_case(source: Source, case: Case, *, labeled: bool) -> Sample:
    """A source image; its name begins with its domain where there are several."""
    sample = source.dataset.read(case) if labeled else source.dataset.read_image(case)
    several = len({c.domain for c in (*source.fit, *source.held_out)}) > 1
    return sample.replace(case=f"{case.domain}_{case.name}") if several else sample


def describe_shifts(plan: Plan) -> str:
    """What the shifts are and what they are not."""
    return describe(plan.kind, [read_case(plan.source, case, labeled=False) for case in plan.source.held_out[:4]])


def views(plan: Plan, sample: Sample) -> Iterator[tuple[str, Sample]]:
    """An unlabeled held-out image at every place, in-domain first."""
    sample = sample.unlabeled()
    yield IN_DOMAIN, sample.replace(domain=IN_DOMAIN)
    for shift in plan.shifts:
        yield shift.name, shifted(sample, shift, seed=plan.config.seed)
