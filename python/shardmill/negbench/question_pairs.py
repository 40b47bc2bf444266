"""Which two objects a question is about, which cell is true, and of which row: drawn so that the texts give nothing away.

A question's objects are two that occur together somewhere in the block. The pair is drawn first, by the square root of how often
it occurs, then the cell of its truth table, uniformly, then a row in which that cell holds and the pair is plausible. So what a
reader may know of the pair (how common its objects are, how often they go together, what they are called) says nothing about the
cell. A pair is used only if rows can be found for all four cells, or those that can be found would be more frequent. Cells are
drawn independently, not dealt out in fours: who had seen three cells of a pair would know the fourth.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from shardmill.stages.occurrences import SMALL_BLOCK, CoOccurrence, Flags, Ints, in_sorted

BOTH, FIRST, SECOND, NEITHER = range(4)
WEIGHT = 0.5
"""Pairs are drawn by this power of their count: 0 would ask about all alike, 1 mostly about the commonest."""
MIN_IMAGES_OF_NAME = 2
"""Who has seen all questions but those of one image would know that a name which occurs there alone is absent elsewhere."""
TRIES = 40
PASSES, BATCHES = 3, 20
"""A question that finds its row taken by another looks again."""


class PairDrawing:
    """Draws questions about a block.

    Args:
        beside: How its objects go together.
        seed: Of all draws.
    """

    def __init__(self, beside: CoOccurrence, seed: int):
        self.beside, self.seen, self.pairs = beside, beside.seen, beside.pairs
        self.random = np.random.Generator(np.random.PCG64(seed))

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
            if name not in taken and not related and not said and not self.beside.is_mentioned(row, name):
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
            beside, found = self.beside.companion(np.where(self.random.random(len(x)) < 0.5, x, y), self.random.random(len(x)))
            return np.where(found, self.seen.row_of(beside, draw), -1)
        return self.seen.row_of(x if cell == FIRST else y, draw)

    def _holds(self, row: Ints, x: Ints, y: Ints, cell: int) -> Flags:
        """Whether a cell holds in each row, and what is absent there might be present."""
        good = np.ones(len(row), bool)
        for name, present in ((x, cell in (BOTH, FIRST)), (y, cell in (BOTH, SECOND))):
            if present:
                good &= self.seen.occurs(row, name)
            else:
                good &= ~self.seen.occurs_in_image(row, name)
                good[good] = self.beside.plausible(row[good], name[good])
        return good


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
