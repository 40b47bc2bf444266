"""Edit instructions: types, verbs and objects over all of them, and on a sample whether each does what its type says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import polars as pl

from shardmill.anyedit.instruction_form import plain, quoted
from shardmill.language.numbers import numbers_in
from shardmill.language.relations import mentions
from shardmill.quality.figures import skeleton
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import at_most, example, never
from shardmill.quality.measures import Repeats, ValueTally, bars_chart
from shardmill.quality.model import FigureTable, QualityFinding, ReportSection, RowExample
from shardmill.quality.objects_and_texts import Texts, balance
from shardmill.quality.parts import CHECKED_ROWS, ColumnReading, QualityPart, Row, Rows

COLUMNS = ("edit_type", "edit_input", "edit", "edited_object", "output", "details")
RULES = {
    "edits.input": (
        "The caption before an edit holds the edited object; that of an addition does not.",
        "The instruction is about something that is not in the picture.",
    ),
    "edits.change": (
        "The caption after an edit differs from the one before.",
        "A pair that changes nothing teaches the editor to do nothing.",
    ),
    "edits.moves": (
        "Additions, removals and replacements move their objects in and out as they say.",
        "The caption after the edit contradicts the instruction.",
    ),
    "edits.counts": ("Numbers add up: before, less what is taken away, is after.", "Counting edits teach wrong arithmetic."),
    "edits.quotes": (
        "Quoted texts are the same in the captions and the instruction.",
        "The picture shows another text than asked for.",
    ),
}


class Edits(QualityPart):
    """The instructions of the last stage that has them."""

    def __init__(self, standing: FinishedShards, stage: str, seed: int) -> None:
        self._stage = stage
        self._sample = Rows(standing, stage, COLUMNS, CHECKED_ROWS, seed, "edits")
        self._types, self._verbs, self._objects, self._count = ValueTally(), ValueTally(), ValueTally(), 0
        self._pairs = Repeats()
        self.texts = Texts(
            standing, stage, ("edit", "details"), _edits_in, "edits", "instructions", seed,
            pattern=_pattern, copies=None, commonest=(0.03, 0.1), dominance=(0.1, 0.3),
        )  # fmt: skip

    def readings(self) -> list[ColumnReading]:
        return [*self._sample.readings(), ColumnReading(self._stage, ("edit_type", "edit", "edit_input", "details"), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        self._count += frame.height
        self._types.look(frame["edit_type"])
        self._verbs.look(frame["edit"].str.extract(r"([A-Za-z]+)").str.to_lowercase())
        self._pairs.look(frame["row_id"], frame["edit_input"] + " / " + frame["edit"])
        self._objects.look(frame["details"].str.json_path_match("$.edited_object").str.to_lowercase())

    def findings(self) -> list[QualityFinding]:
        if not self._count:
            return []
        return [*self._kept_rules(), *self._balances()]

    def _kept_rules(self) -> list[QualityFinding]:
        checked, bad = Counter[str](), Counter[str]()
        shown: dict[str, list[RowExample]] = {}
        for row in self._sample.rows:
            for rule, problem in problems(row):
                checked[rule] += 1
                if problem:
                    bad[rule] += 1
                    text = f"{row['edit_type']}, {problem}: {row['edit_input']} / {row['edit']} / {row['output']}"
                    shown.setdefault(rule, []).append(example(row["row_id"], text, row["sub_id"]))
        return [
            never(rule, said, bad[rule], checked[rule], means=means, examples=shown.get(rule, []))
            for rule, (said, means) in RULES.items()
            if checked[rule]
        ]

    def _balances(self) -> list[QualityFinding]:
        by_type: dict[str, list[RowExample]] = {}
        by_verb: dict[str, list[RowExample]] = {}
        by_object: dict[str, list[RowExample]] = {}
        for row in self._sample.some(3_000):
            shown = example(row["row_id"], row["edit"], row["sub_id"])
            by_type.setdefault(row["edit_type"], []).append(shown)
            by_verb.setdefault((row["edit"].split() or [""])[0].lower(), []).append(shown)
            by_object.setdefault(str((row["details"] or {}).get("edited_object")).lower(), []).append(shown)
        copies = [example(row, each.text) for each in self._pairs.most(3) for row in dict.fromkeys(each.rows)]
        name, most = (self._objects.most(1) or [("", 0)])[0]
        return [
            at_most(
                "edits.copies",
                "No caption gets the same instruction twice.",
                self._pairs.extra,
                self._pairs.total,
                look=0.02,
                fail=0.1,
                means="Pairs of caption and instruction are doubled: doubled captions in the input.",
                examples=copies,
            ),
            balance(
                "edits.types",
                "No edit type makes much of the data.",
                self._types.most(),
                look=0.2,
                fail=0.5,
                means="The editor learns one type. Set draw_edits.weights, or take captions that allow others (texts, numbers, "
                "boxes).",
                examples=by_type,
            ),
            balance(
                "edits.verbs",
                "Instructions begin with many verbs.",
                self._verbs.most(),
                look=0.35,
                fail=0.6,
                means="The editor learns a verb. People ask in many ways.",
                examples=by_verb,
            ),
            at_most(
                "edits.objects",
                "No object is edited in much of the data.",
                most,
                self._objects.total,
                look=0.1,
                fail=0.3,
                told=name,
                means="Captions are about few things: draw more concepts.",
                examples=by_object.get(name, []),
            ),
        ]

    def sections(self) -> list[ReportSection]:
        if not self._count:
            return []
        types = [(name, float(count)) for name, count in self._types.most()]
        verbs = [(name, float(count)) for name, count in self._verbs.most(25)]
        objects = [(name, float(count)) for name, count in self._objects.most(30)]
        rows: list[list[str | float | int | None]] = [[name, int(count), round(count / self._count, 4)] for name, count in types]
        return [
            ReportSection(
                id="edits",
                title="Edit instructions",
                charts=[
                    bars_chart(
                        "edits.types", "Types", "type", types, "Bad: types that are missing, or one that towers over all."
                    ),
                    bars_chart("edits.verbs", "First words", "verb", verbs, "Bad: one verb in most instructions."),
                    bars_chart("edits.objects", "Edited objects", "object", objects, "Bad: few objects in most instructions."),
                ],
                tables=[FigureTable(id="edits.table", title="Types", columns=["type", "instructions", "share"], rows=rows)],
            )
        ]

    def facts(self) -> dict[str, str]:
        return {"instructions": f"{self._count:,} of {self._types.distinct} types"}


def _edits_in(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("row_id", "sub_id", "details", text="edit")


def _pattern(text: str, row: Row) -> str:
    """The instruction with "_" for its objects, its own among them."""
    details: dict[str, Any] = row["details"] or {}
    names = [details[name] for name in ("edited_object", "object", "new_object") if isinstance(details.get(name), str)]
    return skeleton(text, names)


def problems(row: Row) -> Iterator[tuple[str, str | None]]:
    """Each rule that can be checked on an instruction, and why it is broken, or None."""
    kind, before, after, details = row["edit_type"], row["edit_input"] or "", row["output"], row["details"] or {}
    name = row["edited_object"] or details.get("edited_object")
    if name and kind == "add":
        yield "edits.input", f"{name} is there before" if mentions(before, name) else None
    elif name:
        yield "edits.input", None if mentions(before, name) else f"{name} is not there before"
    if after is not None:
        yield "edits.change", "nothing changes" if plain(after) == plain(before) else None
    if after is not None and name and kind in ("add", "remove", "replace"):
        yield "edits.moves", _moved(kind, name, details.get("new_object"), after)
    if kind == "counting" and "number_after" in details:
        yield "edits.counts", _counted(details, after)
    if kind == "textual_change":
        old, new = details.get("old_text"), details.get("new_text")
        whole = old in quoted(before) and new in quoted(after or "") and {old, new} <= set(quoted(row["edit"] or ""))
        yield "edits.quotes", None if whole else f"“{old}” to “{new}”"


def _moved(kind: str, name: str, new: str | None, after: str) -> str | None:
    if kind == "add":
        return None if mentions(after, name) else f"{name} is not there after it"
    if mentions(after, name):
        return f"{name} is still there after it"
    if kind == "replace" and new and not mentions(after, new):
        return f"{new} is not there after it"
    return None


def _counted(details: dict[str, Any], after: str | None) -> str | None:
    before, left, removed = (details.get(name) for name in ("number_before", "number_after", "remove_number"))
    if not (isinstance(before, int) and isinstance(left, int) and isinstance(removed, int)) or before - removed != left:
        return f"{before} less {removed} is not {left}"
    if left > 1 and left not in [number.value for number in numbers_in(after or "")]:
        return f"the caption does not say {left}"
    return None
