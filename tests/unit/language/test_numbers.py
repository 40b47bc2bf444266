"""Numbers in captions: read, written in the same way, and told from what only looks like one."""

from __future__ import annotations

import pytest

from shardmill.language.numbers import has_number, number_word, numbers_in, value_of, written_like


def test_words_and_values_are_each_other_s_inverse() -> None:
    for value in range(100):
        assert value_of(number_word(value)) == value == value_of(str(value))
    assert number_word(100) == "100"
    assert value_of("Twenty one") == value_of("twenty-one") == 21
    assert value_of("dog") is None and value_of("²") is None


@pytest.mark.parametrize(
    ("value", "model", "expected"),
    [(3, "four", "three"), (3, "Four", "Three"), (3, "FOUR", "THREE"), (3, "12", "3"), (21, "Thirty", "Twenty-one")],
)
def test_a_number_is_written_as_another_is(value: int, model: str, expected: str) -> None:
    assert written_like(value, model) == expected


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Two dogs and 12 cats", [2, 12]),
        ("Twenty-one boats, twenty two sails", [21, 22]),
        ("one of eleven", [1, 11]),
        ("2.5 litres at 10:30 for $5 or 50%", []),
        ("a three-wheeled cart, a two-story house, a 7-Eleven", []),
        ("the 1990s and a B52", []),
        ("someone is alone on a phone; often, a stone", []),
    ],
)
def test_only_what_may_count_something_is_a_number(text: str, values: list[int]) -> None:
    found = numbers_in(text)
    assert [number.value for number in found] == values
    assert all(text[number.start : number.end] == number.text for number in found)


def test_any_digit_and_any_number_word_count_where_numbers_are_not_wanted() -> None:
    assert all(map(has_number, ["two dogs", "A B52", "dozens of birds", "hundreds", "at 10:30"]))
    assert not any(map(has_number, ["a dog", "someone alone", "a tent", "often"]))
