"""Small edits of a caption: another noun or adjective, a phrase less, another place. None where it would not be English."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from shardmill.embedded.rules.phrases import capital, joined
from shardmill.language.actions import verb_stem
from shardmill.language.appearance import COLORS, MATERIALS, SHADES, words_of
from shardmill.language.backgrounds import is_background
from shardmill.language.locatives import locative
from shardmill.language.nouns import is_plural, plural, with_article
from shardmill.language.relations import mentions
from shardmill.language.tagging import CONJUNCTION, DETERMINER, NOUN, POSSESSIVE, PREPOSITION, PRONOUN, VERB
from shardmill.language.word_spans import Phrase, WordSpan, phrase_around, word_spans

_STAND_IN = ("in", "on", "at", "near", "beside", "behind", "under", "inside", "outside", "by", "around", "along", "across")
_BEFORE_DROPPED = frozenset(
    {"with", "beside", "near", "behind", "by", "on", "in", "at", "under", "over", "from", "against", "along"}
)
_BEFORE_PLACES = frozenset({"in", "on", "at", "by", "near", "across", "through", "along", "to", "from"})
_CLOSELY_BOUND = frozenset({"in", "on", "at", "with", "by", "over"})
_MADE_OF = re.compile(r" made of \w+")


def core(caption: str) -> str:
    """The caption without its full stop."""
    return " ".join(caption.split()).rstrip(" .!")


def listed(caption: str, names: Iterable[str]) -> str:
    """A caption that only names some things of another one, as that one describes them: "Two dogs and a red sled on a beach"."""
    known = list(names)
    standing = [_as_described(caption, name) for name in known if not is_background(name)][:5]
    places = [locative(name) for name in known if is_background(name)][:1]
    text = " ".join([joined(standing, "and") or "an empty scene", *places])
    return capital(text if " " in text else f"some {text}")


def described(caption: str, name: str, word: str, instead: frozenset[str]) -> str | None:
    """The caption with an adjective before an object's name, instead of those in `instead`; the article is adapted."""
    found = _found(caption, name)
    if found is None:
        return None
    words, phrase = found
    dropped = instead | (SHADES if instead == COLORS else frozenset())
    own = caption[phrase.name : phrase.end]
    if phrase.name == 0 and not own.isupper():
        own = own[:1].lower() + own[1:]
    kept = [each for each in caption[phrase.modifiers : phrase.name].split() if not set(words_of(each)) <= dropped]
    if not set(words_of(caption[phrase.modifiers : phrase.name])) & instead:
        kept = caption[phrase.modifiers : phrase.name].split()
    return _with_phrase(caption, words, phrase, " ".join([*kept, word, own]))


def replaced(caption: str, name: str, new: str) -> str | None:
    """The caption with an object replaced by another, in the same number (singular or plural)."""
    found = _found(caption, name)
    if found is None:
        return None
    words, phrase = found
    many = is_plural(caption[phrase.name : phrase.end])
    kept = caption[phrase.modifiers : phrase.name].split()
    output = _with_phrase(caption, words, phrase, " ".join([*kept, plural(new) if many else new]))
    return None if output is None or mentions(output, name) else output


def without(caption: str, name: str) -> str | None:
    """The caption without an object and the word that joined it to the rest; None where the rest would not be English."""
    found = _found(caption, name)
    if found is None or len(mentions(caption, name)) != 1:
        return None
    words, phrase = found
    before = words[phrase.first - 1] if phrase.first else None
    after = words[phrase.after] if phrase.after < len(words) else None
    ends = after is None or after.text in (",", ".") or after.kind in (PREPOSITION, VERB)
    if (
        before is None
        or not ends
        or (after is not None and (after.text == "of" or (after.kind == VERB and before.kind != PREPOSITION)))
    ):
        return None
    earlier = words[phrase.first - 2] if phrase.first > 1 else None
    if earlier is None or (before.text in _CLOSELY_BOUND and earlier.kind == VERB and after is not None):
        return None
    joins = before.kind == CONJUNCTION and before.text == "and" and earlier.kind == NOUN and after is None
    if before.text in _BEFORE_DROPPED and (earlier.kind == NOUN or (after is None and earlier.kind != PREPOSITION)):
        return caption[: earlier.end] + caption[phrase.end :]
    return caption[: earlier.end] + caption[phrase.end :] if joins else None


