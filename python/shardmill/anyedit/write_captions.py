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
WORDS_OF_PLACE = 4
"""Words that a caption of two things leaves free for the place that is added to it."""


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
    any) is put at its end. Rows with the same two concepts ask once. (AnyEdit's captions_generator, with its rules checked.)
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
        paired = row["mode"] == "cc2cap"
        return [
            self.prompt(
                concept=things[0],
                other=things[1] if paired else None,
                place=None if paired else place or None,
                max_words=self.options.max_words - (WORDS_OF_PLACE if paired else 0),
                check=lambda answer: self._problem(answer, things, "" if paired else place),
                share=dump_cell(things) if paired else None,
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
        caption = tidy_caption(answer.caption)
        problem = caption_problem(caption, things, place, self.options.max_words)
        if problem is None and len(things) > 1 and not has_place(caption, things):
            return "too long" if len(caption.split()) > self.options.max_words - WORDS_OF_PLACE else None
        return problem


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
