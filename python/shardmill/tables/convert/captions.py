"""What every converter does: entries of a foreign file to rows of one table, and those that fit nothing into a file beside it.

Columns of the table: image, caption, texts (the texts to be read in the picture, as a JSON list), source, source_id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from shardmill.store.cells import csv_line, dump_cell
from shardmill.tables.json_stream import JsonEntry
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError

COLUMNS = ("image", "caption", "texts", "source", "source_id")
REJECT_COLUMNS = ("entry", "reason", "detail", "raw")
WRONG_SHAPE, NO_CAPTION, NO_IMAGE = "wrong shape", "no caption", "no image"
RAW_LIMIT, STEP = 2_000, 20_000


class CaptionRecord(BaseModel):
    """A record of a foreign file; other fields are ignored."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True, slots=True)
class Captioned:
    """A row of the table."""

    image: str
    caption: str
    source_id: str
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnusableEntry:
    """An entry, or a part of one, that makes no row: its position, a short reason, what exactly is wrong."""

    entry: str
    reason: str
    detail: str = ""
    raw: Any = None


Found = Captioned | UnusableEntry


@dataclass(frozen=True)
class Converted:
    """What became of a file's entries."""

    rows: int
    reasons: dict[str, int]
    out: Path
    rejects: Path

    def line(self) -> str:
        """The account in one line."""
        rejected = sum(self.reasons.values())
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.items())
        return f"{self.rows + rejected:,} in = {self.rows:,} rows out + {rejected:,} rejected" + (
            f" ({reasons})" if reasons else ""
        )


def write_captions(found: Iterable[Found], source: str, origin: Path, out: Path, report: Callable[[int], None]) -> Converted:
    """Write the rows to `out` and the others to its neighbour *.rejects.csv; both appear whole, or neither.

    Raises UserError naming the first entry of `origin` where none fits: then it is another kind of file.
    """
    rejects = out.with_name(f"{out.stem}.rejects.csv")
    reasons: Counter[str] = Counter()
    rows = 0
    first: UnusableEntry | None = None
    with _table(out, COLUMNS) as good, _table(rejects, REJECT_COLUMNS) as bad:
        for each in found:
            if isinstance(each, Captioned):
                rows += 1
                good((each.image, each.caption, dump_cell(list(each.texts)), source, each.source_id))
            else:
                first = first or each
                reasons[each.reason] += 1
                bad((each.entry, each.reason, each.detail, "" if each.raw is None else dump_cell(each.raw)[:RAW_LIMIT]))
            if (rows + reasons.total()) % STEP == 0:
                report(rows + reasons.total())
        if not rows:
            example = f"; {first.entry}: {first.reason}" + (f", {first.detail}" if first.detail else "") if first else ""
            raise UserError(f"{origin} has no entry of the expected form{example}.")
    return Converted(rows, dict(reasons.most_common()), out, rejects)


@contextmanager
def _table(path: Path, columns: Iterable[str]) -> Iterator[Callable[[Iterable[str]], object]]:
    with replacing(path) as file:
        file.write(csv_line(columns).encode())
        yield lambda cells: file.write(csv_line(cells).encode("utf-8", "replace"))


def where(entry: JsonEntry) -> str:
    """An entry for people: "annotations 3 (line 17)"; positions count from 1."""
    name = (
        entry.key
        if entry.position is None
        else f"{entry.key} {entry.position + 1}"
        if entry.key
        else f"entry {entry.position + 1}"
    )
    return f"{name} (line {entry.line:,})"


def misfit(entry: JsonEntry, error: ValidationError) -> UnusableEntry:
    """Why an entry is not of its schema."""
    first = error.errors()[0]
    return UnusableEntry(where(entry), WRONG_SHAPE, f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}", entry.value)


def one_line(text: str | None) -> str:
    """A caption without line breaks and doubled blanks."""
    return " ".join((text or "").split())
