"""What each edit type can be applied to in a row: functions from a row to its possible targets, none where the type does not fit.

A row has input (text), input_objects, input_verbs, input_texts (lists), detections (json), width and height. A target holds the
"object" to edit, and what else is to be said of the edit; `settled` draws the rest of one that was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from shardmill.anyedit.by_template import CANDIDATES, words
from shardmill.anyedit.edit_types import TYPES
from shardmill.language.actions import actions, is_human, verb_stem
from shardmill.language.appearance import ASPECTS, has_word, is_stuff, names_color
from shardmill.language.backgrounds import is_background
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.object_names import distinct, form_problem
from shardmill.language.relations import mentions, relation
from shardmill.language.visibility import is_visible
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.anyedit", "edit_targets.yaml")

Row = Mapping[str, Any]
Target = dict[str, Any]

COMMON_SHARE = 0.8
"""How often a new colour is one of the common ones (AnyEdit's pre-filter)."""
MAX_TEXT = 40
"""A longer writing is not changed: no editor could draw it."""

_SOFT = frozenset({"animal", "person", "food", "drink", "nature", "part", "body", "medical"})
_PARTS = frozenset({"part", "body"})
_INDOORS = _LISTS.words("indoors")
_BEARERS = _LISTS.words("bearers") | {"license plate", "number plate"}


def things(row: Row) -> list[str]:
    """The objects that the input names and that stand out from its background."""
    names = [name for name in distinct(row["input_objects"] or []) if form_problem(name) is None and is_visible(fold(name))]
    named = [name for name in names if mentions(row["input"], name) and not is_stuff(row["input"], name)]
    return [name for name in named if not is_background(name)]


def anything(row: Row) -> list[Target]:
    """Nothing in particular."""
    return [{}]


def nothing(row: Row) -> list[Target]:
    """Never."""
    return []


def removable(row: Row) -> list[Target]:
    """Things that leave others behind; parts of a whole do not come off."""
    names = things(row)
    whole = [name for name in names if _category(name) not in _PARTS]
    return [{"object": name} for name in whole if any(relation(name, other) is None for other in names)]


def replaceable(row: Row) -> list[Target]:
    """Things that are no people: pictures with other people in their place mislead."""
    return [{"object": name} for name in things(row) if not is_human(name)]


def colorable(row: Row) -> list[Target]:
    """Things with a colour of their own."""
    return [target for target in replaceable(row) if _category(target["object"]) != "body"]


alterable = colorable


def solid(row: Row) -> list[Target]:
    """Things that are made of something and could be made of something else; of unknown things nobody can tell."""
    return [target for target in replaceable(row) if _category(target["object"]) not in _SOFT | {""}]


def doings(row: Row) -> list[Target]:
    """What people and animals do."""
    stems = {verb_stem(verb.rpartition(" ")[0] or verb) for verb in row["input_verbs"] or []}
    stems |= {verb_stem(verb) for verb in row["input_verbs"] or []}
    named = {fold(name) for name in things(row)}
    found = [action for action in actions(row["input"]) if action.agent in named]
    return [{"object": action.agent, "action": action.verb} for action in found if verb_stem(action.verb) in stems]


def writings(row: Row) -> list[Target]:
    """Texts that are known to stand in the picture; without any, the things that could bear one."""
    texts = [text for text in row["input_texts"] or [] if _writable(text)]
    if texts:
        return [{"text": " ".join(text.split())} for text in texts]
    return [{"object": name} for name in things(row) if {fold(name), fold(name).rpartition(" ")[2]} & _BEARERS]


def foregrounds(row: Row) -> list[Target]:
    """Something has to stand in front of the new background."""
    return [{}] if things(row) else []


def aspects(row: Row) -> list[Target]:
    """Weather, time of day and season where the caption does not give them; indoors the time of day alone."""
    indoors = has_word(row["input"], _INDOORS)
    free = [aspect for aspect, words in ASPECTS.items() if not has_word(row["input"], words)]
    return [{"aspect": aspect} for aspect in free if aspect == "time of day" or not indoors]


def pairs(row: Row) -> list[Target]:
    """What a removal or a replacement, which is then shown by a picture, can be of."""
    return [{"base": "remove", **target} for target in removable(row)] + replacements(row)


def replacements(row: Row) -> list[Target]:
    """What a replacement can be of."""
    return [{"base": "replace", **target} for target in replaceable(row)]


def material_pairs(row: Row) -> list[Target]:
    """What can take the material of something else."""
    return [{"base": "replace", **target} for target in solid(row)]


_OWN: dict[str, Callable[[Row], list[Target]]] = {
    "anything": anything, "nothing": nothing, "removable": removable, "replaceable": replaceable, "colorable": colorable,
    "alterable": alterable, "solid": solid, "actions": doings, "writings": writings, "foregrounds": foregrounds,
    "aspects": aspects, "pairs": pairs, "replacements": replacements, "material_pairs": material_pairs,
}  # fmt: skip


def targets(row: Row, kind: str) -> list[Target]:
    """The possible targets of a row for a type; none where it does not apply."""
    wanted = TYPES[kind].targets
    if wanted in _OWN:
        return _OWN[wanted](row)
    return [target for target in CANDIDATES[wanted](row) if not is_background(target["object"])]


def settled(kind: str, target: Target, row: Row, rng: Random) -> Target:
    """A chosen target with what is drawn besides: the new colour, the new material."""
    if kind == "color_alter":
        pool = words()["colours"]["common" if rng.random() < COMMON_SHARE else "rare"]
        return {**target, "color": rng.choice([color for color in pool if not names_color(row["input"], color)] or pool)}
    if kind == "material_change":
        pool = words()["materials"]
        free = [name for name in pool if not has_word(row["input"], (name, f"{name}en"))]
        return {**target, "material": rng.choice(free or pool)}
    return target


def _category(name: str) -> str:
    entry = lexicon().find(name)
    return entry.category if entry else ""


def _writable(text: Any) -> bool:
    return isinstance(text, str) and len(text) <= MAX_TEXT and any(map(str.isalpha, text)) and not set(text) & set('"\n')
