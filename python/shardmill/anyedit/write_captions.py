"""Write a caption for a scene: of a thing, of a thing in a place, or of two things.

python -m shardmill.anyedit.write_captions --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from pydantic import BaseModel, Field

from shardmill.anyedit.scene_captions import caption_problem, has_place, tidy_caption, with_place
from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.locatives import locative
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.nouns import fold, is_mass, is_plural, plural
from shardmill.language.numbers import has_number, number_word
from shardmill.language.object_names import distinct
from shardmill.language.relations import mentions
from shardmill.store.cells import dump_cell

COUNTED = (2, 6)
MODES = ("c2cap", "cb2cap", "cc2cap")
FEWEST = 6
"""Words that a caption of two things may always have: "A kettle is near an otter." """


class SceneCaption(BaseModel):
    """The answer: one sentence."""

    caption: str


class WriteOptions(Options):
    """Options of `write_captions`."""

    counted: float = Field(
        0.1, ge=0, le=1, description="share of captions with two to six of their first object, for counting edits"
    )
    max_words: int = Field(12, ge=6, le=40, description="most words of a caption, a place that is added among them (AnyEdit: 12)")


class WriteCaptions(TextStage):
    """One plain sentence that names the given things and their place, and nothing else.

    concept, concept2, background, mode (text) -> scene_caption (text), caption_objects (list). Modes: c2cap, a concept; cb2cap, a
    concept and its background; cc2cap, two concepts in a sentence without a place, at whose end the background (if any) is
    put. Rows with the same two concepts and as long a background ask once. A share speaks of several of the first concept
    ("three otters"), which only edits that count need. (AnyEdit's captions_generator, with its rules checked.)
    """

    name = "write_captions"
    reads = ("concept", "concept2", "background", "mode")
    adds = {"scene_caption": "text", "caption_objects": "list"}
    prompt = "anyedit/write_captions.md"
    answer = SceneCaption
    Options = WriteOptions
    options: WriteOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        if missing(row):
            return []
        things, place = self._things(row), _place(row)
        if row["mode"] == "cc2cap":
            limit = max(self.options.max_words - len(place.split()), FEWEST)
            return [
                self.text_call(
                    concept=things[0],
                    other=things[1],
                    place=None,
                    max_words=limit,
                    check=lambda answer: self._pair_problem(answer, things, limit, bool(place)),
                    share=dump_cell([*things, limit, bool(place)]),
                )
            ]
        return [
            self.text_call(
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
        things, place = self._things(row), _place(row)
        caption = tidy_caption(answers[0].value.caption)
        if row["mode"] == "cc2cap" and place:
            caption = with_place(caption, place)
            if len(caption.split()) > self.options.max_words:
                return Reject("too long with its location", caption)
        named = extract_objects(caption)
        unnamed = [thing for thing in things if not any(mentions(thing, name) or mentions(name, thing) for name in named)]
        return {"scene_caption": caption, "caption_objects": distinct([*named, *map(fold, unnamed)])}

    def _things(self, row: Row) -> list[str]:
        """What the caption has to name: one or two concepts, the first of them perhaps with a number, "three otters"."""
        names = [row["concept"], row["concept2"]] if row["mode"] == "cc2cap" else [row["concept"]]
        things = [" ".join(name.split()) for name in names]
        rng = self.rng(row, "count")
        if rng.random() < self.options.counted and not (is_mass(things[0]) or is_plural(things[0]) or has_number(things[0])):
            things[0] = f"{number_word(rng.randint(*COUNTED))} {plural(things[0])}"
        return things

    def _problem(self, answer: SceneCaption, things: list[str], place: str) -> str | None:
        return caption_problem(tidy_caption(answer.caption), things, place, self.options.max_words)

    def _pair_problem(self, answer: SceneCaption, things: list[str], limit: int, added: bool) -> str | None:
        """What is wrong with a caption of two things; if a place is `added` to it, it must not have one of its own, or all
        backgrounds of a pair would give the same caption.
        """
        caption = tidy_caption(answer.caption)
        if added and has_place(caption, things):
            return "names a place of its own"
        return caption_problem(caption, things, "", limit)


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


def _place(row: Row) -> str:
    return locative((row["background"] or "").strip(" .")) if row["mode"] != "c2cap" else ""


if __name__ == "__main__":
    main(WriteCaptions)
