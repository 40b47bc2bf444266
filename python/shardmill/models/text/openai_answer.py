"""Reading what an OpenAI-compatible server sends back. All of it is untrusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from shardmill.models.contract import Reply, Usage

MAX_DETAIL = 600
REFUSED = "refused by the server"
FINISHES = {"stop": "stop", "eos": "stop", "length": "length", "max_tokens": "length", None: "stop"}
SCHEMA_WORDS = ("response_format", "json_schema", "json_object", "structured", "guided", "grammar", "schema")
TOO_LONG = ("context length", "context_length", "maximum context", "too long", "max_model_len", "maximum input", "token limit")
FILTERED = ("content_filter", "content filter", "content management policy", "content_policy", "responsibleaipolicy")
NO_MONEY = ("insufficient_quota", "current quota", "billing")


class BadAnswer(ValueError):
    """An answer with status 200 that is not one; it may go better the next time."""


def read_reply(key: str, body: bytes, seconds: float) -> Reply:
    """The reply in a body. Raises BadAnswer for one that is cut off or is no chat completion."""
    try:
        content = json.loads(body.decode("utf-8", "replace"), strict=False)
        choice = content["choices"][0]
        message = choice["message"]
        usage = _usage(content.get("usage"), seconds)
        finish = choice.get("finish_reason")
        text = _text(message.get("content"))
        refusal = message.get("refusal")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise BadAnswer(f"no chat completion: {body[:200].decode('utf-8', 'replace')!r}") from None
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
    """What a server says of an error, on one line of bounded length, with the code that it gives it."""
    text = body[:20_000].decode("utf-8", "replace")
    try:
        content = json.loads(text)
        error = content.get("error", content.get("detail", content.get("message", content)))
        text = str(error["message"] if isinstance(error, dict) and "message" in error else error)[:MAX_DETAIL]
        if isinstance(error, dict) and isinstance(error.get("code"), str):
            text += f" ({error['code']})"
    except (ValueError, AttributeError, RecursionError):
        pass
    return " ".join(text.split())[: MAX_DETAIL + 60]


def is_about_schema(said: str) -> bool:
    """The server does not take the kind of response format that it was given."""
    return any(word in said.lower() for word in SCHEMA_WORDS)


def why_unusable(said: str) -> str:
    """Why a request can never be answered, in a short stable phrase."""
    for problem, signs in (("prompt too long", TOO_LONG), ("content filter", FILTERED)):
        if any(sign in said.lower() for sign in signs):
            return problem
    return REFUSED


def is_about_money(said: str) -> bool:
    """No waiting will help: somebody has to pay."""
    return any(sign in said.lower() for sign in NO_MONEY)


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as seconds or as a date; None without a readable one."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())
