"""How far each negation of a sentence reaches: a scope for each cue, as a span of characters.

A scope here is narrower than in linguistics (Huddleston & Pullum, chapter 9; the *SEM 2012 shared task): not the clause that is
denied, but the noun phrases that name what is said to be absent. It is a list of noun phrases after the cue, or the subject
before it, and a phrase of place ends it: "no dog on the bench" does not deny the bench.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from shardmill.language.clause_words import LEADING, STOPS, ClauseWords
from shardmill.language.function_words import (
    ADVERBS,
    APPEARS,
    AUXILIARIES,
    DEFINITE,
    JOINS,
    MEDIA,
    PAUSES,
    PREPOSITIONS,
    SEEN,
    SENTENCE_ENDS,
)
from shardmill.language.negation_text import normal_text, word_spans

_ENDS_ITEM = PAUSES | {"and", "or", "nor"}
# "is not among the animals", "does not accompany the dog": the subject is what is missing, the dog is there.
_WITH_THE_REST = frozenset({"among", "amongst", "accompany", "join"})
_MAKES_IT = frozenset({("make", "the", "cut"), ("make", "an", "appearance"), ("make", "it", "into"), ("make", "it", "in")})
_ANAPHORS = frozenset({"one", "any", "it", "them", "either", "some"})

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Scope:
    """The characters of the normal text that a cue governs. A hedge is neither an affirmation nor a denial."""

    start: int
    end: int
    cue: str
    hedge: bool


@lru_cache(maxsize=1 << 13)
def scopes(sentence: str) -> tuple[str, tuple[Scope, ...]]:
    """The normal text of a sentence and the scopes of its cues, in order."""
    text = normal_text(sentence)
    spans = word_spans(text)
    clause = ClauseWords([word for word, _, _ in spans])
    found = []
    for first, count, kind in clause.cues:
        words = _governed(clause, first, count, kind)
        if words and words[0] < words[1]:
            start, end = spans[words[0]][1], spans[words[1] - 1][2]
            found.append(Scope(start, end, _label(clause.words[first : first + count]), kind == "hedge"))
    return text, tuple(found)


def _label(words: list[str]) -> str:
    return "not" if words[0] == "not" else " ".join(words).replace("_", "-")


def _governed(clause: ClauseWords, first: int, count: int, kind: str) -> Range | None:
    """The words that the cue at `first` governs."""
    after = first + count
    if kind in ("before", "hedge"):
        # "is there a cat? no." answers for what was named before; every other "no" is a determiner.
        if clause.words[first] == "no" and (clause.word(after) or ".") in PAUSES:
            return clause.antecedent(first)
        return after, clause.list_end(after, first)
    if kind in ("missing", "gone"):
        # "the cat is missing a paw" denies the paw; "the cat is missing" denies the cat.
        if kind == "missing" and clause.is_noun_at(after):
            return after, clause.list_end(after)
        return clause.subject(first) or _inverted(clause, first, after)
    if kind == "none":
        return _members(clause, first, after) if clause.word(after) == "of" else clause.antecedent(first)
    if kind == "suffix":
        return clause.compound(first)
    if kind == "neither":
        return _neither(clause, first, after)
    if kind == "nor":
        return _objects(clause, after)
    return _not(clause, first, after)


def _not(clause: ClauseWords, first: int, after: int) -> Range | None:
    """What verbal negation denies: the object ("does not show a cat") or, before "visible" and the like, the subject."""
    at = clause.skip(after, ADVERBS)
    word = clause.word(at)
    # "a dog, but a cat is not": the predicate is left out, so the subject is denied.
    if word is None or word in PAUSES or word in JOINS:
        return clause.subject(first) or clause.antecedent(first)
    # "the cat is not missing": two cues deny the same subject, and together affirm it.
    if clause.cue_kinds.get(at) in {"missing", "gone"} and not clause.is_noun_at(at + 1):
        return _governed(clause, at, 1, "gone")
    if _says_present(clause, at):
        return clause.subject(first) or _inverted(clause, first, at)
    # "cats? the image does not show any": the pronoun stands for what was named before.
    end = clause.skip(at, LEADING - _ANAPHORS)
    if clause.word(end) in _ANAPHORS and clause.ends_at(end + 1):
        return clause.antecedent(first)
    return _objects(clause, at)


def _neither(clause: ClauseWords, first: int, after: int) -> Range | None:
    word = clause.word(after)
    # "a cat or a dog? neither", "neither in the image": a pronoun for what was named before.
    if word is None or word in PAUSES or word in PREPOSITIONS:
        return clause.antecedent(first)
    if word == "of":
        return _members(clause, first, after)
    if word in SEEN:
        return clause.subject(first)
    # "neither is visible" against "neither is a cat": only the second has a noun of its own.
    if word in AUXILIARIES and not clause.is_noun_at(after + 1):
        return clause.antecedent(first)
    return _objects(clause, after)


def _members(clause: ClauseWords, first: int, after: int) -> Range | None:
    """What "none of" and "neither of" deny: the noun, the list after a colon, or what "them" stands for."""
    pronoun = clause.word(after + 1) in {"them", "these", "those", "which"}
    if pronoun or clause.words[after + 1 : after + 3] == ["the", "two"]:
        return clause.antecedent(first)
    for at in range(after, len(clause.words)):
        if clause.words[at] in SENTENCE_ENDS:
            break
        if clause.words[at] == ":":  # "none of the following: cats, dogs"
            ends = (end for end in range(at, len(clause.words)) if clause.words[end] in SENTENCE_ENDS)
            return at + 1, next(ends, len(clause.words))
    return after, clause.list_end(after + 1)


def _says_present(clause: ClauseWords, at: int) -> bool:
    """Whether a predicate that says "is in the picture" begins here: "visible", "be seen", "in sight", "appear"."""
    at = clause.skip(at, {"be", "been", "being", "to"})
    word = clause.word(at)
    if word in APPEARS:
        # "does not appear in the image" says so, "does not feature a cat" and "does not appear to hold a cat" do not.
        following = clause.word(at + 1)
        return following is None or following in PAUSES or following == "up" or (following in STOPS and following != "to")
    if word in SEEN:
        return not clause.is_noun_at(at + 1)  # "not seen" against "not seen cats"
    if word in _WITH_THE_REST or tuple(clause.words[at : at + 3]) in _MAKES_IT:
        return True
    return word in {"in", "within", "inside"} and any(clause.word(at + step) in MEDIA for step in (1, 2, 3))


def _objects(clause: ClauseWords, start: int) -> Range:
    """The objects of a denied verb, or the denied noun itself."""
    begin, start = start, clause.skip(start, LEADING)
    # "does not bark or": what was skipped as a verb is a noun when nothing else is left to deny ("no show", "nor cover").
    noun_like = start > begin and clause.words[start - 1] not in AUXILIARIES | ADVERBS | SEEN
    if noun_like and (clause.word(start) or ".") in _ENDS_ITEM:
        return start - 1, start
    # "is not on a bench" denies a bench, "is not on the bench" a known one that is elsewhere in the picture. "by" is no place.
    if clause.word(start) in PREPOSITIONS and (clause.word(start) == "by" or clause.word(start + 1) not in DEFINITE):
        start += 1
    return start, clause.list_end(start)


def _inverted(clause: ClauseWords, first: int, after: int) -> Range | None:
    """The subject after its predicate: "absent from the image is a cat", "not visible: a cat"."""
    if clause.word(first - 1) == "?":
        return clause.antecedent(first)
    for at in range(after, len(clause.words)):
        word = clause.words[at]
        if word in AUXILIARIES or word == ":":
            return _objects(clause, at + 1)
        if word in PAUSES:
            break
    return None
