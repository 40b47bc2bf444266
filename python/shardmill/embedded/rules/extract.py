"""The visible objects that a caption names."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from shardmill.language.noun_phrases import extract_objects as named_objects


def extract_objects(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"caption"} -> {"objects": names in the order of the caption}. Nothing in it is random."""
    return {"objects": named_objects(str(values["caption"]))}
