"""What every reader of a foreign table has in common: batches of text cells, bad records, and the digest of the file."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from shardmill.store.manifest import counted
from shardmill.util.errors import UserError, name_list

ROW_ID = "row_id"
LINE = "line"
UNDECODABLE = "undecodable"
WRONG_CELLS = "wrong number of cells"
MALFORMED_JSON = "malformed json"
NOT_AN_OBJECT = "not an object"
MALFORMED_CSV = "malformed csv"
NUL_BYTE = "NUL byte"

RAW_LIMIT = 2_000
MAX_RECORD = 64 * 2**20
BATCH_ROWS = 20_000
BATCH_BYTES = 8 * 2**20
UNDECODABLE_SHARE = 0.01
DIGEST_BLOCK = 2**20
KINDS_SHOWN = 12


@dataclass(frozen=True)
class BadRecord:
    """A record that could not be read: its line, a stable reason, what exactly is wrong, and its text (cut)."""

    row_id: int
    line: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True)
class Batch:
    """Some records in file order. `frame` has Int64 row_id and line, and every column of the table as String."""

    frame: pl.DataFrame
    bad: list[BadRecord] = field(default_factory=list)


def raw_text(data: bytes) -> str:
    """The start of a record for a report; bytes that are not UTF-8 show as \\xNN."""
    return data[: 4 * RAW_LIMIT].decode("utf-8", "backslashreplace").rstrip("\r\n")[:RAW_LIMIT]


class BatchBuilder:
    """Collects records one by one; `take` hands them out as a batch. Empty cells become null."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._clear()

    def _clear(self) -> None:
        self._row_ids: list[int] = []
        self._lines: list[int] = []
        self._rows: list[Sequence[str | None]] = []
        self._bad: list[BadRecord] = []
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self._rows) + len(self._bad) >= BATCH_ROWS or self._bytes >= BATCH_BYTES

    def add(self, row_id: int, line: int, cells: Sequence[str | None], size: int) -> None:
        """One good record with a cell for each column; `size` is its length in the file, for the bound on memory."""
        self._row_ids.append(row_id)
        self._lines.append(line)
        self._rows.append(cells)
        self._bytes += size

    def add_bad(self, record: BadRecord) -> None:
        self._bad.append(record)

    def take(self) -> Batch:
        cells = zip(*self._rows, strict=True) if self._rows else ((),) * len(self._columns)
        series = [pl.Series(ROW_ID, self._row_ids, pl.Int64), pl.Series(LINE, self._lines, pl.Int64)]
        series += [
            pl.Series(name, [cell or None for cell in column], pl.String)
            for name, column in zip(self._columns, cells, strict=True)
        ]
        batch = Batch(pl.DataFrame(series), self._bad)
        self._clear()
        return batch


class Table(ABC):
    """An opened table. `batches()` reads it from the start, each time anew, with memory that does not grow with the file."""

    format: str

    def __init__(self, path: Path, columns: Sequence[str], encoding: str | None) -> None:
        self.path = path
        self.columns = list(columns)
        self.encoding = encoding
        self.ignored_keys: set[str] = set()
        self.passed_over: Counter[str] = Counter()
        self.remarks: list[str] = []
        self.file_digests: dict[str, tuple[str, int]] = {}
        check_columns(path, self.columns)

    def notes(self) -> list[str]:
        """What was left out of what `batches` gave, for people."""
        notes = [*self.remarks]
        if self.ignored_keys:
            notes.append(f"columns that are not read: {name_list(sorted(self.ignored_keys))}")
        if self.passed_over:
            notes.append(f"passed over: {counted(dict(self.passed_over.most_common(KINDS_SHOWN)))}")
        return notes

    @abstractmethod
    def _batches(self) -> Iterator[Batch]: ...

    def batches(self) -> Iterator[Batch]:
        """All records in file order. An empty cell and `""` are both null.

        A record with a NUL is set aside: no table may hold one. With no encoding given, a first batch with more than 1 %
        undecodable records raises UserError: the file has another encoding.
        """
        judged = self.encoding is not None
        for batch in map(without_nuls, self._batches()):
            if not batch.bad and not batch.frame.height:
                continue
            if not judged:
                self._check_decodable(batch)
                judged = True
            yield batch

    def digest(self) -> tuple[str, int]:
        """SHA-256 (hex) and size in bytes of the file as it lies on disk."""
        sha, size = hashlib.sha256(), 0
        with self.path.open("rb") as file:
            while block := file.read(DIGEST_BLOCK):
                sha.update(block)
                size += len(block)
        return sha.hexdigest(), size

    def _check_decodable(self, batch: Batch) -> None:
        undecodable = [record for record in batch.bad if record.reason == UNDECODABLE]
        total = batch.frame.height + len(batch.bad)
        if len(undecodable) > UNDECODABLE_SHARE * total:
            raise not_utf8(self.path, undecodable[0].line, f"{len(undecodable)} of its first {total} records are not")


def without_nuls(batch: Batch) -> Batch:
    """The batch with the records that have a NUL in a cell among the bad ones."""
    names = [name for name in batch.frame.columns if name not in (ROW_ID, LINE)]
    has_nul = pl.any_horizontal(False, *(pl.col(name).str.contains("\0", literal=True).fill_null(False) for name in names))
    found = batch.frame.filter(has_nul)
    if not found.height:
        return batch
    bad = [*batch.bad]
    for row in found.iter_rows(named=True):
        name = next(name for name in names if "\0" in (row[name] or ""))
        detail = f"column {name}; remove it (in UTF-8: tr -d '\\000' < FILE > NEW)"
        raw = raw_text("\t".join(row[name] or "" for name in names).replace("\0", "\ufffd").encode("utf-8", "replace"))
        bad.append(BadRecord(row[ROW_ID], row[LINE], NUL_BYTE, detail, raw))
    return Batch(batch.frame.filter(~has_nul), sorted(bad, key=lambda record: record.row_id))


def not_utf8(path: Path, line: int, extent: str = "its header is not") -> UserError:
    """The error for a file that is not UTF-8, with what to do about it."""
    return UserError(
        f"{path} is not UTF-8 ({extent}; the first is on line {line}). Pass --encoding, for example latin-1 or cp1252; "
        "--encoding utf-8 sets such records aside and goes on."
    )


def check_columns(path: Path, columns: Sequence[str]) -> None:
    """Raises UserError where a column has no name, the name of another, a pattern for a name, or a name that the reader uses."""
    empty = [str(position) for position, name in enumerate(columns, 1) if not name.strip()]
    if empty:
        raise UserError(f"{path}: column {name_list(empty)} of {len(columns)} has no name. Give every column one in the header.")
    twice = sorted(name for name, count in Counter(columns).items() if count > 1)
    if twice:
        raise UserError(f"{path}: more than one column is called {name_list(map(repr, twice))}. Give every column its own name.")
    patterns = [name for name in columns if name == "*" or (name.startswith("^") and name.endswith("$"))]
    if patterns:
        raise UserError(
            f"{path}: {name_list(map(repr, patterns))} cannot name a column: Polars takes it for a pattern. Rename it."
        )
    if nul := [name for name in columns if "\0" in name]:
        raise UserError(f"{path}: the name of the column {nul[0]!r} has a NUL byte. Rename it.")
    taken = [name for name in (ROW_ID, LINE) if name in columns]
    if taken:
        names = ", ".join(map(repr, taken))
        raise UserError(f"{path}: the columns {ROW_ID} and {LINE} are added by the reader. Rename {names} in the file.")
