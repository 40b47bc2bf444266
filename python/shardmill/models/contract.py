"""The one contract of all models: a lazy stream of requests in, a stream of replies out, in any order.

The model decides how much it keeps in flight. Nothing here knows stages, shards or pipelines.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Finish = Literal["stop", "length", "error", "unusable"]
"""How a reply ended: complete; cut by the token limit; failed in the engine (worth a retry); the request itself can never be
answered (say, an unreadable image)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply cost. `cached_tokens` are the prompt tokens that a prefix cache paid for, `seconds` the time from handing the
    request to the engine to its last token.

    A reply that was `batched` came from a provider's batch, at the price of batches.

    `notes` are short phrases, of which there are few, on what was unusual about the request, such as "without seed"; a manifest
    counts them.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    batched: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the request of the same key.

    `result` is text for a text model and a captioner, `Detections` for a detector, `GeneratedImage` for a generator and an
    editor, and `Scores` for a scorer.

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

    def messages(self, seed: int) -> list[dict[str, Any]]:
        """Chat messages `{"role", "content"}`; the seed chooses the few-shot bundle. A content is a text, or OpenAI's parts."""


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
    """Detect the objects of every name in the image at the path `image`."""

    image: str
    names: tuple[str, ...]
    key: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Generate an image into a file in `folder`. Both prompts may weight words: `a (tram:1.3) in the rain`."""

    prompt: str
    negative: str = ""
    folder: str = "."
    key: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class EditRequest:
    """Edit the image at the path `image` as `instruction` says, into a file in `folder`.

    `before` and `after` are the captions of both images and `kind` is the type of the edit, such as "add": for editors that read
    them. Each may be empty.
    """

    image: str
    instruction: str
    before: str = ""
    after: str = ""
    kind: str = ""
    folder: str = "."
    key: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class CaptionRequest:
    """Answer `prompt` about the image at the path `image`. Prompts about one image come one after another: it is read once.

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
    """Score how well each of `texts` fits the image at the path `image`: one request for all texts, so that it is read once."""

    image: str
    texts: tuple[str, ...]
    key: str = ""
    seed: int = 0


Request = TextRequest | DetectRequest | GenerateRequest | EditRequest | CaptionRequest | ScoreRequest


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """What a detector found of one name: its best score in [0, 1] and boxes (x0, y0, x1, y1) in pixels of the upright image."""

    score: float
    boxes: tuple[tuple[float, float, float, float], ...] = ()


Detections = Mapping[str, DetectionResult]
"""A detection result for every name of the request, keyed by the name as the request has it."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How well texts fit an image: for each, in the order of the request, a cosine similarity in [-1, 1]; 0 for an empty text.

    `aesthetic` is how good the image looks, on the scale of the model's head for it; None for a model without one.
    """

    cosines: tuple[float, ...]
    aesthetic: float | None = None


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """An image: the path of its file, relative to the folder of the request, and its size in pixels."""

    file: str
    width: int
    height: int


class Model(ABC):
    """A loaded model: the base class of every backend, of this package and of yours.

    ```python
    class Shout(Model):
        def __init__(self, mark: str = "!"):  # the settings of the model file, as keywords
            self.mark = mark

        def stream(self, requests):
            for request in requests:
                yield Reply(request.key, request.chat.values["caption"].upper() + self.mark)
    ```

    Only `stream` has to be written. It may be called many times, one call at a time. Both the requests and the replies are the
    caller's: the iterator is advanced, and replies are handed out, in the thread that called `stream`. A caller that closes the
    iterator early wants no more: what is in flight is dropped.
    """

    role: str = ""
    """For a class of your own: the role that `--model FILE.py:CLASS` gives it, such as "text"."""
    many_streams: bool = False
    """Several threads may call `stream` at once, so that the model is not idle between the end of one shard and the next."""
    work_folder: Path | None = None
    """Where a model may keep, for the run that it works for, what must outlive the worker; set before `stream` is called."""
    fills_gpu: bool = False
    """The model takes a GPU for itself: a worker holds one of them at a time, and calls `close` before it loads another."""

    @classmethod
    def identity(cls, **settings: Any) -> dict[str, str]:
        """What of the settings shapes the replies, as text by field; found without loading anything heavy.

        It is part of a stage's fingerprint, beside a digest of the model's code: leave out what only makes it faster.
        """
        return {name: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for name, value in settings.items()}

    @classmethod
    def loaded_commits(cls, **settings: Any) -> dict[str, str]:
        """The commits of the weights that a model with these settings has loaded, by name; asked once it is loaded."""
        return {}

    @abstractmethod
    def stream(self, requests: Iterable[Any]) -> Iterator[Reply]:
        """Take requests lazily, give one reply to each, in any order.

        Once `shardmill.util.signals.stop_requested()` is true, the stream should end soon, without the replies that are not there
        yet: ask it before each batch, or while waiting.

        A request that cannot be answered is a reply with finish "error" (may go better with another seed, or later) or
        "unusable", never an exception: those are UserError for what the user can fix, and ModelDied.
        """

    def close(self) -> None:  # noqa: B027 (most models hold nothing)
        """Free what the model holds, such as the memory of a GPU."""
