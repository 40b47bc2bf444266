"""The passes of a join: all files into parts by a hash of the image's path, then part by part, then back into order.

Polars joins each part in memory. Its own streaming join does not spill to disk (795 MB for 500,000 rows and five indexes, and
growing with the rows); DuckDB's does, but takes more time and memory for it, and 70 MB on disk.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import polars as pl

from shardmill.recaption.foreign import ForeignCaptions, InputWarning
from shardmill.recaption.image_keys import ImageKeys
from shardmill.recaption.names import ORIGINAL
from shardmill.recaption.partitions import Partitions
from shardmill.util.errors import UserError

PART_BYTES = 128 * 2**20
MAX_PARTS = 256
REPORT_EVERY = 5_000
READ_AT_ONCE, LINES_AT_ONCE = 20_000, 1_000
MAX_REPORTED = 1_000
PARQUET_GROWS = 4
KEY, IMAGE, ROW, TEXT = "key", "image", "row", "text"


@dataclass(frozen=True)
class JoinProgress:
    """`doing` is reading, joining or writing; while reading, `total` is estimated from bytes."""

    doing: str
    rows: int
    total: int


@dataclass
class IndexCounts:
    """What became of an index.

    Attributes:
        entries: Those with a text.
        blank: Those without one.
        repeated: Entries that came after another one of the same image.
        conflicts: Of the repeated ones, those with another text.
        used: Different images that the table has.
        unknown: Different images that the table does not have.
    """

    entries: int = 0
    blank: int = 0
    repeated: int = 0
    conflicts: int = 0
    used: int = 0
    unknown: int = 0


@dataclass
class MatchTally:
    """What was read: rows of the table and how many repeat an image, unreadable entries by file, the first warnings."""

    rows: int = 0
    repeated_images: int = 0
    indexes: dict[str, IndexCounts] = field(default_factory=dict)
    unreadable: Counter[Path] = field(default_factory=Counter)
    warnings: list[InputWarning] = field(default_factory=list)


Report = Callable[[JoinProgress], None]


def weight(file: ForeignCaptions) -> int:
    """About how many bytes of text a file holds."""
    return file.size * (PARQUET_GROWS if file.path.suffix in (".parquet", ".pq") else 1)


class Matching:
    """The three passes: read all files into parts, match part by part, hand out in order.

    Args:
        folder: Where the parts are kept meanwhile.
        names: The texts of a line, in order.
        key: Makes keys of paths.
        size: About how many bytes of text all files hold.
        notes: Where conflicts, unknown images and warnings are written, one JSON object a line.
        report: Gets the progress.
    """

    def __init__(self, folder: Path, names: Sequence[str], key: ImageKeys, size: int, notes: IO[bytes], report: Report) -> None:
        self._names, self._key, self._notes, self._report = list(names), key, notes, report
        self._folder = folder
        self._indexes = [name for name in names if name != ORIGINAL]
        self._size = size
        self._parts = min(MAX_PARTS, 1 + size // PART_BYTES)
        by_key = pl.col(KEY).hash() % self._parts
        rows = {ROW: pl.Int64(), KEY: pl.String(), IMAGE: pl.String(), TEXT: pl.String()}
        self._rows = Partitions(folder / "rows", rows, by_key)
        self._entries = {
            name: Partitions(folder / f"entries-{at}", {KEY: pl.String(), TEXT: pl.String()}, by_key)
            for at, name in enumerate(self._indexes)
        }
        self._columns = [f"text {at}" for at in range(len(names))]  # a name could be that of another column
        self._images: list[str] = []
        self._texts: list[str | None] = []
        self._missing: Counter[str] = Counter()
        self._first_missing: dict[str, tuple[int, str]] = {}
        self._unknown_noted: Counter[str] = Counter()
        self._example: dict[str, str] = {}

    def read(self, files: Sequence[ForeignCaptions], names: Sequence[str], tally: MatchTally) -> None:
        """All files into parts; the first is the table. Raises UserError for a file none of whose entries can be read."""
        records, before = 0, 0
        for file, name in zip(files, names, strict=True):
            good = 0
            for found in file.batches():
                reported = records // REPORT_EVERY
                if isinstance(found, InputWarning):
                    records += 1
                    self._warn(found, tally)
                else:
                    records += len(found.images)
                    good += len(found.images)
                    self._example.setdefault(name, found.images[0])
                    self._images += found.images
                    self._texts += found.texts
                    if len(self._images) >= READ_AT_ONCE:
                        self._add(name, tally)
                if records // REPORT_EVERY > reported:
                    share = (before + file.done) / max(1, self._size)
                    self._report(JoinProgress("reading", records, max(records + 1, round(records / max(share, 1e-9)))))
            self._add(name, tally)
            before += weight(file)
            if not good and tally.unreadable[file.path]:
                lost = [f"line {each.line}: {each.detail}" for each in tally.warnings if each.file == file.path and each.lost]
                raise UserError(f"no entry of {file.path} can be read; {next(iter(lost), '')}")
            (self._rows if name == ORIGINAL else self._entries[name]).flush()
        if not tally.rows:
            raise UserError(f"{files[0].path} has no rows to join captions to")

    def _add(self, name: str, tally: MatchTally) -> None:
        """The entries that were read to the parts: rows of the table, or texts of an index."""
        keys = pl.Series(KEY, self._key.of(self._images), pl.String)
        texts = pl.Series(TEXT, self._texts, pl.String)
        if name == ORIGINAL:
            rows = pl.int_range(tally.rows, tally.rows + len(keys), dtype=pl.Int64, eager=True).alias(ROW)
            self._rows.add(pl.DataFrame([rows, keys, pl.Series(IMAGE, self._images, pl.String), texts]))
            tally.rows += len(keys)
        else:
            given = pl.DataFrame([keys, texts]).drop_nulls(TEXT)
            tally.indexes[name].blank += len(keys) - given.height
            tally.indexes[name].entries += given.height
            self._entries[name].add(given)
        self._images, self._texts = [], []

    def match(self, tally: MatchTally) -> None:
        """Part by part: the texts of each row, into parts by the row's position in the table."""
        done = 0
        schema = {ROW: pl.Int64(), IMAGE: pl.String(), **dict.fromkeys(self._columns, pl.String())}
        self._lines = Partitions(self._folder / "lines", schema, pl.col(ROW) // -(-tally.rows // self._parts))
        for part in range(self._parts):
            rows = self._rows.take(part)
            images = rows.select(KEY).unique()
            tally.repeated_images += rows.height - images.height
            lines = rows
            for name, column in zip(self._names, self._columns, strict=True):
                if name == ORIGINAL:
                    lines = lines.with_columns(pl.col(TEXT).alias(column))
                else:
                    texts = self._last_texts(name, part, tally)
                    self._count_images(name, texts, images, tally)
                    lines = lines.join(texts.rename({TEXT: column}), on=KEY, how="left")
                self._count_missing(name, lines.filter(pl.col(column).is_null()))
            self._lines.add(lines.select(ROW, IMAGE, *self._columns))
            done += rows.height
            self._report(JoinProgress("joining", done, tally.rows))

    def _last_texts(self, name: str, part: int, tally: MatchTally) -> pl.DataFrame:
        """The text of each key in a part of an index: of several the last."""
        entries = self._entries[name].take(part)
        repeated = entries.height - entries[KEY].n_unique()
        if not repeated:
            return entries
        earlier = entries.with_columns(pl.col(TEXT).shift().over(KEY).alias("earlier"))
        conflicts = earlier.filter(pl.col("earlier") != pl.col(TEXT))
        for key, kept, left_out in conflicts.iter_rows():
            self._note(kind="conflict", text=name, image=key, kept=kept, left_out=left_out)
        tally.indexes[name].repeated += repeated
        tally.indexes[name].conflicts += conflicts.height
        return entries.unique(KEY, keep="last", maintain_order=True)

    def _count_images(self, name: str, texts: pl.DataFrame, images: pl.DataFrame, tally: MatchTally) -> None:
        unknown = texts.join(images, on=KEY, how="anti", maintain_order="left")[KEY]
        tally.indexes[name].unknown += len(unknown)
        tally.indexes[name].used += texts.height - len(unknown)
        for key in unknown.head(max(0, MAX_REPORTED - self._unknown_noted[name])):
            self._unknown_noted[name] += 1
            self._note(kind="image not in the table", text=name, image=key)

    def _count_missing(self, name: str, lines: pl.DataFrame) -> None:
        if lines.height:
            self._missing[name] += lines.height
            row, image = lines.sort(ROW).select(ROW, IMAGE).row(0)
            self._first_missing[name] = min(self._first_missing.get(name, (row, image)), (row, image))

    def refuse_missing(self, tally: MatchTally) -> None:
        """Raises UserError if a row lacks a text."""
        if not self._missing:
            return
        counts = ", ".join(f"{name} {self._missing[name]:,}" for name in self._names if self._missing[name])
        name = next(name for name in self._names if self._missing[name])
        hint = self.hint(name) + ". " if name in tally.indexes and not tally.indexes[name].used else ""
        raise UserError(
            f"rows without a text: {counts} of {tally.rows:,}; the first without {name} is {self._first_missing[name][1]}. {hint}"
            "Leave such rows out (--missing drop) or fill in another text (--missing pad)."
        )

    def hint(self, name: str) -> str:
        """What to say of an index none of whose images is in the table."""
        theirs, ours = self._example.get(name, ""), self._example.get(ORIGINAL, "")
        problem = f"no image of {name} is in the table (it has {theirs!r}, the table {ours!r})"
        return f"{problem}; --image-root makes absolute paths relative"

    def in_order(self, rows: int) -> Iterator[tuple[pl.Series, list[pl.Series]]]:
        """The images of some rows and their texts, a column for each name, in the order of the table."""
        done = 0
        for part in range(self._parts):
            for lines in self._lines.take(part).sort(ROW).iter_slices(LINES_AT_ONCE):
                self._report(JoinProgress("writing", done, rows))
                done += lines.height
                yield lines[IMAGE], [lines[column] for column in self._columns]
        self._report(JoinProgress("writing", rows, rows))

    def _warn(self, warning: InputWarning, tally: MatchTally) -> None:
        tally.unreadable[warning.file] += warning.lost
        if len(tally.warnings) < MAX_REPORTED:
            tally.warnings.append(warning)
        kind = "unreadable" if warning.lost else "odd"
        self._note(kind=kind, file=str(warning.file), line=warning.line, detail=warning.detail)

    def _note(self, **values: Any) -> None:
        self._notes.write((json.dumps(values, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
