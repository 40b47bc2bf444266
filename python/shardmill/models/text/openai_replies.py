"""Replies of OpenAI-compatible servers: the form that is asked for, how they are read, and how they get to the waiting thread.

Whatever a server sends is untrusted.
"""

from __future__ import annotations

import asyncio
import json
import queue
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Generic, Literal, TypeVar

from shardmill.models.contract import Finish, Reply, Usage
from shardmill.models.text.schemas import closed_schema
from shardmill.util.signals import stop_requested

SchemaMode = Literal["json_schema", "json_object", "none"]
WEAKER: dict[SchemaMode, SchemaMode] = {"json_schema": "json_object", "json_object": "none"}
"""What to ask of a server that refuses a schema mode."""
MAX_FORMATS = 256
MAX_DETAIL = 600
POLL_SECONDS = 0.5
DELIVERY_SECONDS = 0.002
"""How long finished replies are collected before the waiting thread is woken up for them."""
REFUSED = "refused by the server"
FINISHES: dict[str | None, Finish] = {"stop": "stop", "eos": "stop", "length": "length", "max_tokens": "length", None: "stop"}
SCHEMA_WORDS = ("response_format", "json_schema", "json_object", "structured", "guided", "grammar", "schema")
TOO_LONG = ("context length", "context_length", "maximum context", "too long", "max_model_len", "maximum input", "token limit")
FILTERED = ("content_filter", "content filter", "content management policy", "content_policy", "responsibleaipolicy")
BILLING = ("insufficient_quota", "current quota", "billing")

Sent = TypeVar("Sent")
Received = TypeVar("Received")


class ResponseFormats:
    """The part of a request that asks for the form of its answer.

    Schemas are recognised by identity: a stage has few of them and keeps them, and a lookup by content would cost as much as
    making the format anew.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[SchemaMode, int], tuple[Mapping[str, Any], dict[str, Any]]] = {}

    def of(self, mode: SchemaMode, schema: Mapping[str, Any] | None) -> dict[str, Any]:
        """The `response_format` of a request as a mapping to merge into its body; empty without a schema or in mode none."""
        if schema is None or mode == "none":
            return {}
        key = mode, id(schema)
        if key not in self._made:
            if len(self._made) >= MAX_FORMATS:
                self._made.clear()
            # The schema is kept as well: as long as it lives, no other object can have its id.
            self._made[key] = schema, {"response_format": _response_format(mode, schema)}
        return self._made[key][1]


def _response_format(mode: SchemaMode, schema: Mapping[str, Any]) -> dict[str, Any]:
    if mode == "json_object":
        return {"type": "json_object"}
    closed = closed_schema(schema)
    form = {"name": "answer", "schema": dict(schema)} if closed is None else {"name": "answer", "schema": closed, "strict": True}
    return {"type": "json_schema", "json_schema": form}


class MalformedReply(ValueError):
    """A reply with status 200 that is not a chat completion; the next try may go better."""


def read_reply(key: str, body: bytes, seconds: float) -> Reply:
    """The reply in the body of a response.

    Args:
        key: The key of its request.
        body: The body as it was received.
        seconds: How long the server took.

    Raises:
        MalformedReply: If the body is cut off, or is not a chat completion.
    """
    try:
        content = json.loads(body.decode("utf-8", "replace"), strict=False)
        choice = content["choices"][0]
        message = choice["message"]
        usage = _usage(content.get("usage"), seconds)
        finish = choice.get("finish_reason")
        text = _text(message.get("content"))
        refusal = message.get("refusal")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise MalformedReply(f"no chat completion: {body[:200].decode('utf-8', 'replace')!r}") from None
    if refusal:
        return Reply(key, "", "error", "the model declined", str(refusal)[:MAX_DETAIL], usage)
    if finish == "content_filter":
        return Reply(key, text or "", "error", "content filter", "the server's filter stopped the answer", usage)
    if finish not in FINISHES:
        return Reply(key, text or "", "error", "no answer in words", f"the answer ended with {str(finish)[:80]!r}", usage)
    if FINISHES[finish] == "length":
        return Reply(key, text or "", "length", usage=usage)
    if text is None:
        return Reply(key, "", "error", "no text in the answer", "the server sent an answer whose content is null", usage)
    return Reply(key, text, "stop", usage=usage)


def _text(content: Any) -> str | None:
    """The content of a message, which some servers send in parts."""
    if content is None or isinstance(content, str):
        return content
    return "".join(part["text"] for part in content)


def _usage(given: Any, seconds: float) -> Usage:
    numbers = given if isinstance(given, Mapping) else {}
    details = numbers.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(_count(numbers.get("prompt_tokens")), _count(cached), _count(numbers.get("completion_tokens")), seconds)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def error_text(body: bytes) -> str:
    """A server's error message and code, on one line of limited length."""
    text = body[:20_000].decode("utf-8", "replace")
    with suppress(ValueError, AttributeError, RecursionError):  # not JSON: the text itself is the message
        content = json.loads(text)
        error = content.get("error", content.get("detail", content.get("message", content)))
        text = str(error["message"] if isinstance(error, dict) and "message" in error else error)[:MAX_DETAIL]
        if isinstance(error, dict) and isinstance(error.get("code"), str):
            text += f" ({error['code']})"
    return " ".join(text.split())[: MAX_DETAIL + 60]


