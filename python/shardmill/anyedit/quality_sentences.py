"""Rules on the language of edit instructions: they agree with their captions, make sense, and read as people write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from shardmill.anyedit.editable import is_part
from shardmill.language.appearance import MATERIALS, words_of
from shardmill.language.backgrounds import is_background
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.nouns import is_plural, singular
from shardmill.language.placement import supports
from shardmill.language.relations import as_worded, mentions
from shardmill.language.scene_words import is_indoors
from shardmill.language.word_classes import GERUND, NOUN, PARTICIPLE, PREPOSITION, VERB
from shardmill.language.word_lists import word_lists
from shardmill.language.word_spans import word_spans
from shardmill.quality.rules import NEVER, QualityRule, Row, RowCheck, at_most

_LISTS = word_lists("shardmill.anyedit", "quality_sentences.yaml")
COLUMNS = ("edit_type", "edit_input", "edit", "output", "details")
MATERIAL_EDITS = frozenset({"material_change", "visual_material_transfer"})
LAYOUT_EDITS = frozenset({"movement", "resize", "relation", "rotation_change"})


def number_problem(row: Row) -> str | None:
    """Whether an instruction says "the zebra" of two zebras, or could mean either of two that the caption names."""
    name, caption = _object(row), row["edit_input"] or ""
    if not name or not mentions(caption, name) or row["edit_type"] in ("add", "counting", "textual_change"):
        return None
    if len(mentions(caption, name)) > 1 and "the" in words_of(row["edit"]):
        return f"more than one {name}"
    worded = as_worded(caption, name)
    one = singular(worded)
    said_of_one = re.search(rf"\bthe {re.escape(one)}\b", row["edit"], re.IGNORECASE)
    return f"“the {one}” of {worded}" if is_plural(worded) and one != worded and said_of_one else None


def material_problem(row: Row) -> str | None:
    """Whether a thing is of two materials after the edit."""
    output, name = row["output"] or "", _object(row)
    spans = mentions(output, name) if name else []
    if not spans:
        return None
    start, end = spans[0]
    before = [word for word in _noun_phrase(output[:start]) if word in MATERIALS]
    after = re.match(r"\s+made of (?:\w+ )?(\w+)", output[end:])
    of = [*dict.fromkeys([*before, *([after[1]] if after else [])])]
    stems = {word.removesuffix("en") for word in of}
    return f"of {' and '.join(of)}" if len(stems) > 1 else None


def list_problem(row: Row) -> str | None:
    """Whether a removal leaves a list of things where there was a caption."""
    kinds = [_kinds(row[column] or "") for column in ("edit_input", "output")]
    telling = {VERB, GERUND, PARTICIPLE, PREPOSITION}
    is_list = re.search(r",| and ", row["output"] or "") is not None and kinds[1].count(NOUN) > 1 and telling.isdisjoint(kinds[1])
    return "a list is left" if is_list and not telling.isdisjoint(kinds[0]) else None


def place_problem(row: Row) -> str | None:
    """Whether the caption puts an added thing elsewhere than the instruction."""
    name = _object(row)
    said, shown = (_places(text, name) for text in (row["edit"], row["output"] or ""))
    compatible = set(_LISTS.phrases("compatible"))
    if not said or not shown or said & shown or (said <= compatible and shown <= compatible):
        return None
    return f"{' '.join(sorted(said))} in the instruction, {' '.join(sorted(shown))} in the caption"


def background_problem(row: Row) -> str | None:
    """Whether things stand before the old background and the new one at once."""
    new, before = str(_details(row).get("new_background") or ""), row["edit_input"] or ""
    old = [name for name in extract_objects(before) if is_background(name) and not mentions(new, name)]
    left = [name for name in old if mentions(row["output"] or "", name)]
    return f"{left[0]} is still there" if left else None


def rest_problem(row: Row) -> str | None:
    """Whether another action takes things of the caption along."""
    named = extract_objects(row["edit_input"] or "")
    lost = [name for name in named if mentions(row["edit_input"], name) and not mentions(row["output"] or "", name)]
    return f"{lost[0]} is gone" if lost else None


def layout_problem(row: Row) -> str | None:
    """Whether a part of something, or what something is on or in, is moved, resized or turned."""
    name = _object(row)
    if name and is_part(name):
        return f"{name} is a part of something"
    return f"something is on or in {name}" if name and supports(row["edit_input"] or "", name) else None


def weather_problem(row: Row) -> str | None:
    """Whether weather or season change in a room."""
    aspect = _details(row).get("aspect")
    return f"{aspect} indoors" if aspect in ("weather", "season") and is_indoors(row["edit_input"] or "") else None


def awkward(row: Row) -> Iterator[str | None]:
    """For an instruction, whether it or its caption has a pattern of what nobody would write."""
    text = f"{row['edit']} / {row['output'] or ''}"
    known = (row["edit_input"] or "").lower()
    found = (match for part in text.split(" / ") for pattern in _patterns() for match in pattern.finditer(part))
    match = next((match for match in found if match[0].lower() not in known), None)
    yield None if match is None else f"“{match[0]}”: {text}"


@cache
def _patterns() -> list[re.Pattern[str]]:
    return [re.compile(text, re.IGNORECASE) for text in _LISTS.phrases("awkward")]


def _places(text: str, name: str) -> set[str]:
    """The groups of the first words of place after an added thing, or of the last before it ("beside the dog a ball")."""
    spans = mentions(text, name) if name else []
    if not spans:
        return set()
    after = text[spans[-1][1] :].lower().strip(" .!")
    table = _LISTS.table("places")
    return {group for group, phrases in table.items() if re.match(rf"(?:{'|'.join(phrases)})\b", after)} or {
        group
        for group, phrases in table.items()
        if re.search(rf"\b(?:{'|'.join(phrases)}) (?:an?|some|the)?\s*$", text[: spans[-1][0]].lower())
    }


def _noun_phrase(before: str) -> list[str]:
    """The last words before a noun, back to its article."""
    words = words_of(before)
    starts = [
        at for at, word in enumerate(words) if word in ("a", "an", "the", "and", "with", "of", "on", "in", "his", "her", "their")
    ]
    return words[starts[-1] + 1 :] if starts else words


def _kinds(text: str) -> list[str]:
    return [word.kind for word in word_spans(text) or ()]


def _details(row: Row) -> dict[str, Any]:
    return row["details"] or {}


def _object(row: Row) -> str:
    details = _details(row)
    return str(details.get("edited_object") or details.get("object") or "")


def _check(problem: Callable[[Row], str | None], *kinds: str) -> RowCheck:
    """A check of the instructions of some types, of all if none is given; a problem is shown with the instruction."""

    def check(row: Row) -> Iterator[str | None]:
        if not kinds or row["edit_type"] in kinds:
            found = problem(row)
            yield None if found is None else f"{row['edit_type']}, {found}: {row['edit_input']} / {row['edit']} / {row['output']}"

    return check


SENTENCE_RULES = [
    QualityRule(
        "edits.number",
        "An instruction names its object in the number of the caption, and can only mean one thing.",
        at_most(0.01, 0.03),
        COLUMNS,
        _check(number_problem),
        fault="Some instructions name one thing where the caption has several, or could mean several things.",
        advice="“Move the zebra” of two zebras teaches the editor to guess.",
    ),
    QualityRule(
        "edits.materials",
        "A thing is of one material after a change of material.",
        NEVER,
        COLUMNS,
        _check(material_problem, *MATERIAL_EDITS),
        fault="Some things are of two materials after a change of material.",
        advice="A wooden chair made of glass is neither.",
    ),
    QualityRule(
        "edits.lists",
        "A removal leaves a caption, and no list of things.",
        at_most(0.02, 0.1),
        COLUMNS,
        _check(list_problem, "remove"),
        fault="Some captions are mere lists of things after a removal.",
        advice="The caption no longer says what the image shows. Draw other types where a caption cannot do without the object.",
    ),
    QualityRule(
        "edits.places",
        "An added thing is in the caption where the instruction puts it.",
        NEVER,
        COLUMNS,
        _check(place_problem, "add"),
        fault="Some added things are not where the instruction puts them.",
        advice="The editor learns that “behind” and “next to” are the same.",
    ),
    QualityRule(
        "edits.backgrounds",
        "Before a new background nothing of the old one is left.",
        at_most(0.02, 0.1),
        COLUMNS,
        _check(background_problem, "background_change"),
        fault="Some captions keep a part of the old background beside the new one.",
        advice="The caption after the edit has two places.",
    ),
    QualityRule(
        "edits.rest",
        "Another action leaves the other things of the caption there.",
        at_most(0.05, 0.2),
        COLUMNS,
        _check(rest_problem, "action_change"),
        fault="Some changes of action also remove other things from the caption.",
        advice="The caption after the edit says that more has changed than the instruction asks for.",
    ),
    QualityRule(
        "edits.layout",
        "Nothing is moved, resized or turned that is a part of something or that something is on.",
        at_most(0.02, 0.1),
        COLUMNS,
        _check(layout_problem, *LAYOUT_EDITS),
        fault="Some edits move, resize or turn a part of a thing, or a thing that carries another.",
        advice="The plate moves and the cake stays in the air.",
    ),
    QualityRule(
        "edits.weather",
        "Weather and season do not change in rooms.",
        at_most(0.02, 0.1),
        COLUMNS,
        _check(weather_problem, "tune_transfer"),
        fault="Some edits change the weather or the season in a room.",
        advice="The editor learns to let it rain on the dinner table.",
    ),
    QualityRule(
        "edits.wording",
        "Few instructions and captions have a pattern of what nobody would write.",
        at_most(0.03, 0.1),
        COLUMNS,
        awkward,
        fault="Some instructions or captions are worded as nobody would word them.",
        advice="The text model falls back on set phrases: change the prompt, or the patterns of templates/rules/edits.yaml.",
    ),
]
"""Measured over the instructions of a run, whoever wrote them."""
