"""Asking whether a thing is there, with the right article and number."""

from __future__ import annotations

from collections.abc import Sequence

from shardmill.language.nouns import is_mass, is_plural, with_article


def existence_question(name: str) -> str:
    """The question whether a thing is in the image.

    >>> existence_question("dog"), existence_question("scissors"), existence_question("grass")
    ('Is there a dog in the image?', 'Are there scissors in the image?', 'Is there grass in the image?')
    """
    verb = "Are" if is_plural(name) and not is_mass(name) else "Is"
    return f"{verb} there {with_article(name)} in the image?"


def listed(names: Sequence[str]) -> str:
    """The names in a row, each with its article.

    >>> listed(["dog", "sofa", "grass"])
    'a dog, a sofa and grass'
    """
    worded = [with_article(name) for name in names]
    return " and ".join(filter(None, [", ".join(worded[:-1]), *worded[-1:]]))
