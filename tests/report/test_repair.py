"""The page of a repair: what it says, what it shows, and what it must not claim."""

from __future__ import annotations

import html.parser
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unshift.evaluate.choice import IN_DOMAIN, NONE, SHIFTS, Choice, Interval, Standing
from unshift.report.content import GalleryItem
from unshift.report.repair import (
    RepairReport,
    forests,
    render_repair,
    repair_tables,
    sentence,
    tiles,
    write_repair_report,
)

PLACES = (IN_DOMAIN, "B@1", "C@1")


def around(mean: float, half: float = 0.02) -> Interval:
    return Interval(mean, mean - half, mean + half)


def standing(name: str, in_domain: float, shifted: float, *, half: float = 0.02, verdict: str = "") -> Standing:
    zero = Interval(0.0, 0.0, 0.0)
    change, gain = (zero, zero) if name == NONE else (around(in_domain - 0.9, 0.003), around(shifted - 0.6, half))
    return Standing(name, around(in_domain), around(shifted), change, gain, ("C@1", shifted - 0.1), verdict)


def choice(name: str = "adain", **changes: Any) -> Choice:
    found = (
        standing(NONE, 0.9, 0.6),
        standing("adain", 0.898, 0.8, verdict="best by the rule"),
        standing("din<x>", 0.7, 0.7),
    )
    return Choice(name, "Best mean.", is_forced=False, standings=changes.pop("standings", found), **changes)


def items(names: tuple[str, ...] = (NONE, "adain")) -> list[GalleryItem]:
    grid = np.arange(64, dtype=np.float32).reshape(1, 8, 8) / 64
    mask = np.zeros((8, 8), dtype=np.int64)
    mask[2:5, 2:6] = 1
    return [
        GalleryItem(
            pipeline=name, domain="B@1", case="c1", rank="worst", score=0.5, image=grid, reference=mask, prediction=mask
        )
        for name in names
    ]


def report(**changes: Any) -> RepairReport:
    names = [s.name for s in changes.get("choice", choice()).standings]
    summary = [(n, p, 0.8, 0.7, 0.9) for n in names for p in PLACES]
    compared = [(n, p, 0.1, 0.0, 0.2, 0.03, 12, 12, 9) for n in names[1:] for p in (IN_DOMAIN, SHIFTS)]
    known: dict[str, Any] = {
        "title": "My U-Net: made robust",
        "subject": "mynet:build, weights of state.pt",
        "is_labeled": True,
        "choice": choice(),
        "rule": "The rule.",
        "summary": pd.DataFrame(summary, columns=["pipeline", "domain", "mean", "low", "high"]),
        "comparisons": pd.DataFrame(
            compared, columns=["pipeline", "domain", "difference", "low", "high", "p_holm", "n", "n_patients", "wins"]
        ),
        "shifts": pd.DataFrame([("B@1", "B", 1.0), ("C@1", "C", 1.0)], columns=["domain", "preset", "strength"]),
        "taps": [("level_1", 1, 8, False), ("level_2", 2, 16, True)],
        "distances": pd.DataFrame([("level_2", "B@1", 3.21, 0.12)], columns=["tap", "place", "before", "after"]),
        "measured": "adain",
        "milliseconds": dict.fromkeys(names, 12.3),
        "gallery": items(),
        "checks": [("bundle equals memory", True, "2 images"), ("strength 0", False, "the outputs differ")],
        "notes": {"Score": "Dice.", "Settings": "`a: 1`"},
        "command": "unshift robustify mynet:build",
        "environment": {"machine": "one"},
        "code_version": "0.1.0",
    }
    return RepairReport(**(known | changes))


def test_the_verdict_says_gain_and_cost_with_intervals() -> None:
    assert sentence(report()) == (
        "`adain` raises Dice under simulated shifts from 60.0 to 80.0 (+20.0, 95 % interval 18.0 to 22.0); "
        "in-domain it changes −0.2 (95 % interval −0.5 to 0.1)."
    )


@pytest.mark.parametrize(
    ("shifted", "half", "verb"), [(0.62, 0.05, "does not clearly change"), (0.5, 0.02, "lowers"), (0.7, 0.02, "raises")]
)
def test_the_verdict_claims_no_more_than_the_interval(shifted: float, half: float, verb: str) -> None:
    found = (standing(NONE, 0.9, 0.6), standing("x", 0.9, shifted, half=half))
    text = sentence(report(choice=Choice("x", "", is_forced=True, standings=found)))
    assert text.startswith(f"`x`, chosen by hand, {verb} Dice under simulated shifts")


