"""Vision-language models behind any server that speaks OpenAI's chat completions with images, whatever their role.

Each role says how a request becomes a chat about images and how an answer is read; servers, retries, limits and costs are those
of text models.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shardmill.models.contract import CaptionRequest, DetectRequest, Reply, ScoreRequest, TextRequest
from shardmill.models.images import UnreadableImage
from shardmill.models.prefetch import ImagePrefetcher
from shardmill.models.sent_images import SHAPING, Geometry, SentImage, SentImageSettings
from shardmill.models.text.openai import OpenAIModel, OpenAISettings, PreparedRequest

VisionRequest = CaptionRequest | DetectRequest | ScoreRequest
MAX_ANSWER = 100_000
MAX_MALFORMED = 10_000
SECOND_TEMPERATURE = 0.7

AnswerModel = TypeVar("AnswerModel", bound=BaseModel)


class VisionSettings(SentImageSettings, OpenAISettings):
    """Settings of a vision-language model behind servers."""

    shaping: ClassVar[tuple[str, ...]] = (*OpenAISettings.shaping, *SHAPING)


class VisionModel(OpenAIModel):
    """A client of one vision-language model on one or several servers."""

    Settings: ClassVar[type[VisionSettings]] = VisionSettings
    settings: VisionSettings

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self._images = ImagePrefetcher(self.settings.read_image)
        self._malformed: set[tuple[str, str]] = set()

    def close(self) -> None:
        super().close()
        self._images.close()

    def stream(self, requests: Iterable[Any]) -> Iterator[Reply]:
        """See `models.contract.Model`. Images are read and encoded ahead, each once for all requests about it."""
        waiting: dict[str, tuple[Any, Geometry]] = {}

        def prepare(request: Any) -> PreparedRequest | Reply:
            try:
                image = self._images.get(request.image)
                sent = self._varied(request, self.chat_request(request, image))
            except UnreadableImage as error:
                return Reply(request.key, "", "unusable", "unreadable image", str(error))
            waiting[request.key] = request, image.geometry(self.settings.max_tiles)
            return PreparedRequest(sent, self.body(sent), request.image)

        for reply in self.replies_to(map(prepare, self._images.prefetch_for(requests))):
            request, geometry = waiting.pop(reply.key, (None, None))
            if request is not None and geometry is not None and reply.finish == "stop":
                reply = self.read(request, geometry, reply)
                self._note(request, malformed=reply.finish == "error")
            yield reply

    def _varied(self, request: VisionRequest, sent: TextRequest) -> TextRequest:
        """The request; at another temperature after an answer that could not be read, which would only come again."""
        if sent.sampling.temperature > 0 or (request.key, request.image) not in self._malformed:
            return sent
        return replace(sent, sampling=replace(sent.sampling, temperature=SECOND_TEMPERATURE))

    def _note(self, request: VisionRequest, *, malformed: bool) -> None:
        if malformed and len(self._malformed) < MAX_MALFORMED:
            self._malformed.add((request.key, request.image))
        else:
            self._malformed.discard((request.key, request.image))

    @abstractmethod
    def chat_request(self, request: Any, image: SentImage) -> TextRequest:
        """The request as a chat about its image, with its key and seed."""

    @abstractmethod
    def read(self, request: Any, geometry: Geometry, reply: Reply) -> Reply:
        """The reply with the result that the role has, from one whose result is the complete text of an answer."""


class StrictAnswer(BaseModel):
    """The form of an answer as JSON; its JSON schema is what servers are asked for."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


def read_json(text: str, form: type[AnswerModel]) -> AnswerModel | str:
    """The JSON object in an answer, which may stand between other words; why there is none, if it cannot be read."""
    start, end = text.find("{"), text.rfind("}")
    if len(text) > MAX_ANSWER or not 0 <= start < end:
        return f"no JSON object: {text[:200]!r}"
    try:
        return form.model_validate_json(text[start : end + 1])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))[:100]}: {first['msg'][:300]}"


def malformed(reply: Reply, detail: str) -> Reply:
    """The reply without its answer, which does not have the form that was asked for; another try may go better."""
    return replace(reply, result="", finish="error", problem="malformed answer", detail=detail)


def numbered(names: Iterable[str]) -> str:
    """Lines with a number each: an answer refers to names by numbers, whatever is in them."""
    return "\n".join(f"{number}. {' '.join(name.split())}" for number, name in enumerate(names, 1))
