"""Weights in prompts: what is a weight, what is text, and that any string is a prompt."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardmill.models.generate.prompt_weights import LARGEST_PRODUCT, fragments, plain

WORDS = st.text(st.characters(exclude_characters="()\\:"), min_size=1).filter(str.strip)
WEIGHTS = st.integers(0, 300).map(lambda hundredths: hundredths / 100)


def test_words_in_brackets_with_a_number_are_weighted() -> None:
    assert fragments("a red (tram:1.3) passing") == [("a red ", 1.0), ("tram", 1.3), (" passing", 1.0)]
    assert fragments("(no dog:0.5)(or cat : 2)") == [("no dog", 0.5), ("or cat ", 2.0)]
    assert fragments("(at 12:30, the bell:.25)") == [("at 12:30, the bell", 0.25)]
    assert fragments("(gone:0)") == [("gone", 0.0)]


def test_weights_within_weights_multiply_up_to_a_limit() -> None:
    assert fragments("a (street (lamp:2.5) by night:0.5)") == [("a ", 1.0), ("street ", 0.5), ("lamp", 1.25), (" by night", 0.5)]
    assert fragments("(((x:3):3):3)") == [("x", LARGEST_PRODUCT)]


def test_neighbours_of_one_weight_are_one_fragment() -> None:
    assert fragments("a (b:1) (c:1.0) d") == [("a b c d", 1.0)]
    assert fragments("") == []


@pytest.mark.parametrize(
    "text",
    [
        "a (small) boat",
        "a boat (or two",
        "a boat) or two",
        "(at 10:30)",
        "(boat:nan)",
        "(boat:inf)",
        "(boat:-1)",
        "(boat:1e1)",
        "(boat:3.01)",
        "(boat:" + "9" * 500 + ")",
        "(boat:)",
        "(boat:.)",
        "(:1.3)",
        "(  :1.3)",
        "(boat:1.3",
        "(boat:1.3]",
        "(boat:1.3 m)",
        "(boat:١)",
        "c:\\boats\\",
        "\0\ud800",
    ],
)
def test_all_else_is_text(text: str) -> None:
    assert fragments(text) == [(text, 1.0)]


def test_brackets_that_are_text_do_not_hide_those_that_weigh() -> None:
    assert fragments("(a (boat:1.5) (at sea)") == [("(a ", 1.0), ("boat", 1.5), (" (at sea)", 1.0)]
    assert fragments("(a boat (white):1.5)") == [("a boat (white)", 1.5)]


def test_escaped_brackets_are_text_and_lose_their_backslash() -> None:
    assert fragments(r"a \(boat:1.5\)") == [("a (boat:1.5)", 1.0)]
    assert fragments(r"(a \(white\) boat:1.5)") == [("a (white) boat", 1.5)]
    assert fragments(r"(a boat:1.5\)") == [("(a boat:1.5)", 1.0)]


@given(st.lists(st.tuples(WORDS, WEIGHTS)))
def test_what_is_written_is_read_back(parts: list[tuple[str, float]]) -> None:
    read = fragments("".join(f"({text}:{weight})" for text, weight in parts))
    weight_of_each = [weight for text, weight in read for _ in text]
    assert weight_of_each == [weight for text, weight in parts for _ in text]
    assert "".join(text for text, _ in read) == "".join(text for text, _ in parts)


@given(st.one_of(st.text(), st.text("(): \\ab.0123456789")))
def test_any_string_is_a_prompt(prompt: str) -> None:
    read = fragments(prompt)
    assert all(text and math.isfinite(weight) and 0 <= weight <= LARGEST_PRODUCT for text, weight in read)
    assert all(before[1] != after[1] for before, after in pairwise(read))
    assert plain(prompt) == "".join(text for text, _ in read)
    left = iter(prompt)
    assert all(letter in left for letter in plain(prompt)), "nothing is added or moved"


@given(st.text())
def test_a_string_with_escaped_brackets_is_plain(text: str) -> None:
    assert plain(text.replace("\\", "").replace("(", r"\(").replace(")", r"\)")) == text.replace("\\", "")


@pytest.mark.parametrize("piece", ["(", ")", "(a:1.1)", "(a:2", ":1)", "\\(", "( ", " ", ":", "a"])
def test_a_megabyte_is_read_in_a_moment(piece: str) -> None:
    prompt = piece * (1_000_000 // len(piece))
    started = time.process_time()
    fragments(prompt)
    assert time.process_time() - started < 5


def test_a_megabyte_of_nested_weights_is_read_in_a_moment() -> None:
    started = time.process_time()
    assert fragments("(" * 200_000 + "a" + ":1)" * 200_000) == [("a", 1.0)]
    assert time.process_time() - started < 5
