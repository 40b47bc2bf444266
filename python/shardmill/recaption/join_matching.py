"""The passes of a join: all files into buckets by a hash of the image's path, then bucket by bucket, then back into order."""

from __future__ import annotations

import json
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from operator import itemgetter
from pathlib import Path
from typing import IO, Any
from zlib import crc32

from shardmill.recaption.buckets import Buckets
from shardmill.recaption.foreign import Entries, ForeignCaptions, InputWarning
from shardmill.recaption.names import ORIGINAL
from shardmill.util.errors import UserError

BUCKET_BYTES = 24 * 2**20
MAX_BUCKETS = 4_096
ROWS_IN_ORDER = 20_000
"""So many lines are sorted at once to restore the order."""
TOLD_EVERY = 5_000
MAX_TOLD = 1_000
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
class MatchTally:
    """`rows` of the table and how many repeat an image; `unreadable` entries by file; the first `oddities` of files."""

    rows: int = 0
    repeated_images: int = 0
    indexes: dict[str, IndexCounts] = field(default_factory=dict)
    unreadable: Counter[Path] = field(default_factory=Counter)
    oddities: list[InputWarning] = field(default_factory=list)


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

    def of(self, images: Sequence[str]) -> Sequence[str]:
        """The keys of images: quicker than one by one where all paths are simple."""
        lines = "\n".join(["", *images, ""])
        if not lines.isascii() or any(part in lines for part in ("//", "/.", "\n.", "/\n")):
            return [self(image) for image in images]
        return [image.removeprefix(self._root) for image in images] if self._root else images

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
        self._count = min(MAX_BUCKETS, 1 + size // BUCKET_BYTES)
        self._rows = Buckets(folder / "rows", 4)
        self._entries = Buckets(folder / "entries", 2)
        self._lines = Buckets(folder / "lines", 2 + len(names))
        self._size = size
        self._missing: Counter[str] = Counter()
        self._first_missing: dict[str, tuple[int, str]] = {}
        self._unknown_told: Counter[str] = Counter()
        self._example: dict[str, str] = {}

    def read(self, files: Sequence[ForeignCaptions], names: Sequence[str], tally: MatchTally) -> None:
        """All files into buckets; the first is the table."""
        records, before = 0, 0
        for file, name in zip(files, names, strict=True):
            good = 0
            for found in file.batches():
                told = records // TOLD_EVERY
                if isinstance(found, InputWarning):
                    records += 1
                    self._odd(found, tally)
                else:
                    records += len(found.images)
                    good += len(found.images)
                    self._sort_in(found, name, tally)
                if records // TOLD_EVERY > told:
                    share = (before + file.done) / max(1, self._size)
                    self._report(JoinProgress("reading", records, max(records + 1, round(records / max(share, 1e-9)))))
            before += weight(file)
            if not good and tally.unreadable[file.path]:
                first = next(
                    (f"line {odd.line}: {odd.detail}" for odd in tally.oddities if odd.file == file.path and odd.lost), ""
                )
                raise UserError(f"no entry of {file.path} can be read; {first}")
        if not tally.rows:
            raise UserError(f"{files[0].path} has no rows to join captions to")

    def _sort_in(self, some: Entries, name: str, tally: MatchTally) -> None:
        """Entries of a file into the buckets: rows of the table, or texts of an index."""
        self._example.setdefault(name, some.images[0])
        keys, texts = self._key.of(some.images), some.texts
        if name == ORIGINAL:
            rows = range(tally.rows, tally.rows + len(keys))
            self._rows.put(self._buckets(keys), rows, keys, some.images, texts)
            tally.rows += len(keys)
            return
        if None in texts:
            given = [text is not None for text in texts]
            keys, texts = list(compress(keys, given)), list(compress(texts, given))
        tally.indexes[name].blank += len(some.texts) - len(texts)
        tally.indexes[name].entries += len(texts)
        self._entries.put(self._buckets(keys, self._places.index(name)), keys, texts)

    def _buckets(self, keys: Iterable[str], place: int = 0) -> list[int]:
        """Those of keys; an index at another place has others."""
        first = place * self._count
        return [first + crc32(key) % self._count for key in map(str.encode, keys)]

    def match(self, tally: MatchTally) -> None:
        """Bucket by bucket: the texts of each row, put by the row's place in the table."""
        done = 0
        for bucket in range(self._count):
            found = {name: self._texts(bucket, place, tally) for place, name in enumerate(self._places)}
            seen: set[str] = set()
            for rows, keys, images, own in self._rows.take(bucket):
                tally.repeated_images += len(seen) + len(keys)
                seen.update(keys)
                tally.repeated_images -= len(seen)
                captions = [own if name == ORIGINAL else list(map(found[name].get, keys)) for name in self._names]
                for name, texts in zip(self._names, captions, strict=True):
                    if None in texts:
                        first = texts.index(None)
                        self._missing[name] += texts.count(None)
                        missing = rows[first], images[first]
                        self._first_missing[name] = min(self._first_missing.get(name, missing), missing)
                self._lines.put([row // ROWS_IN_ORDER for row in rows], rows, images, *captions)
                done += len(rows)
            for name, entered in found.items():
                unknown = [] if entered.keys() <= seen else [key for key in entered if key not in seen]
                tally.indexes[name].unknown += len(unknown)
                tally.indexes[name].used += len(entered) - len(unknown)
                for key in unknown[: MAX_TOLD - self._unknown_told[name]]:
                    self._unknown_told[name] += 1
                    self._note(kind="image not in the table", text=name, image=key)
            self._report(JoinProgress("joining", done, tally.rows))

    def _texts(self, bucket: int, place: int, tally: MatchTally) -> dict[str, str]:
        """The text of each key in a bucket of an index: the last."""
        texts: dict[str, str] = {}
        for keys, found in self._entries.take(place * self._count + bucket):
            new = dict(zip(keys, found, strict=True))
            if len(new) == len(keys) and texts.keys().isdisjoint(new):
                texts.update(new)
            else:
                for key, text in zip(keys, found, strict=True):
                    self._enter(texts, self._places[place], key, text, tally)
        return texts

    def _enter(self, texts: dict[str, str], name: str, key: str, text: str, tally: MatchTally) -> None:
        earlier = texts.get(key)
        if earlier is not None:
            tally.indexes[name].repeated += 1
            if earlier != text:
                tally.indexes[name].conflicts += 1
                self._note(kind="conflict", text=name, image=key, kept=text, left_out=earlier)
        texts[key] = text

    def refuse_missing(self, tally: MatchTally) -> None:
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
            lines = chain.from_iterable(zip(*some, strict=True) for some in self._lines.take(chunk))
            for row, image, *captions in sorted(lines, key=itemgetter(0)):
                if row % TOLD_EVERY == 0:
                    self._report(JoinProgress("writing", row, rows))
                yield image, captions
        self._report(JoinProgress("writing", rows, rows))

    def _odd(self, oddity: InputWarning, tally: MatchTally) -> None:
        tally.unreadable[oddity.file] += oddity.lost
        if len(tally.oddities) < MAX_TOLD:
            tally.oddities.append(oddity)
        self._note(kind="unreadable" if oddity.lost else "odd", file=str(oddity.file), line=oddity.line, detail=oddity.detail)

    def _note(self, **values: Any) -> None:
        self._notes.write((json.dumps(values, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
