"""The words of one sentence, and where its noun phrases, subjects and clauses begin and end.

Nothing is parsed: the bounds are closed classes of words (`function_words.py`) and the cues of negation themselves. Positions are
indexes into `words`; ranges are half open.
"""

from __future__ import annotations

from collections.abc import Collection

from shardmill.language.function_words import (
    ADVERBS,
    AUXILIARIES,
    DEFINITE,
    DETERMINERS,
    JOINS,
    MEDIA,
    PAUSES,
    PREPOSITIONS,
    PRONOUNS,
    RELATIVES,
    SEEN,
    SENTENCE_ENDS,
    SINGULAR,
    VERBS,
)
from shardmill.language.negation_cues import cue_at

STOPS = PREPOSITIONS | JOINS
"""A phrase of place or another clause begins here."""
LEADING = (VERBS | ADVERBS | PRONOUNS | SEEN) - DETERMINERS | {"one", "to", "of"}
"""Words that may stand between a cue and the noun that it denies: "does not actually show any of the cats"."""
LIST_WORDS = 6
"""An item of a list has at most so many words: with more, a comma is taken to begin another clause."""
_QUOTES = frozenset("'\"")
# After these a new article goes on with the noun phrase: "no animal like a cat", "no picture of a cat".
_OPEN = frozenset({"of", "or", "and", "like", ",", "as", "nor", "resembling"})
# Cues that another negation reaches through: "no lack of cats", "not without cats" deny twice.
_THROUGH = frozenset({"before", "missing"})
# A cue that says what one noun is without. "and" with an article after it goes on with the sentence: "no cat and a dog".
_ONE_ONLY = frozenset({"no", "zero", "nary", "not"})
# A participle after these belongs to the noun before them: "a man without a shirt throwing a ball" has a ball.
_ATTACHED = frozenset({"without", "sans", "minus", "lacking"})
_ARTICLES = frozenset({"a", "an", "the", "no"})


