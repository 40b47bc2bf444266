"""Pages of one file: style and script inside, nothing loaded from elsewhere, and data never becomes markup or script."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from hashlib import sha256
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from shardmill.pages.shown import shown_text
from shardmill.util.resources import resource_text
from shardmill.util.words import count_of, percent

FOLDER = "templates/report"
FIGURE = re.compile(r"([-+±~<>≤≥]?\d(?:[^(:;,]|,(?=\d)){0,22}?)(?= ?[(:;]|, |$)")


def render(template: str, *, assets: str = "page", inline_styles: bool = True, **values: Any) -> str:
    """A page, as text that can be encoded in UTF-8. Its content security policy lets it load only inlined images and run only
    its own script.

    Args:
        template: The name of the template in `templates/report`.
        assets: The name of its script and style file, without the suffix.
        inline_styles: Whether its elements may have styles of their own.
        values: What the template needs.
    """
    script, style = resource_text(f"{FOLDER}/{assets}.js"), resource_text(f"{FOLDER}/{assets}.css")
    policy = {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'" if inline_styles else f"'sha256-{_digest(style)}'",
        "script-src": f"'sha256-{_digest(script)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return (
        _environment()
        .get_template(template)
        .render(
            script=Markup(script),
            style=Markup(style),
            policy="; ".join(f"{name} {value}" for name, value in policy.items()),
            **values,
        )
    )


def _digest(text: str) -> str:
    return base64.b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(lambda name: resource_text(f"{FOLDER}/{name}")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "number": number,
        "flat": flat,
        "pretty": pretty,
        "figure": figure,
        "percent": percent,
        "count": count_of,
    }
    return environment


def _shown(value: Any) -> Any:
    """The value of a template expression before it is escaped."""
    if value is None:
        return ""
    return value if isinstance(value, Markup) else shown_text(str(value))


def number(value: float | int | str | None) -> str:
    """A number for people: `1,446`, `0.3125`; text stays as it is, and None becomes a dash."""
    if value is None:
        return "–"
    if isinstance(value, (bool, str)):
        return str(value)
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.4g}"


def flat(value: Any) -> str:
    """A value of a cell on a page: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def pretty(value: Any) -> str:
    """A nested value over several lines."""
    return json.dumps(value, ensure_ascii=False, default=str, indent=1)


def figure(shown: str) -> tuple[str, str]:
    """A figure split into its beginning, which is set in bold, and the rest: `34.7 % right` and `(28.0 % to 42.0 %)`."""
    found = FIGURE.match(shown)
    return (found[1].strip(), shown[found.end() :].lstrip(" :;,")) if found else ("", shown)
