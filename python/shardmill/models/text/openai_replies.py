"""Replies of OpenAI-compatible servers: the form that is asked for, how they are read, and how they get to the waiting thread.

Whatever a server sends is untrusted.
"""

from __future__ import annotations

import asyncio
import json
import queue
import re
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import replace
from typing import Any, Generic, Literal, TypeVar

from shardmill.models.contract import Reply, Usage
from shardmill.models.text.openai_errors import FILTERED, claimed_status
from shardmill.models.text.schemas import closed_schema, guided
from shardmill.util.signals import stop_requested

SchemaMode = Literal["json_schema", "json_object", "none"]
WEAKER: dict[SchemaMode, SchemaMode] = {"json_schema": "json_object", "json_object": "none"}
"""What to ask of a server that refuses a schema mode."""
MAX_FORMATS = 256
MAX_DETAIL = 600
POLL_SECONDS = 0.5
DELIVERY_SECONDS = 0.002
"""How long finished replies are collected before the waiting thread is woken up for them."""
MAX_REASON = 40
UNPRINTED = re.compile(r"[^\w .-]")
MAX_TOKENS = 1_000_000_000
"""A server that counts more tokens than this in one answer is not believed."""
COMPLETE = {None, "stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "complete", "completed", "end"}
ENDINGS = {
    "length": {"length", "max_tokens", "max_length", "max_output_tokens", "model_length"},
    "filtered": {"content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii", "refusal", "error_toxic"},
    "failed": {"error", "abort", "aborted", "cancelled", "insufficient_system_resource", "error_limit", "timeout"},
    "tools": {"tool_calls", "tool_use", "function_call", "malformed_function_call"},
}
"""What the reasons mean for which a text ends, in lower case: those of OpenAI, TGI, Anthropic, Gemini, Mistral, Cohere, DeepSeek
and SGLang. A text that ends for any other reason is taken as complete: whether it can be used is seen when it is read.
"""
TEXT_PARTS = {"text", "output_text"}
"""The types of parts of a content that are the answer; others are thoughts, images and the like."""
SURROGATE = re.compile(r"[\ud800-\udfff]")

Sent = TypeVar("Sent")
Received = TypeVar("Received")


class ResponseFormats:
    """The part of a request that asks for the form of its answer; of vLLM's own servers also for its blanks.

    Schemas are recognised by identity: a stage has few of them and keeps them, and a lookup by content would cost as much as
    making the format anew.
    """

    def __init__(self, of_vllm: bool = False) -> None:
        self._of_vllm = of_vllm
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
            self._made[key] = schema, {"response_format": _response_format(mode, guided(schema) if self._of_vllm else schema)}
        return self._made[key][1]


def _response_format(mode: SchemaMode, schema: Mapping[str, Any]) -> dict[str, Any]:
    if mode == "json_object":
        return {"type": "json_object"}
    closed = closed_schema(schema)
    form = {"name": "answer", "schema": dict(schema)} if closed is None else {"name": "answer", "schema": closed, "strict": True}
    return {"type": "json_schema", "json_schema": form}


class MalformedReply(ValueError):
    """A reply with status 200 that is not a chat completion; the next try may go better."""


class ErrorReply(ValueError):
    """An error that was sent with status 200; `status` is the one that it should have had."""

    def __init__(self, status: int):
        super().__init__(f"an error with status {status}")
        self.status = status


def read_reply(key: str, body: bytes, seconds: float) -> Reply:
    """The reply in the body of a response. What does not fit is dropped or cut here, before anything is kept of it.

    Args:
        key: The key of its request.
        body: The body as it was received.
        seconds: How long the server took.

    Raises:
        MalformedReply: If the body is cut off, or is not a chat completion.
        ErrorReply: If it is an error in spite of its status.
    """
    try:
        content = json.loads(body.decode(json.detect_encoding(body), "replace"), strict=False)
        if (status := claimed_status(content)) is not None:
            raise ErrorReply(status)
        choice = content["choices"][0]
        message = choice["message"]
        text, refusal = _text(message.get("content")), message.get("refusal")
        thoughts = bool(message.get("reasoning_content") or message.get("reasoning"))
        usage = _usage(content.get("usage"), seconds)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, ErrorReply):
            raise
        raise MalformedReply(f"no chat completion: {body[:200].decode('utf-8', 'replace')!r}") from None
    if refusal:
        return Reply(key, "", "error", "the model declined", str(refusal)[:MAX_DETAIL], usage)
    return _judged(key, text, choice.get("finish_reason"), thoughts, usage)


def _judged(key: str, text: str | None, reason: Any, thoughts: bool, usage: Usage) -> Reply:
    """The reply with a text that ended for a reason that the server names as it likes."""
    named = reason.strip().lower() if isinstance(reason, str) else None if reason is None else "unreadable"
    known = "stop" if named in COMPLETE else next((meaning for meaning, names in ENDINGS.items() if named in names), None)
    shown = "" if reason is None else UNPRINTED.sub("?", str(reason))[:MAX_REASON]
    if known == "length":
        return Reply(key, text or "", "length", usage=usage)
    if known == "filtered":
        return Reply(key, text or "", "error", FILTERED, f"the server's filter stopped the answer ({shown})", usage)
    if known == "failed":
        return Reply(key, text or "", "error", "no complete answer", f"the answer ended with {shown!r}", usage)
    if text is None or not text.strip():
        if thoughts:
            return Reply(key, "", "error", "thoughts without an answer", f"the answer ended with {shown!r}", usage)
        if known == "tools":
            return Reply(key, "", "error", "no answer in words", f"the answer ended with {shown!r}", usage)
        if text is None:
            return Reply(key, "", "error", "no text in the answer", "the server sent an answer whose content is null", usage)
    return Reply(key, text, "stop", usage=usage if known else replace(usage, notes=(f"finish {shown}",)))


def _text(content: Any) -> str | None:
    """The content of a message, which some servers send in parts, thoughts among them; None without any text.

    Raises TypeError for content of another form.
    """
    if content is None:
        return None
    if isinstance(content, str):
        return SURROGATE.sub("\ufffd", content)
    texts = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, Mapping):
            if part.get("type", "text") not in TEXT_PARTS:
                continue
            part = part["text"]
        if isinstance(part, Mapping):
            part = part["value"]
        if not isinstance(part, str):
            raise TypeError("a part of the content is not text")
        texts.append(part)
    return SURROGATE.sub("\ufffd", "".join(texts)) if texts else None


def _usage(given: Any, seconds: float) -> Usage:
    numbers = given if isinstance(given, Mapping) else {}
    details = numbers.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    return Usage(_count(numbers.get("prompt_tokens")), _count(cached), _count(numbers.get("completion_tokens")), seconds)


def _count(value: Any) -> int:
    """A number of tokens; 0 for what cannot be one."""
    return int(value) if isinstance(value, (int, float)) and 0 < value <= MAX_TOKENS else 0


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
