"""Detectors that are vision-language models behind any server that speaks OpenAI's chat completions with images."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shardmill.models.contract import DetectionResult, DetectRequest, Reply, Sampling, TextRequest
from shardmill.models.openai_vision import StrictAnswer, VisionModel, VisionSettings, malformed, numbered, read_json
from shardmill.models.sent_images import Geometry, ImageChat, SentImage
from shardmill.util.errors import name_list

PROMPT = """\
For each numbered name below, say how sure you are that the picture shows it, from 0 (certainly not) to 100 (certainly), \
and give a box [x0, y0, x1, y1] around each instance that you see: at most {max_boxes}, none if there is none. \
x runs from left to right and y from top to bottom; {units}. \
Answer for every number, with one JSON object of this form and nothing else: \
{{"objects": [{{"number": 1, "score": 97, "boxes": [[120, 80, 440, 930]]}}, {{"number": 2, "score": 3, "boxes": []}}]}}

{names}"""
UNITS = {
    "thousandths": "both are from 0 to 1000, whatever the size of the picture",
    "pixels": "both are in pixels of this picture, which is {width} wide and {height} high",
}
MAX_BOXES = 8
MAX_OBJECTS = 1_000
TOKENS, TOKENS_PER_NAME, MAX_TOKENS = 64, 80, 16_384
"""How long an answer may be: a name with several boxes takes about 80 tokens."""

Box = Annotated[list[float], Field(min_length=4, max_length=4)]


class FoundName(StrictAnswer):
    """One name of an answer, by its number."""

    number: int
    score: float = Field(ge=0, le=100)
    boxes: list[Box] = Field(max_length=100)


class FoundNames(StrictAnswer):
    """An answer of a detector."""

    objects: list[FoundName] = Field(max_length=MAX_OBJECTS)


SCHEMA = FoundNames.model_json_schema()


class OpenAIDetectSettings(VisionSettings):
    """Settings of a detector behind servers."""

    shaping: ClassVar[tuple[str, ...]] = (*VisionSettings.shaping, "coordinates", "min_score")

    coordinates: Literal["thousandths", "pixels"] = Field(
        "thousandths",
        description="how the model gives boxes: in thousandths of a side (Qwen3-VL, Gemini), or in pixels (Qwen2.5-VL)",
    )
    min_score: float = Field(0.1, ge=0, le=1, description="names with a lower score get no boxes")


class OpenAIDetector(VisionModel):
    """A vision-language model that is asked which objects an image shows, how sure it is, and where they are.

    Scores are the model's own words, not probabilities: thresholds for it are to be found on images that you know.
    """

    Settings: ClassVar[type[VisionSettings]] = OpenAIDetectSettings
    settings: OpenAIDetectSettings

    def chat_request(self, request: DetectRequest, image: SentImage) -> TextRequest:
        width, height = image.size_in(self.settings.max_tiles)
        units = UNITS[self.settings.coordinates].format(width=width, height=height)
        prompt = PROMPT.format(units=units, max_boxes=MAX_BOXES, names=numbered(request.names))
        chat = ImageChat("detect", self.settings.parts([image.url(self.settings.max_tiles)], prompt))
        sampling = Sampling(max_tokens=min(TOKENS + TOKENS_PER_NAME * len(request.names), MAX_TOKENS))
        return TextRequest(chat, sampling, SCHEMA, request.key, request.seed)

    def read(self, request: DetectRequest, geometry: Geometry, reply: Reply) -> Reply:
        answer = read_json(reply.result, FoundNames)
        if isinstance(answer, str):
            return malformed(reply, answer)
        by_number = {found.number: found for found in answer.objects}
        missing = [name for number, name in enumerate(request.names, 1) if number not in by_number]
        if missing:
            return malformed(reply, f"no answer for {name_list(missing, most=3)}")
        results = {name: self._result(by_number[number], geometry) for number, name in enumerate(request.names, 1)}
        return replace(reply, result=results)

    def _result(self, found: FoundName, geometry: Geometry) -> DetectionResult:
        """The result of a name, with its boxes in pixels of the upright image."""
        score = found.score / 100
        if score < self.settings.min_score:
            return DetectionResult(score)
        scale = geometry.sent_size if self.settings.coordinates == "pixels" else (1000, 1000)
        boxes = (geometry.box_in_original(box, scale) for box in found.boxes[:MAX_BOXES])
        return DetectionResult(score, tuple(box for box in boxes if box is not None))
