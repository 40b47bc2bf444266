"""Small edits of a caption: another noun, adjective or material for one of its things. None where it would not be English."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shardmill.language.appearance import COLORS, MATERIALS, SHADES, has_word, words_of
from shardmill.language.named_number import is_several
from shardmill.language.nouns import plural, with_article
from shardmill.language.relations import mentions
from shardmill.language.word_classes import ADJECTIVE, DETERMINER, NOUN, PARTICIPLE, POSSESSIVE
from shardmill.language.word_lists import word_set
from shardmill.language.word_spans import Phrase, WordSpan, phrase_around, word_spans

_MADE_OF = re.compile(r"\s+(?:made|built|carved|constructed) (?:out )?(?:of|from)\b", re.IGNORECASE)
_ADJECTIVES = {"wood": "wooden", "gold": "golden"}
_MEASURES = word_set(
    "slice slices piece pieces wedge loaf loaves cup glass mug bottle can carton pot head ear cob stick scoop bit bite"
)
_IRREGULAR = {"are": "is", "were": "was", "have": "has", "do": "does"}


def core(caption: str) -> str:
    """The caption without its full stop."""
    return " ".join(caption.split()).rstrip(" .!")


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def colored(caption: str, name: str, color: str) -> str | None:
    """The caption with an object in another colour: "a big red bus" becomes "a big blue bus"."""
    return _described(caption, name, color, instead=COLORS | SHADES, before=MATERIALS)


def looking(caption: str, name: str, look: str) -> str | None:
    """The caption with an adjective for an object, before its colour and its material."""
    return _described(caption, name, look, instead=frozenset(), before=COLORS | SHADES | MATERIALS)


def replaced(caption: str, name: str, new: str) -> str | None:
    """The caption with an object replaced by another, in the same number (singular or plural). Its material goes with it.

    None for what belongs to another noun: the remote of "a Wii remote", the pizza of "a slice of pizza".
    """
    found = _found(caption, name)
    if found is None:
        return None
    words, phrase = found
    if _belongs_to_others(words, phrase):
        return None
    many = is_several(caption, phrase.name, phrase.end)
    kept = [each for each in caption[phrase.modifiers : phrase.name].split() if each.lower() not in MATERIALS]
    output = _with_phrase(caption, words, phrase, " ".join([*kept, plural(new) if many else new]))
    return None if output is None or mentions(output, name) else output


def is_exchangeable(caption: str, name: str) -> bool:
    """Whether an object can be exchanged by itself: not the pizza of "a slice of pizza"."""
    found = _found(caption, name)
    return found is None or not _belongs_to_others(*found)


def _belongs_to_others(words: Sequence[WordSpan], phrase: Phrase) -> bool:
    """Whether an object cannot be exchanged by itself: "a Wii remote", "a slice of pizza", "a box of donuts", "into a ball"."""
    at = next(at for at, word in enumerate(words) if word.end > phrase.name)
    before = [words[index].text for index in range(max(0, phrase.first - 2), phrase.first)]
    is_compound = any(word.kind == NOUN and word.text not in MATERIALS for word in words[phrase.first : at])
    measured = before[-1:] == ["of"] and before[0] in _MEASURES
    after = [words[index] for index in range(phrase.after, min(phrase.after + 2, len(words)))]
    holds = bool(after) and after[0].text == "of"
    describes = [word.kind for word in after] == [PARTICIPLE, NOUN]  # "a tree covered park"
    return is_compound or measured or holds or describes or before[-1:] in (["into"], ["about"])


def made_of(caption: str, name: str, material: str) -> list[str]:
    """The caption with an object of another material, in the ways that it can be said; never of two materials."""
    found = _found(caption, name)
    if found is None or _MADE_OF.match(caption, found[1].end) or has_word(caption[found[1].name : found[1].end], MATERIALS):
        return []
    words, phrase = found
    after = words[phrase.after] if phrase.after < len(words) else None
    if after is not None and after.kind == POSSESSIVE:
        return []
    outputs = [_described(caption, name, _ADJECTIVES.get(material, material), instead=MATERIALS, before=frozenset())]
    is_bare = not has_word(caption[phrase.modifiers : phrase.name], MATERIALS)
    if is_bare and (after is None or (after.kind != NOUN and after.text != "of")):
        outputs.append(f"{caption[: phrase.end]} made of {material}{caption[phrase.end :]}")
    return [output for output in outputs if output is not None]


def gerund(verb: str) -> str:
    """Sit -> sitting, dance -> dancing, lie -> lying."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe")):
        return verb[:-1] + "ing"
    short = re.fullmatch(r"[^aeiou]*[aeiou][bdgmnprt]", verb) is not None
    return verb + verb[-1] + "ing" if short else verb + "ing"


