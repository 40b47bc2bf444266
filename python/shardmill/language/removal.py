"""A caption without one of its things, and still a caption: the joint goes too, or the scene that is left is described."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shardmill.language.function_words import AUXILIARIES
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import is_mass, with_article
from shardmill.language.placement import PlacePhrase, place_phrases
from shardmill.language.relations import mentions
from shardmill.language.rewriting import capital
from shardmill.language.visibility import is_visible
from shardmill.language.word_classes import (
    ADJECTIVE,
    ADVERB,
    CONJUNCTION,
    DETERMINER,
    GERUND,
    MARK,
    NOUN,
    NUMBER,
    PARTICIPLE,
    PREPOSITION,
    PRONOUN,
    VERB,
)
from shardmill.language.word_lists import word_set
from shardmill.language.word_spans import Phrase, WordSpan, phrase_around, word_spans

_LEAVABLE = word_set("with beside near behind by alongside next in close along and")
"""What joins a thing to a caption that does without it; `in` of "in front of"."""
_HELD = word_set("holding carrying wearing holds carries wears using pulling pushing")
_SEVERAL = re.compile(
    r"\b(?:both|each|together|between|another|other|others|they|them|their|it|its|he|she|him|his|her)\b", re.IGNORECASE
)
_STANDING = word_set("parked seated located situated placed lying sitting standing")
"""Participles that can do without what comes after their preposition; "filled" cannot."""
_PLACING = word_set("on in at near next beside by behind under over along through across around against atop inside outside")
_CLAUSE = (VERB, GERUND, PARTICIPLE, PRONOUN)


def without(caption: str, name: str) -> str | None:
    """The caption without an object; None where what is left would not be English.

    "A dog and a cat on a sofa" is "A cat on a sofa" without the dog; "A man with a dog" is "A man"; "A dog sleeping on a sofa" is
    "A sofa".
    """
    words = word_spans(caption)
    phrase = phrase_around(caption, words, name) if words else None
    if (
        words is None
        or phrase is None
        or caption.isupper()
        or len(mentions(caption, name)) != 1
        or _is_cut(caption, words, phrase)
    ):
        return None
    for way in (_from_list, _with_joint, _held, _scene_left):
        output = way(caption, words, phrase)
        if output is not None:
            text = re.sub(r"\s+([,.])", r"\1", " ".join(output.split()))
            return capital(text) if caption[:1].isupper() else text
    return None


def _is_cut(caption: str, words: Sequence[WordSpan], phrase: Phrase) -> bool:
    """Whether words before the phrase belong to it that were not read as such: "frosted donuts", "a piece of cake"."""
    before = words[phrase.first - 1] if phrase.first else None
    if before is None or any(each.noun_at == phrase.first for each in place_phrases(caption)):
        return False
    return before.kind in (PARTICIPLE, ADJECTIVE, ADVERB, NUMBER, NOUN) or before.text == "of"


def _from_list(caption: str, words: Sequence[WordSpan], phrase: Phrase) -> str | None:
    """Out of "a dog, a cat and a bird", or "a dog and a cat", if no verb would have to agree with one fewer."""
    if any(word.kind == VERB and word.text not in ("has", "have") for word in words[phrase.after :]):
        return None
    before, after = _text(words, phrase.first - 1), _text(words, phrase.after)
    if before == "and" and _ends(words, phrase.after, places=_places_at(caption)):
        return _without_last(caption, words, phrase)
    opens = phrase.first == 0 or words[phrase.first - 1].kind in (PREPOSITION, GERUND, VERB)
    goes_on = after == "and" or (after == "," and any(word.text == "and" for word in words[phrase.after : phrase.after + 8]))
    if goes_on and opens and _starts_noun(words, phrase.after + 1):
        return caption[: phrase.start] + _with_its_article(caption, words, phrase)
    earlier = words[phrase.first - 2] if phrase.first > 1 else None
    if before == "," and after in (",", "and") and earlier is not None and earlier.kind == NOUN:
        return caption[: earlier.end] + (" " if after == "and" else "") + caption[phrase.end :]
    return None


def _without_last(caption: str, words: Sequence[WordSpan], phrase: Phrase) -> str | None:
    """Without the last of a list: "a, b and c" becomes "a and b"."""
    at = phrase.first - 2 - (_text(words, phrase.first - 2) == ",")
    start = at
    while start >= 0 and words[start].kind in (NOUN, ADJECTIVE, PARTICIPLE, NUMBER, DETERMINER):
        start -= 1
        if words[start + 1].kind in (DETERMINER, NUMBER):
            break
    if at < 0 or words[at].kind != NOUN or (start >= 0 and words[start].kind == NOUN):
        return None
    kept = caption[: words[at].end]
    if _text(words, start) == ",":
        kept = f"{caption[: words[start].start]} and{caption[words[start].end : words[at].end]}"
    return kept + caption[phrase.end :]


def _with_its_article(caption: str, words: Sequence[WordSpan], phrase: Phrase) -> str:
    """What follows "a dog and" or "a dog,", with the article that "cat" lacks in "a dog and cat"."""
    following = words[phrase.after + 1]
    rest = caption[following.start :]
    noun = next((word for word in words[phrase.after + 1 :] if word.kind == NOUN), following)
    lacks_one = words[phrase.first].text in ("a", "an") and following.kind in (NOUN, ADJECTIVE, PARTICIPLE)
    if not lacks_one or noun.many or is_mass(noun.text):
        return rest
    return with_article(caption[following.start : noun.end]) + caption[noun.end :]


def _with_joint(caption: str, words: Sequence[WordSpan], phrase: Phrase) -> str | None:
    """Off the end of "a man with a dog", with the preposition; a place that follows stays."""
    joint = next(
        (each for each in place_phrases(caption) if each.noun_at == phrase.first or each.noun_start == phrase.start), None
    )
    if joint is None or joint.preposition.split()[0] not in _LEAVABLE or joint.at < 2 or joint.supports:
        return None
    last = joint.at - 1
    if words[last].kind == PARTICIPLE and words[last].text not in _STANDING:
        return None
    ends = _ends(words, phrase.after)
    while last > 1 and (words[last].text in AUXILIARIES or (ends and words[last].text in _STANDING)):
        last -= 1  # "two men are next to a train" leaves two men
    if words[last].kind not in (NOUN, GERUND, VERB, PARTICIPLE) or not (ends or _ends(words, phrase.after, _places_at(caption))):
        return None
    return caption[: words[last].end] + caption[phrase.end :]


def _held(caption: str, words: Sequence[WordSpan], phrase: Phrase) -> str | None:
    """Out of "a man holding an umbrella in the rain", with the word that says that he holds it."""
    before = words[phrase.first - 1] if phrase.first > 1 else None
    earlier = words[phrase.first - 2] if phrase.first > 1 else None
    if before is None or earlier is None or before.text not in _HELD or earlier.kind != NOUN or not before.text.endswith("ing"):
        return None
    if not _ends(words, phrase.after, places=_places_at(caption)):
        return None
    return caption[: earlier.end] + caption[phrase.end :]


def _scene_left(caption: str, words: Sequence[WordSpan], phrase: Phrase) -> str | None:
    """What is left of "a dog sleeping on a big sofa" without the dog: "a big sofa"."""
    opening = caption[: phrase.start].strip().lower()
    if opening not in ("", "there is", "there are") or _SEVERAL.search(caption[phrase.end :]):
        return None
    if phrase.after < len(words) and words[phrase.after].kind in (CONJUNCTION, MARK):
        return None
    place = next((each for each in place_phrases(caption) if each.at >= phrase.after), None)
    if place is None or place.preposition.split()[0] not in _PLACING or not is_visible(place.noun) or place.noun == "air":
        return None
    if any(word.kind == CONJUNCTION and word.text != "and" for word in words[place.at :]):
        return None
    entry = lexicon().find(place.noun)
    if words[place.at - 1].kind == PREPOSITION or (entry is not None and entry.category in ("clothing", "body", "part")):
        return None
    if any(word.kind in _CLAUSE for word in words[place.noun_at :] if not _describes(words, word)):
        return None
    if any(word.kind == NOUN or word.text in (",", "and") for word in words[phrase.after : place.at]):
        return None
    return caption[place.noun_start :]


def _describes(words: Sequence[WordSpan], word: WordSpan) -> bool:
    """Whether a participle stands before its noun: "a covered bridge"."""
    at = words.index(word)
    is_inside = 0 < at < len(words) - 1 and words[at + 1].kind == NOUN
    return is_inside and word.kind in (PARTICIPLE, GERUND) and words[at - 1].kind in (DETERMINER, ADJECTIVE, NUMBER, PREPOSITION)


def _text(words: Sequence[WordSpan], at: int) -> str:
    return words[at].text if 0 <= at < len(words) else ""


def _starts_noun(words: Sequence[WordSpan], at: int) -> bool:
    return at < len(words) and words[at].kind not in (*_CLAUSE, PREPOSITION, CONJUNCTION, MARK)


def _places_at(caption: str) -> dict[int, PlacePhrase]:
    return {each.at: each for each in place_phrases(caption)}


def _ends(words: Sequence[WordSpan], at: int, places: dict[int, PlacePhrase] | None = None) -> bool:
    """Whether nothing of a thing's own follows: the caption ends, or says next in which place all of it is."""
    if at >= len(words) or (words[at].text == "." and at == len(words) - 1):
        return True
    place = (places or {}).get(at)
    return place is not None and place.is_background
