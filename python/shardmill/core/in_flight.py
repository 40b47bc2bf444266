"""What is in flight for the rows of a shard: rows that wait for answers, and requests that rows wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shardmill.core.stage import Answer, ModelCall
from shardmill.models.contract import Reply


def origin_of(key: tuple[int, ...], index: int, call: ModelCall) -> str:
    """The key of a request: that of its row and its position among the row's calls, or the text by which rows share it."""
    return "/".join(map(str, (*key, index))) if call.share is None else f"shared {call.share}"


@dataclass
class Pending:
    """A row that waits for answers."""

    key: tuple[int, ...]
    row: Mapping[str, Any]
    answers: list[Answer | None]
    missing: int
    usage: Counter[str] = field(default_factory=Counter)


@dataclass
class InFlightRequest:
    """A request in flight and the positions in rows that wait for its answer."""

    call: ModelCall
    origin: str
    attempt: int = 1
    shortened: bool = False
    refused: int = 0
    """Answers that could be read but that `call.check` refused."""
    waiting: list[tuple[Pending, int]] = field(default_factory=list)
    usage: Counter[str] = field(default_factory=Counter)

    @property
    def is_given_up(self) -> bool:
        """The check has refused as many answers as it may."""
        return self.call.check_retries is not None and self.refused > self.call.check_retries


def usage_of(reply: Reply, attempt: int) -> dict[str, float]:
    """What a reply cost, in the words of a manifest."""
    usage = reply.usage
    tokens = {
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
    }
    counted = {
        "requests": 1,
        "retries": int(attempt > 1),
        **tokens,
        "request_seconds": usage.seconds,
        **({f"batched_{name}": value for name, value in tokens.items()} if usage.batched else {}),
        f"finish_{reply.finish}": 1,
        **dict.fromkeys(usage.notes, 1),
    }
    return {name: value for name, value in counted.items() if value}
