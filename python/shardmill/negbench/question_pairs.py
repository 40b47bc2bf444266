"""Which two objects a question is about, which cell is true, and of which row: drawn so that the texts give nothing away.

A question's objects are two that occur together somewhere in the block. The pair is drawn first, by the square root of how often
it occurs, then the cell of its truth table, uniformly, then a row in which that cell holds and the pair is plausible. So what a
reader may know of the pair (how common its objects are, how often they go together, what they are called) says nothing about the
cell. A pair is used only if rows can be found for all four cells, or those that can be found would be more frequent. Cells are
drawn independently, not dealt out in fours: who had seen three cells of a pair would know the fourth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shardmill.language.relations import mentions

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

BOTH, FIRST, SECOND, NEITHER = range(4)
MIN_ROWS_OF_NAME = 2
SMALL_BLOCK = 500
"""In a block of fewer rows a name that occurs once is used too, or there would be no questions."""
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
WEIGHT = 0.5
"""Pairs are drawn by this power of their count: 0 would ask about all alike, 1 mostly about the commonest."""
MIN_IMAGES_OF_NAME = 2
"""Who has seen all questions but those of one image would know that a name which occurs there alone is absent elsewhere."""
TRIES = 40
PASSES, BATCHES = 3, 20
"""A question that finds its row taken by another looks again."""


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

    def row_of(self, name: Ints, draw: NDArray[np.float64]) -> Ints:
        """A row of each name, by uniform draws."""
        starts, rows = self._by_name
        return rows[starts[name] + (draw * self.count[name]).astype(np.int64)]

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


class PairDrawing:
    """Draws questions about a block.

    Args:
        seen: The objects of its rows.
        captions: For each row all captions of its image.
        seed: Of all draws.
    """

    def __init__(self, seen: Occurrences, captions: Sequence[str], seed: int):
        self.seen, self.captions = seen, captions
        self.random = np.random.Generator(np.random.PCG64(seed))
        self.pairs = Pairs.of(seen)
        self._together = self._both_ways(self.pairs)
        self._mentions: dict[tuple[int, int], bool] = {}

    def _both_ways(self, pairs: Pairs) -> tuple[Ints, Ints]:
        """The pairs in both orders as sorted numbers, and their counts."""
        size = len(self.seen.names)
        keys = np.concatenate([pairs.first * size + pairs.second, pairs.second * size + pairs.first])
        order = np.argsort(keys)
        return keys[order], np.concatenate([pairs.count, pairs.count])[order]

    def draw(self, per_row: int) -> pl.DataFrame:
        """The questions: row (its position), number (in its row), x and y (names), cell, counts of both and of the pair.

        `x` is the more frequent name. A row gets at most `per_row` questions, about different objects.
        """
        room = Room(per_row, len(self.seen.names), self.seen.rows)
        pairs = self._order()
        x, y = self.pairs.first[pairs], self.pairs.second[pairs]
        cells = (self.random.random(len(pairs)) * 4).astype(np.int64)
        rows = np.full(len(pairs), -1)
        for some in np.array_split(np.arange(len(pairs)), BATCHES):
            # A pair whose rows are all taken is not asked about, in whichever cell: else both would be there less often
            found = self._find_rows(pairs[some], BOTH, room)
            rows[some] = room.take(found, x[some], y[some], only=cells[some] == BOTH)
        able = rows >= 0
        rows[cells != BOTH] = -1
        for _ in range(PASSES):
            for cell in (FIRST, SECOND, NEITHER):
                left = np.flatnonzero((rows < 0) & able & (cells == cell))
                for some in np.array_split(left, BATCHES):
                    rows[some] = room.take(self._find_rows(pairs[some], cell, room), x[some], y[some])
        kept = np.flatnonzero(rows >= 0)
        numbers = _numbered(rows[kept], self.random)
        counts = self.seen.count[x], self.seen.count[y], self.pairs.count[pairs]
        return _frame(rows[kept], numbers, *(values[kept] for values in (x, y, cells, *counts)))

    def draw_by_row(self, per_row: int) -> pl.DataFrame:
        """The same for each row by itself: its own objects, and absent ones that are drawn by how often other rows have them.

        Nearly every row gets its questions, but what goes together then tells which objects are there.
        """
        made: list[tuple[int, ...]] = []
        pool = self.seen.name
        count = {(low, high): number for low, high, number in self._counted()}
        for row in range(self.seen.rows):
            own, _ = self.seen.objects_of(np.array([row]))
            free, taken = self.random.permutation(own).tolist(), own.tolist()
            absent = self._absent(row, taken)
            for number in range(per_row if len(pool) else 0):
                cell = int(self.random.random() * 4)
                names = [free.pop() if present and free else next(absent, -1) for present in (cell in (0, 1), cell in (0, 2))]
                if min(names) < 0 or [name in own for name in names] != [cell in (0, 1), cell in (0, 2)]:
                    continue
                x, y = names
                frequencies = int(self.seen.count[x]), int(self.seen.count[y]), count.get((min(x, y), max(x, y)), 0)
                made.append((row, number, x, y, cell, *frequencies))
        columns = np.array(made, np.int64).reshape(-1, 8).T
        return _frame(*columns)

    def _counted(self) -> Iterator[tuple[int, int, int]]:
        """The pairs that occur together, the smaller number first, and how often."""
        low, high = np.minimum(self.pairs.first, self.pairs.second), np.maximum(self.pairs.first, self.pairs.second)
        yield from zip(low.tolist(), high.tolist(), self.pairs.count.tolist(), strict=True)

    def _absent(self, row: int, taken: list[int]) -> Iterator[int]:
        """Names that are not in a row, each drawn by how many rows have it and given once; none of those in `taken`."""
        size, occurrences = len(self.seen.names), self.seen.name
        for name in occurrences[(self.random.random(TRIES) * len(occurrences)).astype(np.int64)].tolist():
            related = in_sorted(self.seen.related, np.array(taken, np.int64) * size + name).any()
            said = self.seen.occurs_in_image(np.array([row]), np.array([name])).any()
            if name not in taken and not related and not said and not self._mentioned(row, name):
                taken.append(name)
                yield name

    def _order(self) -> Ints:
        """The pairs to ask about, in the order in which they are drawn.

        Each comes back at most as often as it occurs, and each name too. Without such quotas a name would come back until all
        rows that have it are used, and who had seen it in use knew that it is absent from now on.
        """
        first, second, count = self.pairs.first, self.pairs.second, self.pairs.count
        every = np.arange(len(count))
        spread = self.seen.images >= (MIN_IMAGES_OF_NAME if self.seen.rows >= SMALL_BLOCK else 1)
        found = (np.stack([self._find_rows(every, cell) for cell in range(4)]) >= 0).all(axis=0)
        usable = np.flatnonzero(found & spread[first] & spread[second])
        drawn = np.repeat(usable, count[usable])
        # Efraimidis & Spirakis 2006: the largest u^(1/w) come first in a draw by weight without replacement
        keys = np.log(self.random.random(len(drawn))) * count[drawn] ** (1 - WEIGHT)
        drawn = drawn[np.argsort(-keys, kind="stable")]
        left = self.seen.count.copy()
        kept = []
        for pair, x, y in zip(drawn.tolist(), first[drawn].tolist(), second[drawn].tolist(), strict=True):
            if left[x] and left[y]:
                left[x] -= 1
                left[y] -= 1
                kept.append(pair)
        return np.array(kept, np.int64)

    def _find_rows(self, pairs: Ints, cell: int, room: Room | None = None) -> Ints:
        """A row for each pair in which the cell holds, with room for it; -1 where none is found in a few tries."""
        found = np.full(len(pairs), -1)
        for _ in range(TRIES):
            open_ = np.flatnonzero(found < 0)
            pair = pairs[open_]
            x, y = self.pairs.first[pair], self.pairs.second[pair]
            row = self._propose(pair, cell)
            good = row >= 0
            if room is not None:
                good[good] = room.has(row[good], x[good], y[good])
            good[good] = self._holds(row[good], x[good], y[good], cell)
            found[open_[good]] = row[good]
        return found

    def _propose(self, pair: Ints, cell: int) -> Ints:
        """A row for each pair that may be right: one of what is to be there, or of an object that goes with what is not."""
        draw = self.random.random(len(pair))
        if cell == BOTH:
            return self.pairs.row[self.pairs.start[pair] + (draw * self.pairs.count[pair]).astype(np.int64)]
        x, y = self.pairs.first[pair], self.pairs.second[pair]
        if cell == NEITHER:
            beside, found = self._companion(np.where(self.random.random(len(x)) < 0.5, x, y))
            return np.where(found, self.seen.row_of(beside, draw), -1)
        return self.seen.row_of(x if cell == FIRST else y, draw)

    def _companion(self, name: Ints) -> tuple[Ints, Flags]:
        """For each name one that it occurs with, each as likely as any other; and whether there is one."""
        keys, _ = self._together
        size = len(self.seen.names)
        start, end = np.searchsorted(keys, name * size), np.searchsorted(keys, (name + 1) * size)
        place = start + (self.random.random(len(name)) * (end - start)).astype(np.int64)
        return keys[np.minimum(place, len(keys) - 1)] % size, end > start

    def _holds(self, row: Ints, x: Ints, y: Ints, cell: int) -> Flags:
        """Whether a cell holds in each row, and what is absent there might be present."""
        good = np.ones(len(row), bool)
        for name, present in ((x, cell in (BOTH, FIRST)), (y, cell in (BOTH, SECOND))):
            if present:
                good &= self.seen.occurs(row, name)
            else:
                good &= ~self.seen.occurs_in_image(row, name)
                good[good] = self._plausible(row[good], name[good])
        return good

    def _plausible(self, row: Ints, name: Ints) -> Flags:
        """Whether each name could be in its row and is not: it goes with an object of it, and none names, is or implies it."""
        size, rows = len(self.seen.names), self.seen.rows
        objects, owner = self.seen.objects_of(row)
        keys, counts = self._together
        wanted = objects * size + name[owner]
        place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        together = np.where(keys[place] == wanted, counts[place], 0)
        by_chance = self.seen.count[objects] * self.seen.count[name[owner]] / rows
        lift = together / by_chance
        implied = (together >= IMPLIED_ROWS) & (together >= IMPLIED_SHARE * self.seen.count[objects]) & (lift >= IMPLIED_LIFT)
        spoiled = implied | in_sorted(self.seen.related, wanted)
        fits = np.bincount(owner, lift >= MIN_LIFT, minlength=len(row)) > 0
        fits &= np.bincount(owner, np.log((together + 1) / (by_chance + 1)), minlength=len(row)) >= MIN_FIT
        good = fits & (np.bincount(owner, spoiled, minlength=len(row)) == 0)
        good[good] = [not self._mentioned(int(at), int(each)) for at, each in zip(row[good], name[good], strict=True)]
        return good

    def _mentioned(self, row: int, name: int) -> bool:
        """Whether a caption of the row's image names an object that was not extracted from it."""
        return bool(mentions(self.captions[row], self.seen.names[name]))