def is_schema_problem(message: str) -> bool:
    """Whether an error message says that the server does not support the response format."""
    return any(word in message.lower() for word in SCHEMA_WORDS)


def is_billing_problem(message: str) -> bool:
    """Whether an error message says that somebody has to pay: waiting will not help."""
    return any(sign in message.lower() for sign in BILLING)


def why_unusable(message: str) -> str:
    """Why a request can never be answered, in a short stable phrase."""
    for problem, signs in (("prompt too long", TOO_LONG), ("content filter", FILTERED)):
        if any(sign in message.lower() for sign in signs):
            return problem
    return REFUSED


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3); None without a readable one."""
    if not value:
        return None
    with suppress(ValueError):  # or it is a date
        return max(0.0, float(value))
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())


class ReplyStream(Generic[Sent, Received]):
    """Requests of one thread, answered by coroutines on an event loop that runs in another.

    Waking up the other thread costs as much as a good part of a request. So more requests are handed over than may be in flight
    at once, for the loop to have the next one at hand when a reply arrives, and replies are delivered a few at a time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Callable[[Sent], Awaitable[Received]], max_pending: int):
        self._loop, self._answer, self._max_pending = loop, answer, max_pending
        self._delivered: queue.SimpleQueue[list[asyncio.Future[Received]]] = queue.SimpleQueue()
        self._tasks: set[asyncio.Future[Received]] = set()
        self._finished: list[asyncio.Future[Received]] = []

    def replies(self, requests: Iterable[Sent]) -> Generator[Received, None, None]:
        """Take requests as there is room for them; yield their replies as they arrive.

        Ends early when the worker is to stop and no reply has come for POLL_SECONDS.
        """
        source = iter(requests)
        pending, ready = 0, deque[asyncio.Future[Received]]()
        try:
            while True:
                if not ready or pending <= self._max_pending // 2:
                    batch = []
                    while pending < self._max_pending and (request := next(source, None)) is not None:
                        batch.append(request)
                        pending += 1
                    if batch:
                        self._loop.call_soon_threadsafe(self._start_tasks, batch)
                if not pending:
                    return
                while not ready:
                    try:
                        ready.extend(self._delivered.get(timeout=POLL_SECONDS))
                    except queue.Empty:
                        if stop_requested():
                            return
                task = ready.popleft()
                pending -= 1
                if task.cancelled():
                    raise CancelledError("the model was closed")
                yield task.result()
        finally:
            with suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._cancel_tasks)

    def _start_tasks(self, batch: list[Sent]) -> None:
        for request in batch:
            task: asyncio.Future[Received] = asyncio.ensure_future(self._answer(request), loop=self._loop)
            self._tasks.add(task)
            task.add_done_callback(self._finish_task)

    def _finish_task(self, task: asyncio.Future[Received]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio logs an exception that nobody has retrieved, also when nobody waits for it any more
        if not self._finished:
            self._loop.call_later(DELIVERY_SECONDS, self._deliver_replies)
        self._finished.append(task)

    def _deliver_replies(self) -> None:
        finished, self._finished = self._finished, []
        self._delivered.put(finished)

    def _cancel_tasks(self) -> None:
        for task in [*self._tasks]:
            task.cancel()