def third_person(verb: str) -> str:
    """The verb as "it" takes it: run -> runs, watch -> watches, fly -> flies, are -> is. Case of the stem as it was."""
    low = verb.lower()
    if low in _IRREGULAR:
        return _IRREGULAR[low] if verb != verb.capitalize() else _IRREGULAR[low].capitalize()
    if low.endswith(("s", "x", "z", "ch", "sh", "o")):
        return verb + "es"
    if low.endswith("y") and low[-2:-1] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


def _described(caption: str, name: str, word: str, instead: frozenset[str], before: frozenset[str]) -> str | None:
    """The caption with an adjective for an object: instead of those in `instead`, before those in `before` and before nouns."""
    found = _found(caption, name)
    if found is None:
        return None
    words, phrase = found
    own = [each for each in words if phrase.modifiers <= each.start and each.end <= phrase.name]
    if "," in caption[phrase.modifiers : phrase.name]:
        return None
    is_replaced = any(each.text in instead for each in own)
    kept = [each for each in own if not (is_replaced and set(words_of(each.text)) <= instead)]
    at = next((place for place, each in enumerate(kept) if each.text in before or each.kind == NOUN), len(kept))
    texts = [caption[each.start : each.end] for each in kept]
    if texts and phrase.modifiers == 0 and not texts[0].isupper():
        texts[0] = texts[0][:1].lower() + texts[0][1:]
    noun = caption[phrase.name : phrase.end]
    if phrase.name == 0 and not noun.isupper():
        noun = noun[:1].lower() + noun[1:]
    return _with_phrase(caption, words, phrase, " ".join([*texts[:at], word, *texts[at:], noun]))


def _found(caption: str, name: str) -> tuple[Sequence[WordSpan], Phrase] | None:
    """The words and the noun phrase of an object; None where more adjectives stand before an "and" ("black and white")."""
    words = word_spans(caption)
    phrase = phrase_around(caption, words, name) if words else None
    if words is None or phrase is None:
        return None
    earlier = words[phrase.first - 2] if phrase.first > 1 and words[phrase.first - 1].text in ("and", "or", ",") else None
    has_own = phrase.modifiers < phrase.name and words[phrase.first].kind != DETERMINER
    if earlier is not None and has_own and (earlier.kind == ADJECTIVE or earlier.text in COLORS | MATERIALS):
        return None
    return words, phrase


def _with_phrase(caption: str, words: Sequence[WordSpan], phrase: Phrase, text: str) -> str | None:
    """The caption with the phrase's modifiers and name changed to a text; "a" and "an" follow its first word."""
    opening = caption[phrase.start : min(phrase.modifiers, phrase.name)]
    if words[phrase.first].kind == DETERMINER and words[phrase.first].text in ("a", "an") and opening.strip():
        article = with_article(text)
        if article == text:
            return None
        text = article if opening[0].islower() else capital(article)
    elif phrase.start == 0 and not opening.strip():
        text = capital(text) if caption[0].isupper() else text
    else:
        text = opening + text
    return caption[: phrase.start] + text + caption[phrase.end :]
