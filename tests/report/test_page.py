from __future__ import annotations

import html.parser
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unshift.contracts import Card
from unshift.evaluate.comparison import compare
from unshift.evaluate.statistics import all_unseen, summarize, worst_rows
from unshift.report.content import Distribution, GalleryItem
from unshift.report.page import render, write_report

VOID = {"meta", "link", "img", "input", "wbr"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}&amp;"


class Outline(html.parser.HTMLParser):
    """Collects start tags, and fails where an end tag does not close what was opened last."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def all(self, *names: str) -> list[tuple[str, dict[str, str | None]]]:
        return [(tag, attributes) for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def page(full_report: Any) -> str:
    return render(full_report)


def test_one_self_contained_file_beside_its_tables(tmp_path: Path, full_report: Any) -> None:
    path = write_report(tmp_path / "run", full_report)
    assert path == tmp_path / "run" / "report.html"
    assert sorted(p.name for p in path.parent.iterdir()) == ["report.html", "tables"]
    assert {p.suffix for p in (path.parent / "tables").iterdir()} == {".csv", ".md", ".tex"}
    assert path.stat().st_size < 8e6
    before = path.read_bytes()
    assert write_report(tmp_path / "run", full_report).read_bytes() == before


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    for tag, attributes in Outline(page).tags:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert "@import" not in page
    assert not re.search(r"url\(", page)


def test_structure_is_semantic(page: str) -> None:
    outline = Outline(page)
    assert (
        len(outline.all("h1")) == len(outline.all("main")) == len(outline.all("nav")) == len(outline.all("footer")) == 1
    )
    levels = [int(tag[1]) for tag, _ in outline.all("h1", "h2", "h3", "h4", "h5")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert len(outline.all("caption")) == len(outline.all("table")) == 4
    assert all(attributes.get("scope") in ("col", "colgroup", "row", "rowgroup") for _, attributes in outline.all("th"))
    identifiers = [attributes["id"] for _, attributes in outline.tags if attributes.get("id")]
    assert len(set(identifiers)) == len(identifiers)
    links = [str(attributes["href"])[1:] for _, attributes in outline.all("a")]
    assert set(links) <= set(identifiers)


def test_every_picture_and_plot_has_a_text(page: str) -> None:
    outline = Outline(page)
    pictures = outline.all("img")
    assert len(pictures) == 3 * 3 * 3
    assert all(re.search(r"Dice [\d.]+\. Reference covers", str(attributes["alt"])) for _, attributes in pictures)
    for _, attributes in outline.all("svg"):
        assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label") or not attributes.get("role")


def test_everything_is_there(page: str, full_report: Any) -> None:
    for text in (
        "Trained on vendor A, the baseline loses",
        full_report.protocol,
        full_report.selection,
        "dataset: phantom",
        "2.13.0",
        "60303ae22b998861",
        "unshift demo",
        "Not a medical device",
        "The unshift developers. Phantom.",
        "What equalized does.",
    ):
        assert text in page, text
    assert "ORACLE" not in page


def test_the_oracle_marks_verdict_tables_and_plots(make_report: Any) -> None:
    page = render(make_report(is_oracle=True))
    assert page.count('<strong class="badge">ORACLE</strong>') == page.count("<table>") == 4
    assert page.count('<span class="watermark"') == 4 + 2 + 3  # tables, forest plots, strip plots
    assert '<p class="alarm"><strong>ORACLE</strong> Weights were selected' in page


def test_hostile_names_stay_text(make_report: Any, make_scores: Any) -> None:
    effects = {(name, domain): 0.6 for name in ("baseline", HOSTILE) for domain in ("vendor A", f"vendor {HOSTILE}")}
    scores = make_scores(effects, cases=6)
    scores["case"] = HOSTILE + scores["case"]
    grid = np.ones((8, 8), np.int64)
    item = GalleryItem("baseline", f"vendor {HOSTILE}", HOSTILE, "worst", 0.5, np.ones((1, 8, 8)), grid, grid)
    card = Card(*[HOSTILE] * 7)
    texts = dict.fromkeys(("title", "protocol", "selection", "recipe", "code_version", "command"), HOSTILE)
    more = {"environment": {HOSTILE: HOSTILE}, "data_hashes": {HOSTILE: HOSTILE}, "citations": (HOSTILE,)}
    page = render(make_report(scores=scores, card=card, gallery=[item], statistics=(HOSTILE,), **texts, **more))
    outline = Outline(page)
    assert len(outline.all("script")) == 1
    assert {attributes["src"][:5] for _, attributes in outline.all("img") if attributes["src"]} == {"data:"}
    assert not any(name.startswith("on") for _, attributes in outline.tags for name in attributes)
    assert "&amp;amp;" in page
    assert "{{ 7 * 7 }}" in page
    assert "<script>alert" not in page


def test_long_names_may_break_where_a_reader_would(make_report: Any) -> None:
    page = render(make_report({("baseline", "vendor A"): 0.9, ("a_b<i>/c", "vendor A"): 0.8}))
    assert '<th scope="row">a_<wbr>b&lt;i&gt;/<wbr>c</th>' in page


def test_back_quotes_in_a_name_break_nothing(make_report: Any) -> None:
    page = render(make_report({("baseline", "vendor A"): 0.9, ("baseline", "vendor `B"): 0.5}))
    assert "on vendor `B." in page


@pytest.mark.parametrize(
    "effects",
    [
        {("only", "vendor B"): 0.7},
        {("only", "vendor A"): 0.7},
        {("a", "vendor A"): 0.9, ("a", "vendor B"): 0.9},
        {("a", "vendor A"): 0.9, ("b", "vendor A"): 0.8, ("a", "vendor B"): 0.9, ("b", "vendor B"): 0.9},
    ],
)
def test_small_reports_are_whole(make_report: Any, effects: dict[tuple[str, str], float]) -> None:
    page = render(make_report(effects, distributions=(), curves=()))
    Outline(page)
    assert 'id="shift"' not in page
    assert 'id="gallery"' not in page
    assert ('id="differences"' in page) == (("b", "vendor B") in effects)


def test_the_frames_of_evaluate_fit(full_report: Any, make_report: Any) -> None:
    scores = full_report.scores
    report = make_report(
        scores=scores,
        summary=summarize(scores),
        comparisons=compare(scores, baseline="baseline"),
        worst=worst_rows(scores),
    )
    page = render(report)
    assert "`augmented` recovers" not in page
    assert re.search(
        r"<code>augmented</code> recovers 2\d\.\d of them; <code>equalized</code> makes it worse[.;]", page
    )
    assert "percentile bootstrap of patients" in page
    assert "Where it is weakest" in page


def test_each_domain_left_out_in_turn(make_report: Any, make_scores: Any) -> None:
    seen, unseen = (
        make_scores({(n, d): v for n, v in (("a", level), ("b", level + 0.05)) for d in ("X", "Y")}, cases=12)
        for level in (0.9, 0.6)
    )
    folds = [seen.assign(seen=True, fold=f) for f in ("0", "1")] + [unseen.assign(seen=False, fold="2")]
    scores = pd.concat(folds, ignore_index=True)
    flat = {"edges": np.linspace(0, 1, 3), "density": np.ones(2)}
    shown = [Distribution(domain, True, "intensity", **flat) for domain in ("X", "Y")]
    made = make_report(
        scores=scores,
        sources=(),
        summary=summarize(scores),
        comparisons=compare(scores, baseline="a"),
        distributions=shown,
        **dict(zip(("pooled", "pooled_comparisons"), all_unseen(scores, baseline="a"), strict=True)),
    )
    page = render(made)
    Outline(page)
    assert "Trained with each domain left out in turn, the baseline <code>a</code> loses " in page
    assert page.count('<figure class="rows strips">') == 4
    assert page.count('<figure class="rows forest">') == 2
    assert page.count("100 % shared") == 2
    assert page.count("it is compared with itself") == 1
    assert '<p class="together">On the mean over 2 unseen domains, the baseline <code>a</code> scores ' in page
    assert page.count("mean of 2 domains</th>") == 3  # a table each: dice, nsd, hd95
    assert page.count("<span>all unseen (mean of 2 domains)</span>") == 1


def test_nothing_defined_is_said_and_not_drawn(make_report: Any, make_scores: Any) -> None:
    scores = make_scores({("baseline", "vendor A"): 0.9, ("baseline", "vendor B"): 0.5}, cases=4)
    scores.loc[scores["domain"] == "vendor B", "value"] = float("nan")
    page = render(make_report(scores=scores, distributions=()))
    assert "has no defined score on vendor B, so nothing can be concluded" in page
    assert ">nan<" not in page
    assert "no case with a defined score, 4 undefined" in page
