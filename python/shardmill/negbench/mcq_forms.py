"""The sentences of multiple-choice options and what they claim, as Polars expressions over columns of objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

import polars as pl

from shardmill.language.nouns import with_article
from shardmill.language.proper_names import capitalized

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
    """The pattern with the values of columns in its places."""
    pieces: list[pl.Expr] = []
    rest = pattern.replace("{medium}", medium)
    while "{" in rest:
        before, _, after = rest.partition("{")
        name, _, rest = after.partition("}")
        pieces += [pl.lit(before), pl.col(columns[name])]
    return pl.concat_str(*pieces, pl.lit(rest))


def cell_text(cell: str, medium: str, wording: Mapping[str, str], x: str, y: str) -> pl.Expr:
    """The sentence that claims a cell, in the wording of a family."""
    if cell in ("both", "neither"):
        return fill(wording[cell], medium, x=x, y=y)
    yes, no = (x, y) if cell == "first_only" else (y, x)
    return fill(wording["one"], medium, yes=yes, no=no)


def phrases(names: pl.Series) -> pl.DataFrame:
    """For each name its phrase with an article, and itself as a JSON string."""
    values = names.to_list()
    return pl.DataFrame(
        {
            "name": values,
            "phrase": [with_article(capitalized(name)) for name in values],
            "quoted": [json.dumps(name, ensure_ascii=False) for name in values],
        },
        schema={"name": pl.String, "phrase": pl.String, "quoted": pl.String},
    )


def at_position(prefix: str, position: int) -> pl.Expr:
    """Of four columns `prefix0` .. `prefix3` the one whose rank is `place`."""
    return pl.coalesce([pl.when(pl.col(f"rank{index}") == position).then(f"{prefix}{index}") for index in range(4)])


def claims(x: bool, y: bool) -> pl.Expr:
    """JSON of what an option claims of X and Y."""
    return claim([("x_quoted", x), ("y_quoted", y)])


def claim(objects: list[tuple[str, bool]]) -> pl.Expr:
    """A JSON object {name: present} from columns of quoted names."""
    pieces = [pl.concat_str(pl.col(column), pl.lit(":true" if present else ":false")) for column, present in objects]
    return pl.concat_str(pl.lit("{"), pl.concat_str(pieces, separator=","), pl.lit("}"))


def listed(objects: list[tuple[str, pl.Expr]]) -> pl.Expr:
    """A JSON list [{"name": .., "present": ..}] from columns of quoted names."""
    pieces = [
        pl.concat_str(
            pl.lit('{"name":'),
            pl.col(column),
            pl.when(present).then(pl.lit(',"present":true}')).otherwise(pl.lit(',"present":false}')),
        )
        for column, present in objects
    ]
    return pl.concat_str(pl.lit("["), pl.concat_str(pieces, separator=","), pl.lit("]"))


@lru_cache(maxsize=1 << 16)
def plain(text: str) -> str:
    """The text's letters and digits alone, case folded: two options, or two names, that agree in them look the same."""
    return "".join(character for character in text.casefold() if character.isalnum())
