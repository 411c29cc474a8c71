"""The report as one self-contained HTML file, and its tables beside it.

The page carries its style, script and pictures; a content security policy forbids everything else, so that it makes no
request and runs no script that came in with a name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unshift.report.caption import ORACLE, REPLAY, TRANSDUCTIVE, baseline_name
from unshift.report.content import Curve, Distribution, GalleryItem, Report
from unshift.report.curve import curve_panels, histogram_panels
from unshift.report.figure import forests, measure, strips
from unshift.report.frame import render_page
from unshift.report.gallery import shelves
from unshift.report.gap import gap_views
from unshift.report.heat import ramp
from unshift.report.number import LOWER_IS_BETTER, interval, percent, title
from unshift.report.sheet import sheet_views
from unshift.report.table import all_tables
from unshift.report.tablefile import replace_text, write_tables
from unshift.report.verdict import headline_unit, judge

__all__ = ["Curve", "Distribution", "GalleryItem", "Report", "render", "write_report"]


def write_report(folder: Path, report: Report) -> Path:
    """Write ``report.html`` and ``tables/*.csv``, ``.md``, ``.tex`` into ``folder``; returns the page's path.

    Each file is written to a temporary name, then renamed.

    Raises:
        DataError: histograms that do not fit each other.
        ShapeMismatch: a gallery case whose image, reference and prediction do not share a grid.
    """
    page = render(report)
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(folder / "tables", all_tables(report), replayed=report.replayed)
    return replace_text(folder / "report.html", page)


def render(report: Report) -> str:
    """The page. Every text is escaped; names in back quotes in the verdict become code."""
    return render_page("page.html.jinja", _context(report))


def _context(report: Report) -> dict[str, Any]:
    axis, found = forests(report)
    strip_axis, panels = strips(report)
    headline, differences, *others = all_tables(report)
    unit = headline_unit(report)
    return {
        "report": report,
        "verdict": judge(report),
        "unit": unit,
        "loss_sign": 1 if report.metric in LOWER_IS_BETTER else -1,
        "measure": measure(report),
        "metric": title(report.metric),
        "interval": interval,
        "confidence": percent(report.confidence),
        "conventions": _conventions(report),
        "headline": headline,
        "differences": differences,
        "others": others,
        "forest_axis": axis,
        "forests": found,
        "strip_axis": strip_axis,
        "strip_panels": panels,
        "shelves": shelves(report.gallery, metric=report.metric, unit=unit),
        "gaps": gap_views(report.gaps, names=list(report.pipelines)),
        "sheets": sheet_views(report.sheets),
        "ramp": ramp(),
        "histograms": histogram_panels(report.distributions),
        "curves": curve_panels(report.curves, names=list(report.pipelines)),
        "patients": report.scores["patient"].nunique(),
        "cases": len(report.scores[["domain", "case"]].drop_duplicates()),
        "oracle": ORACLE,
        "transductive": TRANSDUCTIVE.removeprefix("TRANSDUCTIVE: "),
        "replay": REPLAY.removeprefix("REPLAY "),
        "base": baseline_name(report),
    }


def _conventions(report: Report) -> list[str]:
    """How the frames say that they were made, and what the run adds."""
    captions = [frame.attrs.get("caption") for frame in (report.summary, report.comparisons)]
    return [*[caption for caption in captions if caption], *report.statistics]
