"""What a presupposition question may ask of an object, and what its text must look like. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shardmill.language.backgrounds import is_background
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold, is_mass
from shardmill.language.object_names import form_problem
from shardmill.language.relations import mentions
from shardmill.language.visibility import is_visible
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.antidote", "question_forms.yaml")

MIN_WORDS, MAX_WORDS = 4, 30


@dataclass(frozen=True)
class Form:
    """What a question asks, and of which objects: of those in one of the `categories` or of one of the `kinds`, of all if none is
    given; of none that is `unfit` or a kind of it. A `standing` form is not about places, wide things and parts of the body,
    a `counted` one not about mass nouns.
    """

    name: str
    categories: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    unfit: frozenset[str] = frozenset()
    standing: bool = False
    counted: bool = False

    def suits(self, name: str) -> bool:
        """Whether one can ask this of an object; one that the lexicon does not know suits what suits all."""
        asks_all = not self.categories and not self.kinds
        entry = lexicon().find(name)
        stands = not is_background(name) and (entry is None or entry.category != "body")
        if (self.standing and not stands) or (self.counted and is_mass(name)):
            return False
        if entry is None:
            return asks_all
        kinds = {entry.name, *lexicon().kinds(entry)}
        if not kinds.isdisjoint(self.unfit):
            return False
        return asks_all or entry.category in self.categories or not kinds.isdisjoint(self.kinds)


def _forms(group: str) -> tuple[Form, ...]:
    """The forms of a group of the file."""
    return tuple(
        Form(
            name,
            frozenset(given.get("categories", "").split()),
            frozenset(given.get("kinds", ())),
            frozenset(given.get("unfit", ())),
            standing="standing" in given,
            counted="counted" in given,
        )
        for name, given in _LISTS.table(group).items()
    )


OWN_FORMS = _forms("own_forms")
"""What only some kinds of objects can be asked."""
LOOKS = _forms("looks")
"""What can be asked of nearly everything, so that any two objects share a form."""
PLACES = _forms("places")
"""Where things are, which is asked least: it is as much about the other things."""

_WEIGHTS = ((OWN_FORMS, 10), (LOOKS, 2), (PLACES, 1))


def shared_forms(first: str, second: str) -> dict[str, int]:
    """The forms that suit both objects, with how often each is to be drawn beside the others."""
    return {form.name: weight for forms, weight in _WEIGHTS for form in forms if form.suits(first) and form.suits(second)}


_SOUNDS = _LISTS.words("sounds")


def object_problem(name: str) -> str | None:
    """Why no question can be about an object; None when one can."""
    if form_problem(name) is not None or not is_visible(fold(name)) or fold(name).rpartition(" ")[2] in _SOUNDS:
        return "not a visible object"
    return None


_SENTENCE_END = re.compile(r"[.!?](?=[\s\"')]|$)|\n")
_YES_NO_WORDS = (
    "is|are|am|was|were|do|does|did|can|could|will|would|shall|should|may|might|must|have|has|had|"
    "isn't|aren't|wasn't|weren't|don't|doesn't|didn't|can't|couldn't|won't|wouldn't|shouldn't|haven't|hasn't|hadn't"
)
_YES_NO = re.compile(rf"(?:(?:in|on|at|from|judging|given|looking)\b[^,?]*,\s*)?(?:{_YES_NO_WORDS})\b", re.IGNORECASE)
_COUNTING = re.compile(
    r"(?:(?:about|exactly|roughly|approximately|in total,?)\s+)?(?:how many|what (?:number|count|amount) of)\b", re.IGNORECASE
)
_EXISTENCE = re.compile(
    r"\b(?:(?:is|are|was|were) there|there(?:'s| is| are)|(?<!what )(?:can|could|do|did) (?:you|we|one) (?:see|spot|find|notice)|"
    r"whether|if any|exists?|(?:present|absent) in|missing|absent|(?:is|are) not (?:there|here|shown|visible)|"
    r"(?:isn't|aren't) (?:there|here|shown|visible))\b",
    re.IGNORECASE,
)
_UNSEEN = re.compile(
    r"\b(?:sounds?|sounding|noises?|hear|heard|music|songs?|melody|voices?|smells?|smelling|scents?|tastes?|tasting|feels?|feeling|"
    r"feelings|felt|moods?|emotions?|season|thinks?|thinking|thoughts?)\b",
    re.IGNORECASE,
)
_FILLER = re.compile(r"^(?:(?:and|so|but|now|well|please|tell me|please tell me|can you tell me)\b,?\s*)+", re.IGNORECASE)
_SOURCE = re.compile(r"\b(?:caption|captions|according to|described|mentioned)\b", re.IGNORECASE)


def question_problem(question: str, name: str, others: Iterable[str]) -> str | None:
    """Why a text is no presupposition question about the object; None when it is one. It names none of the `others`."""
    text = _FILLER.sub("", question.translate({0x2019: "'"}).strip())
    own = own_mentions(text, name)
    words = len(text.split())
    faults = (
        ("no question mark", not text.endswith("?")),
        ("too short", words < MIN_WORDS),
        ("too long", words > MAX_WORDS),
        ("several sentences", len(_SENTENCE_END.findall(text)) > 1),
        ("does not name its object", not own),
        ("asks how many", _COUNTING.match(text) is not None),
        ("yes/no question", _YES_NO.match(text) is not None),
        ("asks whether it is there", _EXISTENCE.search(text) is not None),
        ("not visible", object_problem(name) is not None or _outside(own, _UNSEEN.finditer(text))),
        ("speaks of the caption", _SOURCE.search(text) is not None),
        ("names another object", _names_another(text, name, own, others)),
    )
    return next((reason for reason, found in faults if found), None)


def own_mentions(text: str, name: str) -> list[tuple[int, int]]:
    """Where the text has the name itself, in either number; a synonym is not enough."""
    return [(start, end) for start, end in mentions(text, name) if fold(text[start:end]) == fold(name)]


def _outside(own: list[tuple[int, int]], found: Iterable[re.Match[str]]) -> bool:
    return any(not _within(match.span(), own) for match in found)


def _names_another(text: str, name: str, own: list[tuple[int, int]], others: Iterable[str]) -> bool:
    """Whether another object is named outside the object's own name: "bus stop" is no mention of a bus."""
    different = (other for other in others if fold(other) != fold(name))
    return any(not _within(span, own) for other in different for span in mentions(text, other))


def _within(span: tuple[int, int], wholes: list[tuple[int, int]]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in wholes)
