"""Questions whether a thing is there."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from shardmill.language.existence_questions import existence_question


def ask_pope(values: Mapping[str, Any], rng: Random) -> dict[str, Any]:
    """The question about `object`."""
    return {"question": existence_question(str(values["object"]))}
