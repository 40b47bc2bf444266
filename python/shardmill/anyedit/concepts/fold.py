"""One spelling per concept: case, number and articles folded; a name of several words stays whole."""

from __future__ import annotations

from shardmill.language.nouns import ARTICLES, fold, is_plural

# Before a singular these are part of the name: "four leaf clover", "no entry sign".
_COUNTS = frozenset({"two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "several", "many", "few"})


def concept_of(name: str) -> str:
    """The concept that a cleaned name stands for: "Red kayaks" -> "red kayak", "the scissors" -> "scissors"."""
    words = name.lower().split()
    while len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    rest = " ".join(words[1:])
    folded = fold(" ".join(words))
    if not rest or folded.split()[0] == words[0] or " of " in f" {rest} " or (words[0] in _COUNTS and is_plural(rest)):
        return folded
    return f"{words[0]} {fold('the ' + rest)}"


def spelling_key(concept: str) -> str:
    """What spellings of one concept share: "tea pot", "tea-pot" and "teapot"."""
    return concept.replace(" ", "").replace("-", "").replace("'", "")
