"""Put the texts that an image is trained with into one list: always as many, always in the same order.

python -m shardmill.recaption.merge_captions --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any, Literal

from pydantic import Field

from shardmill.core.stage import Context, Options, Reject, Row, RowStage, Stage
from shardmill.core.stage_main import main
from shardmill.recaption.caption_images import CaptionImages
from shardmill.recaption.names import ORIGINAL, text_name
from shardmill.util.errors import UserError, did_you_mean

SHORT = "merge_captions"
NO_TEXT = "no text: "
"""How the reason of a dropped image begins; the name of the text follows."""


class MergeOptions(Options):
    """Options of `merge_captions`."""

    texts: list[str] = Field(
        [ORIGINAL, "detail", "noun", "background", "main", "style"],
        min_length=1,
        description="the texts of a line in their order: original, PERSPECTIVE (of the first captioner that has it), or "
        "CAPTIONER/PERSPECTIVE; the order is part of the data, since image vector i is trained with text i",
    )
    missing: Literal["drop", "pad", "fail"] = Field(
        "drop", description="an image that lacks a text: drop it, pad with another of its texts, or stop with an error"
    )
    pad_from: list[str] = Field(
        [ORIGINAL, "detail", "sentence"], description="what to pad with: the first of these texts that the image has"
    )


class MergeCaptions(RowStage):
    """The texts of an image as training reads them.

    image, caption (text), checked (json) -> texts (list), text_sources (list): where each text is from; another name than that
    of its place means that it is padded. An image that lacks a text is rejected, unless the options say otherwise.
    """

    name = "merge_captions"
    reads = ("image", "caption", "checked")
    optional = ("caption",)
    adds = {"texts": "list", "text_sources": "list"}
    Options = MergeOptions
    options: MergeOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        doubled = [name for name in self.options.texts if self.options.texts.count(name) > 1]
        if doubled:
            raise UserError(f"stage {self.name}: option texts: {doubled[0]!r} is in it twice")

    def check_plan(self, before: Sequence[Stage], given: Collection[str]) -> None:
        asked = {
            name
            for stage in before
            if isinstance(stage, CaptionImages)
            for perspective in stage.options.perspectives
            for name in (perspective, text_name(stage.label, perspective))
        }
        wrong = next((name for name in self.options.texts if name not in asked | {ORIGINAL}), None)
        if wrong is not None:
            raise UserError(f"{SHORT}.texts has {wrong!r}, which no captioner is asked for; {did_you_mean(wrong, asked)}")
        if ORIGINAL in self.options.texts and "caption" not in given and self.options.missing != "pad":
            rest = ", ".join(name for name in self.options.texts if name != ORIGINAL)
            raise UserError(
                f"{SHORT}.texts has the original captions, and the input has none; leave them out with "
                f"--set '{SHORT}.texts=[{rest}]', or name their column with --caption-column"
            )

    def decide(self, row: Row, rng: Random) -> dict[str, Any] | Reject:
        said = texts_of(row["caption"], row["checked"])
        texts, sources = [], []
        for name in self.options.texts:
            source = self._source(name, said)
            if source is None:
                if self.options.missing == "fail":
                    raise UserError(
                        f"row {row['row_id']} ({row['image']}) has no usable text {name!r}; let such rows be dropped or padded "
                        f"with --set merge_captions.missing=drop (or pad), or leave the text out of merge_captions.texts"
                    )
                return Reject(f"{NO_TEXT}{name}", f"it has {', '.join(said) or 'none'}")
            texts.append(said[source])
            sources.append(source)
        return {"texts": texts, "text_sources": sources}

    def _source(self, name: str, said: Mapping[str, str]) -> str | None:
        if name in said:
            return name
        fallbacks = self.options.pad_from if self.options.missing == "pad" else []
        return next((other for other in fallbacks if other in said), None)


def texts_of(original: str | None, checked: list[dict[str, Any]]) -> dict[str, str]:
    """The usable texts of an image by name; a perspective without a captioner names the first captioner's."""
    said = {ORIGINAL: original.strip()} if original and original.strip() else {}
    for caption in checked:
        if caption["fault"] is None:
            for name in (text_name(caption["captioner"], caption["perspective"]), caption["perspective"]):
                said.setdefault(name, caption["text"])
    return said


if __name__ == "__main__":
    main(MergeCaptions)
