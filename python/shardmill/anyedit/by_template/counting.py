"""Edit type `counting`: fewer of the things that a caption counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from shardmill.anyedit.by_template.agreement import none_left, one_left
from shardmill.anyedit.by_template.words import made, words
from shardmill.language.nouns import fold, is_plural
from shardmill.language.numbers import Number, numbers_in, written_like
from shardmill.language.relations import mentions
from shardmill.language.word_classes import ADJECTIVE, GERUND, NOUN, NUMBER, PARTICIPLE
from shardmill.language.word_lists import word_lists
from shardmill.language.word_spans import WordSpan, word_spans

_LISTS = word_lists("shardmill.anyedit.by_template", "counting.yaml")

MOST = 99
MODIFIERS = 3
"""Most adjectives between a number and its noun."""
_NOT_A_COUNT = _LISTS.words("not_a_count")
"""Before a number, these say that it is a name, a guess, a range or a part of the things."""
_LOOSE = re.compile(r"\b(?:both|each|another|one|others?|pairs?|couple|twins?|trio|half|dozens?)\b", re.IGNORECASE)
"""Words by which a caption speaks of the counted things once more."""


def candidates_counting(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the caption counts: [{"object": "dog", "noun": "dogs", "number": "Two", "count": 2, "start", "noun_start", "end"}].

    `start`, `noun_start` and `end` are places in the caption: of the number, of the noun, and after it. Reads `input` and
    `input_objects`.
    """
    caption = row["input"]
    caption_words = word_spans(caption)
    if caption_words is None:
        return []
    found = []
    for number in numbers_in(caption):
        if 2 <= number.value <= MOST and _counts(caption_words, number):
            head = _head(caption, caption_words, number, row["input_objects"])
            if head is not None:
                name, start, end = head
                spoken_again = _LOOSE.search(caption[: number.start] + " ; " + caption[end:])
                if not spoken_again and _is_told_apart(caption, name, number.end, start):
                    found.append(
                        {
                            "object": name,
                            "noun": caption[start:end],
                            "number": number.text,
                            "count": number.value,
                            "start": number.start,
                            "noun_start": start,
                            "end": end,
                        }
                    )
    return [target for target in found if any(_output(caption, target, left) for left in range(target["count"] - 1, -1, -1))]


def counting(row: Mapping[str, Any], target: Mapping[str, Any], rng: Random) -> dict[str, Any] | str:
    """Take one to all of the things away; the caption keeps its grammar, or another number is tried, or it is refused."""
    count = target["count"]
    for removed in rng.sample(range(1, count + 1), count):
        output = _output(row["input"], target, count - removed)
        if output is not None and _adds_up(row["input"], output, target, count - removed):
            return _instruction(row["input"], output, target, removed, rng)
    return "no number of things left that the caption can say for sure"


def _counts(caption_words: tuple[WordSpan, ...], number: Number) -> bool:
    before = [word for word in caption_words if word.end <= number.start]
    if not before:
        return True
    if before[-1].text == "and":  # "two and three dogs"; "a cat and two dogs" counts
        return len(before) < 2 or before[-2].kind != NUMBER
    return before[-1].kind != NUMBER and before[-1].text not in _NOT_A_COUNT


def _head(caption: str, caption_words: tuple[WordSpan, ...], number: Number, objects: list[str]) -> tuple[str, int, int] | None:
    """The object that a number counts, with the place of its noun."""
    spans = [(start, end, name) for name in objects for start, end in mentions(caption, name) if start >= number.end]
    if not spans:
        return None
    start, end, name = min(spans, key=lambda span: (span[0], -span[1]))
    between = [word for word in caption_words if number.end <= word.start and word.end <= start]
    if len(between) > MODIFIERS or re.search(r"[^\w\s-]", caption[number.end : start]):
        return None
    if not all(_describes(word) for word in between):
        return None
    after = next((word for word in caption_words if word.start >= end), None)
    goes_on = after is not None and (after.text == "'s" or (after.kind == NOUN and caption[end : after.start] == " "))
    return None if goes_on or not is_plural(f"{number.text} {caption[start:end]}") else (name, start, end)


def _describes(word: WordSpan) -> bool:
    """Whether a word between a number and its noun is an adjective of it."""
    if word.text in ("more", "other"):
        return False
    return word.kind in (ADJECTIVE, PARTICIPLE, GERUND) or word.text in words()["colours"]["common"]


def _is_told_apart(caption: str, name: str, after_number: int, noun_start: int) -> bool:
    """Whether "the dogs" can only be these: the caption names no others, or these have adjectives."""
    return len(mentions(caption, name)) == 1 or bool(caption[after_number:noun_start].strip())


def _output(caption: str, target: Mapping[str, Any], left: int) -> str | None:
    start, noun_start, end, number = target["start"], target["noun_start"], target["end"], target["number"]
    if left == 0:
        return none_left(caption, start, end)
    if left == 1:
        return one_left(caption, start, noun_start, end, number)
    return caption[:start] + written_like(left, number) + caption[start + len(number) :]


def _adds_up(caption: str, output: str, target: Mapping[str, Any], left: int) -> bool:
    """Whether the output says what is left, and all other numbers are as they were."""
    if output == caption:
        return False
    expected = sorted(number.value for number in numbers_in(caption))
    expected.remove(target["count"])
    if left > 1 or (left == 1 and target["number"].isdecimal() and "1 " in output):
        expected = sorted([*expected, left])
    before, after = len(mentions(caption, target["object"])), len(mentions(output, target["object"]))
    return sorted(number.value for number in numbers_in(output)) == expected and after == (before if left else before - 1)


def _instruction(caption: str, output: str, target: Mapping[str, Any], removed: int, rng: Random) -> dict[str, Any]:
    count, nouns = target["count"], target["noun"].lower()
    model = target["number"].lower()
    if len(mentions(caption, target["object"])) > 1:
        nouns = caption[target["start"] + len(target["number"]) : target["end"]].strip().lower()
    left = count - removed
    pattern = rng.choice(words()["counting"][rng.choice(("remove", "change", "both")) if left else "all"])
    edit = pattern.format(
        r=written_like(removed, model),
        k=written_like(count, model),
        left=written_like(left, model),
        nouns=nouns,
        image=rng.choice(words()["images"]),
        stay="stays" if left == 1 else "stay",
    )
    details = {"object": fold(target["object"]), "number_before": count, "number_after": left, "remove_number": removed}
    return made(edit, edited_object=target["noun"].lower(), output=output, details=details)
