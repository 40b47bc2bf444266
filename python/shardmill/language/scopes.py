"""How far each negation of a sentence reaches: a scope for each cue, as a span of characters.

No parser: a scope is a noun phrase list after the cue, or the subject before it, bounded by closed classes of words
(`cues.py`). A place ends it, so that "no dog on the bench" leaves the bench standing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from shardmill.language.cues import (
    ADVERBS,
    APPEARS,
    AUXILIARIES,
    DEFINITE,
    DETERMINERS,
    JOINS,
    MEDIA,
    PAUSES,
    PLACES,
    PRONOUNS,
    RELATIVES,
    SEEN,
    SENTENCE_ENDS,
    SINGULAR,
    VERBS,
    cue_at,
)
from shardmill.language.negation_text import normal, tokens

_QUOTES = frozenset("'\"")
_STOPS = PLACES | JOINS
_ENDS_ITEM = PAUSES | {"and", "or", "nor"}
_LEADING = (VERBS | ADVERBS | PRONOUNS | SEEN) - DETERMINERS | {"one", "to", "of"}
# Words after which a new article does not begin a new clause.
_OPEN = frozenset({"of", "or", "and", "like", ",", "as", "nor", "resembling"})
# Cues that another negation reaches through: "no lack of", "not without".
_THROUGH = frozenset({"before", "missing"})
# "is not among the animals", "does not accompany the dog": the subject is what is missing.
_WITH_THE_REST = frozenset({"among", "amongst", "accompany", "join"})
_MAKES_IT = frozenset({("make", "the", "cut"), ("make", "an", "appearance"), ("make", "it", "into"), ("make", "it", "in")})
# Cues that say what one noun is without; a participle after them belongs to that noun: "a man with no shirt throwing a ball".
_ONE_ONLY = frozenset({"no", "zero", "nary", "not"})
_ATTACHED = frozenset({"without", "sans", "minus", "lacking"})
_ANAPHORS = frozenset({"one", "any", "it", "them", "either", "some"})
_ARTICLES = frozenset({"a", "an", "the", "no"})
_LIST_WORDS = 6


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
    text = normal(sentence)
    marked = tokens(text)
    clause = _Sentence([token[0] for token in marked])
    found = []
    for first, count, kind in clause.cues:
        words = clause.range_of(first, count, kind)
        if words and words[0] < words[1]:
            start, end = marked[words[0]][1], marked[words[1] - 1][2]
            found.append(Scope(start, end, _label(clause.words[first : first + count]), kind == "hedge"))
    return text, tuple(found)


def _label(words: list[str]) -> str:
    return "not" if words[0] == "not" else " ".join(words).replace("_", "-")


class _Sentence:
    """The words of a sentence, its cues, and the range of words each of them governs."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.cues: list[tuple[int, int, str]] = []
        self._kinds: dict[int, str] = {}
        at = 0
        while at < len(words):
            cue = cue_at(words, at)
            if cue and cue[1] != "idle":
                self.cues.append((at, *cue))
                self._kinds[at] = cue[1]
            at += cue[0] if cue else 1

    def range_of(self, first: int, count: int, kind: str) -> tuple[int, int] | None:
        """The words that the cue at `first` governs, as a half-open range."""
        after = first + count
        if kind == "before" or kind == "hedge":
            if self.words[first] == "no" and (self._word(after) or ".") in PAUSES:
                return self._antecedent(first)
            return after, self._list_end(after, first)
        if kind == "missing" or kind == "gone":
            if kind == "missing" and self._noun_at(after):
                return after, self._list_end(after)
            return self._subject(first) or self._inverted(first, after)
        if kind == "none":
            return self._members(first, after) if self._word(after) == "of" else self._antecedent(first)
        if kind == "suffix":
            return self._compound(first)
        if kind == "neither":
            return self._neither(first, after)
        if kind == "nor":
            return self._forward(after)
        return self._not(first, after)

    def _not(self, first: int, after: int) -> tuple[int, int] | None:
        at = self._skip(after, ADVERBS)
        word = self._word(at)
        if word is None or word in PAUSES or word in JOINS:
            return self._subject(first) or self._antecedent(first)
        if self._kinds.get(at) in {"missing", "gone"} and not self._noun_at(at + 1):
            return self.range_of(at, 1, "gone")
        if self._seen_at(at):
            return self._subject(first) or self._inverted(first, at)
        end = self._skip(at, _LEADING - _ANAPHORS)
        if self._word(end) in _ANAPHORS and self._ends_at(end + 1):
            return self._antecedent(first)
        return self._forward(at)

    def _neither(self, first: int, after: int) -> tuple[int, int] | None:
        word = self._word(after)
        if word is None or word in PAUSES or word in PLACES:
            return self._antecedent(first)
        if word == "of":
            return self._members(first, after)
        if word in SEEN:
            return self._subject(first)
        if word in AUXILIARIES and not self._noun_at(after + 1):
            return self._antecedent(first)
        return self._forward(after)

    def _members(self, first: int, after: int) -> tuple[int, int] | None:
        """What "none of" and "neither of" deny: the noun, the list after a colon, or what "them" stands for."""
        if self._word(after + 1) in {"them", "these", "those", "which"} or self.words[after + 1 : after + 3] == ["the", "two"]:
            return self._antecedent(first)
        for at in range(after, len(self.words)):
            if self.words[at] in SENTENCE_ENDS:
                break
            if self.words[at] == ":":
                ends = (end for end in range(at, len(self.words)) if self.words[end] in SENTENCE_ENDS)
                return at + 1, next(ends, len(self.words))
        return after, self._list_end(after + 1)

    def _seen_at(self, at: int) -> bool:
        """Whether a predicate that says "is in the picture" begins here: "visible", "be seen", "in sight", "appear"."""
        at = self._skip(at, {"be", "been", "being", "to"})
        word = self._word(at)
        if word in APPEARS:
            following = self._word(at + 1)
            return following is None or following in PAUSES or following == "up" or (following in _STOPS and following != "to")
        if word in SEEN:
            return not self._noun_at(at + 1)
        if word in _WITH_THE_REST or tuple(self.words[at : at + 3]) in _MAKES_IT:
            return True
        return word in {"in", "within", "inside"} and any(self._word(at + step) in MEDIA for step in (1, 2, 3))

    def _forward(self, start: int) -> tuple[int, int]:
        """The objects of a denied verb, or the denied noun itself. A denied place counts unless it is a known one ("the")."""
        begin, start = start, self._skip(start, _LEADING)
        noun_like = start > begin and self.words[start - 1] not in AUXILIARIES | ADVERBS | SEEN
        if noun_like and (self._word(start) or ".") in _ENDS_ITEM:
            return start - 1, start
        if self._word(start) in PLACES and (self._word(start) == "by" or self._word(start + 1) not in DEFINITE):
            start += 1
        return start, self._list_end(start)

    def _inverted(self, first: int, after: int) -> tuple[int, int] | None:
        """The subject after its predicate: "absent from the image is a cat", "not visible: a cat"."""
        before = self._word(first - 1)
        if before == "?":
            return self._antecedent(first)
        for at in range(after, len(self.words)):
            word = self.words[at]
            if word in AUXILIARIES or word == ":":
                return self._forward(at + 1)
            if word in PAUSES:
                break
        return None

    def _compound(self, first: int) -> tuple[int, int]:
        start = first
        while start > max(0, first - 3) and not self._bounds(self.words[start - 1]) and self.words[start - 1] not in DETERMINERS:
            start -= 1
        return start, first

    def _subject(self, first: int) -> tuple[int, int] | None:
        """The subject of the clause whose predicate begins at `first`, or None if nothing stands there."""
        at = first - 1
        if self.words[first] == "nowhere" and self._word(at) == "," and "," in self.words[max(0, at - _LIST_WORDS) : at]:
            at -= 1
        singular = False
        while at >= 0 and self._before_predicate(at):
            singular = singular or self.words[at] in SINGULAR
            at -= 1
        if at >= 0 and self.words[at] in RELATIVES:
            at -= 1
        end = at + 1
        start = self._clause_start(end, singular)
        if not self._names_something(start, end):
            end = self._before_relative(start, end)
            start = self._clause_start(end, singular)
        if self.words[start:end] in (["it"], ["they"]):
            return self._antecedent(first)
        if start >= end or self.words[start:end] == ["there"]:
            return None
        return self._without_place(start, end)

    def _after_article(self, at: int) -> bool:
        return self._word(at - 1) in _ARTICLES

    def _before_predicate(self, at: int) -> bool:
        if self._after_article(at):
            return False
        return self.words[at] in AUXILIARIES or self.words[at] in ADVERBS or self._kinds.get(at) in {"not", "gone"}

    def _before_relative(self, start: int, end: int) -> int:
        """The end of the noun that a relative clause belongs to: "the chair that should be here is missing"."""
        for at in range(start - 1, -1, -1):
            if self.words[at] in PAUSES:
                break
            if self.words[at] in RELATIVES:
                return at
        return end

    def _clause_start(self, end: int, singular: bool) -> int:
        """Where the subject that ends before `end` begins; a singular verb has no "and" in its subject."""
        listed = False
        start = end
        while start > 0:
            word = self.words[start - 1]
            if word == ",":
                listed = listed or (not singular and self._word(start) in {"and", "or"})
                if not listed:
                    break
            elif ((word == "and" and singular) or word == "with" or self._bounds(word)) and not self._after_article(start - 1):
                break
            start -= 1
        return start

    def _without_place(self, start: int, end: int) -> tuple[int, int]:
        words = self.words[start:end]
        places = [start + at for at, word in enumerate(words) if word in PLACES or word in SEEN]
        joins = [start + at for at, word in enumerate(words) if word == "and"]
        if places and joins and places[0] < joins[-1]:
            start = joins[-1] + 1
            places = [place for place in places if place > start]
        if not places:
            return start, end
        if places[0] > start:
            return start, places[0]
        media = [start + at for at, word in enumerate(words[:5]) if word in MEDIA]
        return (media[0] + 1 if media else start + 1), end

    def _antecedent(self, first: int) -> tuple[int, int] | None:
        """What a cue without an object of its own denies: "cats or dogs? neither", "of cats there are none"."""
        start = first
        while start > 0 and not self._parts(start - 1):
            start -= 1
        if self._names_something(start, first):
            return start, first
        end = start
        while end > 0 and self.words[end - 1] not in {".", ";", "!"} and self._parts(end - 1):
            end -= 1
        start = end
        while start > 0 and not self._parts(start - 1):
            start -= 1
        return (start, end) if start < end else None

    def _parts(self, at: int) -> bool:
        return self.words[at] in PAUSES or (self.words[at] in JOINS and self.words[at] not in {"as", "where", "if", "when"})

    def _names_something(self, start: int, end: int) -> bool:
        idle = _LEADING | DETERMINERS | MEDIA | _STOPS | {"and", "or"}
        return any(word not in idle for word in self.words[start:end])

    def _list_end(self, start: int, cue: int | None = None) -> int:
        """Where the list of noun phrases that begins at `start` ends: "no cat and a dog" denies the cat alone."""
        one_only = cue is not None and self.words[cue] in _ONE_ONLY
        attached = cue is not None and (self.words[cue] in _ATTACHED or self._word(cue - 1) == "with")
        named = False
        at = start
        while at < len(self.words):
            word = self.words[at]
            if word in _QUOTES:
                if named:
                    break
            elif word == ",":
                if not self._list_goes_on(at + 1, one_only):
                    break
                named = False
            elif word == "or" or word == "and":
                if not self._joined(at + 1, one_only if word == "and" else False) or self._begins_alike(at, cue):
                    break
                named = False
            elif word in DETERMINERS:
                if named and not self._open_before(at, word, attached):
                    break
            elif at in self._kinds:
                if word in {"no", "nor", "not", "never"} or (named and self._kinds[at] not in _THROUGH):
                    break
                named = False
            elif word in PAUSES or ((word in VERBS or word in SEEN) and named) or self._bounds_after(at):
                break
            else:
                named = word not in _OPEN and (named or word not in ADVERBS)
            at += 1
        return at

    def _bounds_after(self, at: int) -> bool:
        """Whether the word ends a noun phrase; never right after an article: "a can", "a down jacket"."""
        word = self.words[at]
        return (word in _STOPS or word in AUXILIARIES) and not self._after_article(at)

    def _open_before(self, at: int, word: str, attached: bool) -> bool:
        before = self.words[at - 1]
        return before in _OPEN or (before.endswith("ing") and word not in DEFINITE and not attached)

    def _joined(self, at: int, one_only: bool) -> bool:
        """Whether the word after "and" or "or" belongs to the list."""
        word = self._word(at)
        if word is None or word in VERBS or word in _STOPS or word in PRONOUNS - DETERMINERS or at in self._kinds:
            return False
        return word not in DETERMINERS or not (one_only or self._clause_at(at))

    def _begins_alike(self, at: int, cue: int | None) -> bool:
        """Whether the next item has the same cue of its own: "dogs without cats and birds without trees"."""
        return cue is not None and self.words[cue] in self.words[at + 2 : at + _LIST_WORDS]

    def _clause_at(self, at: int) -> bool:
        for word in self.words[at : at + _LIST_WORDS]:
            if word in VERBS:
                return True
            if word in PAUSES or word in _STOPS:
                return False
        return False

    def _list_goes_on(self, at: int, one_only: bool) -> bool:
        """Whether a list continues after a comma: only if an "or", a "nor" or a bare "and" closes it."""
        run = 0
        bare = True
        for here in range(at, len(self.words)):
            word = self.words[here]
            if word in {"or", "nor"}:
                return True
            if word == "and":
                return bare and self._joined(here + 1, one_only) and self._word(here + 1) not in DETERMINERS
            if word == ",":
                run = 0
            elif word in _STOPS or word in VERBS or word in PAUSES or word in SEEN or here in self._kinds or run == _LIST_WORDS:
                return False
            else:
                bare = bare and word not in DETERMINERS
                run += 1
        return False

    def _noun_at(self, at: int) -> bool:
        word = self._word(at)
        if word is None or word in PAUSES or at in self._kinds or word in {"and", "or", "of"}:
            return False
        return word in DETERMINERS or not (word in _STOPS or word in VERBS or word in ADVERBS or word in PRONOUNS or word in SEEN)

    def _ends_at(self, at: int) -> bool:
        word = self._word(at)
        return word is None or word in PAUSES or word in _STOPS

    def _bounds(self, word: str) -> bool:
        return word in SENTENCE_ENDS or word == ":" or word == "-" or word in JOINS or word in VERBS or word == ","

    def _skip(self, at: int, words: frozenset[str] | set[str]) -> int:
        """The first place from `at` on that holds none of the words; "the image" is passed over with them."""
        while at < len(self.words):
            if self.words[at] in DEFINITE and self._word(at + 1) in MEDIA and words >= AUXILIARIES:
                at += 2
            elif self.words[at] in words and at not in self._kinds:
                at += 1
            else:
                break
        return at

    def _word(self, at: int) -> str | None:
        return self.words[at] if 0 <= at < len(self.words) else None
