"""What every page is made with: the policy fits what is in the page, and no text becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

import jinja2
import pytest

from unshift.report import frame

Render = Callable[..., str]


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch) -> Render:
    """The page that a template's text gives."""

    def _render(text: str, **context: object) -> str:
        monkeypatch.setattr(jinja2, "PackageLoader", lambda *_: jinja2.DictLoader({"t": text}))
        return frame.render_page("t", context, styles=("style.css", "repair.css"))

    return _render


def test_hashes_are_those_of_what_stands_in_the_page(render: Render) -> None:
    page = render("{{ style_hash }}|{{ script_hash }}<style>{{ style }}</style><script>{{ script }}</script>")
    hashes = page[: page.index("<style>")].split("|")
    for tag, expected in zip(("style", "script"), hashes, strict=True):
        content = re.search(f"<{tag}>(.*)</{tag}>", page, re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert expected == f"sha256-{digest}"
    assert page.index(".tiles") < page.index(".invariance")


def test_texts_are_escaped_and_back_quotes_become_code(render: Render) -> None:
    page = render("{{ a }} {{ b|code }} {{ c|breakable }}", a="<b>", b="`x<y` holds", c="a_b<")
    assert page == "&lt;b&gt; <code>x&lt;y</code> holds a_<wbr>b&lt;"


def test_an_odd_back_quote_stays(render: Render) -> None:
    assert render("{{ a|code }}", a="it`s") == "it`s"


def test_a_name_that_is_missing_is_an_error(render: Render) -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("{{ nothing }}")
