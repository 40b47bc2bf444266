"""The passes of a join: all files into buckets by a hash of the image's path, then bucket by bucket, then back into order."""

from __future__ import annotations

import json
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from zlib import crc32

from shardmill.errors import UserError
from shardmill.recaption.buckets import Buckets
from shardmill.recaption.foreign import ForeignCaptions, Oddity
from shardmill.recaption.names import ORIGINAL

BUCKET_BYTES = 24 * 2**20
MOST_BUCKETS = 4_096
ROWS_IN_ORDER = 20_000
"""So many lines are sorted at once to restore the order."""
TOLD_EVERY = 5_000
MOST_TOLD = 1_000
PARQUET_GROWS = 4


@dataclass(frozen=True)
class JoinProgress:
    """`doing` is reading, joining or writing; while reading, `total` is estimated from bytes."""

    doing: str
    rows: int
    total: int


@dataclass
class IndexCounts:
    """What became of an index: entries with a text; blank ones; entries that came later for an image, of these with another text;
    different images that the table has and has not.
    """

    entries: int = 0
    blank: int = 0
    repeated: int = 0
    conflicts: int = 0
    used: int = 0
    unknown: int = 0


@dataclass
class Tally:
    """`rows` of the table and how many repeat an image; `unreadable` entries by file; the first `oddities` of files."""

    rows: int = 0
    repeated_images: int = 0
    indexes: dict[str, IndexCounts] = field(default_factory=dict)
    unreadable: Counter[Path] = field(default_factory=Counter)
    oddities: list[Oddity] = field(default_factory=list)


Report = Callable[[JoinProgress], None]


