"""A caption of several things rewritten for one of them, or none: articles, nouns, verbs; where it is not sure, nothing.

Captions are short and in the present, which is what these rules rest on. All of them rather refuse than write bad English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from shardmill.language.nouns import fold, is_mass, is_plural, with_article
from shardmill.language.rewriting import third_person
from shardmill.language.word_classes import ADJECTIVE, ADVERB, CONJUNCTION, DETERMINER, NOUN, NUMBER, PREPOSITION, VERB
from shardmill.language.word_lists import word_lists, word_set
from shardmill.language.word_spans import WordSpan, word_spans

_LISTS = word_lists("shardmill.anyedit.by_template", "agreement.yaml")

_MODALS = _LISTS.words("fixed_verbs")
_KEPT_BEFORE = {"these": "this", "those": "that"} | {
    word: word for word in ("the", "his", "her", "its", "their", "my", "your", "our")
}
_BETWEEN_SEVERAL = word_set(
    "identical matching similar different various other more separate neighboring neighbouring adjacent twin opposite same"
)
"""Adjectives that only several things can bear."""
_OFTEN_VERBS = _LISTS.words("often_verbs")
"""Words that may be the verb of several things though they look like adjectives, participles or nouns."""
_PLACES = _LISTS.words("prepositions")
_LEAVABLE = word_set("with beside near behind by alongside")
_PAIRS = re.compile(
    r"\b(?:both|each|other|others|another|pairs?|couples?|twins?|trio|together|they|their|theirs|them|themselves|"
    r"side by side|apart|either|neither|in (?:a )?(?:row|line|circle|group|groups|formation)|between|among|around|scattered|"
    r"(?:meet|gather|share|surround|compete|flank|swarm|huddle|mingle|embrace|hug|kiss|unite|cluster|wrestle|fight)(?:s|ing|ed)?)\b",
    re.IGNORECASE,
)
"""Speaks of several things as such, so that no caption of one thing can say it."""
_GROUP_OF = re.compile(r"\b(?!front|top|back|out)\w+ of(?: (?:the|these|those|his|her|its|their))?\s*$", re.IGNORECASE)
"""Before the things: "a stack of three pancakes"."""


def one_left(caption: str, start: int, noun_start: int, noun_end: int, number: str) -> str | None:
    """The caption with "two small dogs" at [start, noun_end) turned into "a small dog", verbs agreeing; None where unsure.

    `number` is the number word at `start`; the noun stands at [noun_start, noun_end).
    """
    words = word_spans(caption)
    if words is None or _several_sentences(words) or (number.isupper() and len(number) > 1):
        return None
    modifiers = caption[start + len(number) : noun_start].strip()
    if _PAIRS.search(f"{caption[:start]} ; {caption[noun_end:]}") or _GROUP_OF.search(caption[:start]):
        return None
    if _BETWEEN_SEVERAL & set(modifiers.lower().split()):
        return None
    before = [word for word in words if word.end <= start]
    after = [word for word in words if word.start >= noun_end]
    changes = _verb_changes(caption, before, after)
    if changes is None or _shared_out(after) or _may_hide_verb(after):
        return None
    noun = _one(caption[noun_start:noun_end])
    if noun is None:
        return None
    phrase = f"{modifiers} {noun}".strip()
    determiner = before[-1] if before and before[-1].text in _KEPT_BEFORE and before[-1].end <= start else None
    if determiner is not None:
        kept = _KEPT_BEFORE[determiner.text]
        text = kept.capitalize() if caption[determiner.start].isupper() else kept
        changes.append((determiner.start, noun_end, f"{text} {phrase}"))
    elif number.isdecimal():
        changes.append((start, noun_end, f"1 {phrase}"))
    else:
        article = with_article(phrase)
        changes.append((start, noun_end, article[0].upper() + article[1:] if number[0].isupper() else article))
    return _changed(caption, changes)


def none_left(caption: str, start: int, noun_end: int) -> str | None:
    """The caption without the phrase at [start, noun_end) and the word that joined it; None where more would have to go.

    "A man with two dogs." becomes "A man."; the phrase has to end the caption.
    """
    words = word_spans(caption)
    if words is None or caption[noun_end:].strip(" .!"):
        return None
    before = [word for word in words if word.end <= start]
    if len(before) < 3 or "," in caption[:start] or re.search(r"\b(?:between|both|among)\b", caption[:start], re.IGNORECASE):
        return None
    joint, last = before[-1], before[-2]
    if joint.text == "and" and last.kind == NOUN:
        return caption[: last.end] + caption[noun_end:]
    if joint.text in _LEAVABLE and (last.kind in (NOUN, "gerund") or (last.kind == VERB and last.text not in _MODALS)):
        return caption[: last.end] + caption[noun_end:]
    return None


def _one(noun: str) -> str | None:
    """One of what the noun names, with its capital; None when it has no singular."""
    single = fold(noun)
    if is_plural(single) or is_mass(single):
        return None
    if noun.isupper():
        return single.upper()
    return single.capitalize() if noun[0].isupper() else single


def _several_sentences(words: Sequence[WordSpan]) -> bool:
    return any(word.text in (".", "!", "?", ";", ":", "|") for word in words[:-1])


def _is_many(verb: WordSpan) -> bool:
    """Whether a verb agrees with several things: "run", "are", not "runs", "is", "could"."""
    if verb.kind != VERB:
        return False
    many = not verb.text.endswith("s") or verb.text.endswith("ss")
    return verb.text in _LISTS.words("irregular_verbs") or (many and verb.text not in _MODALS)


def _verb_changes(caption: str, before: Sequence[WordSpan], after: Sequence[WordSpan]) -> list[tuple[int, int, str]] | None:
    """(start, end, text) of each verb that has to agree with one thing now; None when that cannot be told."""
    verbs = [index for index, word in enumerate(after) if _is_many(word)]
    outside = [word for word in before if word.text not in _KEPT_BEFORE]
    last = outside[-1] if outside else None
    if after and after[0].text in ("and", "or", ","):
        if len(after) < 2 or (after[1].kind not in (DETERMINER, NUMBER) and verbs):
            return None
        return [] if len(after) > 2 and not _is_clause(after[1:]) else None  # "two dogs and a cat run" stay several
    if last is not None and last.text in ("and", ",") and not any(word.kind == VERB for word in outside):
        return [] if any(word.kind == NOUN for word in outside) and last.text == "and" else None
    if last is not None and _is_many(last):
        return _before_change(caption, outside, verbs)
    if not verbs:
        return []
    if last is not None and last.kind in (VERB, PREPOSITION, "gerund", "participle"):
        return None
    return _predicate_changes(caption, after, verbs)


def _is_clause(words: Sequence[WordSpan]) -> bool:
    """Whether a conjunct has a verb of its own that agrees with one thing: "two dogs and a cat sits"."""
    verb = next((word for word in words if word.kind == VERB), None)
    return verb is not None and not _is_many(verb)


def _before_change(caption: str, outside: Sequence[WordSpan], verbs: Sequence[int]) -> list[tuple[int, int, str]] | None:
    """For a phrase right after a verb: "there are" becomes "there is"; the verb of other things stays."""
    verb, subject = outside[-1], outside[:-1]
    if verbs:
        return None
    if subject and subject[-1].text in ("there", "here"):
        return [(verb.start, verb.end, third_person(caption[verb.start : verb.end]))]
    several = any(word.many for word in subject) or any(word.text == "and" for word in subject)
    return [] if several and subject[0].kind != PREPOSITION else None


def _predicate_changes(caption: str, after: Sequence[WordSpan], verbs: Sequence[int]) -> list[tuple[int, int, str]] | None:
    """For a subject: its verb, and those that "and" joins to it."""
    first = verbs[0]
    between = after[:first]
    if any(word.kind in (CONJUNCTION, VERB) or word.many or word.text == "," for word in between):
        return None
    if between and between[0].kind not in (PREPOSITION, ADVERB):
        return None
    changes = []
    for index in verbs:
        verb = after[index]
        if index != first and after[index - 1].text != "and":
            return None
        changes.append((verb.start, verb.end, third_person(caption[verb.start : verb.end])))
    for word, following in pairwise(after):
        loose = following.kind == NOUN and not following.many and not is_mass(following.text)
        if word.text == "and" and loose:  # "bark" in "run and bark"
            return None
    complement = next((word for word in after[first + 1 :] if word.kind != ADJECTIVE), None)
    if after[first].text in ("are", "were") and complement is not None and complement.many:
        return None  # "are brown horses"
    return changes


def _may_hide_verb(after: Sequence[WordSpan]) -> bool:
    """Whether, where a verb may stand, there is a word that may be one and was not taken for one: "two dogs open a box", "two
    men on horseback patrol the street".
    """
    if any(word.kind == NOUN and following.kind == DETERMINER for word, following in pairwise(after)):
        return True
    places = [index for index in range(len(after)) if index == 0 or after[index - 1].text == "and"]
    return any(after[index].text in _OFTEN_VERBS and after[index].kind != VERB for index in places)


def _shared_out(after: Sequence[WordSpan]) -> bool:
    """Whether things follow of which each of the several has its own: "two men wear hats", "on bikes"."""
    for index, word in enumerate(after):
        if not word.many or not is_plural(word.text) or word.text.split()[-1] in ("clothes", "trousers", "jeans", "shorts"):
            continue
        opening = index - 1
        while opening >= 0 and after[opening].kind in (ADJECTIVE, NOUN):
            opening -= 1
        if opening < 0 or not (after[opening].kind in (DETERMINER, NUMBER) or after[opening].text in _PLACES):
            return True
    return False


def _changed(caption: str, changes: Sequence[tuple[int, int, str]]) -> str:
    for start, end, text in sorted(changes, reverse=True):
        caption = caption[:start] + text + caption[end:]
    return caption
