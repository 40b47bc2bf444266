"""Judge the captions of each image: one by one, against what the image shows, and against one another.

python -m shardmill.recaption.check_captions --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.stage import Context, Options, Reject, Row, RowStage
from shardmill.core.stage_main import main
from shardmill.language.lexicon import lexicon
from shardmill.language.noun_phrases import extract_objects
from shardmill.language.object_names import distinct
from shardmill.language.relations import mentions
from shardmill.language.similarity import Vector, cosine, vectors
from shardmill.recaption.caption_faults import fault_of, without_opening
from shardmill.recaption.names import column_of, text_name
from shardmill.recaption.perspectives import Perspective, digest_of, perspectives
from shardmill.recaption.score_captions import COLUMN as SCORES

KEPT = ("perspective", "text", "problem")
"""What of a caption its verdict stands beside; the rest is in the captioner's own column."""
SPOKEN_OF = {"object", "subject", "focus", "item", "thing", "focal point"}
"""What captions call their object before they name it."""
Caption = dict[str, Any]


class CheckOptions(Options):
    """Options of `check_captions`."""

    captioners: list[str] = Field(
        [""], min_length=1, description='labels of the stages whose captions are judged; "" is the one without a label'
    )
    perspectives_file: str | None = Field(None, description="a YAML file with perspectives of your own, as for caption_images")
    script: str = Field("LATIN", description="the Unicode script that captions are written in, or any")
    near_duplicate: float = Field(0.9, gt=0, le=1, description="a caption with a cosine above this to an earlier one is dropped")
    strip_openings: bool = Field(True, description='strip openings such as "The image shows"')
    min_clip: float | None = Field(None, description="minimum CLIP similarity to the image; needs the stage score_captions")


class CheckCaptions(RowStage):
    """A verdict on each caption of an image.

    caption (text, may be empty), captions, captions_LABEL, … (json) -> checked (json): the captions of all captioners in the
    order of the options, [{"captioner", "perspective", "text", "fault"}], where `fault` is null for a good one: why it was not
    answered, empty caption, refusal, prompt echo, repetition loop, another script, names an object, names
    the main object, near-duplicate, below the CLIP threshold. An image without a good caption is rejected.
    """

    name = "check_captions"
    optional = ("caption",)
    adds = {"checked": "json"}
    Options = CheckOptions
    options: CheckOptions

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        super().__init__(options, context)
        columns = [column_of(captioner) for captioner in self.options.captioners]
        self.reads = ("caption", *columns, *([SCORES] if self.options.min_clip is not None else []))
        self._perspectives = perspectives(self.options.perspectives_file)

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        return {**super().fingerprint(model), "perspectives": digest_of(self._perspectives.values())}

    def decide(self, row: Row, rng: Random) -> dict[str, Any] | Reject:
        checked = [
            {"captioner": captioner, **{name: caption[name] for name in KEPT if name in caption}}
            for captioner in self.options.captioners
            for caption in row[column_of(captioner)]
        ]
        for caption in checked:
            caption["fault"] = self._own_fault(caption, row)
        for caption in checked:
            caption["fault"] = caption["fault"] or self._forbidden(caption, checked, row["caption"])
        self._mark_duplicates(checked)
        if all(caption["fault"] for caption in checked):
            return Reject("no usable caption", "; ".join(f"{_name(each)}: {each['fault']}" for each in checked))
        return {"checked": checked}

    def _own_fault(self, caption: Caption, row: Row) -> str | None:
        if caption["text"] is None:
            return caption.pop("problem", None) or "not answered"
        if self.options.strip_openings:
            caption["text"] = without_opening(caption["text"])
        asked = self._perspectives.get(caption["perspective"])
        fault = fault_of(caption["text"], asked.prompt if asked else "", self.options.script)
        if fault is None and self.options.min_clip is not None:
            score = (row[SCORES] or {}).get(_name(caption))
            if score is not None and score < self.options.min_clip:
                caption["clip"] = score
                return "below the CLIP threshold"
        return fault

    def _forbidden(self, caption: Caption, checked: Sequence[Caption], original: str | None) -> str | None:
        asked = self._perspectives.get(caption["perspective"])
        if asked is None or asked.forbids is None:
            return None
        said = [each for each in checked if each["captioner"] == caption["captioner"]]
        for thing in things_shown(said, original, asked):
            if mentions(caption["text"], thing):
                caption["names"] = thing
                return "names the main object" if asked.forbids == "main object" else "names an object"
        return None

    def _mark_duplicates(self, checked: Sequence[Caption]) -> None:
        seen: list[tuple[str, Vector]] = []
        for caption in checked:
            if caption["fault"]:
                continue
            vector = vectors([caption["text"]])[0]
            twin = next((name for name, other in seen if cosine(vector, other) > self.options.near_duplicate), None)
            if twin is None:
                seen.append((_name(caption), vector))
            else:
                caption["fault"], caption["like"] = "near-duplicate", twin


def things_shown(captions: Sequence[Caption], original: str | None, asked: Perspective) -> list[str]:
    """What a caption of the perspective must not name, by the other captions of the image and its original caption."""
    said = {each["perspective"]: each["text"] for each in captions if each["fault"] is None}
    mains = [thing for thing in extract_objects(said.get("main", "")) if thing not in SPOKEN_OF][:1]
    nouns = [thing for item in said.get("noun", "").split(",") for thing in extract_objects(item)]
    named = extract_objects(original or "")
    things = (mains or nouns or named)[:1] if asked.forbids == "main object" else [*mains, *nouns, *named]
    known = [entry.name for thing in things if (entry := lexicon().find(thing)) is not None]  # "two-deck ferry" is a ferry
    return distinct([*things, *known])


def _name(caption: Caption) -> str:
    return text_name(caption["captioner"], caption["perspective"])


if __name__ == "__main__":
    main(CheckCaptions)
