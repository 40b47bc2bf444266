"""What is missing from each row, drawn so that a name tells nothing: each is missing as often as other rows have it.

Names, not rows, come first: each name gets a quota of draws in proportion to the rows that have it, and for each draw a row is
found that lacks it and in which it could be. Drawn the other way round, rows would be left with what few of them have.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from shardmill.stages.occurrences import CoOccurrence, Flags, Floats, Ints

FILLED = 0.5
"""The share of the room in rows that quotas fill: with more, common names would not find rows enough."""
TRIES = 60
ROUNDS = 40


class AbsentDrawing:
    """Draws objects that rows lack.

    Args:
        beside: How the objects of the block go together.
        per_row: How many a row gets at most.
        seed: Of all draws.
    """

    def __init__(self, beside: CoOccurrence, per_row: int, seed: int):
        self.beside, self.seen, self.per_row = beside, beside.seen, per_row
        self.random = np.random.Generator(np.random.PCG64(seed))
        self._used = np.zeros(self.seen.rows, np.int64)
        self._has_objects = np.bincount(self.seen.row, minlength=self.seen.rows) > 0
        self._taken = np.zeros(0, np.int64)
        self.row, self.name = self._draw()

    def _draw(self) -> tuple[Ints, Ints]:
        """The rows and the names that they lack: first by name, then for rows that are left without any."""
        rows, names = [], []
        wanted = self._quotas()
        for _ in range(TRIES):
            if not len(wanted):
                break
            row = self._propose(wanted)
            good = self._give(row, wanted)
            rows.append(row[good])
            names.append(wanted[good])
            wanted = wanted[~good]
        for _ in range(TRIES):
            row = np.flatnonzero((self._used == 0) & (self._has_objects))
            if not len(row):
                break
            own = self.seen.object_of(row, self._uniform(row))
            name = self.seen.object_of(self.seen.row_of(own, self._uniform(row)), self._uniform(row))
            good = self._give(row, name)
            rows.append(row[good])
            names.append(name[good])
        none = np.zeros(0, np.int64)
        return np.concatenate([none, *rows]), np.concatenate([none, *names])

    def _give(self, row: Ints, name: Ints) -> Flags:
        """Give names to rows that lack them and could have them; which were given."""
        good = row >= 0
        for check in (self._is_open, self._suits, self.beside.plausible):
            good[good] = check(row[good], name[good])
        self._used += np.bincount(row[good], minlength=self.seen.rows)
        self._taken = np.concatenate([self._taken, row[good] * len(self.seen.names) + name[good]])
        return good

    def _quotas(self) -> Ints:
        """Each name as often as it is to be drawn, in a random order."""
        total = self.seen.count.sum()
        if not total:
            return np.zeros(0, np.int64)
        quota = self.seen.count * (FILLED * self.per_row * self.seen.rows / total)
        times = np.floor(quota + self.random.random(len(quota))).astype(np.int64)
        return self.random.permutation(np.repeat(np.arange(len(times)), times))

    def _propose(self, name: Ints) -> Ints:
        """For each name a row of an object that it goes with, -1 where it was found alone."""
        other = self.seen.object_of(self.seen.row_of(name, self._uniform(name)), self._uniform(name))
        return np.where(other != name, self.seen.row_of(other, self._uniform(name)), -1)

    def _uniform(self, like: Ints) -> Floats:
        return self.random.random(len(like))

    def _is_open(self, row: Ints, name: Ints) -> Flags:
        """Whether each row has room for a name that it has neither been given nor had; in doubt the first of several has it."""
        key = row * len(self.seen.names) + name
        first = np.zeros(len(key), bool)
        first[np.unique(key, return_index=True)[1]] = True
        good = first & ~np.isin(key, self._taken) & ~self.seen.occurs_in_image(row, name)
        order = np.argsort(row[good], kind="stable")
        starts = np.searchsorted(row[good][order], row[good][order])
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - starts
        good[good] = self._used[row[good]] + rank < self.per_row
        return good

    def _suits(self, row: Ints, name: Ints) -> Flags:
        """Whether each name goes with the most telling object of its row: what goes with a person alone may be anywhere."""
        telling = self.seen.telling[row]
        return (telling < 0) | (self.beside.together(telling, name) > 0)

    def share_drawn(self) -> Floats:
        """How much of its quota each name got: 1 where rows enough were found."""
        quota = self.seen.count * (FILLED * self.per_row * self.seen.rows / max(self.seen.count.sum(), 1))
        return np.minimum(np.bincount(self.name, minlength=len(self.seen.names)) / np.maximum(quota, 1e-9), 1)

    def table(self) -> pl.DataFrame:
        """Row (its position) and name of each draw, in order of the rows."""
        names = pl.Series("name", self.seen.names, dtype=pl.String).gather(self.name)
        return pl.DataFrame({"row": self.row, "name": names}).sort("row", maintain_order=True)


def matched_weights(present: tuple[Ints, Ints], absent: tuple[Ints, Ints], rows: int, count: Ints) -> tuple[Floats, Floats]:
    """Weights by name for picking a present and an absent object of each row, so that names of any frequency are picked as often
    on both sides.

    Evened out are groups of names that are alike in frequency. Each name by itself must not be: who had seen it picked as present
    in some rows would know that it is absent in the others.

    Args:
        present: Rows, and names that they have.
        absent: Rows, and names that they lack.
        rows: How many rows there are.
        count: In how many rows each name is.
    """
    group = np.round(2 * np.log2(np.maximum(count, 1))).astype(np.int64)
    both = (np.bincount(present[0], minlength=rows) > 0) & (np.bincount(absent[0], minlength=rows) > 0)
    sides = [(row[both[row]], name[both[row]]) for row, name in (present, absent)]
    weights = np.ones(len(count)), np.ones(len(count))
    for _ in range(ROUNDS):
        picked = []
        for (row, name), weight in zip(sides, weights, strict=True):
            total = np.bincount(row, weight[name], minlength=rows)
            picked.append(np.bincount(group[name], weight[name] / total[row], minlength=int(group.max(initial=0)) + 1) + 0.5)
        factor = np.sqrt(picked[1] / picked[0])[group]
        weights = np.clip(weights[0] * factor, 1e-3, 1e3), np.clip(weights[1] / factor, 1e-3, 1e3)
    return weights
