"""CP-Bench's score of a model's answers: does it decline false presuppositions, and accept true ones?

0.6 x share of CPQs rejected + 0.2 x share of TPQs accepted + 0.2 x accuracy over both (Antidote's benchmark).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardmill.antidote.answer_checks import declines
from shardmill.util.errors import UserError

WEIGHTS = (0.6, 0.2, 0.2)
VERDICTS = {"accept": False, "reject": True}


@dataclass(frozen=True)
class Score:
    """How many questions of each kind there are, how many were treated rightly, and the score in [0, 1]."""

    cpq: int
    cpq_rejected: int
    tpq: int
    tpq_accepted: int

    @property
    def accuracy(self) -> float:
        return (self.cpq_rejected + self.tpq_accepted) / max(1, self.cpq + self.tpq)

    @property
    def total(self) -> float:
        shares = self.cpq_rejected / max(1, self.cpq), self.tpq_accepted / max(1, self.tpq), self.accuracy
        return sum(weight * share for weight, share in zip(WEIGHTS, shares, strict=True))


def score(answers: Iterable[dict[str, Any]]) -> Score:
    """The score of answers: dicts with `tag` (cpq, tpq) and `verdict` (accept, reject), or `answer` and `object`."""
    counts = {"cpq": [0, 0], "tpq": [0, 0]}
    for each in answers:
        count = counts[each["tag"]]
        count[0] += 1
        count[1] += _rejected(each) is (each["tag"] == "cpq")
    return Score(*counts["cpq"], *counts["tpq"])


def _rejected(each: dict[str, Any]) -> bool:
    if "verdict" in each:
        return VERDICTS[each["verdict"]]
    return declines(each["answer"], each["object"])


def read_answers(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a JSONL file of answers. Raises UserError naming the first line that is none."""
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _checked(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def _checked(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        each = json.loads(line)
    except (ValueError, RecursionError):
        each = None
    if not isinstance(each, dict):
        raise UserError(f"{path}, line {number}: not a JSON object")
    tag = str(each.get("tag", each.get("query_kind", ""))).strip().lower()
    if tag not in ("cpq", "tpq"):
        raise UserError(f"{path}, line {number}: tag is {tag!r}; it must be cpq or tpq")
    found: dict[str, Any] = {"tag": tag, "object": each.get("object", each.get("query_object"))}
    if "verdict" in each:
        verdict = str(each["verdict"]).strip().lower().rstrip(".!")
        if verdict not in VERDICTS:
            raise UserError(f"{path}, line {number}: verdict is {verdict!r}; it must be accept or reject")
        return {**found, "verdict": verdict}
    if not isinstance(each.get("answer"), str):
        raise UserError(f"{path}, line {number}: neither a verdict nor an answer")
    if not isinstance(found["object"], str):
        raise UserError(f"{path}, line {number}: an answer can be judged only with its object; give object, or a verdict")
    return {**found, "answer": each["answer"]}
