"""Preference pairs as rows for TRL, ms-swift and LLaMA-Factory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class PreferencePair:
    """A question about an image with a preferred and a rejected answer; `id` names it among its dataset's."""

    id: str
    image: str
    question: str
    preferred: str
    rejected: str


def swift_row(pair: PreferencePair) -> dict[str, Any]:
    """ms-swift's DPO row."""
    return {
        "query": f"<image>\n{pair.question}",
        "response": pair.preferred,
        "rejected_response": pair.rejected,
        "images": [pair.image],
    }


def trl_row(pair: PreferencePair) -> dict[str, Any]:
    """TRL's conversational preference row for vision-language models."""
    prompt = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": pair.question}]}
    return {
        "images": [pair.image],
        "prompt": [prompt],
        "chosen": [_assistant_message(pair.preferred)],
        "rejected": [_assistant_message(pair.rejected)],
    }


def _assistant_message(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def llamafactory_row(pair: PreferencePair) -> dict[str, Any]:
    """LLaMA-Factory's ranking row in its ShareGPT format."""
    return {
        "id": pair.id,
        "conversations": [{"from": "human", "value": f"<image>\n{pair.question}"}],
        "chosen": {"from": "gpt", "value": pair.preferred},
        "rejected": {"from": "gpt", "value": pair.rejected},
        "images": [pair.image],
    }


FORMS: Mapping[str, Callable[[PreferencePair], dict[str, Any]]] = MappingProxyType(
    {"swift": swift_row, "trl": trl_row, "llamafactory": llamafactory_row}
)
"""The forms by the name of `--form`."""