class ImageKeys:
    """Paths as keys that are equal for one image: normal path, one Unicode form, relative to `root` where it is below it."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = None if root is None else self._normal(str(root.absolute())).rstrip("/") + "/"

    def __call__(self, image: str) -> str:
        """
        >>> ImageKeys(Path("/d"))("/d//x/../cats and jpgs/a.JPG"), ImageKeys()("./a.png")
        ('cats and jpgs/a.JPG', 'a.png')
        """
        simple = image.isascii() and "//" not in image and "/." not in image and image[0] != "." and image[-1] != "/"
        key = image if simple else self._normal(image)
        return key.removeprefix(self._root) if self._root else key

    @staticmethod
    def _normal(path: str) -> str:
        path = posixpath.normpath(unicodedata.normalize("NFC", path))
        return "/" + path.lstrip("/") if path.startswith("/") else path


def weight(file: ForeignCaptions) -> int:
    """About how many bytes of text a file holds."""
    return file.size * (PARQUET_GROWS if file.path.suffix in (".parquet", ".pq") else 1)


class Matching:
    """The three passes: read all files into buckets, match bucket by bucket, hand out in order."""

    def __init__(
        self, folder: Path, names: list[str], places: list[str], key: ImageKeys, size: int, notes: IO[bytes], report: Report
    ) -> None:
        self._names, self._places, self._key, self._notes, self._report = names, places, key, notes, report
        self._count = min(MOST_BUCKETS, 1 + size // BUCKET_BYTES)
        self._rows = Buckets(folder / "rows")
        self._entries = Buckets(folder / "entries")
        self._lines = Buckets(folder / "lines")
        self._size = size
        self._missing: Counter[str] = Counter()
        self._first_missing: dict[str, tuple[int, str]] = {}
        self._unknown_told: Counter[str] = Counter()
        self._example: dict[str, str] = {}

    def read(self, files: Sequence[ForeignCaptions], names: Sequence[str], tally: Tally) -> None:
        """All files into buckets; the first is the table."""
        records, before = 0, 0
        for file, name in zip(files, names, strict=True):
            good = 0
            for entry in file.entries():
                records += 1
                if records % TOLD_EVERY == 0:
                    share = (before + file.done) / max(1, self._size)
                    self._report(JoinProgress("reading", records, max(records + 1, round(records / max(share, 1e-9)))))
                if isinstance(entry, Oddity):
                    self._odd(entry, tally)
                    continue
                good += 1
                key = self._key(entry[0])
                bucket = crc32(key.encode("utf-8")) % self._count
                if name == ORIGINAL:
                    self._rows.put(bucket, [tally.rows, key, *entry])
                    tally.rows += 1
                elif entry[1] is None:
                    tally.indexes[name].blank += 1
                else:
                    tally.indexes[name].entries += 1
                    self._entries.put(bucket, [self._places.index(name), key, entry[1]])
                self._example.setdefault(name, entry[0])
            before += weight(file)
            if not good and tally.unreadable[file.path]:
                first = next(
                    (f"line {odd.line}: {odd.detail}" for odd in tally.oddities if odd.file == file.path and odd.lost), ""
                )
                raise UserError(f"no entry of {file.path} can be read; {first}")
        if not tally.rows:
            raise UserError(f"{files[0].path} has no rows to join captions to")

    def match(self, tally: Tally) -> None:
        """Bucket by bucket: the texts of each row, put by the row's place in the table."""
        done = 0
        for bucket in range(self._count):
            found: list[dict[str, str]] = [{} for _ in self._places]
            for place, key, text in self._entries.take(bucket):
                self._enter(found[place], self._places[place], key, text, tally)
            seen: set[str] = set()
            for row, key, image, own in self._rows.take(bucket):
                tally.repeated_images += key in seen
                seen.add(key)
                of_index = dict(zip(self._places, (texts.get(key) for texts in found), strict=True))
                captions = [own if name == ORIGINAL else of_index[name] for name in self._names]
                for name, text in zip(self._names, captions, strict=True):
                    if text is None:
                        self._missing[name] += 1
                        self._first_missing[name] = min(self._first_missing.get(name, (row, image)), (row, image))
                self._lines.put(row // ROWS_IN_ORDER, [row, image, captions])
                done += 1
            for name, texts in zip(self._places, found, strict=True):
                unknown = [key for key in texts if key not in seen]
                tally.indexes[name].unknown += len(unknown)
                tally.indexes[name].used += len(texts) - len(unknown)
                for key in unknown[: MOST_TOLD - self._unknown_told[name]]:
                    self._unknown_told[name] += 1
                    self._note(kind="image not in the table", text=name, image=key)
            self._report(JoinProgress("joining", done, tally.rows))

    def _enter(self, texts: dict[str, str], name: str, key: str, text: str, tally: Tally) -> None:
        earlier = texts.get(key)
        if earlier is not None:
            tally.indexes[name].repeated += 1
            if earlier != text:
                tally.indexes[name].conflicts += 1
                self._note(kind="conflict", text=name, image=key, kept=text, left_out=earlier)
        texts[key] = text

    def refuse_missing(self, tally: Tally) -> None:
        if not self._missing:
            return
        told = ", ".join(f"{name} {self._missing[name]:,}" for name in self._names if self._missing[name])
        name = next(name for name in self._names if self._missing[name])
        hint = self.hint(name) + ". " if name in tally.indexes and not tally.indexes[name].used else ""
        raise UserError(
            f"rows without a text: {told} of {tally.rows:,}; the first without {name} is {self._first_missing[name][1]}. {hint}"
            "Leave such rows out (--missing drop) or fill in another text (--missing pad)."
        )

    def hint(self, name: str) -> str:
        """What to say of an index none of whose images the table has."""
        theirs, ours = self._example.get(name, ""), self._example.get(ORIGINAL, "")
        told = f"no image of {name} is in the table (it has {theirs!r}, the table {ours!r})"
        return f"{told}; --image-root makes absolute paths relative"

    def in_order(self, rows: int) -> Iterator[tuple[str, list[str | None]]]:
        """(image, captions) of each row of the table."""
        for chunk in range(-(-rows // ROWS_IN_ORDER)):
            for row, image, captions in sorted(self._lines.take(chunk), key=lambda line: line[0]):
                if row % TOLD_EVERY == 0:
                    self._report(JoinProgress("writing", row, rows))
                yield image, captions
        self._report(JoinProgress("writing", rows, rows))

    def _odd(self, oddity: Oddity, tally: Tally) -> None:
        tally.unreadable[oddity.file] += oddity.lost
        if len(tally.oddities) < MOST_TOLD:
            tally.oddities.append(oddity)
        self._note(kind="unreadable" if oddity.lost else "odd", file=str(oddity.file), line=oddity.line, detail=oddity.detail)

    def _note(self, **values: Any) -> None:
        self._notes.write((json.dumps(values, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
