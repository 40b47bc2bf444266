"""What a presupposition question may ask of an object, and what its text must look like. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.object_names import form_problem
from shardmill.language.relations import mentions
from shardmill.language.visibility import is_visible
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.antidote", "question_forms.yaml")

MIN_WORDS, MAX_WORDS = 4, 30


@dataclass(frozen=True)
class Form:
    """What a question asks, and of which lexicon categories and shapes; empty means of all."""

    name: str
    categories: frozenset[str] = frozenset()
    shapes: frozenset[str] = frozenset()
    unfit_shapes: frozenset[str] = frozenset()

    def suits(self, category: str, shape: str) -> bool:
        """Whether one can ask this of an object of that category and shape."""
        suited = (not self.categories or category in self.categories) and (not self.shapes or shape in self.shapes)
        return suited and shape not in self.unfit_shapes


def _form(name: str, categories: str = "", shapes: str = "", unfit_shapes: str = "") -> Form:
    return Form(name, *(frozenset(text.split()) for text in (categories, shapes, unfit_shapes)))


_GOODS = "accessory appliance bathroom electronics furniture instrument kitchenware medical office party sport tool toy"
_WIDE = "ground water cloud mountain"
_FACELESS = "flower star umbrella fruit round bush"

OWN_FORMS = (
    _form("what it is doing", "person animal", unfit_shapes=_FACELESS),
    _form("what it is looking at", "person animal", unfit_shapes=_FACELESS),
    _form("posture", "person animal", unfit_shapes=_FACELESS),
    _form("what it is wearing", "person"),
    _form("what it is holding", "person"),
    _form("colour", f"{_GOODS} animal vehicle clothing building street", unfit_shapes=_WIDE),
    _form(
        "material",
        "accessory bathroom building furniture kitchenware street tool",
        "bag bed bowl box bridge chair cloth cup door fence house plate sofa table tower",
    ),
    _form(
        "pattern on it", "accessory clothing furniture kitchenware", "bag cloth cup hat plate shirt shoe sofa trousers umbrella"
    ),
    _form("condition", "building clothing furniture street tool vehicle", unfit_shapes=_WIDE),
    _form("which way it faces", "person animal", unfit_shapes=_FACELESS),
    _form("which way it faces", "furniture electronics vehicle", "bus car chair plane sofa screen train truck"),
    _form("what is on it", "furniture kitchenware street", "bed chair plate sofa table"),
    _form("what is inside it", "accessory furniture kitchenware tool", "bag bottle bowl cup"),
    _form("who uses it", "electronics instrument office sport tool toy vehicle"),
    _form("who wears it", "clothing"),
    _form("what it rests on", "accessory drink electronics food instrument kitchenware office sport tool toy"),
    _form("what it is served in", "food drink"),
    _form("shape", "appliance building furniture kitchenware street", "bowl clock cup lamp plate sign table window"),
    _form("what is written on it", "electronics furniture office sport street", "book screen sign"),
)
"""What only some kinds of objects can be asked."""

LOOKS = (_form("main colours"), _form("light on it"), _form("how much of it shows"), _form("size", unfit_shapes=_WIDE))
"""What can be asked of nearly everything, so that any two objects share a form."""

PLACES = (
    _form("what is closest to it", unfit_shapes=_WIDE),
    _form("what is behind it", unfit_shapes=_WIDE),
    _form("what is in front of it", unfit_shapes=_WIDE),
    _form("distance", unfit_shapes=_WIDE),
)
"""Where things are, which is asked least: it is as much about the other things."""

_WEIGHTS = ((OWN_FORMS, 10), (LOOKS, 2), (PLACES, 1))


def shared_forms(first: str, second: str) -> dict[str, int]:
    """The forms that suit both objects, with how often each is to be drawn beside the others."""
    found: dict[str, int] = {}
    for forms, weight in _WEIGHTS:
        both = [{form.name for form in forms if _suits(form, name)} for name in (first, second)]
        found |= {form.name: weight for form in forms if form.name in both[0] & both[1]}
    return found


def _suits(form: Form, name: str) -> bool:
    """A name that the lexicon does not know suits what suits all."""
    entry = lexicon().find(name)
    return form.suits(entry.category, entry.shape) if entry else not form.categories


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
