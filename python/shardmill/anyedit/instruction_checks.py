"""Whether a model-written instruction does what its type says: checked by code, before a model judges it.

Each check yields short stable reasons, the first of which counts. The rules are those of AnyEdit's pre-filter and of its editors
(what is in the caption, what may be replaced, what the last word is), without their errors: words are compared whole, and who
is a person is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shardmill.anyedit.edit_types import TYPES
from shardmill.anyedit.instruction_answers import (
    ActionChange,
    Add,
    AppearanceAlter,
    BackgroundChange,
    ColorAlter,
    Instruction,
    MaterialChange,
    Remove,
    Replace,
    TextualChange,
    TuneTransfer,
)
from shardmill.anyedit.instruction_form import first_verb, form_problem, plain, quoted, straight, without_quoted
from shardmill.language.actions import actions, has_verb, is_human, verb_stem
from shardmill.language.appearance import ASPECTS, COLORS, MATERIALS, SIZES, VAGUE, color_key, has_word, names_color, words_of
from shardmill.language.backgrounds import is_background
from shardmill.language.function_words import AUXILIARIES, PREPOSITIONS
from shardmill.language.lexicon import lexicon
from shardmill.language.nouns import fold
from shardmill.language.object_names import form_problem as name_problem
from shardmill.language.polarity import new_objects
from shardmill.language.relations import mentions, relation
from shardmill.language.visibility import is_visible

MAX_TEXT_WORDS = 8
_REMOVALS = frozenset({"remove", "erase", "delete", "take", "get", "clear", "eliminate", "drop", "cut", "wipe"})
_SMALL = PREPOSITIONS | {"a", "an", "the", "of", "and", "its", "his", "her", "their", "with", "some"}


@dataclass(frozen=True)
class EditRequest:
    """What an instruction was asked for: the caption before the edit, the objects that it names, and the target."""

    caption: str
    objects: Sequence[str] = ()
    target: Mapping[str, Any] = field(default_factory=dict)


def instruction_problem(kind: str, answer: Instruction, request: EditRequest) -> str | None:
    """Why an answer is no instruction of its type for this caption; None when it is.

    In all types: the edit is one imperative sentence; the output is a caption, differs from the input, and shows the edit.
    In local ones: no word of the background; the edited object is in the caption (of an addition: is not) and in the edit.
    """
    caption = answer.input if isinstance(answer, TextualChange) else request.caption
    problem = form_problem(answer.edit, answer.output, caption)
    if problem is None and TYPES[kind].is_local and has_word(without_quoted(answer.edit), ("background",)):
        problem = "local edit of the background"
    return problem or next(_CHECKS[kind](answer, request), None)


def _add(answer: Add, request: EditRequest) -> Iterator[str]:
    name = answer.edited_object
    if _takes_away(answer):
        yield "edit takes something away"
    if not _is_thing(name):
        yield "not a visible object"
    if mentions(request.caption, name) or any(relation(name, other) in ("same", "synonym") for other in request.objects):
        yield "object already in the caption"
    if not mentions(answer.edit, name):
        yield "edit does not name the object"
    if not mentions(answer.output, name):
        yield "object not in the output"
    yield from _kept(answer, request, new=[name, *words_of(name)])


def _remove(answer: Remove, request: EditRequest) -> Iterator[str]:
    yield from _edited(answer, answer.edited_object, request)
    if not _takes_away(answer):
        yield "edit takes nothing away"
    if mentions(answer.output, answer.edited_object):
        yield "object still in the output"
    yield from _kept(answer, request, gone=answer.edited_object)


def _replace(answer: Replace, request: EditRequest) -> Iterator[str]:
    name, new = answer.edited_object, answer.new_object
    yield from _edited(answer, name, request)
    if _takes_away(answer):
        yield "edit takes something away"
    if is_human(name) or is_human(new):
        yield "replaces or makes a person"
    if not _is_thing(new):
        yield "not a visible object"
    if relation(name, new) is not None:
        yield "new object is the old one or kin to it"
    if mentions(request.caption, new):
        yield "new object already in the caption"
    if not mentions(answer.edit, new):
        yield "edit does not name the new object"
    if mentions(answer.output, name):
        yield "object still in the output"
    if not mentions(answer.output, new):
        yield "new object not in the output"
    yield from _kept(answer, request, gone=name, new=[new, *words_of(new)])


def _color_alter(answer: ColorAlter, request: EditRequest) -> Iterator[str]:
    yield from _edited(answer, answer.edited_object, request)
    color = color_key(answer.color)
    if color is None:
        yield "not a colour"
        return
    wanted = request.target.get("color")
    if wanted is not None and not names_color(color, wanted):
        yield "other colour than asked"
    if names_color(request.caption, color):
        yield "colour already in the caption"
    if not plain(answer.edit.replace("grey", "gray")).endswith(color):
        yield "edit does not end with the colour"
    if not names_color(answer.output, color):
        yield "colour not in the output"
    if not mentions(answer.output, answer.edited_object):
        yield "object not in the output"
    yield from _kept(answer, request, new=words_of(color))


def _appearance_alter(answer: AppearanceAlter, request: EditRequest) -> Iterator[str]:
    yield from _edited(answer, answer.edited_object, request)
    appearance = answer.appearance
    if is_human(answer.edited_object):
        yield "alters a person"
    if has_word(f"{appearance} {answer.edit}", ("color", "colour", "colored", "coloured")) or has_word(appearance, COLORS):
        yield "appearance is a colour"
    if has_word(appearance, SIZES):
        yield "appearance is a size"
    if has_word(appearance, MATERIALS):
        yield "appearance is a material"
    telling = _telling(appearance)
    if not telling or telling <= VAGUE:
        yield "appearance too vague"
    if not telling & _telling(answer.edit):
        yield "edit does not name the appearance"
    if not telling & _telling(answer.output):
        yield "appearance not in the output"
    if telling <= _telling(request.caption):
        yield "appearance already in the caption"
    if not mentions(answer.output, answer.edited_object):
        yield "object not in the output"
    yield from _kept(answer, request, new=words_of(appearance))


def _material_change(answer: MaterialChange, request: EditRequest) -> Iterator[str]:
    yield from _edited(answer, answer.edited_object, request)
    material = answer.material
    if not has_word(material, MATERIALS):
        yield "not a material"
    wanted = request.target.get("material")
    if wanted is not None and not _stuff(material) & _stuff(wanted):
        yield "other material than asked"
    for text, reason in ((answer.edit, "edit does not name the material"), (answer.output, "material not in the output")):
        if not _stuff(text) & _stuff(material):
            yield reason
    if _stuff(material) <= _stuff(request.caption):
        yield "material already in the caption"
    if not mentions(answer.output, answer.edited_object):
        yield "object not in the output"
    yield from _kept(answer, request, new=[*words_of(material), material])


def _action_change(answer: ActionChange, request: EditRequest) -> Iterator[str]:
    yield from _edited(answer, answer.edited_object, request)
    verb = next((word for word in words_of(answer.new_action) if word not in ("to", "be", "is", "are", "being")), "")
    old = request.target.get("action")
    before = [action.verb for action in actions(request.caption)] + ([old] if old else [])
    if not verb or verb in AUXILIARIES:
        yield "no new action"
    if verb_stem(verb) in map(verb_stem, before):
        yield "same action as before"
    if not has_verb(answer.edit, verb):
        yield "edit does not name the action"
    if not has_verb(answer.output, verb):
        yield "action not in the output"
    if old is not None and has_verb(answer.output, old):
        yield "old action still in the output"
    if not mentions(answer.output, answer.edited_object):
        yield "object not in the output"


def _background_change(answer: BackgroundChange, request: EditRequest) -> Iterator[str]:
    new = _telling(answer.new_background)
    head = fold(answer.new_background).rpartition(" ")[2]
    old = answer.original_background
    if not new or new <= VAGUE | {"background", "place", "scene", "location"}:
        yield "background too vague"
    if not has_word(answer.edit, ("background", "scene", "setting", "backdrop", "surroundings")):
        yield "edit does not name the background"
    if not new <= _telling(answer.edit):
        yield "edit does not name the new background"
    if not new & _telling(answer.output):
        yield "new background not in the output"
    if new <= _telling(request.caption) or mentions(request.caption, head):
        yield "background already in the caption"
    if old is not None and not _telling(old) & _telling(request.caption):
        yield "old background not in the caption"
    if old is not None and mentions(answer.output, fold(old).rpartition(" ")[2]):
        yield "old background still in the output"
    if not foreground(request, old):
        yield "no foreground"
    if any(not mentions(answer.output, name) for name in foreground(request, old)):
        yield "output drops an object"


def _tune_transfer(answer: TuneTransfer, request: EditRequest) -> Iterator[str]:
    state = words_of(answer.new_state)
    aspect = request.target.get("aspect")
    allowed = ASPECTS[aspect] if aspect in ASPECTS else frozenset[str]().union(*ASPECTS.values())
    telling = frozenset(state) & allowed
    if not telling:
        yield "neither weather nor time of day nor season" if aspect is None else "other change than asked"
    if not telling & frozenset(words_of(answer.edit)):
        yield "edit does not name the new state"
    if not telling & frozenset(words_of(answer.output)):
        yield "new state not in the output"
    if telling <= frozenset(words_of(request.caption)):
        yield "new state already in the caption"
    yield from _kept(answer, request, more=True)


def _textual_change(answer: TextualChange, request: EditRequest) -> Iterator[str]:
    before, within, after = (quoted(text) for text in (answer.input, answer.edit, answer.output))
    if len(before) != 1 or len(after) != 1:
        yield "not one quoted text in input and output"
        return
    old, new = before[0], after[0]
    if within != [old, new] and within != [new]:
        yield "quoted texts of edit and captions differ"
    if old.casefold() == new.casefold():
        yield "text unchanged"
    if len(old.split()) != len(new.split()):
        yield "other number of words"
    if len(old.split()) > MAX_TEXT_WORDS:
        yield "text too long"
    if straight(answer.input).replace(old, new) != straight(answer.output) and plain(without_quoted(answer.input)) != plain(
        without_quoted(answer.output)
    ):
        yield "output changes more than the text"
    text, name = request.target.get("text"), request.target.get("object")
    if text is not None and old != straight(" ".join(text.split())):
        yield "other text than given"
    if name is not None and not mentions(without_quoted(answer.input), name):
        yield "input does not name the object"


_CHECKS: dict[str, Callable[[Any, EditRequest], Iterator[str]]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "color_alter": _color_alter,
    "appearance_alter": _appearance_alter,
    "material_change": _material_change,
    "action_change": _action_change,
    "background_change": _background_change,
    "tune_transfer": _tune_transfer,
    "textual_change": _textual_change,
}


def foreground(request: EditRequest, background: str | None) -> list[str]:
    """The objects of a caption that stand before its background."""
    place = background or ""
    named = [name for name in request.objects if mentions(request.caption, name)]
    return [name for name in named if not mentions(place, name) and not is_background(name)]


def _takes_away(answer: Instruction) -> bool:
    return first_verb(answer.edit) in _REMOVALS


def _is_thing(name: str) -> bool:
    return name_problem(name) is None and is_visible(fold(name))


def _edited(answer: Instruction, name: str, request: EditRequest) -> Iterator[str]:
    """The rules of an edited object: the one that was asked for, in the caption, and named in the edit."""
    wanted = request.target.get("object")
    if not mentions(request.caption, name):
        yield "object not in the caption"
    if wanted is not None and relation(name, wanted) not in ("same", "synonym") and not mentions(name, wanted):
        yield "other object than asked"
    if not mentions(answer.edit, name):
        yield "edit does not name the object"


def _kept(
    answer: Instruction, request: EditRequest, gone: str | None = None, new: Sequence[str] = (), more: bool = False
) -> Iterator[str]:
    """The other objects stay, and unless there may be `more`, none comes in besides `new`."""
    stays = [name for name in request.objects if mentions(request.caption, name) and (gone is None or not _within(name, gone))]
    if any(not mentions(answer.output, name) for name in stays):
        yield "output drops an object"
    came = [] if more else new_objects(answer.output, [*request.objects, *new], source=request.caption)
    if any(lexicon().entries[name].category not in ("part", "body") for name in came):  # feet come with who has them
        yield "output adds another object"


def _within(name: str, gone: str) -> bool:
    """Whether an object goes with one that is gone: its part, its kind, or named with it ("dog", "dog collar")."""
    return relation(name, gone) is not None or bool(mentions(gone, name))


def _telling(text: str) -> frozenset[str]:
    """The words that say something, in the singular, without small words and colours' spellings."""
    return frozenset(fold(word) for word in words_of(text) if word not in _SMALL)


def _stuff(text: str) -> frozenset[str]:
    """The materials that a text names: "wooden" is "wood", "golden" "gold"."""
    found = {word for word in words_of(text) if word in MATERIALS}
    alike = {"wooden": "wood", "golden": "gold", "metallic": "metal", "aluminum": "aluminium", "knitted": "wool"}
    return frozenset(alike.get(word, word) for word in found)
