"""Rules on edit instructions and chains: each does what its type says, and no type, verb or object dominates (section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from shardmill.anyedit.instruction_form import plain, quoted
from shardmill.anyedit.quality_sentences import SENTENCE_RULES
from shardmill.language.numbers import numbers_in
from shardmill.language.relations import mentions
from shardmill.quality.rules import NEVER, QualityRule, Row, RowCheck, at_most, at_stage

COLUMNS = ("edit_type", "edit_input", "edit", "edited_object", "output", "details")
VERB = pl.col("edit").str.extract(r"([A-Za-z]+)").str.to_lowercase()
OBJECT = pl.col("details").str.json_path_match("$.edited_object").str.to_lowercase()
MIN_TURNS = 2


def input_problem(row: Row, name: str) -> str | None:
    """Whether the caption before the edit holds the edited object; that of an addition must not."""
    is_there = mentions(row["edit_input"] or "", name)
    if row["edit_type"] == "add":
        return f"{name} is there before" if is_there else None
    return None if is_there else f"{name} is not there before"


def move_problem(row: Row, name: str) -> str | None:
    """Whether the caption after an addition, removal or replacement has its objects moved."""
    is_there, new = mentions(row["output"], name), _details(row).get("new_object")
    if row["edit_type"] == "add":
        return None if is_there else f"{name} is not there after it"
    if is_there:
        return f"{name} is still there after it"
    if row["edit_type"] == "replace" and new and not mentions(row["output"], new):
        return f"{new} is not there after it"
    return None


def count_problem(row: Row) -> str | None:
    """Whether a counting edit's numbers add up and its caption says what is left."""
    before, left, removed = (_details(row).get(name) for name in ("number_before", "number_after", "remove_number"))
    if not (isinstance(before, int) and isinstance(left, int) and isinstance(removed, int)) or before - removed != left:
        return f"{before} less {removed} is not {left}"
    if left > 1 and left not in [number.value for number in numbers_in(row["output"] or "")]:
        return f"the caption does not say {left}"
    return None


def quote_problem(row: Row) -> str | None:
    """Whether the quoted texts of a textual change are the same in the captions and the instruction."""
    old, new = _details(row).get("old_text"), _details(row).get("new_text")
    before, after = quoted(row["edit_input"] or ""), quoted(row["output"] or "")
    is_whole = old in before and new in after and {old, new} <= set(quoted(row["edit"] or ""))
    return None if is_whole else f"“{old}” to “{new}”"


def _details(row: Row) -> dict[str, Any]:
    return row["details"] or {}


def _object(row: Row) -> str:
    return str(row["edited_object"] or _details(row).get("edited_object") or "")


def _check(problem: Callable[[Row], str | None], applies: Callable[[Row], bool]) -> RowCheck:
    """A check of the instructions that it applies to; a problem is shown with the instruction and its captions."""

    def check(row: Row) -> Iterator[str | None]:
        if applies(row):
            found = problem(row)
            text = f"{row['edit_type']}, {found}: {row['edit_input']} / {row['edit']} / {row['output']}"
            yield None if found is None else text

    return check


def _changes_nothing(row: Row) -> str | None:
    return "nothing changes" if plain(row["output"]) == plain(row["edit_input"] or "") else None


EDIT_CHECKS = [
    (
        "edits.input",
        "The caption before an edit holds the edited object; that of an addition does not.",
        "Some captions before an edit lack the edited object, or already have what is to be added.",
        _check(lambda row: input_problem(row, _object(row)), lambda row: bool(_object(row))),
        "The instruction is about something that is not in the image.",
    ),
    (
        "edits.change",
        "The caption after an edit differs from the one before.",
        "Some edits leave the caption as it was.",
        _check(_changes_nothing, lambda row: row["output"] is not None),
        "A pair that changes nothing teaches the editor to do nothing.",
    ),
    (
        "edits.moves",
        "Additions, removals and replacements move their objects in and out as they say.",
        "Some additions, removals or replacements do not do what they say.",
        _check(
            lambda row: move_problem(row, _object(row)),
            lambda row: row["output"] is not None and bool(_object(row)) and row["edit_type"] in ("add", "remove", "replace"),
        ),
        "The caption after the edit contradicts the instruction.",
    ),
    (
        "edits.counts",
        "Numbers add up: the number before, less what is removed, is the number after.",
        "Some numbers do not add up.",
        _check(count_problem, lambda row: row["edit_type"] == "counting" and "number_after" in _details(row)),
        "Counting edits teach wrong arithmetic.",
    ),
    (
        "edits.quotes",
        "Quoted texts are the same in the captions and the instruction.",
        "Some quoted texts differ between the captions and the instruction.",
        _check(quote_problem, lambda row: row["edit_type"] == "textual_change"),
        "The image shows another text than the instruction asks for.",
    ),
]


