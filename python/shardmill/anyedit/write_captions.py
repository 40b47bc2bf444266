"""Write a caption for a scene: of a thing, of a thing in a place, or of two things.

python -m shardmill.anyedit.write_captions --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from pydantic import BaseModel, Field

from shardmill.anyedit.scene_captions import caption_problem, has_place, tidy_caption, with_place
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.object_names import distinct
from shardmill.language.places import locative
from shardmill.language.relations import mentions
from shardmill.shards.cells import dump_cell
from shardmill.stage import Answer, Ask, Options, Reject, Row, TextStage
from shardmill.standalone import main

MODES = ("c2cap", "cb2cap", "cc2cap")
FEWEST = 6
"""Words that a caption of two things may always have: "A kettle is near an otter." """


class SceneCaption(BaseModel):
    """The answer: one sentence."""

    caption: str


class WriteOptions(Options):
    """Options of `write_captions`."""

    max_words: int = Field(12, ge=6, le=40, description="most words of a caption, a place that is added among them (AnyEdit: 12)")


class WriteCaptions(TextStage):
    """One plain sentence that names the given things and their place, and nothing else.

    concept, concept2, background, mode (text) -> scene_caption (text), caption_objects (list). Modes: c2cap, a concept; cb2cap, a
    concept and its background; cc2cap, two concepts, and where the sentence does not say where they are, the background (if
    any) is put at its end. Rows with the same two concepts and as long a background ask once. (AnyEdit's captions_generator,
    with its rules checked.)
    """

    name = "anyedit.write_captions"
    reads = ("concept", "concept2", "background", "mode")
    adds = {"scene_caption": "text", "caption_objects": "list"}
    template = "anyedit/write_captions"
    answer = SceneCaption
    Options = WriteOptions
    options: WriteOptions

    def ask(self, row: Row, rng: Random) -> list[Ask]:
        if missing(row):
            return []
        things, place = _things(row), _place(row)
        if row["mode"] == "cc2cap":
            limit = max(self.options.max_words - len(place.split()), FEWEST)
            return [
                self.prompt(
                    concept=things[0],
                    other=things[1],
                    place=None,
                    max_words=limit,
                    check=lambda answer: self._pair_problem(answer, things, limit),
                    share=dump_cell([*things, limit]),
                )
            ]
        return [
            self.prompt(
                concept=things[0],
                other=None,
                place=place or None,
                max_words=self.options.max_words,
                check=lambda answer: self._problem(answer, things, place),
            )
        ]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        if not answers:
            return Reject(missing(row) or "", f"mode {row['mode']!r}")
        things, place = _things(row), _place(row)
        caption = tidy_caption(answers[0].value.caption)
        if row["mode"] == "cc2cap" and place and not has_place(caption, things):
            caption = with_place(caption, place)
            if len(caption.split()) > self.options.max_words:
                return Reject("too long with its place", caption)
        named = extract_objects(caption)
        unnamed = [thing for thing in things if not any(mentions(thing, name) or mentions(name, thing) for name in named)]
        return {"scene_caption": caption, "caption_objects": distinct([*named, *unnamed])}

    def _problem(self, answer: SceneCaption, things: list[str], place: str) -> str | None:
        return caption_problem(tidy_caption(answer.caption), things, place, self.options.max_words)

    def _pair_problem(self, answer: SceneCaption, things: list[str], limit: int) -> str | None:
        """What is wrong with a caption of two things, to which a place is added unless it names one."""
        caption = tidy_caption(answer.caption)
        return caption_problem(caption, things, "", self.options.max_words if has_place(caption, things) else limit)


def missing(row: Row) -> str | None:
    """What a row lacks for its mode; None when nothing."""
    if row["mode"] not in MODES:
        return "unknown mode"
    if not (row["concept"] or "").strip():
        return "no concept"
    if row["mode"] == "cc2cap" and not (row["concept2"] or "").strip():
        return "no second concept"
    if row["mode"] == "cb2cap" and not (row["background"] or "").strip():
        return "no background"
    return None


def _things(row: Row) -> list[str]:
    names = [row["concept"], row["concept2"]] if row["mode"] == "cc2cap" else [row["concept"]]
    return [" ".join(name.split()) for name in names]


def _place(row: Row) -> str:
    return locative((row["background"] or "").strip(" .")) if row["mode"] != "c2cap" else ""


if __name__ == "__main__":
    main(WriteCaptions)
