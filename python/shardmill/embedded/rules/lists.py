"""Tasks that ask for several things at once: each is made as if it had been asked for alone."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from shardmill.embedded.rules.extract import extract_objects
from shardmill.embedded.rules.negate import caption_negated
from shardmill.embedded.rules.propose import propose_negatives
from shardmill.embedded.rules.rephrase import paraphrase

CELLS = ((True, True), (True, False), (False, True), (False, False))
"""What the sentences about two things say of the first and of the second."""


def captions_negated(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"caption", "objects", "unconfirmed", "last", "first" (objects to negate)} -> {"captions"}, one for each object."""
    wanted = [(name, "affirmation_first") for name in values["last"]] + [(name, "negation_first") for name in values["first"]]
    written = (caption_negated({**values, "negative": name, "form": form}, rng) for name, form in wanted)
    return {"captions": [answer["caption"] for answer in written]}


def paraphrases(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"things" (two), "sentences" (four)} -> {"captions"}: the sentences in other words."""
    claims = [dict(zip(values["things"], cell, strict=True)) for cell in CELLS]
    pairs = zip(values["sentences"], claims, strict=True)
    return {"captions": [paraphrase({"sentence": text, "objects": claim}, rng)["caption"] for text, claim in pairs]}


def extract_and_propose(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"caption", "count"} -> {"objects", "missing"}: what the caption names, and others that would fit."""
    named = extract_objects(values, rng)["objects"]
    return {"objects": named, "missing": propose_negatives({**values, "objects": named}, rng)["objects"]}
