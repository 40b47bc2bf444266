"""Preference pairs: the better answer must not be told by its length or its first words."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import polars as pl

from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import example, judged
from shardmill.quality.model import QualityFinding
from shardmill.quality.parts import SampledRows
from shardmill.quality.rules import QualityRule, Row, at_most, word_count
from shardmill.quality.text_patterns import words

PAIRS = "pair_preferences"
PREFERRED, REJECTED = word_count("response"), word_count("rejected_response")
ROWS = 10_000
OPENING_WORDS = 2
ENOUGH = 100

LENGTH_RULE = QualityRule(
    "preferences.length",
    "The preferred answer cannot be told by its length.",
    at_most(0.75, 0.95),
    ("response", "rejected_response"),
    pl.when(PREFERRED > REJECTED)
    .then(pl.lit("preferred is longer"))
    .when(PREFERRED < REJECTED)
    .then(pl.lit("preferred is shorter")),
    stage=PAIRS,
    counts="commonest",
    per_line=True,
    example=pl.format("preferred: {} / rejected: {}", pl.col("response"), pl.col("rejected_response")),
    fault="The preferred answer is mostly the longer one, or mostly the shorter one.",
    advice="Training on the pairs teaches longer (or shorter) answers. Mix kinds of questions, or remove pairs of very unequal "
    "length.",
)


class OpeningWords(SampledRows):
    """How often a reader is right who knows of other pairs which first words preferred answers have.

    Counted are CPQs and TPQs, whose questions are alike. Which answers to POPE and to descriptions are preferred is known anyway.
    """

    def __init__(self, finished: FinishedShards, seed: int) -> None:
        super().__init__(finished, PAIRS, ("query_kind", "response", "rejected_response"), ROWS, seed, "openings")

    def findings(self) -> list[QualityFinding]:
        halves: tuple[list[Row], list[Row]] = ([], [])
        for row in (each for each in self.rows if each["query_kind"] in ("cpq", "tpq")):
            halves[crc32(str(row["row_id"]).encode()) & 1].append(row)
        votes: Counter[str] = Counter()
        for row in halves[0]:
            votes[opening(row["response"])] += 1
            votes[opening(row["rejected_response"])] -= 1
        right = 0.0
        for row in halves[1]:
            better, worse = votes[opening(row["response"])], votes[opening(row["rejected_response"])]
            right += (better > worse) + (better == worse) / 2
        found = judged(
            "preferences.opening",
            "The preferred answer cannot be told by its first words.",
            at_most(0.65, 0.8),
            round(right),
            len(halves[1]),
            fault="The first words of an answer tell which one is preferred.",
            advice="Training on the pairs teaches to begin like this, whatever the image shows. There should be as many pairs of "
            "CPQs as of TPQs: see why pair_preferences rejects those of one kind.",
            examples=[example(row["row_id"], f"{row['response']} / {row['rejected_response']}") for row in halves[1][:5]],
            enough=ENOUGH,
        )
        return [found] if found.n else []


def opening(text: str | None) -> str:
    """The first words of an answer."""
    return " ".join(words(text or "")[:OPENING_WORDS])
