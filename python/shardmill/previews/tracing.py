"""What was sent to a model and what it answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from shardmill.core.in_flight import origin_of
from shardmill.core.model_stages import write_detections
from shardmill.core.seeding import rng_of
from shardmill.core.shard_runner import open_stage
from shardmill.core.stage import ModelStage
from shardmill.models.contract import (
    CaptionRequest,
    DetectRequest,
    EditRequest,
    GeneratedImage,
    Model,
    Reply,
    Request,
    ScoreRequest,
    Scores,
    TextRequest,
)
from shardmill.store.cells import decode, dump_cell
from shardmill.store.run_folder import RunFolder


@dataclass(frozen=True)
class Exchange:
    """One request as it was sent, role by role, and the raw answer."""

    sent: list[dict[str, str]]
    raw: str


class TracingModel(Model):
    """A model that also records every exchange, by the key of its request."""

    def __init__(self, model: Model):
        self._model = model
        self.many_streams, self.fills_gpu = model.many_streams, model.fills_gpu
        self.exchanges: dict[str, list[Exchange]] = {}

    def close(self) -> None:
        self._model.close()

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """The replies of the model, each recorded with its request."""
        sent: dict[str, Request] = {}

        def recorded() -> Iterator[Request]:
            for request in requests:
                sent[request.key] = request
                yield request

        for reply in self._model.stream(recorded()):
            self.exchanges.setdefault(reply.key, []).append(Exchange(_request_messages(sent[reply.key]), _reply_text(reply)))
            yield reply


def _request_messages(request: Request) -> list[dict[str, str]]:
    if isinstance(request, TextRequest):
        return request.chat.messages(request.seed)
    if isinstance(request, DetectRequest):
        return [{"role": "image", "content": request.image}, {"role": "names", "content": ", ".join(request.names)}]
    if isinstance(request, EditRequest):
        return [{"role": "image", "content": request.image}, {"role": "instruction", "content": request.instruction}]
    if isinstance(request, CaptionRequest):
        return [{"role": "image", "content": request.image}, {"role": "user", "content": request.prompt}]
    if isinstance(request, ScoreRequest):
        return [{"role": "image", "content": request.image}, *({"role": "text", "content": text} for text in request.texts)]
    return [{"role": "prompt", "content": request.prompt}, {"role": "negative", "content": request.negative}]


def _reply_text(reply: Reply) -> str:
    result = reply.result
    if isinstance(result, str):
        return result
    if isinstance(result, GeneratedImage):
        return f"{result.file}, {result.width} x {result.height}"
    if isinstance(result, Scores):
        return dump_cell({"cosines": result.cosines, "aesthetic": result.aesthetic})
    return dump_cell(write_detections(result)) if result else f"{reply.problem}: {reply.detail}"


def origins_of(run: RunFolder, name: str, row: dict[str, Any], sent: Iterable[str]) -> list[str]:
    """The keys of a row's requests: its own, those that it shares with other rows, and its follow-ups.

    Args:
        run: the run.
        name: the stage.
        row: the row as the stage before it has it, not decoded.
        sent: the keys of all requests of the stage.
    """
    stage = open_stage(run, name)
    assert isinstance(stage, ModelStage)
    kinds = run.kinds(run.stage(name).after)
    key = tuple(row[column] for column in ("row_id", "sub_id") if column in row)
    try:
        decoded = {column: decode(row[column], kinds[column]) for column in dict.fromkeys(("row_id", *stage.reads))}
    except ValueError:
        return []
    calls = stage.ask(decoded, rng_of(run.plan.seed, stage.seed_label, *key, 0))
    first = [origin_of(key, index, call) for index, call in enumerate(calls)]
    own = "/".join(map(str, key)) + "/"
    return first + [origin for origin in sent if origin.startswith(own) and origin not in first]
