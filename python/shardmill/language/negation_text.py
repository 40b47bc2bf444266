"""A sentence as plain lower-case words, in which every negation is a word and every name of several words is one."""

from __future__ import annotations

import re
from functools import cache

from shardmill.language.function_words import ADVERBS, JOINS, PREPOSITIONS, SEEN, VERBS
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import plural
from shardmill.language.word_lists import word_set

_TOKEN = re.compile(r"\w+(?:['-]+\w+)*|[^\w\s]")
_LISTED = PREPOSITIONS | JOINS | VERBS | SEEN | ADVERBS | {"and", "or"}
# Affixal negation that has become a quality: a wireless mouse is no mouse of which the wires are missing.
_NOT_WITHOUT = word_set(
    "wireless stainless homeless topless tireless matchless spotless heartless pointless paperless unless regardless",
)

_FOLD = str.maketrans("\u2019\u2018\u02bc\u201c\u201d\u2013\u2014_", "'''\"\"-- ")
_ASIDE = re.compile(
    r", (?:however|though|unfortunately|sadly|meanwhile|on the other hand|by contrast|in contrast|of course|alas|in fact),"
)
_SUFFIX = re.compile(r"\b(\w{3,}?)(-free|less)\b")
_NO_ONE = re.compile(r"\bno(?:body|[ -]one)\b")
# "a no parking sign", "no smoking signs": "no" is part of what the sign says.
_ON_A_SIGN = re.compile(r"\b(an?|the|this|that|another|one) no\b|\bno(?= \w+ing (?:sign|zone|area|symbol|notice)s?\b)")
_LEFT_OUT = re.compile(r"\b(leaves?|leaving|left) ((?:[\w-]+ ){1,4})out\b(?! of)")
_DASH = re.compile(r"(?<=\S)-{2,}(?=\S)|(?<=\s)-+(?=\s)")


def normal_text(sentence: str) -> str:
    """The sentence in lower case with plain quotes, and with every negation in a word of its own."""
    text = sentence.translate(_FOLD).lower()
    if "n't" in text:
        text = text.replace("n't", " not")
    if "cannot" in text:
        text = text.replace("cannot", "can not")
    if "no" in text:
        text = _ON_A_SIGN.sub(lambda match: match[1] or "", _NO_ONE.sub("no person", text))
    if "-free" in text or "less" in text:
        text = _SUFFIX.sub(lambda match: match[0] if match[0] in _NOT_WITHOUT else f"{match[1]} _{match[2].lstrip('-')}", text)
    if " out" in text:
        text = _LEFT_OUT.sub(r"\1 out \2", text)
    if "--" in text or " -" in text:
        text = _DASH.sub(" - ", text)
    return _ASIDE.sub("", text) if ", " in text else text


def word_spans(text: str) -> list[tuple[str, int, int]]:
    """(word or mark, start, end) in order; a name such as "can opener" is one word, so that its "can" bounds nothing."""
    found = [(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(text)]
    names = _names_like_phrases()
    for at in range(len(found) - 1, -1, -1):
        for name in names.get(found[at][0], ()):
            if tuple(token[0] for token in found[at : at + len(name)]) == name:
                found[at : at + len(name)] = [(" ".join(name), found[at][1], found[at + len(name) - 1][2])]
                break
    return found


@cache
def _names_like_phrases() -> dict[str, tuple[tuple[str, ...], ...]]:
    """Lexicon names of several words, one of which is a function word, by their first word."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for entry in lexicon().entries.values():
        for form in (entry.name, entry.plural, *entry.synonyms, *map(plural, entry.synonyms)):
            words = tuple(form.lower().split())
            if len(words) > 1 and not _LISTED.isdisjoint(words):
                found.setdefault(words[0], set()).add(words)
    return {first: tuple(sorted(names, key=lambda name: (-len(name), name))) for first, names in found.items()}