def test_the_verdict_when_nothing_is_changed() -> None:
    text = sentence(report(choice=choice(NONE)))
    assert text.startswith("The network stays as it is: no candidate gains clearly")
    assert "`adain`, changes +20.0 Dice points (95 % interval 18.0 to 22.0) and −0.2 in-domain" in text
    alone = choice(NONE, standings=(standing(NONE, 0.9, 0.6),))
    assert sentence(report(choice=alone)) == "The network stays as it is: there was no candidate."
    assert "asked for" in sentence(report(choice=replace(choice(NONE), is_forced=True)))


def test_without_labels_it_is_agreement_and_a_warning() -> None:
    unlabeled = report(is_labeled=False)
    assert "agreement with its own unshifted prediction" in sentence(unlabeled)
    page = render_repair(unlabeled)
    assert "No labels were given" in page
    assert "Dice points" not in page
    assert "No labels were given" not in render_repair(report())


def test_tiles_are_before_and_after() -> None:
    shifts, worst, inside = tiles(report())
    assert (shifts["before"], shifts["after"], shifts["change"], shifts["effect"]) == (
        "60.0",
        "80.0",
        "+20.0",
        "better",
    )
    assert (worst["before"], worst["after"], worst["what"]) == ("50.0", "70.0", "C@1")
    assert (inside["change"], inside["effect"]) == ("−0.2", "worse")


def test_forests_have_gain_then_cost_on_one_axis() -> None:
    axis, (gain, cost) = forests(report())
    assert axis is not None
    assert [w.pipeline for w in gain.whiskers] == ["adain", "din<x>"]
    assert [w.effect for w in gain.whiskers] == ["better", "better"]
    assert [w.effect for w in cost.whiskers] == ["unclear", "worse"]
    assert gain.whiskers[0].middle == axis.place(20)
    assert cost.whiskers[1].middle == axis.place(-20)
    assert (gain.whiskers[0].n, gain.whiskers[0].wins, gain.whiskers[0].p) == (12, 9, "0.030")
    assert forests(report(choice=choice(NONE, standings=(standing(NONE, 0.9, 0.6),)))) == (None, [])


def test_tables_hold_what_is_shown() -> None:
    tables = {t.name: t for t in repair_tables(report())}
    chosen = tables["candidates"].rows[1]
    assert [cell.text for cell in chosen.cells] == ["80.0", "89.8", "70.0", "12", "chosen"]
    assert chosen.cells[0].details == ("+20.0, 18.0 to 22.0",)
    assert all(cell.is_bold for cell in chosen.cells)
    assert tables["candidates"].rows[0].cells[0].details == ()
    assert tables["candidates"].frame.loc[1, "gain_mean"] == pytest.approx(0.2)
    assert [c.label for c in tables["places"].columns] == list(PLACES)
    assert [cell.text for cell in tables["taps"].rows[1].cells] == ["2", "16", "yes"]
    assert tables["distances"].rows[0].cells[0].text == "3.21"
    assert tables["distances"].rows[0].cells[0].details == ("0.12 after",)
    empty = report(distances=pd.DataFrame())
    assert "distances" not in {t.name for t in repair_tables(empty)}
    assert "Distance to the source" not in render_repair(empty)


class Outline(html.parser.HTMLParser):
    """Tags that are open, identifiers, and where links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.attributes |= found.keys()
        if "id" in found:
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.targets.append(str(found["href"]))
        if tag not in ("meta", "link", "input", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing() -> None:
    page = render_repair(report())
    outline = Outline()
    outline.feed(re.sub(r"/>", ">", re.sub(r"<(line|path|circle|rect)([^>]*)/>", r"<\1\2></\1>", page)))
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert {t[1:] for t in outline.targets} <= set(outline.ids)
    assert "style" not in outline.attributes  # the policy allows no inline style
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert "din&lt;<wbr>" not in page
    assert "<x>" not in page
    assert "✗" in page
    assert "None" not in page


def test_files(tmp_path: Path) -> None:
    assert write_repair_report(tmp_path, report()) == tmp_path / "report.html"
    assert (tmp_path / "tables" / "candidates.csv").is_file()
    assert (tmp_path / "tables" / "taps.md").is_file()


def test_few_patients_get_no_p_value_and_a_word_of_caution() -> None:
    known = report()
    few = replace(known, comparisons=known.comparisons.assign(n=6, n_patients=6, wins=6))
    assert "6 patients are too few for a test" in few.caution
    page = render_repair(few)
    assert "Few patients." in page and "wins 6 of 6" in page
    assert "p = " not in page
    assert known.caution == "" and "Few patients." not in render_repair(known)
    assert "p = 0.030" in render_repair(known)


def test_doubts_stand_first_and_are_escaped() -> None:
    page = render_repair(report(doubts=("Dice is <26>, look at `--mean`.",)))
    verdict = page[page.index('id="verdict"') :]
    assert verdict.index("Dice is &lt;26&gt;, look at <code>--mean</code>.") < verdict.index('class="sentence"')
