"""What a report shows, as data: frames, texts and small arrays. Nothing here is computed or drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from unshift.contracts import Card
from unshift.errors import DataError, UnknownName

SCORE_COLUMNS = frozenset(
    {"pipeline", "dataset", "domain", "patient", "case", "region", "metric", "value", "unit", "seen", "fold", "seed"}
)
SUMMARY_COLUMNS = frozenset(
    {"pipeline", "domain", "region", "metric", "mean", "low", "high", "n_scored", "n_undefined", "n_missing"}
    | {"unit", "seen"}
)
COMPARISON_COLUMNS = frozenset(
    {"pipeline", "baseline", "domain", "region", "metric", "difference", "low", "high", "p", "p_holm", "n", "wins"}
)


@dataclass(frozen=True)
class ShownReference:
    """A picture whose colors a test image was given.

    Args:
        likeness: cosine of the two, for references that are chosen by it.
        image: float [channel, height, width] or [channel, depth, height, width]; None where it is not at hand.
    """

    kind: str
    name: str
    likeness: float | None = None
    warning: str = ""
    image: np.ndarray | None = None


@dataclass(frozen=True)
class GalleryItem:
    """One case of the gallery.

    Args:
        rank: where the case stands among its domain's cases under the baseline; every pipeline is shown on the same
            cases.
        score: of the headline metric, 0 … 1; NaN where it is undefined.
        image: float [channel, height, width] or [channel, depth, height, width]; of a volume the slice is shown in
            which the reference (or, if that is empty, the prediction) is largest.
        reference, prediction: int [height, width] or [depth, height, width].
        spacing: mm in array axis order, or None when unknown; gives pixels their true shape.
        references: pictures whose colors the image was given, one a view.
    """

    pipeline: str
    domain: str
    case: str
    rank: Literal["worst", "median", "best"]
    score: float
    image: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, ...] | None = None
    references: Sequence[ShownReference] = ()


@dataclass(frozen=True)
class Distribution:
    """The histogram of one channel over one domain's images.

    Args:
        is_target: whether the domain was unseen in training.
        channel: name of the channel (``red``, ``intensity``).
        edges: float [bin + 1], increasing; the same for all domains of a channel.
        density: float [bin], not negative, integrates to 1.
    """

    domain: str
    is_target: bool
    channel: str
    edges: np.ndarray
    density: np.ndarray


@dataclass(frozen=True)
class Curve:
    """One quantity of one training over its steps (``total loss``, ``source validation dice``)."""

    name: str
    quantity: str
    steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True)
class Sheet:
    """What a training showed of itself at its end: source images, what they were made into, target images.

    Args:
        title: the direction, sources to targets.
        columns: what stands in them, from the left.
        pixels: uint8 [height, width, 3], columns of one width.
    """

    pipeline: str
    title: str
    columns: tuple[str, ...]
    pixels: np.ndarray


@dataclass(frozen=True)
class GapPicture:
    """Where a feature tells the domains apart, over a tested image.

    Args:
        item: the case as the gallery has it.
        gap: float in [0, 1] on the grid of ``item.reference``.
        means: region -> mean gap inside it on this case.
    """

    item: GalleryItem
    gap: np.ndarray
    means: Mapping[str, float]


@dataclass(frozen=True)
class GapGroup:
    """The gap in one direction, sources to targets.

    Args:
        curves: one a pipeline and region; ``quantity`` is the region.
    """

    title: str
    curves: Sequence[Curve]
    pictures: Sequence[GapPicture]


@dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Args:
        sources: domains that were trained on; empty when each domain is left out in turn.
        protocol: in plain words: what was trained on, what was tested, how patients were split.
        selection: one sentence that names the rule by which weights were selected.
        is_oracle: the rule looked at labels of the target; every table is then marked.
        recipe: YAML.
        data_hashes: domain -> number of cases and digest.
        scores: the rows of ``scores.parquet``.
        summary, comparisons: from ``evaluate``; shares are in 0 … 1 and are shown as points 0 … 100.
        pooled, pooled_comparisons: the same over all unseen domains, each counting once, as ``all_unseen`` of
            ``evaluate.statistics`` makes them: their means, and differences without a test; None or without a row
            where that was not computed.
        baseline: the pipeline that the others are compared with.
        metric: of the verdict, the headline table, the plots and the gallery.
        region: of the verdict and the plots; None: the summary's first.
        confidence: of all intervals.
        worst: pipeline, seen, row (``worst domain``, ``worst decile``), where, value, n; None when not computed.
        resolution: the grid that was scored on.
        postprocessing: what was done to predictions before scoring.
        recovery: share of the gap to training on the target that each pipeline recovers: the columns of
            ``evaluate.recovery.gap_recovery``; None when no such training was made.
        false_alarms: pipeline, domain, seen, region, n_empty, n_false_alarm, rate; None when not computed.
        references: pipeline, domain, case, kind, reference, likeness, warning: one row a test image and view that was
            given another picture's colors; None when none was.
        is_transductive: pipelines of adaptation saw the tested images, without labels; every table is then marked.
        replayed: what was done as a published protocol does and the honest one does not, a sentence each; every table
            is then marked.
        sheets: what trainings showed of themselves; empty where none did.
        gaps: what is known of the gap between domains in a feature; empty where no pipeline looks at it.
        statistics: further conventions, a sentence each (tolerance of the NSD, policy for empty masks).
        pipelines: name -> what it is, in the order of the tables.
        citations: works to cite, beside unshift and the dataset's owners.
    """

    title: str
    card: Card
    sources: tuple[str, ...]
    protocol: str
    selection: str
    is_oracle: bool
    recipe: str
    environment: Mapping[str, str]
    code_version: str
    seeds: tuple[int, ...]
    data_hashes: Mapping[str, str]
    command: str
    scores: pd.DataFrame
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    baseline: str
    pipelines: Mapping[str, str]
    metric: str = "dice"
    region: str | None = None
    gallery: Sequence[GalleryItem] = ()
    distributions: Sequence[Distribution] = ()
    curves: Sequence[Curve] = ()
    citations: Sequence[str] = ()
    confidence: float = 0.95
    worst: pd.DataFrame | None = None
    recovery: pd.DataFrame | None = None
    false_alarms: pd.DataFrame | None = None
    references: pd.DataFrame | None = None
    resolution: str = "the original grid of each image"
    postprocessing: str = "none"
    statistics: tuple[str, ...] = field(default=())
    is_transductive: bool = False
    replayed: tuple[str, ...] = field(default=())
    gaps: Sequence[GapGroup] = ()
    sheets: Sequence[Sheet] = ()
    pooled: pd.DataFrame | None = None
    pooled_comparisons: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        frames = (("scores", SCORE_COLUMNS), ("summary", SUMMARY_COLUMNS), ("comparisons", COMPARISON_COLUMNS))
        for name, needed in frames:
            missing = sorted(needed - set(getattr(self, name).columns))
            if missing:
                raise DataError(f"Report: {name} lack {', '.join(missing)}; all of {', '.join(sorted(needed))} needed.")
        if self.baseline not in self.pipelines:
            raise UnknownName("pipeline", self.baseline, self.pipelines, where="Report: baseline")
        for name in self.summary["pipeline"].unique():
            if name not in self.pipelines:
                raise UnknownName("pipeline", name, self.pipelines, where="Report: summary")
        if self.metric not in set(self.summary["metric"]):
            raise UnknownName("metric", self.metric, self.summary["metric"].unique(), where="Report: summary")
        if self.region is not None and self.region not in set(self.summary["region"]):
            raise UnknownName("region", self.region, self.summary["region"].unique(), where="Report: region")

    @property
    def headline_region(self) -> str:
        """The region of the verdict and the plots."""
        return self.region if self.region is not None else self.regions[0]

    @property
    def regions(self) -> list[str]:
        """Regions that the headline metric was measured in, in the order of the scores."""
        return [str(r) for r in self.summary.loc[self.summary["metric"] == self.metric, "region"].unique()]

    def columns(self) -> list[tuple[str, bool]]:
        """(domain, seen) in the order of the tables: in-domain first, sources in their order."""
        order = {name: place for place, name in enumerate(self.sources)}
        pairs = self.summary[["domain", "seen"]].drop_duplicates().itertuples(index=False)
        found = [(str(domain), bool(seen)) for domain, seen in pairs]
        return sorted(found, key=lambda pair: (not pair[1], order.get(pair[0], len(order))))

    def together(self, metric: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """``pooled`` and ``pooled_comparisons`` of one metric; without a row where they were not computed."""
        frames = (self.pooled, self.pooled_comparisons)
        empty = pd.DataFrame(columns=["pipeline", "region", "metric", "unit"])
        first, second = (empty if f is None else f[f["metric"] == metric] for f in frames)
        return first, second

    def unseen(self) -> list[str]:
        """Domains that were scored without having been trained on."""
        return [domain for domain, seen in self.columns() if not seen]
