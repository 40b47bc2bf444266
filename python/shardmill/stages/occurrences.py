"""Which objects the captions of a block name, how often they do so together, and what could be beside what: as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shardmill.language.canonical_names import canonical_names
from shardmill.language.implied import implied_pairs
from shardmill.language.relations import mentions, related_pairs
from shardmill.store.frames import LIST

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MIN_ROWS_OF_NAME = 2
SMALL_BLOCK = 500
"""In a block of fewer rows a name that occurs once is used too, or there would be no questions."""
MIN_IMAGES = 4
"""Of an object in fewer images nobody can say what goes with it."""
MIN_LIFT = 1.0
"""An object is plausible beside another if they occur together at least as often as two random ones."""
MIN_FIT = -0.5
"""And the row's objects together must not speak against it: the sum of the logarithms of their lifts, each moved towards 1 by a
count.
"""
IMPLIED_SHARE, IMPLIED_ROWS, IMPLIED_LIFT = 0.3, 3, 4.0
"""An object comes with another if so many of its captions name both, and many more than by chance: it may be there without being
named.
"""


@dataclass(frozen=True)
class Occurrences:
    """The rows of a block and the objects in them, as numbers.

    Attributes:
        names: The canonical names, by number.
        rows: How many rows the block has.
        row: For each occurrence the position of its row in the block, ascending.
        name: For each occurrence the number of its name; no name twice in a row.
        image: For each row the number of its image: what one caption of an image leaves unsaid, another may say.
        related: Pairs of numbers, as `first * len(names) + second`, of which one is a kind or part of the other or comes
            with it, sorted.
    """

    names: Sequence[str]
    rows: int
    row: Ints
    name: Ints
    image: Ints
    related: Ints

    @cached_property
    def count(self) -> Ints:
        """In how many rows each name occurs."""
        return np.bincount(self.name, minlength=len(self.names))

    @cached_property
    def _by_name(self) -> tuple[Ints, Ints]:
        """Where the rows of each name begin in the list of rows ordered by name, and that list."""
        order = np.argsort(self.name, kind="stable")
        return np.concatenate([[0], np.cumsum(self.count)]), self.row[order]

    @cached_property
    def _by_row(self) -> Ints:
        """Where the names of each row begin in `name`."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.row, minlength=self.rows))])

    @cached_property
    def _keys(self) -> Ints:
        """Each occurrence as one number, sorted."""
        return np.sort(self.row * len(self.names) + self.name)

    @cached_property
    def _image_keys(self) -> Ints:
        """The names of each image, as one number each, sorted."""
        return np.unique(self.image[self.row] * len(self.names) + self.name)

    @cached_property
    def images(self) -> Ints:
        """In how many images each name occurs."""
        return np.bincount(self._image_keys % max(len(self.names), 1), minlength=len(self.names))

    @cached_property
    def telling(self) -> Ints:
        """Of the objects of each row that are in a few images, the rarest, which says most of where it is; -1 for none."""
        found = np.full(self.rows, -1)
        known = np.flatnonzero(self.images[self.name] >= (MIN_IMAGES if self.rows >= SMALL_BLOCK else 1))
        order = known[np.lexsort((-self.name[known], -self.count[self.name[known]]))]
        found[self.row[order]] = self.name[order]
        return found

    def row_of(self, name: Ints, draw: Floats) -> Ints:
        """A row of each name, by uniform draws."""
        starts, rows = self._by_name
        return rows[starts[name] + (draw * self.count[name]).astype(np.int64)]

    def object_of(self, row: Ints, draw: Floats) -> Ints:
        """An object of each row, by uniform draws; the row must have one."""
        starts = self._by_row
        return self.name[starts[row] + (draw * (starts[row + 1] - starts[row])).astype(np.int64)]

    def occurs(self, row: Ints, name: Ints) -> Flags:
        """Whether each name occurs in the row beside it."""
        return in_sorted(self._keys, row * len(self.names) + name)

    def occurs_in_image(self, row: Ints, name: Ints) -> Flags:
        """Whether any caption of the row's image has each name."""
        return in_sorted(self._image_keys, self.image[row] * len(self.names) + name)

    def objects_of(self, row: Ints) -> tuple[Ints, Ints]:
        """All names of the rows, and for each of them which of `row` it belongs to."""
        starts = self._by_row
        sizes = starts[row + 1] - starts[row]
        owner = np.repeat(np.arange(len(row)), sizes)
        offsets = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.name[np.repeat(starts[row], sizes) + offsets], owner


@dataclass(frozen=True)
class Pairs:
    """The pairs of names that occur together in a block: `first` is the more frequent one.

    Attributes:
        count: In how many rows they do.
        row: These rows, pair after pair.
    """

    first: Ints
    second: Ints
    count: Ints
    row: Ints

    @cached_property
    def start(self) -> Ints:
        """Where the rows of each pair begin in `row`."""
        return np.cumsum(self.count) - self.count

    @classmethod
    def of(cls, seen: Occurrences) -> Pairs:
        """All pairs, related ones left out."""
        table = pl.DataFrame({"row": seen.row, "name": seen.name})
        both = table.join(table, on="row", suffix="_other").filter(pl.col("name") < pl.col("name_other"))
        both = both.filter(~in_sorted(seen.related, (both["name"] * len(seen.names) + both["name_other"]).to_numpy()))
        both = both.sort("name", "name_other", "row")
        found = both.group_by("name", "name_other", maintain_order=True).len()
        one, other, count = (found[name].to_numpy().astype(np.int64) for name in ("name", "name_other", "len"))
        swap = seen.count[other] > seen.count[one]
        return cls(np.where(swap, other, one), np.where(swap, one, other), count, both["row"].to_numpy())


