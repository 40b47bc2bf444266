"""Texts and bytes that break programs: strategies that the targets share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

FORMULAS = ['=HYPERLINK("http://x.example","y")', "=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "|x", "%0A"]
TEMPLATES = ["{{ 7 * 7 }}", "{% for x in [1] %}", "{%", "{{", "}}", "{#", "{{ caption }}", "{0}", "{caption}", "%s", "%(x)s"]
TEMPLATES += ["${x}"]
CODE = ["__import__('os').system('touch pwned')", "$(touch pwned)", "`touch pwned`", "; touch pwned", "<script>alert(1)</script>"]
PATHS = ["../../pwned", "/pwned", "..\\pwned", "~/pwned", "a.tar::b.jpg", "C:\\x", "a/./../b", "//x", "file:///etc/passwd"]
PATHS += ["a\0b"]
MARKS = ["\u202e", "\u2066", "\u200b", "\ufeff", "\u2028", "\x85", "\x1b[31m", "\x07", "\0", "\x7f", "e\u0301"]
MARKS += ["\U0001f415\u200d", "\ufffd"]
SYNTAX = ['"', '""', "'", "\\", "\n", "\r\n", "\r", "\t", ",", ";", "|", ":", "[", "]", "{", "}", "(", ")", "#", "&a", "*a"]
SYNTAX += ["!!", "- ", "---\n"]
WORDS = ["a dog", "dogs", "no cat", "None", "null", "NaN", "nan", "true", "1e999", "-0", "caption", "image", "row_id", " "]
WORDS += ["", "ß", "İ", "犬"]
ANSWERS = ["```json\n", "```", "<think>", "</think>", "<|im_end|>", "1. ", "- ", "Sorry", '{"objects": [', "['a', \"b\"]"]
ANSWERS += ["\\ud83d", "\\u0000"]
LONG = ["9" * 5_000, "[" * 3_000, "{" * 400, "(" * 3_000, "-" * 5_000, "a" * 9_000, "a " * 3_000, '"' * 999, "(a:" * 500]
LONG += ["\\" * 999, "a,\n" * 999]
FRAGMENTS = [*FORMULAS, *TEMPLATES, *CODE, *PATHS, *MARKS, *SYNTAX, *WORDS, *ANSWERS]
Part = TypeVar("Part")
WHOLE = st.characters(exclude_categories=("Cs",))


def pick(parts: Sequence[Part]) -> SearchStrategy[Part]:
    """One of the parts. Unlike `sampled_from` it never shows all of them, which may be long."""
    return st.integers(0, len(parts) - 1).map(lambda place: parts[place])


def texts(most: int = 10, long: bool = True, halves: bool = False) -> SearchStrategy[str]:
    """Texts of fragments; with `halves` of surrogate pairs too, which JSON can hold and UTF-8 cannot."""
    parts: list[SearchStrategy[str]] = [pick(FRAGMENTS), pick(FRAGMENTS), st.text(WHOLE, max_size=6)]
    if long:
        parts.append(pick(LONG))
    if halves:
        parts.append(st.sampled_from(["\ud800", "\udfff", "a\udc80"]))
    return st.lists(st.one_of(parts), max_size=most).map("".join)


LITTLE = texts(4, long=False)


def mostly(usual: SearchStrategy[Part], other: SearchStrategy[Part], share: int = 2) -> SearchStrategy[Part]:
    """About one case in `share` is of the other strategy. (`one_of` counts a strategy once, however often it is named.)"""
    return st.sampled_from([True] * (share - 1) + [False]).flatmap(lambda chosen: usual if chosen else other)


def million(usual: SearchStrategy[str]) -> SearchStrategy[str]:
    """Now and then a text of a million characters, one fragment over and over, instead of the usual ones."""
    large = pick([each for each in FRAGMENTS if each]).map(lambda each: each * (1_000_000 // len(each)))
    return mostly(usual, large, 16)


def some_bytes(fragments: Sequence[bytes], most: int = 24) -> SearchStrategy[bytes]:
    """Bytes of a format's own fragments and of others."""
    parts = st.one_of(pick(fragments), pick(fragments), st.binary(max_size=4), LITTLE.map(str.encode))
    return st.lists(parts, max_size=most).map(b"".join)


def damaged(whole: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Files with bytes changed, cut out, put in or doubled, or with their end gone."""
    edit = st.tuples(st.sampled_from(["set", "cut", "put", "double", "end"]), st.floats(0, 1), st.binary(min_size=1, max_size=8))
    return st.builds(_damage, whole, st.lists(edit, max_size=5))


def _damage(data: bytes, edits: Sequence[tuple[str, float, bytes]]) -> bytes:
    for kind, share, other in edits:
        at = int(share * len(data))
        size = len(other)
        if kind == "set":
            data = data[:at] + other + data[at + size :]
        elif kind == "cut":
            data = data[:at] + data[at + 4 * size :]
        elif kind == "put":
            data = data[:at] + other + data[at:]
        elif kind == "double":
            data = data[:at] + data[max(0, at - 16 * size) :]
        else:
            data = data[:at]
    return data


def values(halves: bool = False) -> SearchStrategy[Any]:
    """JSON values of hostile texts, keys and numbers."""
    text = texts(4, halves=halves)
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12
    )
