"""Misspelled words of captions: those that English does not have, and the word that each must be.

A word is corrected only to the vocabulary of captions: the words of the lexicon and common English. What has no near word there
is left as it is, for it may be a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache

from shardmill.language.appearance import COLORS, MATERIALS, SHADES, SIZES
from shardmill.language.general_english import common_words, general_lexicon
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import plural, singular
from shardmill.language.physical_nouns import physical_nouns
from shardmill.language.visibility import is_known, names_thing
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.language", "spelling.yaml")
_CACHE = 1 << 16
_TEXTS = 1 << 10
"""Every stage of a row asks for the same text, one after another."""
_SHORTEST = 4
"""Shorter words are near too many others."""
_LONG = 8
"""From this length on, two letters may be wrong."""
_MEDIUM = 6
"""From this length on, two letters may be wrong in a word that sounds right."""
_DOUBLED = re.compile(r"([a-z])\1")
_SAME_SOUNDS = {"ph": "f", "ck": "k", "c(?![eiyh])": "k", "ei": "ie", "el$": "le", "els$": "les", "eo": "oe"}
_SOUNDS = [(re.compile(letters), sound) for letters, sound in _SAME_SOUNDS.items()]
_WORD = re.compile(r"(?<![\w@#'’.-])[A-Za-z]{2,24}(?![\w@'’-]|\.\w)")
_PAIR = re.compile(r"(?<![\w'’-])([A-Za-z]{3,12}) (?=([a-zA-Z]{3,12})(?![\w'’-]))")
_CUT_WITHOUT = re.compile(r"\b(with) (?=out (?:an?|the|any|his|her|its|their)\b)", re.IGNORECASE)
_GLUED_BEFORE = ("a", "an", "the", "of", "on", "in", "with", "and", "to", "at")
_GLUED_AFTER = ("a", "of", "on", "in", "with", "and", "to", "at", "the", "up")
_FIXED = _LISTS.mapping("misspellings")
_COMMON = 20
"""How often a million words must have a word that the lexicon does not list, for others to be corrected to it."""
_SECOND_PARTS = _LISTS.words("second_parts")
_CONFUSED = {
    word: (better, re.compile(rf"\b(?:{around})\b"))
    for word, better, around in (entry.split(" ") for entry in _LISTS.phrases("confused"))
}
_ALSO_WORDS = _LISTS.words("words") | COLORS | MATERIALS | SHADES
_ENDINGS = ("s", "es", "ed", "d", "ing", "er", "ers", "ly", "y", "like", "less", "ish")


@lru_cache(maxsize=_TEXTS)
def corrected(text: str) -> str:
    """The text with its misspelled words corrected; capitals stay. Names, and what no word is near to, are left as they are."""
    text = _CUT_WITHOUT.sub(r"\1", text)
    return _in_context(_joined(_WORD.sub(_replacement, text)))


@lru_cache(maxsize=_CACHE)
def correction(word: str) -> str | None:
    """What a word in lower case must be: "womman" is "woman" and "akite" is "a kite". None if it is a word, or may be a name."""
    if word in _FIXED:
        return _FIXED[word]
    if len(word) < _SHORTEST:
        return None
    one = singular(word)
    if one != word and is_known(one) and word not in general_lexicon() and plural(one) != word:
        return plural(one)  # "tomatos"
    if is_word(word):
        return None
    near = _nearest(word)
    if _is_compound(word):
        return near if near is not None and is_known(near) and _distance(word, near) == 1 else None
    return _split(word) or near


@lru_cache(maxsize=_CACHE)
def is_word(word: str) -> bool:
    """Whether English has a word in lower case: in some form, or as a name."""
    one = singular(word)
    if _has(word) or (_has(one) and (one == word or plural(one) == word)):
        return True
    return any(word.endswith(end) and (_has(word[: -len(end)]) or _has(word[: -len(end)] + "e")) for end in _endings(word))


def _endings(word: str) -> tuple[str, ...]:
    """The endings that a word may have: -s and -es only where English adds them so: "flows", not "flowes"."""
    regular = [stem for end in ("s", "es") if (stem := word.removesuffix(end)) != word and plural(stem) == word]
    return _ENDINGS if regular or not word.endswith("s") else tuple(end for end in _ENDINGS if end not in ("s", "es"))


def _is_compound(word: str) -> bool:
    """Whether a word is made of two of three letters or more: "ballfield"."""
    return any(word[:at] in general_lexicon() and _is_second_part(word[at:]) for at in range(3, len(word) - 2))


def _replacement(match: re.Match[str]) -> str:
    word = match.group()
    # A capital within a sentence marks a name; at its start, and where all is in capitals, it says nothing.
    if word[0].isupper() and not word.isupper() and word.lower() not in _FIXED and match.string[: match.start()].strip(" \"'“‘("):
        return word
    better = correction(word.lower())
    if better is None:
        return word
    if word.isupper():
        return better.upper()
    return better.capitalize() if word[0].isupper() else better


def _has(word: str) -> bool:
    general = general_lexicon()
    return (
        word in general
        or word.capitalize() in general
        or word.upper() in general
        or word in _vocabulary()
        or (word in physical_nouns() or word in _ALSO_WORDS)
    )


def _split(word: str) -> str | None:
    """Two words that stand together without a blank, one of them an article or a preposition."""
    for small in _GLUED_BEFORE:
        rest = word.removeprefix(small)
        if rest != word and len(rest) > 2 and rest in _vocabulary():
            return f"{small} {rest}"
    for small in _GLUED_AFTER:
        rest = word.removesuffix(small)
        if rest != word and len(rest) > 2 and rest in _vocabulary():
            return f"{rest} {small}"
    return None


def _nearest(word: str) -> str | None:
    """The word of captions that is one letter away, or two where the word is long: the commonest, if it is common enough."""
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import extract

    words = _vocabulary()
    reach = 2 if len(word) >= _LONG else 1
    far = 2 if len(word) >= _MEDIUM else 1
    sound = _sound(word)
    near = extract(word, list(_by_length(len(word), far)), scorer=OSA.distance, score_cutoff=far, limit=40)
    ranked = sorted(
        (_sound(found) != sound, distance, found[0] != word[0], -words[found], found)
        for found, distance, _ in near
        if distance <= reach or _sound(found) == sound
    )
    return next((each[-1] for each in ranked if _begins_alike(word, each[-1])), None)


@lru_cache(maxsize=_CACHE)
def _sound(word: str) -> str:
    """What a word sounds like, roughly: "trunck" and "trunk", "peice" and "piece", "baterry" and "battery" alike."""
    text = _DOUBLED.sub(r"\1", word)
    for letters, sound in _SOUNDS:
        text = letters.sub(sound, text)
    return text


def _distance(word: str, other: str) -> int:
    from rapidfuzz.distance import OSA

    return OSA.distance(word, other)


def _begins_alike(word: str, other: str) -> bool:
    """Whether two words begin with the same letter, or one has a letter before the other: few misspell the first one."""
    return word[0] == other[0] or word[1:] == other or other[1:] == word or word[:2] == other[1::-1]


def _joined(text: str) -> str:
    """The text with the words that it has cut in two made whole: "lap top", "wet suit"."""
    for match in reversed(list(_PAIR.finditer(text))):
        first, second = match.groups()
        if (first.lower(), singular(second.lower())) in _cut_compounds():
            end = match.start(2)
            text = text[: end - 1] + (second if first.isupper() else second.lower()) + text[end + len(second) :]
    return text


def _in_context(text: str) -> str:
    """The text with words that are no misspellings by themselves: who skis on "skies" has skis."""
    low = text.lower()
    for word, (better, around) in _CONFUSED.items():
        if word in low and around.search(low):
            text = re.sub(rf"\b{word}\b", better if not text.isupper() else better.upper(), text, flags=re.IGNORECASE)
    return text


@cache
def _cut_compounds() -> frozenset[tuple[str, str]]:
    """The words of the lexicon that are made of two, where the two together mean nothing else."""
    names = {name for entry in lexicon().entries.values() for name in entry.names} | set(lexicon().scenes)
    pairs = {(name[:at], name[at:]) for name in names for at in range(3, len(name) - 2) if name.isalpha()}
    whole = {pair for pair in pairs if " ".join(pair) not in names and _is_first_part(pair[0]) and _is_second_part(pair[1])}
    cut = {(first, second) for first, second in map(str.split, _LISTS.phrases("cut"))}
    apart = {(first, second) for first, second in map(str.split, _LISTS.phrases("apart"))}
    return frozenset((whole | cut) - apart)


def _is_first_part(word: str) -> bool:
    return general_lexicon().get(word, "")[:3] in ("NN", "VB", "JJ", "RB", "VBG") and word not in COLORS | SIZES


def _is_second_part(word: str) -> bool:
    return names_thing(word) or word in _SECOND_PARTS


@lru_cache(maxsize=64)
def _by_length(length: int, reach: int) -> tuple[str, ...]:
    return tuple(word for word in _vocabulary() if abs(len(word) - length) <= reach and len(word) >= _SHORTEST - 1)


@cache
def _vocabulary() -> dict[str, int]:
    """The words of captions, with how common each is."""
    counts = {word: count for word, count in common_words().items() if count >= (_COMMON if not is_known(word) else 5)}
    for word in _ALSO_WORDS:
        counts[word] = counts.get(word, 0) + _COMMON
    for word in _lexicon_words():
        counts[word] = counts.get(word, 0) + 200
    return counts


def _lexicon_words() -> Iterable[str]:
    for entry in lexicon().entries.values():
        for name in entry.names:
            yield from name.split()
            yield from plural(name).split()
