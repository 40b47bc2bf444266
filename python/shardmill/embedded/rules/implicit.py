"""Task `write_implicit`: what becomes of a thing, by what kind of thing it is."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from shardmill.embedded.rules.phrases import capital, patterns
from shardmill.language.lexicon import LexiconEntry, lexicon
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.nouns import is_mass, is_plural, with_article
from shardmill.language.relations import mentions
from shardmill.language.word_classes import is_plain_adjective

MAX_WORDS = 20
_NAME = 3
"""A topic of more words is a caption."""
_OUTDOORS = frozenset({"nature", "building", "street", "outdoor"})
_WIDE = frozenset({"ground", "water", "cloud", "mountain"})
_VERB = re.compile(r"\{(stays|rolls|falls|slips|touches|burns)\}")


def write_implicit(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"topic", "examples", "found", "count"} -> {"samples"}: of a topic that is a caption, one of its things changes in it."""
    topic = " ".join(str(values["topic"]).split())
    caption = topic if len(topic.split()) > _NAME else None
    names = extract_objects(topic) if caption else [topic]
    found = {str(asked) for asked in values.get("found") or []}
    pool = [(name, change) for name in names for change in _changes(name)]
    samples: list[dict[str, Any]] = []
    for name, change in rng.sample(pool, len(pool)):
        sample = _sample(name, change, caption, rng)
        if sample is not None and sample["instruction"] not in found:
            found.add(sample["instruction"])
            samples.append(sample)
        if len(samples) == int(values["count"]):
            break
    return {"samples": samples}


def _changes(name: str) -> list[Mapping[str, Any]]:
    """What can become of a thing; the general changes where the lexicon knows nothing better."""
    entry = lexicon().find(name)
    table = patterns("implicit")
    own = [change for kind in _kinds(entry) for change in table.get(kind, ())] if entry else []
    return own if len(own) > 2 else [*own, *table["any"]]


def _kinds(entry: LexiconEntry) -> list[str]:
    if entry.category in _OUTDOORS or entry.shape in _WIDE:
        own = [entry.name, *lexicon().kinds(entry)]
        return sorted({*own, *(["building"] if entry.category == "building" else [] if "plant" in own else ["outdoors"])})
    if entry.shape == "cloth":
        return ["clothing"]
    return sorted({entry.name, entry.category, *lexicon().kinds(entry)})


def _sample(name: str, change: Mapping[str, Any], caption: str | None, rng: random.Random) -> dict[str, Any] | None:
    start, result = change.get("start", ""), change["result"]
    span = _only_mention(caption, name) if caption else None
    if caption is not None:
        if span is None:
            return None
        name = caption[slice(*span)].lower()
    many = is_plural(name)
    words = {
        "the": f"the {name}",
        "it": ("they" if many else "it") if caption is None else f"the {name}",  # with other things around, "it" is unclear
        "is": "are" if many else "is",
        "does": "do" if many else "does",
        "s": "" if many else "s",
    }
    asked = _VERB.sub(lambda match: _agreeing(match[1], many), rng.choice(change["asks"])).format(**words)
    asked = re.sub(r"\b(to|in|uses|plays|takes|waters|on|after|over|touches|drops|with) they\b", r"\1 them", asked)
    scene = rng.choice(change["scenes"])
    if caption is None or span is None:
        before, after = (scene.format(X=capital(_described(name, adjective)), **words) for adjective in (start, result))
    else:
        before, after = caption, _changed(caption, span[0], result)
    return {
        "original_caption": before,
        "instruction": asked,
        "target_caption": after,
        "key_words": [name.split()[-1].lower(), result],
    }


def _agreeing(verb: str, many: bool) -> str:
    if not many:
        return verb
    return "touch" if verb == "touches" else verb[:-1]


def _described(name: str, adjective: str) -> str:
    phrase = f"{adjective} {name}".strip()
    return phrase if is_plural(name) or is_mass(name) else with_article(phrase)


def _only_mention(caption: str, name: str) -> tuple[int, int] | None:
    """Where a caption names a thing; None where it is long or names it more than once."""
    spans = mentions(caption, name)
    return spans[0] if len(spans) == 1 and len(caption.split()) < MAX_WORDS else None


def _changed(caption: str, start: int, adjective: str) -> str:
    """The caption with one more adjective for the noun at `start`, before those that it has."""
    before, rest = caption[:start], caption[start:]
    while (last := before.rstrip().rpartition(" ")[2].lower()) and is_plain_adjective(last):
        at = before.rstrip().rfind(" ") + 1
        before, rest = before[:at], before[at:] + rest
    article = with_article(f"{adjective} thing").split()[0]
    before = re.sub(r"\b([Aa])n?( )$", lambda match: (article if match[1] == "a" else capital(article)) + match[2], before)
    if not before:
        adjective, rest = capital(adjective), rest[:1].lower() + rest[1:]
    return f"{before}{adjective} {rest}"
