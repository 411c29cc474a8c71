"""Every method's paper is in the table, under the title that its own page or code has."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

from unshift import discover
from unshift.normalizations.color_methods import color_method
from unshift.normalizations.color_transfer import ColorTransferConfig
from unshift.report.citation import WORKS, works_of

MEMBERS = [
    (family, name)
    for family in ("objectives", "plugins", "normalizations", "augmentations")
    for name in discover.names(family)
]
METHODS = [("color methods", name) for name in get_args(ColorTransferConfig.model_fields["method"].annotation)]


def test_every_member_has_an_entry_and_no_entry_is_left_over() -> None:
    missing = {*MEMBERS, *METHODS} - set(WORKS)
    assert not missing, f"add the papers of {sorted(missing)} to report/citation.py, or () where there is none"
    assert not set(WORKS) - {*MEMBERS, *METHODS}


@pytest.mark.parametrize("member", sorted(member for member, works in WORKS.items() if works))
def test_a_paper_is_one_that_the_member_or_the_documents_name(member: tuple[str, str]) -> None:
    method = member[0] == "color methods"
    module = inspect.getmodule(type(color_method(member[1])) if method else discover.load(*member))
    assert module is not None
    documents = (Path(__file__).parents[2] / "docs").rglob("*.md")
    texts = [inspect.getsource(module), *(path.read_text(encoding="utf-8") for path in documents)]
    named = " ".join(" ".join(texts).split()).casefold()
    for work in WORKS[member]:
        titles = work.title.casefold(), work.title.split(":")[0].casefold()
        author_and_year = {work.authors.split()[0], work.place[-4:]}
        by_author = author_and_year <= set(re.findall(r"\w+", inspect.getsource(module)))
        assert by_author or any(title in named for title in titles), work.title
        assert work.authors.endswith(".") and work.place[-4:].isdigit()


def test_each_work_stands_once_and_the_recipes_words_come_first() -> None:
    asked = ("Shah and others. color-quality invariance for robust Medical Image Segmentation, 2025.", "Data. 2020.")
    members = [("datasets", "polyp"), ("objectives", "cqg"), ("normalizations", "dcin"), ("plugins", "din")]
    assert works_of(members, cited=asked)[:2] == asked
    [added] = works_of(members, cited=asked)[2:]
    assert added == (
        "Liu Z. et al. Generalize Ultrasound Image Segmentation via Instant and Plug & Play Style Transfer. ISBI 2021."
    )
    assert works_of([("objectives", "erm")], cited=()) == ()
    assert len(works_of([("objectives", "cqg"), ("objectives", "augmented")], cited=())) == 1
