"""The words that carry negation, and the closed classes of words that bound how far it reaches."""

from __future__ import annotations

from shardmill.language.word_lists import word_lists, word_set

_LISTS = word_lists("shardmill.language", "cues.yaml")


_NEGATION = word_lists("shardmill.language", "negation.yaml")
_KINDS = ("before", "not", "missing", "gone", "neither", "nor", "none", "suffix", "hedge", "idle")

CUES: dict[tuple[str, ...], str] = {tuple(phrase.split()): kind for kind in _KINDS for phrase in _NEGATION.phrases(kind)}
"""Each cue with what it does to the words around it; `scopes.py` holds one rule for each kind."""
_LENGTHS: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    first: tuple(sorted(((phrase, kind) for phrase, kind in CUES.items() if phrase[0] == first), key=lambda cue: -len(cue[0])))
    for first in sorted({phrase[0] for phrase in CUES})
}

DEFINITE = word_set("the this that these those his her its their our your my")
DETERMINERS = DEFINITE | word_set("a an any some one two three four five another each every either")
AUXILIARIES = _LISTS.words("auxiliaries")
SINGULAR = word_set("is was has does")
VERBS = AUXILIARIES | _LISTS.words("verbs")
# What a thing does, or is, when it is in the picture.
SEEN = _LISTS.words("seen")
APPEARS = word_set("appear appears appeared appearing exist exists figure feature occur show come")
ADVERBS = _LISTS.words("adverbs")
PRONOUNS = _LISTS.words("pronouns")
PLACES = _LISTS.words("prepositions")
JOINS = _LISTS.words("joins")
RELATIVES = word_set("that which who")
MEDIA = word_set("image photo photograph picture video scene frame clip footage shot view sight setting film snapshot")
SENTENCE_ENDS = word_set(". ; ! ? ( ) [ ]")
PAUSES = word_set(": - ,") | SENTENCE_ENDS


def cue_at(words: list[str], start: int) -> tuple[int, str] | None:
    """The longest cue that begins at a word: (number of words, kind)."""
    for phrase, kind in _LENGTHS.get(words[start], ()):
        if len(phrase) == 1 or tuple(words[start : start + len(phrase)]) == phrase:
            return len(phrase), kind
    return None
