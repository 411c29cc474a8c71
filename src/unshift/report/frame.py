"""What every page is made with: templates, style and script inside, and a policy that forbids everything else."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

from unshift.report.number import plain, signed


def render_page(template: str, context: dict[str, Any], *, styles: tuple[str, ...] = ("style.css",)) -> str:
    """The page that ``template`` makes of ``context``; every text is escaped, names in back quotes become code.

    Args:
        template: a file of this package.
        context: what the template names, beside ``style``, ``script`` and their hashes.
        styles: style sheets of this package, one after another.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unshift", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(code=_code, breakable=_breakable, plain=plain, signed=signed)
    style, script = "\n".join(_asset(name) for name in styles), _asset("behaviour.js")
    dress = {
        "style": Markup(style),
        "script": Markup(script),
        "style_hash": _policy_hash(style),
        "script_hash": _policy_hash(script),
    }
    return environment.get_template(template).render(**dress, **context)


def _asset(name: str) -> str:
    return resources.files("unshift.report").joinpath(name).read_text(encoding="utf-8")


def _policy_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _breakable(name: str) -> Markup:
    """``name`` escaped, with leave to break the line after an underscore, a hyphen or a slash."""
    parts = re.split(r"(?<=[_/-])", name)
    return Markup("<wbr>").join(parts)


def _code(sentence: str) -> Markup:
    """Escape ``sentence``, then show what stands in back quotes as code."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return escape(sentence)
    shown = (Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts))
    return Markup("").join(shown)
