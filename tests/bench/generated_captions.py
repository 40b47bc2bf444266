"""Made-up captions for benches: a table of any size, the same for the same seed, made by whole columns.

Names come from the lexicon. They have 5 to 55 words, 18 in the middle; some have quotes, commas, line breaks, letters of other
scripts or signs beyond the Basic Multilingual Plane, one in 200 is empty.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

CHUNK = 200_000
OPENERS = ("", "", "", "Photo of ", "A close view of ", "In the morning, ", "Here is ", "Looking down at ")
RELATIONS = (" next to ", " behind ", " and ", " in front of ", ", with ", " near ", " leaning against ", " on top of ")
COLORS = ("", "", "", "red ", "small ", "old ", "wooden ", "bright blue ", "striped ", "dusty ")
PLACES = (
    "", " in a park", " on a beach at dusk", " in the kitchen of a small flat", " under a bridge", " beside a country road",
    " in front of a white wall, seen from above", " at the market of a town by the sea where people buy fish early in the day",
)  # fmt: skip
TAILS = (
    "", "", "", "", "", ".", ".", " – café “La Mouette”, 2014", ', called "the old one" by all', " | stock photo 🌊",
    " (Łódź, 東京)", "\nPicture by a reader",
    ". The light is soft and the colours are those of an early autumn day, with long shadows on the ground",
)  # fmt: skip
EMPTY_SHARE = 0.005


def write_captions(path: Path, rows: int, seed: int = 0) -> None:
    """A CSV of `filepath,caption,source`."""
    from shardmill.language.lexicon import lexicon
    from shardmill.language.nouns import with_article

    names = [entry.name for entry in lexicon().entries.values() if entry.number == "count"]
    plain, indefinite = pl.Series(names), pl.Series([with_article(name) for name in names])
    rng = np.random.default_rng(seed)
    with open(path, "wb") as file:
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)

            def pick(choices: pl.Series, count: int = count) -> pl.Series:
                return choices.gather(rng.integers(0, len(choices), count))

            third = pl.Series([*[""] * len(names), *(" and " + pl.Series([with_article(name) for name in names]))])
            pieces = (
                pl.Series(OPENERS), indefinite, pl.Series(RELATIONS), pl.Series(["the "]), pl.Series(COLORS), plain,
                third, pl.Series(PLACES), pl.Series(TAILS),
            )  # fmt: skip
            table = pl.DataFrame({f"piece{index}": pick(piece) for index, piece in enumerate(pieces)})
            caption = pl.concat_str(table.columns)
            capital = caption.str.slice(0, 1).str.to_uppercase() + caption.str.slice(1)
            row = pl.int_range(start, start + count)
            table.select(
                filepath=pl.format("web/{}/{}.jpg", row // 10_000, row),
                caption=pl.when(pl.Series(rng.random(count) >= EMPTY_SHARE)).then(capital),
                source=pl.Series(["alt", "title", "long"]).gather(rng.integers(0, 3, count)),
            ).write_csv(file, include_header=start == 0)
