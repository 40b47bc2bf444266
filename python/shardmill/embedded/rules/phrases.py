"""Small English for sentence patterns: lists of objects, agreement, capitals, and the pattern files themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from shardmill.language.nouns import is_mass, is_plural, plural, with_article
from shardmill.util.resources import resource_text
from shardmill.util.texts import cached

_ARTICLES = ("a ", "an ", "the ")


@cached
def patterns(name: str) -> Any:
    """The pattern file `templates/rules/NAME.yaml`."""
    return yaml.safe_load(resource_text(f"templates/rules/{name}.yaml"))


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def bare(name: str) -> str:
    """The name without its article: "no {dog}"."""
    return next((name[len(article) :] for article in _ARTICLES if name.lower().startswith(article)), name)


def after_not(name: str) -> str:
    """The name as a negation takes it: "a dog", "any dogs", "any water"."""
    name = bare(name)
    return f"any {name}" if is_plural(name) or is_mass(name) else with_article(name)


def as_plural(name: str) -> str:
    """The name in the number that "free of" takes: "dogs", "water"."""
    name = bare(name)
    return name if is_plural(name) or is_mass(name) else plural(name)


def be(name: str) -> str:
    """ "is" or "are"."""
    return "are" if is_plural(name) else "is"


def joined(parts: Sequence[str], word: str) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}"
