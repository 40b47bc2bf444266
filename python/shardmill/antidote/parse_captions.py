"""Step 1: a caption that can be painted, what it shows, what would fit it but is not there, and the prompts made of them.

python -m shardmill.antidote.parse_captions --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, NamedTuple

from pydantic import Field

from shardmill.antidote.answers import ParsedCaption, WeightedObject
from shardmill.antidote.weighting import in_range, negative_prompt, weight_spans, weighted_caption
from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.object_names import conflict, distinct, form_problem, tidy
from shardmill.language.relations import relation
from shardmill.models.generate.prompt_weights import plain

MIN_WORDS, MAX_WORDS = 4, 60
ALIKE = ("same", "synonym")


class ParseOptions(Options):
    """Options of `parse_captions`."""

    absent_count: int = Field(3, ge=1, le=12, description="absent objects wanted per caption")
    max_present: int = Field(6, ge=1, le=12, description="maximum number of present objects, by weight")


class Scene(NamedTuple):
    """An answer without what breaks the rules: the caption, and weights by name, in the order of the answer."""

    caption: str
    present: dict[str, float]
    absent: dict[str, float]


class ParseCaptions(TextStage):
    """A caption as a scene to paint.

    caption (text) -> scene_caption (text), present, absent (list), prompt (text: the scene's caption with a weight on each
    present object), prompt_neg (text: the absent objects with their weights). Every present object is named in the scene's
    caption; no absent one is named in either caption, or is a synonym, a kind or a part of a present one.
    """

    name = "parse_captions"
    reads = ("caption",)
    adds = {"scene_caption": "text", "present": "list", "absent": "list", "prompt": "text", "prompt_neg": "text"}
    prompt = "antidote/parse_captions.md"
    answer = ParsedCaption
    Options = ParseOptions
    options: ParseOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        caption = row["caption"] or ""
        if len(caption.split()) < MIN_WORDS:
            return []
        return [
            self.text_call(
                caption=caption[:2_000],
                max_present=self.options.max_present,
                absent_count=self.options.absent_count,
                check=lambda answer: problem(answer, caption),
            )
        ]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        if not answers:
            return Reject("caption too short", f"fewer than {MIN_WORDS} words")
        scene = cleaned(answers[0].value, row["caption"])
        weights = _heaviest(scene.present, self.options.max_present)
        absent = _heaviest(scene.absent, self.options.absent_count)
        return {
            "scene_caption": scene.caption,
            "present": list(dict.fromkeys(span.name for span in weight_spans(scene.caption, weights))),
            "absent": list(absent),
            "prompt": weighted_caption(scene.caption, weights),
            "prompt_neg": negative_prompt(absent),
        }


def problem(answer: ParsedCaption, source: str) -> str | None:
    """Why an answer about the caption `source` cannot be used."""
    if (wrong := _caption_problem(answer.caption.strip())) is not None:
        return wrong
    scene = cleaned(answer, source)
    if not scene.present:
        return "no present object"
    if not weight_spans(scene.caption, scene.present):
        return "present object not in the caption"
    return None if scene.absent else "no absent object"


def cleaned(answer: ParsedCaption, source: str) -> Scene:
    """The answer's caption, and the names of both lists that keep the rules."""
    caption = " ".join(answer.caption.split())
    present = _weights(answer.present)
    absent = _weights(answer.absent)
    fit = [name for name in absent if conflict(name, present, caption) is None and conflict(name, (), source) is None]
    return Scene(caption, present, {name: absent[name] for name in fit})


def _caption_problem(caption: str) -> str | None:
    if len(caption.splitlines()) > 1:
        return "caption of several lines"
    if "{" in caption or "}" in caption or plain(caption) != caption:
        return "marks in the caption"
    words = len(caption.split())
    if words < MIN_WORDS:
        return "caption too short"
    return "caption too long" if words > MAX_WORDS else None


def _weights(objects: Iterable[WeightedObject]) -> dict[str, float]:
    """Weights of the well-formed names; of names for the same thing the first stands."""
    given: dict[str, float] = {}
    for each in objects:
        given.setdefault(tidy(each.object), in_range(each.weight))
    kept: dict[str, float] = {}
    for name in distinct(given):
        if form_problem(name) is None and not any(relation(name, other) in ALIKE for other in kept):
            kept[name] = given[name]
    return kept


def _heaviest(weights: Mapping[str, float], count: int) -> dict[str, float]:
    return dict(sorted(weights.items(), key=lambda item: -item[1])[:count])


if __name__ == "__main__":
    main(ParseCaptions)
