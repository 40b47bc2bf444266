"""Check by a detector that an edited image shows what its edit says.

python -m shardmill.anyedit.check_edits --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.model_stages import DetectStage, is_detectable, read_detections, write_detections
from shardmill.core.stage import Answer, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.backgrounds import is_background
from shardmill.language.nouns import fold
from shardmill.models.contract import Detections
from shardmill.store.image_columns import EDITED_IMAGE

STILL_THERE, NOT_THERE, LOST = (
    "object still there after the edit",
    "object not there after the edit",
    "other object lost by the edit",
)


class CheckEditsOptions(Options):
    """Options of `check_edits`."""

    present: float = Field(0.3, ge=0, le=1, description="score from which on an object counts as being in the edited image")
    absent: float = Field(0.2, ge=0, le=1, description="score below which an object counts as gone from the edited image")
    keep_others: bool = Field(True, description="reject an edited image in which another object of the caption is gone")


@dataclass(frozen=True)
class Expected:
    """What an edited image has to show: what came, what went, and what was seen before and is to stay."""

    there: tuple[str, ...]
    gone: tuple[str, ...]
    others: tuple[str, ...]


class CheckEdits(DetectStage):
    """What a detector sees in the edited image, and whether it is what the edit says.

    edited_image, edit_type (text), details, detections (json) -> edit_detections (json). After `add`, the object is there; after
    `remove` it is gone; after `replace` the new one is there and the old one is gone; after any other edit of an object that was
    seen before, it is still there. Other objects that were seen before stay (a background need not where
    the edit changes it), unless `keep_others` is off. What a detector cannot see (a colour, a material, a style) is not checked.
    """

    name = "check_edits"
    reads = ("edited_image", "edit_type", "details", "detections")
    adds = {"edit_detections": "json"}
    Options = CheckEditsOptions
    options: CheckEditsOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        wanted = self.expected(row)
        names = [*dict.fromkeys((*wanted.there, *wanted.gone, *wanted.others))]
        return [self.detect_call(self.context.image_path(EDITED_IMAGE, row["edited_image"]), names)] if names else []

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        if not answers:
            return {"edit_detections": {}}
        found: Detections = answers[0].value
        problem = self.problem(self.expected(row), found)
        return problem or {"edit_detections": write_detections(found)}

    def expected(self, row: Row) -> Expected:
        """What the edited image has to show."""
        kind, details = row["edit_type"], row["details"] or {}
        edited, new = _name(details, "edited_object", "object"), _name(details, "new_object")
        seen = [name for name, result in read_detections(row["detections"] or {}).items() if self.is_seen(result.score)]
        there, gone = _changed(kind, edited, new)
        if not there and not gone and edited and _has(seen, edited):
            there = (edited,)
        changed = {fold(name) for name in (*there, *gone)}
        others = [name for name in seen if fold(name) not in changed and is_detectable(name)]
        if kind == "background_change":
            others = [name for name in others if not is_background(name)]
        return Expected(there, gone, tuple(others) if self.options.keep_others else ())

    def is_seen(self, score: float) -> bool:
        """Whether a score means that the object is there."""
        return score >= self.options.present

    def problem(self, wanted: Expected, found: Detections) -> Reject | None:
        """What is wrong with what was found; None if nothing is."""
        for name in wanted.there:
            if not self.is_seen(found[name].score):
                return Reject(NOT_THERE, f"{name}: {found[name].score:.2f}")
        for name in wanted.gone:
            if found[name].score >= self.options.absent:
                return Reject(STILL_THERE, f"{name}: {found[name].score:.2f}")
        for name in wanted.others:
            if not self.is_seen(found[name].score):
                return Reject(LOST, f"{name}: {found[name].score:.2f}")
        return None


def _changed(kind: str, edited: str | None, new: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The objects that an edit of this type brings, and those that it takes away."""
    if kind == "add" and edited:
        return (edited,), ()
    if kind == "remove" and edited:
        return (), (edited,)
    if kind == "replace" and edited and new:
        return (new,), (edited,)
    return (), ()


def _name(details: Mapping[str, Any], *keys: str) -> str | None:
    """The first of these details that is a name a detector can search for."""
    found = (details.get(key) for key in keys)
    return next((name for name in found if isinstance(name, str) and is_detectable(name)), None)


def _has(names: list[str], name: str) -> bool:
    return fold(name) in {fold(each) for each in names}


if __name__ == "__main__":
    main(CheckEdits)
