"""The page in headless Chromium: what it loads, how it fits, how it is used without a mouse, what it looks like printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unshift.report.page import write_report

pytestmark = pytest.mark.browser
SCHEMES = ("light", "dark")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, full_report: Any) -> str:
    return write_report(tmp_path_factory.mktemp("run"), full_report).as_uri()


@pytest.fixture(scope="module")
def wide_address(tmp_path_factory: pytest.TempPathFactory, make_report: Any, make_scores: Any) -> str:
    """Nine domains with long names, long pipelines, marked as oracle: what strains the layout."""
    domains = ["vendor A", *[f"Hospital_{k}_(Siemens_Magnetom_Vida_3T)" for k in range(8)]]
    names = ["baseline", "histogram_matching_to_the_pooled_source", "a" * 70]
    scores = make_scores({(n, d): 0.9 - 0.05 * k for n in names for k, d in enumerate(domains)}, cases=8)
    return write_report(tmp_path_factory.mktemp("wide"), make_report(scores=scores, is_oracle=True)).as_uri()


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """(address, size, scheme) -> page; fails afterwards on any message in the console and any request but the file's."""
    pages, wrong = [], []

    def go(address: str, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request", lambda request: None if request.url.startswith((address, "data:")) else wrong.append(request.url)
        )
        page.goto(address)
        pages.append(page)
        return page

    yield go
    for page in pages:
        page.close()
    assert wrong == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1280, 1920])
def test_no_sideways_scroll(opened: Any, address: str, wide_address: str, width: int, scheme: str) -> None:
    for place in (address, wide_address):
        page = opened(place, width=width, scheme=scheme)
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_wide_tables_scroll_in_their_box_under_a_fixed_first_column(opened: Any, wide_address: str) -> None:
    page = opened(wide_address, width=390)
    box = page.locator("#scores .scroll")
    assert box.evaluate("(e) => e.scrollWidth > e.clientWidth")
    head = box.locator("tbody th").first
    before = head.bounding_box()["x"]
    cell = box.locator("tbody td").first
    moved = cell.bounding_box()["x"]
    box.focus()
    box.evaluate("(e) => { e.scrollLeft = 120; }")
    assert head.bounding_box()["x"] == pytest.approx(before, abs=1)
    assert cell.bounding_box()["x"] == pytest.approx(moved - 120, abs=1)
    caption = box.locator("caption").bounding_box()
    assert caption["x"] >= 0
    assert caption["x"] + caption["width"] <= 390


def test_pictures_are_shown_and_named(opened: Any, address: str) -> None:
    page = opened(address)
    found = page.evaluate("[...document.images].map((i) => [i.alt.length, i.naturalWidth, i.complete])")
    assert len(found) == 27
    assert all(alt > 20 and 0 < width <= 480 and complete for alt, width, complete in found)


def test_the_keyboard_reaches_and_opens_the_gallery(opened: Any, address: str) -> None:
    page = opened(address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('frame')"):
            break
    else:
        pytest.fail("40 tabs from the verdict do not reach the gallery")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    dialog = page.locator("dialog")
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    first = dialog.locator("#enlarged-caption").inner_text()
    assert re.match(r"vendor A · baseline · worst [\d.]+ a_\d+", first)
    assert dialog.locator("img").bounding_box()["height"] > page.locator(".frame img").first.bounding_box()["height"]
    page.keyboard.press("ArrowRight")
    assert "median" in dialog.locator("#enlarged-caption").inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    # The dialog gives the focus back in an event of its own, after it has closed.
    page.wait_for_function(
        "document.activeElement.querySelector('img')?.alt.startsWith('baseline on vendor A, median case')", timeout=5000
    )


def test_the_enlarged_outline_lies_on_its_picture(opened: Any, address: str) -> None:
    for width in (390, 1280):
        page = opened(address, width=width)
        page.locator(".frame").nth(4).click()
        picture = page.locator("dialog img").bounding_box()
        assert page.locator("dialog .stage > svg").bounding_box() == picture
        assert picture["width"] / picture["height"] == pytest.approx(280 / 224, rel=0.01)
        box = page.locator("dialog").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_outlines_can_be_hidden(opened: Any, address: str) -> None:
    page = opened(address)
    shown = page.locator(".frame .outline-prediction").first
    assert shown.is_visible()
    page.get_by_label("prediction (dashed)").uncheck()
    assert not shown.is_visible()
    assert page.locator(".frame .outline-reference").first.is_visible()


CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const background = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const worst = [];
  const skipped = ".watermark *, .sr, dialog *, title, script, style";
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.textContent.trim() || e.matches(skipped) || !e.checkVisibility()) continue;
    const style = getComputedStyle(e);
    const color = parse(e instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [luminance(color), luminance(background(e))].sort((x, y) => y - x);
    worst.push([(a + 0.05) / (b + 0.05), node.textContent.trim().slice(0, 40)]);
  }
  return worst.sort((x, y) => x[0] - y[0]);
}"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_text_has_contrast(opened: Any, address: str, wide_address: str, scheme: str) -> None:
    for place in (address, wide_address):
        found = opened(place, scheme=scheme).evaluate(CONTRAST)
        assert len(found) > 150
        assert found[0][0] >= 4.5, found[:5]


def test_schemes_differ_and_paper_is_white(opened: Any, address: str) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    page = opened(address, scheme="dark")
    assert page.evaluate(background) != "rgb(255, 255, 255)"
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(background) == "rgb(255, 255, 255)"


def test_print_opens_everything_and_clips_nothing(opened: Any, address: str) -> None:
    page = opened(address, width=695)  # the printable width of A4 with the page's margins, in CSS pixels
    closed = page.locator("details:not([open])").count()
    assert closed > 0
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.evaluate("[...document.querySelectorAll('table')].every((t) => t.getBoundingClientRect().right <= 695)")
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every((e) => getComputedStyle(e).overflowX === 'visible')"
    )
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == closed


def test_prints_to_a4_with_wide_tables_sideways(opened: Any, address: str, wide_address: str) -> None:
    def sizes(place: str) -> set[tuple[int, int]]:
        document = opened(place).pdf(prefer_css_page_size=True, print_background=True)
        boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", document)
        return {(round(float(w)), round(float(h))) for w, h in boxes}

    portrait, landscape = sizes(address), sizes(wide_address)
    assert {(w < h) for w, h in portrait} == {True}
    assert {(w < h) for w, h in landscape} == {True, False}
    assert all(min(size) in (595, 596) and max(size) in (842, 843) for size in portrait | landscape)


def test_a_name_runs_no_script(opened: Any, tmp_path: Path, make_report: Any) -> None:
    name = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='broken in'</script>"
    report = make_report({("baseline", "vendor A"): 0.9, ("baseline", f"vendor {name}"): 0.5}, title=name)
    page = opened(write_report(tmp_path, report).as_uri())
    assert page.title() == f"{name} – unshift report"
    assert page.locator("h1").inner_text() == name
