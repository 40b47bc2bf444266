"""Task `paraphrase`: another way to say which objects are there and which are not."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shardmill.embedded.rules.phrases import bare, be, capital, joined, patterns
from shardmill.language.backgrounds import is_background
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import with_article
from shardmill.language.polarity import NEGATION_FIRST, check_polarity, form, new_objects
from shardmill.language.proper_names import capitalized
from shardmill.language.relations import mentions

_MEDIUM = re.compile(r"\b(image|photo|picture|video|clip|photograph)\b", re.IGNORECASE)
_HAS = re.compile(r"\b(?:has|have|contains|includes?)\b")
_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])")


def paraphrase(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"sentence", "objects" (name -> is it there), "order" ("free" or "keep")} -> {"caption"} with the same meaning.

    Of a caption that is followed or preceded by a negation, the caption is kept and the negation rephrased.
    "keep" leaves the objects, and what is said first of them, in the order of the sentence.
    """
    sentence, objects, keep = str(values["sentence"]), dict(values["objects"]), values.get("order") == "keep"
    parts = _parts(sentence, objects)
    denied = {name: False for name, there in objects.items() if not there}
    said = "negated" if parts else _cell(sentence, objects, keep, rng)
    names = _ordered(sentence, denied if parts else objects, keep, rng)
    words = _words(names, objects, _medium(sentence, objects))
    caption = sentence
    for pattern in _shuffled(said, names, rng):
        if any(map(_is_place, names)) and _HAS.search(pattern):
            continue  # "the image has a kitchen in it"
        saying = capital(pattern.format(**words))
        caption = _joined(parts, saying, keep, rng)
        if saying.casefold() not in sentence.casefold() and _right(caption, sentence, objects):
            break
    return {"caption": caption}


def _right(caption: str, sentence: str, objects: Mapping[str, bool]) -> bool:
    return check_polarity(caption, objects) is None and not new_objects(caption, objects, sentence)


def _is_place(name: str) -> bool:
    return name in lexicon().scenes or is_background(name)


def _parts(sentence: str, objects: Mapping[str, bool]) -> tuple[str, bool] | None:
    """(the caption, whether the negation comes first) of a caption with a negation beside it, None for any other sentence."""
    pieces = _SENTENCES.split(sentence.strip())
    denials = [any(not there and mentions(piece, name) for name, there in objects.items()) for piece in pieces]
    if len(pieces) < 2 or denials.count(True) != 1 or not (denials[0] or denials[-1]):
        return None
    denial = denials.index(True)
    if any(there and mentions(pieces[denial], name) for name, there in objects.items()):
        return None
    caption = " ".join(piece for piece, denies in zip(pieces, denials, strict=True) if not denies)
    return (caption if caption[-1] in ".!?" else f"{caption}."), denial == 0


def _joined(parts: tuple[str, bool] | None, said: str, keep: bool, rng: random.Random) -> str:
    if parts is None:
        return said
    caption, denial_first = parts
    if not keep:
        denial_first = rng.random() < 0.5
    return f"{said} {caption}" if denial_first else f"{caption} {said}"


def _cell(sentence: str, objects: Mapping[str, bool], keep: bool, rng: random.Random) -> str:
    if len(set(objects.values())) < 2:
        return "affirmed" if all(objects.values()) else "negated"
    affirmed = [name for name, there in objects.items() if there]
    denied = [name for name, there in objects.items() if not there]
    denial_first = form(sentence, affirmed, denied) == NEGATION_FIRST if keep else rng.random() < 0.5
    return "mixed_negated_first" if denial_first else "mixed_affirmed_first"


def _shuffled(said: str, names: Sequence[str], rng: random.Random) -> list[str]:
    table: dict[str, list[str]] = patterns("paraphrases")
    if said in table:
        pool = table[said]
    elif len(names) == 1:
        pool = table[f"{said}_one"]
    else:
        pool = table[f"{said}_list"] + (table[f"{said}_two"] if len(names) == 2 else [])
    return rng.sample(pool, len(pool))


def _ordered(sentence: str, objects: Mapping[str, bool], keep: bool, rng: random.Random) -> list[str]:
    if not keep:
        return rng.sample(list(objects), len(objects))
    spans = {name: mentions(sentence, name) for name in objects}
    return sorted(objects, key=lambda name: spans[name][0][0] if spans[name] else len(sentence))


def _medium(sentence: str, objects: Iterable[str]) -> str:
    """What the sentence calls the image; a "photograph" that is one of the objects does not count."""
    found = (word.lower() for word in reversed(_MEDIUM.findall(sentence)))
    return next((word for word in found if not any(mentions(word, name) for name in objects)), "image")


def _words(names: Sequence[str], objects: Mapping[str, bool], medium: str) -> dict[str, str]:
    yes = [with_article(capitalized(name)) for name in names if objects[name]]
    denied = [capitalized(bare(name)) for name in names if not objects[name]]
    no = [with_article(name) for name in denied]
    are = "are" if len(yes) > 1 else be("".join(yes))
    return {
        "yes": joined(yes, "and"),
        "Yes": capital(joined(yes, "and")),
        "are": are,
        "there_is": be(yes[0]) if yes else "is",
        "appear": "appear" if are == "are" else "appears",
        "no": joined(no, "or"),
        "nor": joined(no, "nor"),
        "bare": joined(denied, "or"),
        "is": be(denied[-1]) if denied else "is",
        "is_no": be(denied[0]) if denied else "is",
        "gone": joined(no, "and"),
        "Gone": capital(joined(no, "and")),
        "is_gone": "are" if len(no) > 1 else be("".join(no)),
        "medium": medium,
        "a_medium": with_article(medium),
    }
