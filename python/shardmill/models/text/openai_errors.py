"""Errors of OpenAI-compatible servers: what they say, and what that means for a request, a server or a run.

Servers agree on little here: the signs below are the wordings of OpenAI, Azure, Gemini, Mistral, OpenRouter, vLLM, SGLang,
llama.cpp, TGI, LM Studio and others. Whatever a server sends is untrusted.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

MAX_MESSAGE, MAX_CODE = 600, 60
MAX_BODY = 20_000
MAX_RETRY_AFTER = 86_400.0
"""Seconds: the longest pause that is believed."""
REFUSED, TOO_LONG, FILTERED = "refused by the server", "prompt too long", "content filter"
SCHEMA_WORDS = ("response_format", "json_schema", "json_object", "structured", "guided", "grammar", "schema")
LENGTH_SIGNS = re.compile(
    r"context[ _](?:length|size|window)|maximum context|exceed_context|too long|too many tokens|max_(?:model|seq)_len"
    r"|maximum input|input token count|token limit|maximum number of tokens|reduce the length|tokens must be reduced"
    r"|max_new_tokens`? must be|longer than the model|context the overflows",
    re.IGNORECASE,
)
FILTER_SIGNS = re.compile(
    r"content[ _](?:filter|management policy|policy)|responsibleaipolicy|policy violation|\bflagged\b|\bmoderation\b"
    r"|data_inspection_failed|inappropriate content|prohibited content|safety (?:system|filter|policy)",
    re.IGNORECASE,
)
TOO_LARGE_FOR_LIMIT = re.compile(r"request too large|tokens must be reduced", re.IGNORECASE)
UNPAID = {"insufficient_quota", "exceeded_current_quota_error", "billing_hard_limit_reached", "billing_not_active"}
"""Codes of an account that has to be paid for first. Texts do not tell: ordinary rate limits speak of quota and billing too."""
OPTIONAL = ("seed", "temperature", "top_p", "stop", "chat_template_kwargs")
"""Parameters of a request that a server may be asked without."""
NOT_TAKEN = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|not (?:permitted|allowed|a valid|accepted)|no such|cannot find"
    r"|deprecated|forbidden|cannot both|invalid (?:parameter|field|argument|property)",
    re.IGNORECASE,
)
WAIT_IN_TEXT = re.compile(
    r"(?:try again|retry|wait)[^.\d]{0,30}(\d{1,6}(?:\.\d{1,6})?) ?(ms|milliseconds?|s|sec|seconds?|m|min|minutes?)\b",
    re.IGNORECASE,
)
DELAY_IN_DETAILS = re.compile(r'"retryDelay"\s*:\s*"(\d{1,6}(?:\.\d{1,9})?)s"')


@dataclass(frozen=True)
class ServerError:
    """A response that is no answer. `retry_after` is how many seconds the server asks to wait, if it says so in any way."""

    status: int
    message: str
    codes: frozenset[str] = frozenset()
    parameter: str = ""
    retry_after: float | None = None

    @property
    def is_unpaid(self) -> bool:
        """Waiting will not help: somebody has to pay."""
        return self.status == 402 or (self.status == 429 and self.retry_after is None and bool(self.codes & UNPAID))

    @property
    def is_schema_problem(self) -> bool:
        """The server does not support the response format."""
        return any(word in self.message.lower() for word in SCHEMA_WORDS)

    @property
    def why_unusable(self) -> str:
        """Why the request can never be answered, in a short stable phrase."""
        if LENGTH_SIGNS.search(self.message):
            return TOO_LONG
        return FILTERED if FILTER_SIGNS.search(self.message) else REFUSED

    @property
    def is_about_prompt(self) -> bool:
        """The error is about this prompt alone, whatever its status says."""
        if self.status == 429:
            return bool(TOO_LARGE_FOR_LIMIT.search(self.message))
        return self.why_unusable != REFUSED

    def refused_parameter(self, sent: Collection[str]) -> str | None:
        """The optional parameter, of those that were sent, that the server does not take; None if the error is another one."""
        if not NOT_TAKEN.search(self.message):
            return None
        named = [self.parameter, *OPTIONAL]
        return next((name for name in named if name in OPTIONAL and name in sent and self._names(name)), None)

    def _names(self, parameter: str) -> bool:
        return self.parameter == parameter or bool(re.search(rf"(?<![\w-]){parameter}(?![\w-])", self.message))


def read_error(status: int, body: bytes, headers: Mapping[str, str]) -> ServerError:
    """The error in a response.

    Args:
        status: The status of the response, or the code that its body claims.
        body: The body as it was received.
        headers: The headers of the response.
    """
    text = body[:MAX_BODY].decode("utf-8", "replace")
    message, codes, parameter = text, frozenset[str](), ""
    with suppress(ValueError, RecursionError):  # not JSON: the text itself is the message
        error = _error_in(json.loads(text))
        message = _message_of(error)
        if isinstance(error, Mapping):
            given = [error.get(name) for name in ("code", "type", "status")]
            codes = frozenset(code.lower()[:MAX_CODE] for code in given if isinstance(code, str))
            parameter = error["param"] if isinstance(error.get("param"), str) else ""
            if isinstance(error.get("code"), str):
                message += f" ({error['code'][:MAX_CODE]})"
    hint = retry_after(headers, text)
    return ServerError(status, " ".join(message.split())[: MAX_MESSAGE + MAX_CODE + 3], codes, parameter[:MAX_CODE], hint)


def _error_in(content: Any) -> Any:
    """What a body says of the error, in whichever of the usual places."""
    if isinstance(content, list) and len(content) == 1:  # Gemini
        content = content[0]
    if not isinstance(content, Mapping):
        return content
    return next((content[name] for name in ("error", "detail", "message") if name in content), content)


def _message_of(error: Any) -> str:
    if isinstance(error, Mapping) and "message" in error:
        error = error["message"]
    return (error if isinstance(error, str) else json.dumps(error, ensure_ascii=False))[:MAX_MESSAGE]


def claimed_status(content: Any) -> int | None:
    """The status of an error that a server sends with status 200, as some gateways do; None for a body without an error."""
    if not isinstance(content, Mapping) or content.get("choices") or not content.get("error"):
        return None
    code = content["error"].get("code") if isinstance(content["error"], Mapping) else None
    return code if type(code) is int and 400 <= code < 600 else 500


def retry_after(headers: Mapping[str, str], text: str = "") -> float | None:
    """The seconds that a server asks to wait, by Retry-After (RFC 9110, 10.2.3) or in its error's text; None if it does not."""
    if (seconds := _number(headers.get("retry-after-ms"), 0.001)) is not None:
        return seconds
    if value := headers.get("Retry-After"):
        return _number(value) if _number(value) is not None else _until(value)
    if found := DELAY_IN_DETAILS.search(text):
        return _number(found[1])
    if found := WAIT_IN_TEXT.search(text):
        unit = found[2].lower()
        return _number(found[1], 0.001 if unit.startswith(("ms", "mil")) else 60 if unit.startswith("m") else 1)
    return None


def _number(value: str | None, unit: float = 1) -> float | None:
    try:
        seconds = float(value or "") * unit
    except ValueError:
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER) if math.isfinite(seconds) else None


def _until(value: str) -> float | None:
    try:
        date = parsedate_to_datetime(value)
        date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
        return min(max(0.0, (date - datetime.now(timezone.utc)).total_seconds()), MAX_RETRY_AFTER)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
