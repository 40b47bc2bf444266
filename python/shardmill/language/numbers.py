"""Numbers as captions write them: words and digits, where they stand, and how to write another one in the same way."""

from __future__ import annotations

import re
from typing import NamedTuple

_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: value for value, word in enumerate(_ONES)}
_WORDS |= {word: 10 * tens_digit for tens_digit, word in enumerate(_TENS, 2)}
_WORDS |= {f"{tens}{join}{one}": 10 * tens_digit + value for tens_digit, tens in enumerate(_TENS, 2)
           for value, one in enumerate(_ONES[:10]) if value for join in "- "}  # fmt: skip
_LONGEST_FIRST = sorted(_WORDS, key=lambda word: (-len(word), word))
# Digits that belong to a decimal, a time, a model name or a range count nothing.
_NUMBER = re.compile(rf"(?<![\w.,:/#$€£%-])(?:(\d{{1,4}})|({'|'.join(_LONGEST_FIRST)}))(?![\w%]|[.,:/-]\d|-\w)", re.IGNORECASE)
_LARGE = re.compile(r"\b(?:dozens?|hundreds?|thousands?|millions?)\b", re.IGNORECASE)


class Number(NamedTuple):
    """A number in a text: where it stands, what it is worth, and how it is written."""

    start: int
    end: int
    value: int
    text: str


def value_of(text: str) -> int | None:
    """What a number word or digits are worth ("Twenty-one" -> 21), None for anything else."""
    text = " ".join(text.lower().split())
    return int(text) if text.isdecimal() and text.isascii() else _WORDS.get(text)


def number_word(value: int) -> str:
    """A whole number from 0 to 99 as a word, a larger one in digits."""
    if value < len(_ONES):
        return _ONES[value]
    tens, one = divmod(value, 10)
    if tens > 9:
        return str(value)
    return _TENS[tens - 2] + (f"-{_ONES[one]}" if one else "")


def written_like(value: int, model: str) -> str:
    """A number in digits, words, capitals or with a capital first letter, as `model` is written: (1, "Two") -> "One"."""
    if model[:1].isdigit():
        return str(value)
    word = number_word(value)
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[:1].isupper() else word


def numbers_in(text: str) -> list[Number]:
    """The numbers that may count something, in order; not those of decimals, times, prices, percentages and names."""
    return [
        Number(match.start(), match.end(), value, match.group())
        for match in _NUMBER.finditer(text)
        if (value := value_of(match.group())) is not None
    ]


def has_number(text: str) -> bool:
    """Whether a text has a digit or a number word anywhere, "dozens" and "hundreds" among them."""
    return any(character.isdigit() for character in text) or bool(_LARGE.search(text) or _NUMBER.search(text))
