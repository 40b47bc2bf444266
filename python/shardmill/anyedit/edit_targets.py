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
from shardmill.anyedit.editable import (
    colors_of,
    has_looks,
    is_colored,
    is_part,
    is_place_bound,
    is_rooted,
    materials_of,
)
from shardmill.language.actions import actions, is_animate, is_human, verb_stem
from shardmill.language.appearance import ASPECTS, has_word, is_stuff, names_color
from shardmill.language.backgrounds import is_background
from shardmill.language.doing import lone_verb
from shardmill.language.lexicon import lexicon
from shardmill.language.named_number import names_several
from shardmill.language.nouns import fold
from shardmill.language.object_names import distinct, form_problem
from shardmill.language.placement import supports
from shardmill.language.relations import mentions, relation
from shardmill.language.removal import without
from shardmill.language.rewriting import is_exchangeable
from shardmill.language.scene_words import is_outdoors, is_snowbound, shows_hour
from shardmill.language.visibility import is_visible
from shardmill.language.word_lists import word_lists

_LISTS = word_lists("shardmill.anyedit", "edit_targets.yaml")

Row = Mapping[str, Any]
Target = dict[str, Any]

COMMON_SHARE = 0.8
"""How often a new colour is one of the common ones (AnyEdit's pre-filter)."""
MAX_TEXT = 40
"""A longer writing is not changed: no editor could draw it."""

_BEARERS = _LISTS.words("bearers") | {"license plate", "number plate"}


def things(row: Row) -> list[str]:
    """The objects that stand out from the background, each named once, so that "the dog" can only be that one.

    Those that the lexicon knows, if there are any: of the others many are no things ("take a bow").
    """
    caption = row["input"]
    names = [name for name in distinct(row["input_objects"] or []) if form_problem(name) is None and is_visible(fold(name))]
    named = [name for name in names if len(mentions(caption, name)) == 1 and not is_stuff(caption, name)]
    standing = [name for name in named if not is_background(name)]
    return [name for name in standing if lexicon().find(name)] or standing


def wholes(row: Row) -> list[str]:
    """The things that are no part of another: no wheel, no hand."""
    return [name for name in things(row) if not is_part(name)]


def anything(row: Row) -> list[Target]:
    """Nothing in particular."""
    return [{}]


def nothing(row: Row) -> list[Target]:
    """Never."""
    return []


def removable(row: Row) -> list[Target]:
    """Things that leave others behind and that nothing stands on or is in, so that the caption can do without them."""
    caption = row["input"]
    loose = [name for name in wholes(row) if not supports(caption, name) and without(caption, name) is not None]
    return [{"object": name} for name in loose if any(relation(name, other) is None for other in row["input_objects"])]


def replaceable(row: Row) -> list[Target]:
    """Things that are no part of a name or a measure, and no people: pictures with other people in their place mislead."""
    loose = [name for name in wholes(row) if is_exchangeable(row["input"], name)]
    return [{"object": name} for name in loose if not is_human(name)]


def colorable(row: Row) -> list[Target]:
    """Things with a colour that people change."""
    return [{"object": name} for name in things(row) if is_colored(name)]


def alterable(row: Row) -> list[Target]:
    """Things that can look another way."""
    return [{"object": name} for name in things(row) if has_looks(name)]


def solid(row: Row) -> list[Target]:
    """Things of which people say what they are made of, and that could be made of something else; animals could not."""
    return [{"object": name} for name in things(row) if materials_of(name) and not is_animate(name)]


def doings(row: Row) -> list[Target]:
    """What people and animals do without doing it to something, which would be left with nobody who does it."""
    stems = {verb_stem(verb.rpartition(" ")[0] or verb) for verb in row["input_verbs"] or []}
    stems |= {verb_stem(verb) for verb in row["input_verbs"] or []}
    named = {fold(name) for name in things(row)}
    found = [action for action in actions(row["input"]) if action.agent in named and lone_verb(row["input"], action.verb)]
    return [{"object": action.agent, "action": action.verb} for action in found if verb_stem(action.verb) in stems]


def writings(row: Row) -> list[Target]:
    """Texts that are known to stand in the picture; without any, the things that could bear one."""
    texts = [text for text in row["input_texts"] or [] if _writable(text)]
    if texts:
        return [{"text": " ".join(text.split())} for text in texts]
    bearers = [name for name in things(row) if {fold(name), fold(name).rpartition(" ")[2]} & _BEARERS]
    return [{"object": name} for name in bearers if not names_several(row["input"], name)]


def foregrounds(row: Row) -> list[Target]:
    """Something has to stand in front of the new background, and all that does must be able to be elsewhere."""
    standing = things(row)
    is_loose = standing and not any(is_rooted(name) for name in standing) and not is_place_bound(row["input"])
    return [{}] if is_loose else []


def aspects(row: Row) -> list[Target]:
    """Weather, time of day and season where they are seen and the caption does not give them."""
    caption = row["input"]
    seen = {
        "weather": is_outdoors(caption) and not is_snowbound(caption),
        "season": is_outdoors(caption) and not is_snowbound(caption),
        "time of day": shows_hour(caption),
    }
    return [{"aspect": aspect} for aspect, words in ASPECTS.items() if seen[aspect] and not has_word(caption, words)]


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
        drawn = words()["colours"]["common" if rng.random() < COMMON_SHARE else "rare"]
        pool = colors_of(target["object"], drawn) or colors_of(target["object"], words()["colours"]["common"])
        return {**target, "color": rng.choice([color for color in pool if not names_color(row["input"], color)] or pool)}
    if kind == "material_change":
        pool = list(materials_of(target["object"])) or words()["materials"]
        free = [name for name in pool if not has_word(row["input"], (name, f"{name}en"))]
        return {**target, "material": rng.choice(free or pool)}
    return target


def _writable(text: Any) -> bool:
    return isinstance(text, str) and len(text) <= MAX_TEXT and any(map(str.isalpha, text)) and not set(text) & set('"\n')