class Room:
    """How many questions each row still has room for, and which objects it has been asked about."""

    def __init__(self, per_row: int, names: int, rows: int):
        self._per_row, self._names = per_row, names
        self._used = np.zeros(rows, np.int64)
        self._asked: set[int] = set()

    def has(self, row: Ints, x: Ints, y: Ints) -> Flags:
        """Whether each row has room for a question about x and y."""
        free = self._used[row] < self._per_row
        asked = self._asked
        keys = zip((row * self._names + x).tolist(), (row * self._names + y).tolist(), strict=True)
        return free & np.fromiter((one not in asked and other not in asked for one, other in keys), bool, len(row))

    def take(self, rows: Ints, x: Ints, y: Ints, only: Flags | None = None) -> Ints:
        """The row of each question about x and y; -1 where none was found, or it is full by now. `only` these are taken."""
        taken = np.full(len(rows), -1)
        for index in np.flatnonzero(rows >= 0):
            one = slice(index, index + 1)
            if self.has(rows[one], x[one], y[one])[0]:
                taken[index] = rows[index]
                if only is None or only[index]:
                    self._used[rows[index]] += 1
                    self._asked.update((rows[index] * self._names + np.array([x[index], y[index]])).tolist())
        return taken


def _numbered(rows: Ints, random: np.random.Generator) -> Ints:
    """For each question its number among those of its row, in an order that says nothing of how it was drawn."""
    order = np.lexsort((random.random(len(rows)), rows))
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    numbers = np.empty(len(rows), np.int64)
    numbers[order] = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    return numbers


def _frame(row: Ints, number: Ints, x: Ints, y: Ints, cell: Ints, x_count: Ints, y_count: Ints, pair_count: Ints) -> pl.DataFrame:
    columns = {"row": row, "number": number, "x": x, "y": y, "cell": cell}
    return pl.DataFrame({**columns, "x_count": x_count, "y_count": y_count, "pair_count": pair_count})
