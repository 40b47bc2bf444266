"""The questions of all kinds as they are put to a vision-language model: plainly, and with a hint.

A hint that is true makes the better answer, one that is deliberately false the worse one. Both go into preference pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shardmill.language.nouns import is_mass, is_plural

Kind = Literal["cpq", "tpq", "pope", "desc"]
KINDS: tuple[Kind, ...] = ("cpq", "tpq", "pope", "desc")


@dataclass(frozen=True)
class Query:
    """A question about a picture. `preferred` says which of its two answers is to be preferred: with the hint, or plain."""

    kind: Kind
    object: str | None
    text: str
    text_hint: str
    hint_is_true: bool
    preferred: Literal["hint", "plain"]

    def cell(self) -> dict[str, Any]:
        """The query as plain values."""
        return asdict(self)


def queries_of(row: Mapping[str, Any]) -> list[Query]:
    """All queries of a picture, out of the columns `questions`, `pope`, `description` and the verified lists.

    Questions that were judged bad are left out.
    """
    asked = [each for each in row["questions"] if each["verdict"] == "pass"]
    return [
        *(_presupposition(each) for each in asked),
        *(_existence(each) for each in row["pope"]),
        _description(row["description"]["question"], row["verified_present"], row["verified_absent"]),
    ]


def denial(name: str) -> str:
    """A sentence that says an object is not there."""
    plural = is_plural(name) and not is_mass(name)
    return f"There {'are' if plural else 'is'} no {name} in this image."


def _presupposition(asked: Mapping[str, Any]) -> Query:
    absent = asked["kind"] == "cpq"
    hint = f"{denial(asked['object'])} If the question cannot be answered for that reason, say so briefly. {asked['question']}"
    return Query(asked["kind"], asked["object"], asked["question"], hint, absent, "hint" if absent else "plain")


def _existence(asked: Mapping[str, Any]) -> Query:
    absent = asked["answer"] == "no"
    hint = f"{denial(asked['object'])} {asked['question']}"
    return Query("pope", asked["object"], asked["question"], hint, absent, "hint" if absent else "plain")


def _description(question: str, present: list[str], absent: list[str]) -> Query:
    hint = f"This image shows: {', '.join(present)}. It does not show: {', '.join(absent)}. {question}"
    return Query("desc", None, question, hint, True, "hint")