class ClauseWords:
    """The words of a sentence and its cues."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.cues: list[tuple[int, int, str]] = []
        """(position, number of words, kind) of each cue."""
        self.cue_kinds: dict[int, str] = {}
        at = 0
        while at < len(words):
            cue = cue_at(words, at)
            if cue and cue[1] != "idle":
                self.cues.append((at, *cue))
                self.cue_kinds[at] = cue[1]
            at += cue[0] if cue else 1

    def word(self, at: int) -> str | None:
        """The word at a position, None outside of the sentence."""
        return self.words[at] if 0 <= at < len(self.words) else None

    def skip(self, at: int, words: frozenset[str] | set[str]) -> int:
        """The first position from `at` on with none of the words; "the image" is passed over with auxiliaries."""
        while at < len(self.words):
            # "the image does not show": the medium is no object, wherever auxiliaries are skipped.
            if self.words[at] in DEFINITE and self.word(at + 1) in MEDIA and words >= AUXILIARIES:
                at += 2
            elif self.words[at] in words and at not in self.cue_kinds:
                at += 1
            else:
                break
        return at

    def is_noun_at(self, at: int) -> bool:
        """Whether a noun phrase may begin at a position."""
        word = self.word(at)
        if word is None or word in PAUSES or at in self.cue_kinds or word in {"and", "or", "of"}:
            return False
        return word in DETERMINERS or not (word in STOPS or word in VERBS or word in ADVERBS or word in PRONOUNS or word in SEEN)

    def ends_at(self, at: int) -> bool:
        """Whether a phrase that reaches a position ends there."""
        word = self.word(at)
        return word is None or word in PAUSES or word in STOPS

    def is_after_article(self, at: int) -> bool:
        """Whether a word must be a noun because an article stands before it: "a can", "a down jacket"."""
        return self.word(at - 1) in _ARTICLES

    def names_something(self, start: int, end: int) -> bool:
        """Whether a range has a word that is neither grammar nor the medium: "in the image" has none."""
        idle = LEADING | DETERMINERS | MEDIA | STOPS | {"and", "or"}
        return any(word not in idle for word in self.words[start:end])

    def list_end(self, start: int, cue: int | None = None) -> int:
        """Where the list of noun phrases that begins at `start` ends: "no cat and a dog" denies the cat alone.

        Args:
            start: the position of the first word of the list.
            cue: the position of the cue that governs the list, if it stands before it.
        """
        one_only = cue is not None and self.words[cue] in _ONE_ONLY
        attached = cue is not None and (self.words[cue] in _ATTACHED or self.word(cue - 1) == "with")
        named = False
        at = start
        while at < len(self.words):
            word = self.words[at]
            if word in _QUOTES:
                if named:
                    break
            elif word == ",":
                # "no cat, a dog sleeps": a comma alone begins another clause; a list has an "or" or "and" to come.
                if not self._list_continues(at + 1, one_only):
                    break
                named = False
            elif word == "or" or word == "and":
                # "no cat or a dog" denies both; "no cat and a dog" has a dog, because "no" takes one noun.
                if not self._is_joined(at + 1, one_only if word == "and" else False) or self._begins_alike(at, cue):
                    break
                named = False
            elif word in DETERMINERS:
                # "with no cat a dog sleeps": an article after a complete noun begins a clause.
                if named and not self._is_open_before(at, word, attached):
                    break
            elif at in self.cue_kinds:
                # "without a cat no dog sleeps": the next cue has a scope of its own.
                if word in {"no", "nor", "not", "never"} or (named and self.cue_kinds[at] not in _THROUGH):
                    break
                named = False
            elif word in PAUSES or ((word in VERBS or word in SEEN) and named) or self._bounds_phrase(at):
                break
            else:
                named = word not in _OPEN and (named or word not in ADVERBS)
            at += 1
        return at

    def subject(self, predicate: int) -> tuple[int, int] | None:
        """The subject of the clause whose predicate begins at a position, or None if nothing stands there."""
        at = predicate - 1
        # "a dog on a bench, a cat, nowhere to be seen": the last comma stands between the subject and its predicate.
        if self.words[predicate] == "nowhere" and self.word(at) == "," and "," in self.words[max(0, at - LIST_WORDS) : at]:
            at -= 1
        singular = False
        while at >= 0 and self._stands_before_predicate(at):
            singular = singular or self.words[at] in SINGULAR
            at -= 1
        if at >= 0 and self.words[at] in RELATIVES:
            at -= 1
        end = at + 1
        start = self._clause_start(end, singular)
        if not self.names_something(start, end):
            end = self._before_relative(start, end)
            start = self._clause_start(end, singular)
        if self.words[start:end] in (["it"], ["they"]):
            return self.antecedent(predicate)
        if start >= end or self.words[start:end] == ["there"]:
            return None
        return self._without_place(start, end)

    def antecedent(self, at: int) -> tuple[int, int] | None:
        """What a cue without a noun of its own denies: "cats or dogs? neither", "of cats there are none"."""
        start = at
        while start > 0 and not self._parts_clauses(start - 1):
            start -= 1
        if self.names_something(start, at):
            return start, at
        # Nothing is named since the last pause: what is denied stands before it, in the same sentence.
        end = start
        while end > 0 and self.words[end - 1] not in {".", ";", "!"} and self._parts_clauses(end - 1):
            end -= 1
        start = end
        while start > 0 and not self._parts_clauses(start - 1):
            start -= 1
        return (start, end) if start < end else None

    def compound(self, at: int) -> tuple[int, int]:
        """The name before a suffix, of up to three words: "traffic light-free" denies the traffic light."""
        start = at
        while start > max(0, at - 3) and not self._bounds_clause(self.words[start - 1]):
            if self.words[start - 1] in DETERMINERS:
                break
            start -= 1
        return start, at

    def _stands_before_predicate(self, at: int) -> bool:
        if self.is_after_article(at):
            return False
        return self.words[at] in AUXILIARIES or self.words[at] in ADVERBS or self.cue_kinds.get(at) in {"not", "gone"}

    def _before_relative(self, start: int, end: int) -> int:
        """The end of the noun that a relative clause belongs to: "the chair that should be here is missing"."""
        for at in range(start - 1, -1, -1):
            if self.words[at] in PAUSES:
                break
            if self.words[at] in RELATIVES:
                return at
        return end

    def _clause_start(self, end: int, singular: bool) -> int:
        """Where the subject that ends before `end` begins."""
        listed = False
        start = end
        while start > 0:
            word = self.words[start - 1]
            if word == ",":
                # "cats, dogs, and birds are missing" is one subject; "in the park, the cat is missing" is not.
                listed = listed or (not singular and self.word(start) in {"and", "or"})
                if not listed:
                    break
            # A singular verb has no "and" in its subject: in "a dog sleeps and a cat is missing" the dog is there.
            elif ((word == "and" and singular) or word == "with" or self._bounds_clause(word)) and not self.is_after_article(
                start - 1
            ):
                break
            start -= 1
        return start

    def _without_place(self, start: int, end: int) -> tuple[int, int]:
        """A subject without the phrase of place in it: of "the cat on the sofa is missing" the cat is, not the sofa."""
        words = self.words[start:end]
        places = [start + at for at, word in enumerate(words) if word in PREPOSITIONS or word in SEEN]
        joins = [start + at for at, word in enumerate(words) if word == "and"]
        if places and joins and places[0] < joins[-1]:
            start = joins[-1] + 1
            places = [place for place in places if place > start]
        if not places:
            return start, end
        if places[0] > start:
            return start, places[0]
        # "in the image a cat is missing": the subject stands after the phrase of place.
        media = [start + at for at, word in enumerate(words[:5]) if word in MEDIA]
        return (media[0] + 1 if media else start + 1), end

    def _parts_clauses(self, at: int) -> bool:
        return self.words[at] in PAUSES or (self.words[at] in JOINS and self.words[at] not in {"as", "where", "if", "when"})

    def _bounds_clause(self, word: str) -> bool:
        return word in SENTENCE_ENDS or word in {":", "-", ","} or word in JOINS or word in VERBS

    def _bounds_phrase(self, at: int) -> bool:
        word = self.words[at]
        return (word in STOPS or word in AUXILIARIES) and not self.is_after_article(at)

    def _is_open_before(self, at: int, word: str, attached: bool) -> bool:
        """Whether a noun phrase goes on before an article: "no dog chasing a cat", but not "without a shirt throwing a ball"."""
        before = self.words[at - 1]
        return before in _OPEN or (before.endswith("ing") and word not in DEFINITE and not attached)

    def _is_joined(self, at: int, one_only: bool) -> bool:
        """Whether the word after "and" or "or" belongs to the list, and begins no clause: "no cat and the dog sleeps"."""
        word = self.word(at)
        if word is None or word in VERBS or word in STOPS or word in PRONOUNS - DETERMINERS or at in self.cue_kinds:
            return False
        return word not in DETERMINERS or not (one_only or self._is_clause_at(at))

    def _begins_alike(self, at: int, cue: int | None) -> bool:
        """Whether the next item has the same cue of its own: "dogs without cats and birds without trees"."""
        return cue is not None and self.words[cue] in self.words[at + 2 : at + LIST_WORDS]

    def _is_clause_at(self, at: int) -> bool:
        for word in self.words[at : at + LIST_WORDS]:
            if word in VERBS:
                return True
            if word in PAUSES or word in STOPS:
                return False
        return False

    def _list_continues(self, at: int, one_only: bool) -> bool:
        """Whether a list continues after a comma: only if an "or", a "nor" or a bare "and" closes it.

        "no cats, dogs or birds" is one list; in "no cats, two dogs and a bird" the "and" joins what is there.
        """
        run = 0
        bare = True
        for here in range(at, len(self.words)):
            word = self.words[here]
            if word in {"or", "nor"}:
                return True
            if word == "and":
                return bare and self._is_joined(here + 1, one_only) and self.word(here + 1) not in DETERMINERS
            if word == ",":
                run = 0
            elif self._ends_list(here, word) or run == LIST_WORDS:
                return False
            else:
                bare = bare and word not in DETERMINERS
                run += 1
        return False

    def _ends_list(self, at: int, word: str) -> bool:
        ends: tuple[Collection[str], ...] = (STOPS, VERBS, PAUSES, SEEN)
        return at in self.cue_kinds or any(word in words for words in ends)
