"""What the caption of a scene must be: one short sentence that names what it has to, and nothing else. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shardmill.language.locatives import PREPOSITIONS, is_place, place_key
from shardmill.language.named_objects import named_objects
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.nouns import ARTICLES, fold
from shardmill.language.numbers import has_number
from shardmill.language.relations import mentions, relation
from shardmill.language.word_classes import ADJECTIVE, ADVERB, DETERMINER, GERUND, NOUN, NUMBER, PARTICIPLE, POSSESSIVE, VERB
from shardmill.language.word_lists import word_lists
from shardmill.language.word_spans import WordSpan, word_spans

_LISTS = word_lists("shardmill.anyedit", "scene_captions.yaml")

MIN_WORDS = 3
_EDGE = " \t\r\n\"'“”‘’*`"
_WORD_COUNT = re.compile(r"\s*\((?:[^()]{0,40})\)\s*([.!]?)$")
_END = re.compile(r"[.!?](?=[\"'”’)]*\s+\S)")
_MARKS = re.compile(r"[\[\]{}<>()|\\\n\r\t:;=#@*_]|--")
_PREAMBLE = re.compile(
    r"\b(?:i(?:['’]?m| am) (?:sorry|unable|not able)|i (?:cannot|can['’]?t|won['’]?t)|as an ai|sorry|unfortunately|sure|"
    r"certainly|of course|here (?:is|are|['’]s)|note that)\b|^caption\b",
    re.IGNORECASE,
)
_OF_THE_PICTURE = re.compile(
    r"\b(?:this|the|a|an) (?:image|photo|photograph|picture|shot|caption|scene)\b(?! frames?| album| booth)|"
    r"\bclose-?up\b|\bwe see\b",
    re.IGNORECASE,
)
_OPINIONS = _LISTS.words("opinions")
_WIDE = ("ground", "water", "cloud", "mountain")
"""Shapes of what is no object, but what objects stand on or in."""
_NEXT_TO = frozenset({"next", "front"})


def tidy_caption(text: str) -> str:
    """An answer's sentence without quotes, blanks and the count of its words that models like to add, ending with a dot."""
    text = " ".join(text.split()).strip(_EDGE)
    text = _WORD_COUNT.sub(r"\1", text).strip(_EDGE)
    text = text[:1].upper() + text[1:]
    return text if not text or text[-1] in ".!?" else f"{text}."


def caption_problem(caption: str, things: Sequence[str], place: str, max_words: int) -> str | None:
    """Why a tidied caption is not what was asked for; None when it is.

    `things` have to be named, and `place` (empty: none is wanted) too. Other objects are those that the lexicon knows and that
    are no place, no part and no kind of what is given.
    """
    form = _form_problem(caption, [*things, place], max_words)
    if form is not None:
        return form
    for thing in things:
        if not mentions(caption, thing):
            return "does not name its thing"
    if place and not names_place(caption, place):
        return "does not name its place"
    given = [*things, *extract_objects(place), place_key(place)] if place else things
    for entry in named_objects(_without(caption, [*things, _bare(place)])):
        if (
            not is_place(entry.name)
            and entry.shape not in _WIDE
            and not any(name and relation(entry.name, name) for name in given)
        ):
            return "names another object"
    return None


def _form_problem(caption: str, given: Sequence[str], max_words: int) -> str | None:
    words = caption.split()
    if len(words) < MIN_WORDS:
        return "too short"
    if len(words) > max_words:
        return "too long"
    if _PREAMBLE.search(caption):
        return "preamble or refusal"
    if _END.search(caption) or caption.endswith(("?", "...")):
        return "not one sentence"
    if _MARKS.search(caption) or any(letter > "\u024f" for letter in caption if letter.isalpha()):
        return "stray marks"
    own = " ".join(given).lower()
    if has_number(_without(caption, given)):
        return "numbers"
    if any(word.strip(".,").lower() in _OPINIONS and word.strip(".,").lower() not in own for word in words):
        return "opinion"
    if (spoken := _OF_THE_PICTURE.search(caption)) and spoken.group().split()[-1].lower() not in own:
        return "speaks of the picture"
    placed = word_spans(caption)
    if placed is None or not any(word.kind in (VERB, GERUND, PARTICIPLE) for word in placed):
        return "no verb"
    return None


def _without(caption: str, given: Sequence[str]) -> str:
    """The caption without the names that it was given, which may hold a number: "four-leaf clover"."""
    for name in filter(None, given):
        caption = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ; ", caption, flags=re.IGNORECASE)
    return caption


def names_place(caption: str, place: str) -> bool:
    """Whether a caption names a place that was given as a phrase ("in the old harbour"): its words, or the thing it is about."""
    if mentions(caption, fold(_bare(place))):
        return True
    names = extract_objects(place)
    return bool(names) and all(mentions(caption, name) for name in names)


def _bare(place: str) -> str:
    """A place without its preposition and article: "in an old harbour" -> "old harbour"."""
    words = place.lower().split()
    while len(words) > 1 and (words[0] in PREPOSITIONS or words[0] in ARTICLES):
        words = words[1:]
    return " ".join(words)


def has_place(caption: str, things: Sequence[str]) -> bool:
    """Whether a caption says where its things are: a preposition of place before something that is none of them."""
    words = word_spans(caption) or ()
    taken = [span for thing in things for span in mentions(caption, thing)]
    for index, word in enumerate(words):
        to = word.text in ("to", "of") and index > 0 and words[index - 1].text in _NEXT_TO
        if word.text in PREPOSITIONS - _NEXT_TO or to:
            noun = _noun_after(words, index + 1)
            if noun is not None and not any(start < noun.end and noun.start < end for start, end in taken):
                return True
    return False


def _noun_after(words: Sequence[WordSpan], at: int) -> WordSpan | None:
    """The head noun of the phrase that begins at a place, if one does: of "a large and rather dusty garage"."""
    noun = None
    for word in words[at:]:
        before_noun = noun is None and (word.kind == ADVERB or word.text == "and")
        if not before_noun and word.kind not in (DETERMINER, ADJECTIVE, NUMBER, NOUN, POSSESSIVE, GERUND):
            break
        noun = word if word.kind == NOUN else noun
    return noun


def with_place(caption: str, place: str) -> str:
    """The caption with a place at its end: "An otter sits." and "in the garage" -> "An otter sits in the garage."."""
    return f"{caption.rstrip(_EDGE + '.!')} {place.strip(_EDGE + '.')}."