def in_sorted(values: Ints, wanted: Ints) -> Flags:
    """Which of the wanted numbers are among sorted values."""
    if not len(values):
        return np.zeros(len(wanted), bool)
    return values[np.minimum(np.searchsorted(values, wanted), len(values) - 1)] == wanted


def image_numbers(table: pl.DataFrame) -> pl.Series:
    """For each row the number of its image; a row that names none has one of its own."""
    if "image" not in table.columns:
        return pl.Series("image", range(table.height), dtype=pl.Int64)
    own = pl.int_range(pl.len()).cast(pl.String)
    key = pl.when(pl.col("image").fill_null("") == "").then(own).otherwise(pl.concat_str(pl.lit("/"), "image"))
    return table.select(image=key.rank("dense").cast(pl.Int64) - 1)["image"]


def captions_of_images(table: pl.DataFrame) -> list[str]:
    """For each row all captions of its image, a line each."""
    texts = table.select(image=image_numbers(table), caption=pl.col("caption").fill_null(""))
    return texts.select(pl.col("caption").str.join("\n").over("image"))["caption"].to_list()


def occurrences(table: pl.DataFrame, objects: str = "objects") -> Occurrences:
    """Where the canonical names of a block's objects occur, given a column with a list for each row as JSON text.

    Names that occur once are left out of a large block. Rows are of one image if the column `image` says so, if there is any.
    """
    lists = table.select(name=pl.col(objects).str.json_decode(LIST)).with_row_index("row")
    found = lists.explode("name").drop_nulls()
    counts = dict(found["name"].value_counts().iter_rows())
    canonical = pl.DataFrame(
        list(canonical_names(counts).items()), schema={"name": pl.String, "canonical": pl.String}, orient="row"
    )
    found = found.join(canonical, on="name").select("row", name="canonical").unique()
    least = MIN_ROWS_OF_NAME if table.height >= SMALL_BLOCK else 1
    names = sorted(found["name"].value_counts().filter(pl.col("count") >= least)["name"].to_list())
    numbers = pl.DataFrame({"name": names, "number": range(len(names))}, schema={"name": pl.String, "number": pl.Int64})
    found = found.join(numbers, on="name").select(pl.col("row").cast(pl.Int64), "number").sort("row", "number")
    number_of = dict(zip(names, range(len(names)), strict=True))
    related = {number_of[one] * len(names) + number_of[other] for one, other in (*related_pairs(names), *implied_pairs(names))}
    return Occurrences(
        names=names,
        rows=table.height,
        row=found["row"].to_numpy(),
        name=found["number"].to_numpy(),
        image=image_numbers(table).to_numpy(),
        related=np.array(sorted(related), np.int64),
    )


class CoOccurrence:
    """How objects go together in a block, and which of them could be in a row that does not name them.

    Args:
        seen: The objects of its rows.
        captions: For each row all captions of its image.
    """

    def __init__(self, seen: Occurrences, captions: Sequence[str]):
        self.seen, self.captions = seen, captions
        self.pairs = Pairs.of(seen)
        self._together = self._both_ways(self.pairs)

    def _both_ways(self, pairs: Pairs) -> tuple[Ints, Ints]:
        """The pairs in both orders as sorted numbers, and their counts."""
        size = len(self.seen.names)
        keys = np.concatenate([pairs.first * size + pairs.second, pairs.second * size + pairs.first])
        order = np.argsort(keys)
        return keys[order], np.concatenate([pairs.count, pairs.count])[order]

    def together(self, one: Ints, other: Ints) -> Ints:
        """In how many rows the objects of each pair occur together; 0 for related ones."""
        keys, counts = self._together
        if not len(keys):
            return np.zeros(len(one), np.int64)
        wanted = one * len(self.seen.names) + other
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, counts[place], 0)

    def companion(self, name: Ints, draw: Floats) -> tuple[Ints, Flags]:
        """For each name one that it occurs with, each as likely as any other, by uniform draws; and whether there is one."""
        keys, _ = self._together
        size = len(self.seen.names)
        start, end = np.searchsorted(keys, name * size), np.searchsorted(keys, (name + 1) * size)
        place = start + (draw * (end - start)).astype(np.int64)
        return keys[np.minimum(place, len(keys) - 1)] % size, end > start

    def plausible(self, row: Ints, name: Ints) -> Flags:
        """Whether each name could be in its row and is not: it goes with an object of it, and none names, is or implies it."""
        size, rows = len(self.seen.names), self.seen.rows
        objects, owner = self.seen.objects_of(row)
        wanted = objects * size + name[owner]
        together = self.together(objects, name[owner])
        by_chance = self.seen.count[objects] * self.seen.count[name[owner]] / rows
        lift = together / by_chance
        implied = (together >= IMPLIED_ROWS) & (together >= IMPLIED_SHARE * self.seen.count[objects]) & (lift >= IMPLIED_LIFT)
        spoiled = implied | in_sorted(self.seen.related, wanted)
        fits = np.bincount(owner, lift >= MIN_LIFT, minlength=len(row)) > 0
        fits &= np.bincount(owner, np.log((together + 1) / (by_chance + 1)), minlength=len(row)) >= MIN_FIT
        good = fits & (np.bincount(owner, spoiled, minlength=len(row)) == 0)
        good[good] = [not self.is_mentioned(int(at), int(each)) for at, each in zip(row[good], name[good], strict=True)]
        return good

    def is_mentioned(self, row: int, name: int) -> bool:
        """Whether a caption of the row's image names an object that was not extracted from it."""
        return bool(mentions(self.captions[row], self.seen.names[name]))
