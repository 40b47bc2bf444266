"""The words and phrases that carry negation ("negation cues"), by what they do to the words around them."""

from __future__ import annotations

from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.language", "negation_cues.yaml")
_KINDS = ("before", "not", "missing", "gone", "neither", "nor", "none", "suffix", "hedge", "idle")

CUES: dict[tuple[str, ...], str] = {tuple(phrase.split()): kind for kind in _KINDS for phrase in _LISTS.phrases(kind)}
"""The kind of each cue; `scopes.py` has one rule for each kind, `negation_cues.yaml` says what the kinds are."""
_LONGEST_FIRST: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    first: tuple(sorted(((phrase, kind) for phrase, kind in CUES.items() if phrase[0] == first), key=lambda cue: -len(cue[0])))
    for first in sorted({phrase[0] for phrase in CUES})
}


def cue_at(words: list[str], start: int) -> tuple[int, str] | None:
    """The longest cue that begins at a word: (number of words, kind)."""
    for phrase, kind in _LONGEST_FIRST.get(words[start], ()):
        if len(phrase) == 1 or tuple(words[start : start + len(phrase)]) == phrase:
            return len(phrase), kind
    return None
