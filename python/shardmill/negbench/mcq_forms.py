"""The sentences of multiple-choice options, as Polars expressions over columns of object phrases."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

CELLS = ("both", "first_only", "second_only", "neither")
"""The four cells of the truth table over two objects (X, Y); exactly one is true of any picture."""

TRUTHS = {"both": (True, True), "first_only": (True, False), "second_only": (False, True), "neither": (False, False)}

FAMILIES: tuple[Mapping[str, str], ...] = (
    {
        "both": "This {medium} features {x} and {y}.",
        "one": "This {medium} features {yes}, but not {no}.",
        "neither": "This {medium} features neither {x} nor {y}.",
    },
    {
        "both": "The {medium} shows {x} together with {y}.",
        "one": "The {medium} shows {yes}, not {no}.",
        "neither": "The {medium} shows neither {x} nor {y}.",
    },
    {
        "both": "Visible in this {medium}: both {x} and {y}.",
        "one": "Visible in this {medium}: {yes}, but not {no}.",
        "neither": "Visible in this {medium}: neither {x} nor {y}.",
    },
    {
        "both": "One can see {x} as well as {y} in this {medium}.",
        "one": "One can see {yes} but not {no} in this {medium}.",
        "neither": "One can see neither {x} nor {y} in this {medium}.",
    },
)
"""Equivalent wordings. The four options of a question are of one family, so that wording and length tell nothing."""

ORIGINAL = {
    "positive": "This {medium} features {a} and {b}.",
    "negative": "This {medium} does not feature {n}.",
    "hybrid": "This {medium} features {a}, but not {n}.",
    "modified_positive": "This {medium} features {a}.",
    "false_hybrid": "This {medium} features {n}, but not {a}.",
    "false_positive": "This {medium} features {n}.",
    "false_negative": "This {medium} does not feature {a}.",
}
"""The published NegBench format: one of the first four is true, the last three are always the false options."""


def fill(pattern: str, medium: str, **columns: str) -> pl.Expr:
    """The pattern with the values of columns in its places, its first letter in upper case."""
    pieces: list[pl.Expr] = []
    rest = pattern.replace("{medium}", medium)
    while "{" in rest:
        before, _, after = rest.partition("{")
        name, _, rest = after.partition("}")
        if before:
            pieces.append(pl.lit(before))
        pieces.append(pl.col(columns[name]))
    pieces.append(pl.lit(rest))
    text = pl.concat_str(pieces)
    return text.str.slice(0, 1).str.to_uppercase() + text.str.slice(1)


def cell_text(cell: str, medium: str, family: pl.Expr, x: str, y: str) -> pl.Expr:
    """The sentence that claims a cell, in the wording of each row's family."""
    texts = []
    for wording in FAMILIES:
        if cell in ("both", "neither"):
            texts.append(fill(wording[cell], medium, x=x, y=y))
        else:
            yes, no = (x, y) if cell == "first_only" else (y, x)
            texts.append(fill(wording["one"], medium, yes=yes, no=no))
    return pl.coalesce([pl.when(family == index).then(text) for index, text in enumerate(texts)])


def plain(text: str) -> str:
    """The text's letters and digits alone, case folded: two options, or two names, that agree in them look the same."""
    return "".join(character for character in text.casefold() if character.isalnum())