def edit_rules(stage: str) -> list[QualityRule]:
    """The rules on the instructions of a stage."""
    kept = [
        QualityRule(id, meaning, NEVER, COLUMNS, check, fault=fault, advice=advice)
        for id, meaning, fault, check, advice in EDIT_CHECKS
    ]
    pair = pl.col("edit_input") + " / " + pl.col("edit")
    shares = [
        QualityRule(
            "edits.copies",
            "No caption gets the same instruction twice.",
            at_most(0.02, 0.1),
            ("edit_input", "edit"),
            pair,
            counts="copies",
            fault="Captions get the same instruction again.",
            advice="Pairs of caption and instruction are repeated, because the input has duplicate captions.",
        ),
        QualityRule(
            "edits.types",
            "No edit type makes up much of the data.",
            at_most(0.2, 0.5),
            ("edit_type", "edit"),
            pl.col("edit_type"),
            counts="commonest",
            example=pl.col("edit"),
            fault="One edit type makes up much of the data.",
            advice="The editor learns one type. Set draw_edits.weights, or use captions that allow others.",
        ),
        QualityRule(
            "edits.verbs",
            "Instructions begin with many verbs.",
            at_most(0.35, 0.6),
            ("edit",),
            VERB,
            counts="commonest",
            fault="Many instructions begin with the same verb.",
            advice="The editor learns one verb, but people ask in many ways.",
        ),
        QualityRule(
            "edits.objects",
            "No object is edited in much of the data.",
            at_most(0.1, 0.3),
            ("details", "edit"),
            OBJECT,
            counts="commonest",
            example=pl.col("edit"),
            fault="One object is edited in much of the data.",
            advice="Captions are about few things: draw more concepts.",
        ),
    ]
    return at_stage(stage, *kept, *SENTENCE_RULES, *shares)


def broken_links(row: Row) -> Iterator[str | None]:
    """For a chain, at which turn it does not start from the caption that the turn before left."""
    chain = row["chain"]
    if chain:
        starts = [row["input"], *(turn["output"] for turn in chain[:-1])]
        wrong = ((number, turn, start) for number, (turn, start) in enumerate(zip(chain, starts, strict=True), 1))
        broken = next((each for each in wrong if each[1]["input"] != each[2]), None)
        yield broken and f"turn {broken[0]} starts from “{broken[1]['input']}”, not “{broken[2]}”"


def repeated_types(row: Row) -> Iterator[str | None]:
    """For a chain, whether it is too short or has a type twice."""
    if row["chain"]:
        types = [turn["edit_type"] for turn in row["chain"]]
        is_good = len(set(types)) == len(types) >= MIN_TURNS
        yield None if is_good else ", ".join(types)


def idle_edits(row: Row) -> Iterator[str | None]:
    """For each implicit edit, whether it changes nothing or does not name the words that say how."""
    for each in row["implicit"] or []:
        is_idle = plain(each["original_caption"]) == plain(each["target_caption"]) or not each["key_words"]
        yield f"{each['original_caption']} / {each['instruction']}" if is_idle else None


CHAIN_RULES = [
    QualityRule(
        "chains.linked",
        "In a chain, each turn starts from the caption that the turn before left.",
        NEVER,
        ("input", "chain"),
        broken_links,
        stage="chain_instructions",
        fault="Some turns do not start from the caption that the turn before left.",
        advice="The turns do not belong together: a multi-turn editor learns from contradictions.",
    ),
    QualityRule(
        "chains.types",
        f"A chain has at least {MIN_TURNS} turns, each of another type.",
        NEVER,
        ("input", "chain"),
        repeated_types,
        stage="chain_instructions",
        fault=f"Some chains have fewer than {MIN_TURNS} turns, or the same type twice.",
        advice="A chain that does the same thing again is not a multi-turn edit.",
    ),
    QualityRule(
        "implicit.change",
        "An implicit edit changes its scene, and names the words that say how.",
        NEVER,
        ("implicit",),
        idle_edits,
        stage="write_implicit",
        fault="Some implicit edits change nothing, or do not name the words that say how.",
        advice="Nothing happens: the editor learns to do nothing.",
    ),
]