def made_of(caption: str, name: str, material: str) -> list[str]:
    """The caption with an object of a material, in the ways that it can be said."""
    adjective = {"wood": "wooden", "gold": "golden"}.get(material, material)
    outputs = [described(caption, name, adjective, MATERIALS)]
    found = _found(caption, name)
    if found is not None:
        words, phrase = found
        after = words[phrase.after] if phrase.after < len(words) else None
        clear = not set(words_of(caption[phrase.modifiers : phrase.name])) & MATERIALS
        if clear and (after is None or (after.kind not in (NOUN, POSSESSIVE) and after.text != "of")):
            outputs.append(f"{caption[: phrase.end]} made of {material}{caption[phrase.end :]}")
    return [output for output in outputs if output is not None]


def elsewhere(caption: str, preposition: str, place: str) -> tuple[str, str | None]:
    """(the caption at another place, the place that it named before or None)."""
    words = word_spans(caption) or ()
    for at, word in enumerate(words):
        if word.kind != PREPOSITION or word.text not in _BEFORE_PLACES:
            continue
        end = _place_end(words, at + 1)
        if end is not None:
            named = caption[words[at + 1].start : words[end].end]
            rest = caption[: word.start].rstrip() + caption[words[end].end :].rstrip(" .")
            if len(rest.split()) > 1:
                return f"{rest.strip()} {preposition} {place}", named
    return f"{core(caption)} {preposition} {place}", None


def doing(caption: str, agent: str, verb: str, action: str) -> str | None:
    """The caption with a verb and its object replaced by another action; the place where it happens stays."""
    words = word_spans(caption)
    if words is None:
        return None
    at = next((place for place, word in enumerate(words) if word.text == verb.lower() and word.kind != NOUN), None)
    if at is None:
        return None
    first, _, rest = action.partition(" ")
    form = gerund(first) if verb.endswith("ing") else third_person(first) if verb.endswith("s") else first
    stays = next((word.start for word in words[at + 1 :] if word.kind == PREPOSITION and word.text in _STAND_IN), None)
    tail = caption[stays:].rstrip(" .") if stays is not None else ""
    if re.search(r"\b(?:while|as|who|that|which|it|them|him|her)\b", tail) or "," in tail:
        tail = ""
    output = " ".join(f"{caption[: words[at].start]} {form} {rest} {tail}".split())
    return None if verb_stem(verb) in map(verb_stem, words_of(output)) or not mentions(output, agent) else output


def gerund(verb: str) -> str:
    """Sit -> sitting, dance -> dancing, lie -> lying."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe")):
        return verb[:-1] + "ing"
    short = re.fullmatch(r"[^aeiou]*[aeiou][bdgmnprt]", verb) is not None
    return verb + verb[-1] + "ing" if short else verb + "ing"


def third_person(verb: str) -> str:
    """Sit -> sits, stretch -> stretches."""
    return verb + "es" if verb.endswith(("s", "x", "z", "ch", "sh")) else verb + "s"


def _as_described(caption: str, name: str) -> str:
    """An object as the caption describes it, with an article or a number."""
    found = _found(caption, name)
    if found is None:
        return with_article(name)
    phrase = found[1]
    bare = caption[phrase.modifiers : phrase.end]
    if bare[:1].isupper() and phrase.modifiers == 0:
        bare = bare[:1].lower() + bare[1:]
    made = _MADE_OF.match(caption, phrase.end)
    return with_article(bare) + (made[0] if made else "")


def _found(caption: str, name: str) -> tuple[Sequence[WordSpan], Phrase] | None:
    words = word_spans(caption)
    phrase = phrase_around(caption, words, name) if words else None
    return None if words is None or phrase is None else (words, phrase)


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


def _place_end(words: Sequence[WordSpan], start: int) -> int | None:
    """The index of the last word of the noun phrase from `start` on, if it names a place, else None."""
    for at in range(start, min(start + 5, len(words))):
        word = words[at]
        if word.kind == NOUN and (at + 1 == len(words) or words[at + 1].kind not in (NOUN, POSSESSIVE)):
            follows = words[at + 1].text if at + 1 < len(words) else ""
            return at if is_background(word.text) and follows != "of" else None
        if word.kind in (PREPOSITION, VERB, CONJUNCTION, PRONOUN):
            return None
    return None
