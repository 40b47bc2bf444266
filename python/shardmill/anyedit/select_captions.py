"""Clean captions, list what they name, and drop those that no edit can start from.

python -m shardmill.anyedit.select_captions --run RUN --shard-index 3
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.stage import Context, Options, Reject, Row, RowStage
from shardmill.core.stage_main import main
from shardmill.language.caption_text import tokens
from shardmill.language.function_words import AUXILIARIES
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.object_names import distinct, form_problem
from shardmill.language.spelling import corrected
from shardmill.language.tagging import makes_compound, tag
from shardmill.language.word_classes import GERUND, VERB
from shardmill.models.images import UnreadableImage, size_of
from shardmill.store.cells import as_list
from shardmill.store.image_columns import GENERATED_IMAGE

_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_QUOTES = {('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’")}
_EMPTY = frozenset({"", "none", "nan", "null", "n/a"})


class SelectOptions(Options):
    """Options of `select_captions`."""

    captions: str = Field("scene_caption", description="the column of the captions: scene_caption, or caption of the input")
    images: str = Field(
        GENERATED_IMAGE, description="the column with the images: generated_image, or image; empty: captions only"
    )
    texts: str = Field("", description="the column with the text that can be read in the image, a list; empty: none")
    min_words: int = Field(3, ge=1, description="minimum number of words of a caption")
    max_words: int = Field(40, ge=3, description="maximum number of words of a caption: longer ones make poor edits")
    max_aspect: float = Field(2.0, ge=1, description="longer side of an image, as a multiple of the shorter one (AnyEdit: 2)")


class SelectCaptions(RowStage):
    """A caption as the edits start from it, with what it names and the size of its image.

    scene_caption or caption (text), generated_image or image (text), texts (list) -> input (text: the caption without markup and
    misspellings), input_objects (list: things, names of several words whole), input_verbs (list), input_texts (list), width,
    height (int, null without an image). Rejects captions that are empty, too short, too long or name nothing, and images that are
    too narrow or cannot be read. (AnyEdit's `pre_filter`, with the size from the image's header.)
    """

    name = "select_captions"
    adds = {
        "input": "text",
        "input_objects": "list",
        "input_verbs": "list",
        "input_texts": "list",
        "width": "int",
        "height": "int",
    }
    Options = SelectOptions
    options: SelectOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        columns = (self.options.captions, self.options.images, self.options.texts)
        self.reads = tuple(name for name in columns if name)
        self.optional = tuple(filter(None, [self.options.texts]))
        self.input_kinds = dict.fromkeys(self.optional, "list")

    def decide(self, row: Row, rng: Random) -> dict[str, Any] | Reject:
        caption = corrected(clean(row[self.options.captions] or ""))
        words = len(caption.split())
        if caption.lower() in _EMPTY:
            return Reject("empty caption")
        if words < self.options.min_words:
            return Reject("caption too short", f"{words} words")
        if words > self.options.max_words:
            return Reject("caption too long", f"{words} words")
        objects = [name for name in distinct(extract_objects(caption)) if form_problem(name) is None]
        if not objects:
            return Reject("no object named", caption[:200])
        image = row[self.options.images] if self.options.images else None
        size = self._size(image) if image else (None, None)
        if isinstance(size, Reject):
            return size
        try:
            texts = _texts(row[self.options.texts]) if self.options.texts else []
        except ValueError as error:
            return Reject("unreadable cell", f"{self.options.texts}: {error}")
        verbs = verbs_of(caption)
        return {
            "input": caption,
            "input_objects": objects,
            "input_verbs": verbs,
            "input_texts": texts,
            "width": size[0],
            "height": size[1],
        }

    def _size(self, image: str) -> tuple[int, int] | Reject:
        try:
            width, height = size_of(self.context.image_path(self.options.images, image))
        except UnreadableImage as error:
            return Reject("unreadable image", str(error))
        if max(width, height) > self.options.max_aspect * min(width, height):
            return Reject("image too narrow", f"{width} x {height}")
        return width, height


def clean(caption: str) -> str:
    """The caption in one line, without markup, addresses and the quotes around all of it."""
    text = _URL.sub(" ", _TAG.sub(" ", html.unescape(caption)))
    text = " ".join(text.split())
    return text[1:-1].strip() if len(text) > 1 and (text[0], text[-1]) in _QUOTES and text[0] not in text[1:-1] else text


def verbs_of(caption: str) -> list[str]:
    """The verbs of a caption as it has them, in lower case, each once; no "is", "has" and the like."""
    words = tag(tokens(caption))
    found = [
        word.text
        for index, word in enumerate(words)
        if word.kind in (VERB, GERUND) and word.text not in AUXILIARIES and not makes_compound(words, index)
    ]
    return list(dict.fromkeys(found))


def _texts(cell: Any) -> list[str]:
    return list(dict.fromkeys(" ".join(text.split()) for text in as_list(cell) if text.strip()))


if __name__ == "__main__":
    main(SelectCaptions)
