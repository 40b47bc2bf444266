"""Judges of images: vision-language models behind servers that rate how well texts describe an image."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from shardmill.models.contract import Reply, Sampling, ScoreRequest, Scores, TextRequest
from shardmill.models.openai_vision import StrictAnswer, VisionModel, malformed, numbered, read_json
from shardmill.models.sent_images import Geometry, ImageChat, SentImage
from shardmill.util.errors import name_list

PROMPT = """\
How well does each numbered text describe the picture? Rate each from 0 (nothing of it is true) to 100 (all that it says is \
true, and it names what matters most); take off for everything that it says and the picture does not show. \
Answer for every number, with one JSON object of this form and nothing else: \
{{"ratings": [{{"number": 1, "rating": 85}}, {{"number": 2, "rating": 10}}]}}

{texts}"""
MAX_RATINGS = 1_000
TOKENS, TOKENS_PER_TEXT, MAX_TOKENS = 64, 20, 8_192


class Rating(StrictAnswer):
    """The rating of one text, by its number."""

    number: int
    rating: float = Field(ge=0, le=100)


class Ratings(StrictAnswer):
    """An answer of a judge."""

    ratings: list[Rating] = Field(max_length=MAX_RATINGS)


SCHEMA = Ratings.model_json_schema()


class OpenAIScorer(VisionModel):
    """A judge on one or several servers. A score is its rating divided by 100: no cosine, and with thresholds of its own."""

    def chat_request(self, request: ScoreRequest, image: SentImage) -> TextRequest:
        prompt = PROMPT.format(texts=numbered(request.texts))
        chat = ImageChat("judge", self.settings.parts([image.url(self.settings.max_tiles)], prompt))
        sampling = Sampling(max_tokens=min(TOKENS + TOKENS_PER_TEXT * len(request.texts), MAX_TOKENS))
        return TextRequest(chat, sampling, SCHEMA, request.key, request.seed)

    def read(self, request: ScoreRequest, geometry: Geometry, reply: Reply) -> Reply:
        answer = read_json(reply.result, Ratings)
        if isinstance(answer, str):
            return malformed(reply, answer)
        given = {rating.number: rating.rating / 100 for rating in answer.ratings}
        missing = [number for number, text in enumerate(request.texts, 1) if text.strip() and number not in given]
        if missing:
            return malformed(reply, f"no rating of text {name_list(map(str, missing), most=3)}")
        cosines = tuple(given[number] if text.strip() else 0.0 for number, text in enumerate(request.texts, 1))
        return replace(reply, result=Scores(cosines))
