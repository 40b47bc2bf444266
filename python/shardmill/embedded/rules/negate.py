"""Task `caption_negated`: the caption, saying of one object that it is not there."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from shardmill.embedded.rules.caption_text import kind, lower_first, usable
from shardmill.embedded.rules.phrases import after_not, as_plural, bare, be, capital, joined, patterns
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import with_article
from shardmill.language.polarity import check_negated, form
from shardmill.language.proper_names import capitalized

_MAX_OBJECTS = 3
_PLURAL_SHARE = 0.35


def caption_negated(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"caption", "objects" (present), "unconfirmed", "negative", "form"} -> {"caption"} in that form, of right polarity.

    The caption is kept where a sentence can be built around it, otherwise (and where it names something unconfirmed) one is
    made of the objects. Where no pattern passes the checker (the caption names the negative object), the last attempt comes
    back for the caller to judge.
    """
    objects, negative = list(values["objects"]), str(values["negative"])
    original = "" if values.get("unconfirmed") else usable(str(values["caption"]))
    bases = [text for text in (original, _of_objects(objects, negative)) if text]
    caption = ""
    for base in bases:
        for pattern in _shuffled(values["form"], _suits(base, objects, negative), rng):
            caption = pattern.format(**_words(base, _in_number(negative, rng)))
            if _right(caption, objects, negative, values["form"]):
                return {"caption": caption}
    return {"caption": caption}


def _right(caption: str, objects: Sequence[str], negative: str, wanted: str) -> bool:
    if check_negated(caption, objects, [negative]) is not None:
        return False
    return not objects or form(caption, objects, [negative]) == wanted


def _suits(base: str, objects: Sequence[str], negative: str) -> list[str]:
    """The groups of patterns that suit a caption."""
    suiting = kind(base)
    alike = ["alike"] if suiting == "phrase" and _category(negative) in {_category(name) or "" for name in objects} else []
    return list(dict.fromkeys(["any", suiting, *alike]))


def _category(name: str) -> str | None:
    entry = lexicon().find(name)
    return entry.category if entry is not None else None


def _shuffled(wanted: str, suits: Sequence[str], rng: random.Random) -> list[str]:
    table: dict[str, list[str]] = patterns("negated_captions")[wanted]
    pool = [pattern for group in suits for pattern in table[group]]
    return rng.sample(pool, len(pool))


def _of_objects(objects: Sequence[str], negative: str) -> str:
    named = [with_article(capitalized(name)) for name in objects if name != negative][:_MAX_OBJECTS]
    return capital(joined(named, "and"))


def _in_number(name: str, rng: random.Random) -> str:
    """The object, now and then in the plural: "no dogs" is said as readily as "no dog"."""
    name = bare(name)
    return capitalized(as_plural(name) if rng.random() < _PLURAL_SHARE else name)


def _words(base: str, name: str) -> dict[str, str]:
    several = capitalized(as_plural(name.lower()))
    return {
        "caption": lower_first(base),
        "Caption": capital(base),
        "object": with_article(name),
        "any": after_not(name),
        "several": several,
        "Several": capital(several),
        "are": be(several),
        "bare": name,
        "is": be(name),
        "isnt": f"{be(name)}n't",
    }
