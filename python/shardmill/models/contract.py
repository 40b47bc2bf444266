"""The one contract of all models: a lazy stream of requests in, a stream of replies out, in any order.

The model decides how much it keeps in flight. Nothing here knows stages, shards or pipelines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Finish = Literal["stop", "length", "error", "unusable"]
"""How a reply ended: complete; cut by the token limit; failed in the engine (may be asked again); the request itself can never
be answered (say, an unreadable image)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply cost. `cached_tokens` are the prompt tokens that a prefix cache paid for, `seconds` the time from handing the
    request to the engine to its last token.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the request of the same key.

    `result` is text for a text model and a captioner, `Detections` for a detector, `GeneratedImage` for a painter, `Scores` for a
    scorer.

    For "error" and "unusable", `problem` says in a short stable phrase what happened and `detail` in full.
    """

    key: str
    result: Any
    finish: Finish = "stop"
    problem: str = ""
    detail: str = ""
    usage: Usage = field(default_factory=Usage)


class Chat(Protocol):
    """A prompt that can be rendered when an engine wants it, and read as plain values by one that does not."""

    @property
    def task(self) -> str:
        """The task's name, such as `extract_objects`."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The variable values of the prompt."""

    def messages(self, seed: int) -> list[dict[str, str]]:
        """Chat messages `{"role", "content"}`; the seed chooses the few-shot bundle."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a text model samples. `stop` strings end the answer."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextRequest:
    """One completion. `schema` is the JSON schema that the answer is to follow, constrained where the engine can."""

    chat: Chat
    sampling: Sampling = Sampling()
    schema: Mapping[str, Any] | None = None
    key: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DetectRequest:
    """Look for every name in the image at the path `image`."""

    image: str
    names: tuple[str, ...]
    key: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Paint a picture into a file in `folder`. Both prompts may weight words: `a (tram:1.3) in the rain`."""

    prompt: str
    negative: str = ""
    folder: str = "."
    key: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class CaptionRequest:
    """Answer `prompt` about the image at the path `image`. What is asked of one image comes in a row: it is read once.

    A model that cuts images into tiles takes `max_tiles` of them at most, if given.
    """

    image: str
    prompt: str
    sampling: Sampling = Sampling()
    key: str = ""
    seed: int = 0
    max_tiles: int | None = None


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Say how well each of `texts` fits the image at the path `image`: all texts of an image in one request, it is read once."""

    image: str
    texts: tuple[str, ...]
    key: str = ""
    seed: int = 0


Request = TextRequest | DetectRequest | GenerateRequest | CaptionRequest | ScoreRequest


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """What a detector saw of one name: its best score in [0, 1] and boxes (x0, y0, x1, y1) in pixels of the upright image."""

    score: float
    boxes: tuple[tuple[float, float, float, float], ...] = ()


Detections = Mapping[str, DetectionResult]
"""A finding for every name that was asked, keyed by the name as it was asked."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How well texts fit an image: for each, in the order of the request, a cosine similarity in [-1, 1]; 0 for an empty text.

    `aesthetic` is how good the image looks, on the scale of the model's head for it; None for a model without one.
    """

    cosines: tuple[float, ...]
    aesthetic: float | None = None


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A picture: the path of its file, relative to the folder of the request, and its size in pixels."""

    file: str
    width: int
    height: int


class Model(Protocol):
    """A loaded model. `stream` may be called many times, one call at a time.

    Both the requests and the replies are the caller's: the iterator is advanced, and replies are handed out, in the thread that
    called `stream`. A caller that closes the iterator early wants no more: what is in flight is dropped.

    A model with `many_streams = True` may be asked by several threads at once, each with a `stream` of its own, so that it does
    not run dry between the end of one shard and the start of the next. A model that fills a GPU has `fills_gpu = True` and
    `close()`, which frees it: a worker holds one of them at a time.
    """

    def stream(self, requests: Iterable[Any]) -> Iterator[Reply]:
        """Take requests lazily, give one reply to each, in any order.

        A request that cannot be answered is a reply with finish "error" (may go better with another seed or later) or "unusable",
        never an exception: those are UserError for what the user can mend, and ModelDied.
        """
