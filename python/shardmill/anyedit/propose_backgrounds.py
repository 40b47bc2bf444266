"""Concepts step 2: places in which a concept may be seen.

python -m shardmill.anyedit.propose_backgrounds --run RUN --shard-index 3
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any

from pydantic import Field

from shardmill.anyedit.concept_answers import BackgroundList
from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.locatives import PREPOSITIONS, locative, place_key
from shardmill.language.nouns import fold
from shardmill.language.proper_names import proper_problem
from shardmill.store.cells import as_list

MAX_WORDS, MAX_CHARACTERS = 8, 60
_BULLET = re.compile(r"^\s*(?:[-*•–]|\(?\d{1,3}[.):]|[a-h][.)])\s+")
_REMARK = re.compile(r"\s*(?:\([^)]*\)|\[[^\]]*\])\s*")
_BETWEEN = re.compile(r"\s*(?:[,;|\n]|\s/\s)\s*")
_SPILL = re.compile(
    r"\b(?:note|please|sorry|cannot|can't|here (?:are|is)|sure|certainly|background|concept|example|answer|list|etc|image|photo|"
    r"picture|caption|would|could|should|is|are|was|were|you|your|i)\b",
    re.IGNORECASE,
)
_WORDS_ONLY = re.compile(r"[a-z\u00c0-\u024f0-9][a-z\u00c0-\u024f0-9'’ -]*", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w-])\d+(?!\w)")
_ONLY_PREPOSITION = re.compile(r"(?:\w+ )?(?:the|a|an|it|them|there|this|that)?", re.IGNORECASE)


class BackgroundOptions(Options):
    """Options of `propose_backgrounds`."""

    wanted: int = Field(12, ge=1, le=100, description="backgrounds wanted per concept; with as many it needs no model call")
    least: int = Field(5, ge=1, description="a concept with fewer is rejected")
    most: int = Field(50, ge=1, description="maximum number kept: long lists contain poor ones")


class ProposeBackgrounds(TextStage):
    """Where a concept is seen, as phrases that a sentence can end with ("on a kitchen counter").

    concept (text), backgrounds (list) -> all_backgrounds (list): those that it had first, then those of the model; cleaned, each
    place once whatever its article and number. Concepts with fewer than `least` (5, as AnyEdit's pool) are rejected.
    """

    name = "propose_backgrounds"
    reads = ("concept", "backgrounds")
    adds = {"all_backgrounds": "list"}
    prompt = "anyedit/propose_backgrounds.md"
    answer = BackgroundList
    Options = BackgroundOptions
    options: BackgroundOptions
    tolerant = True

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        try:
            known = clean_backgrounds(as_list(row["backgrounds"]), row["concept"])
        except ValueError:
            return []
        missing = self.options.wanted - len(known)
        if missing <= 0:
            return []

        def check(answer: BackgroundList) -> str | None:
            found = len(clean_backgrounds([*known, *answer.backgrounds], row["concept"]))
            return None if found >= min(self.options.least, self.options.wanted) else "too few backgrounds"

        return [self.text_call(concept=row["concept"][:200], known=known, count=missing, check=check)]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        try:
            own = as_list(row["backgrounds"])
        except ValueError as error:
            return Reject("unreadable cell", f"backgrounds: {error}")
        proposed = [phrase for answer in answers if answer.problem is None for phrase in answer.value.backgrounds]
        found = clean_backgrounds([*own, *proposed], row["concept"])
        if len(found) >= self.options.least:
            return {"all_backgrounds": found[: self.options.most]}
        problem = next((answer.problem for answer in answers if answer.problem), None)
        return Reject(problem or "too few backgrounds", f"{len(found)} usable, {self.options.least} needed")


def clean_backgrounds(phrases: Iterable[str], concept: str) -> list[str]:
    """The usable phrases, each place once, in order. Items that are lists themselves are taken apart."""
    found: dict[str, str] = {}
    for phrase in (part for item in phrases for part in _parts(item)):
        text = locative(phrase[:1].lower() + phrase[1:] if not phrase[:2].isupper() else phrase)
        if background_problem(text, concept) is None:
            found.setdefault(place_key(text), text)
    return list(found.values())


def background_problem(phrase: str, concept: str) -> str | None:
    """Why a phrase is no background of a concept; None when it is one."""
    if not _WORDS_ONLY.fullmatch(phrase) or _NUMBER.search(phrase):
        return "stray marks"
    if len(phrase) > MAX_CHARACTERS or len(phrase.split()) > MAX_WORDS:
        return "too long"
    if _SPILL.search(phrase):
        return "not a place"
    if _ONLY_PREPOSITION.fullmatch(phrase) and phrase.split()[0] in PREPOSITIONS:
        return "no place"
    if proper_problem(phrase) is not None:
        return "a proper name"
    return "the concept itself" if f" {place_key(phrase)}".endswith(f" {fold(concept)}") else None


def _parts(item: str) -> Iterator[str]:
    """The phrases of an item without bullets, numbers, remarks in brackets, quotes and dots."""
    for part in _BETWEEN.split(_REMARK.sub(" ", item)):
        text = " ".join(_BULLET.sub("", part).split()).strip(" .!?\"“”'‘’*`_:")
        text = re.sub(r"^(?:and|or) ", "", text)
        if text:
            yield text


if __name__ == "__main__":
    main(ProposeBackgrounds)
