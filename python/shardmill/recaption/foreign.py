"""Captions of images in files of others: JSON lines and lists of `{"image", "caption"}`, `{path: caption}`, and any table.

A list that was cut off, or that a resumed job has written into, gives all of its whole entries, and a warning for each error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from itertools import takewhile
from pathlib import Path
from typing import Any

from shardmill.recaption.json_salvage import CorruptValue, SalvageWindow
from shardmill.tables import open_table
from shardmill.tables.columns import map_columns
from shardmill.tables.json_stream import CorruptJson, JsonBlock, JsonEntry, TextMembers, UniformObjects, json_blocks
from shardmill.tables.sniff import sniff_format
from shardmill.util.errors import UserError, name_list

IMAGE, CAPTION = "image", "caption"
MAX_LINE = 64 * 2**20
MAX_TOGETHER = 1_000
SLICE = 2**16
LINES_SUFFIXES = (".jsonl", ".ndjson")
_decode = json.JSONDecoder().raw_decode
Entry = tuple[str, str | None]
"""An image as the file names it, and its text; None where it has none or a blank one."""


@dataclass(frozen=True)
class InputWarning:
    """What is wrong at a line of a file. `lost`: an entry could not be read; otherwise nothing is missing."""

    file: Path
    line: int
    detail: str
    lost: bool = True


@dataclass(frozen=True)
class Entries:
    """Some entries that follow one another: the images, at least one, and the text of each."""

    images: Sequence[str]
    texts: Sequence[str | None]


class ForeignCaptions:
    """The entries of one file, in its order, streamed. `done` is how many of its bytes have been read."""

    def __init__(self, path: Path, image_column: str | None = None, caption_column: str | None = None) -> None:
        self.path = path
        self.done = 0
        self._columns = caption_column, image_column
        self._caption, self._image = caption_column or CAPTION, image_column or IMAGE

    @property
    def size(self) -> int:
        """In bytes; 0 for a folder."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def batches(self) -> Iterator[Entries | InputWarning]:
        """Some entries at a time.

        Raises:
            UserError: The file was not found, or it is corrupt and nothing after that can be read.
        """
        if self.path.is_file() and not _first_byte(self.path):
            yield self._warning(1, "the file is empty", lost=False)
            return
        is_file = self.path.is_file() and self.path.suffix != ".tar"
        kind = sniff_format(self.path, None) if is_file or not self.path.exists() else "pictures"
        if kind == "jsonl" and self.path.suffix.lower() not in LINES_SUFFIXES and self._is_one_document():
            kind = "json"
        read = {"json": self._document, "jsonl": self._lines}.get(kind, self._table)
        yield from _together(read())
        self.done = self.size

    def _lines(self) -> Iterator[Entry | Entries | InputWarning]:
        with open(self.path, "rb") as file:
            number = 0
            while block := file.read(SLICE) + file.readline(MAX_LINE):
                self.done += len(block)
                lines = list(BytesIO(block))
                if some := self._of_lines(lines):
                    yield some
                else:
                    for at, data in enumerate(lines, number + 1):
                        yield from self._line(data, at)
                number += len(lines)

    def _of_lines(self, lines: Iterable[bytes]) -> Entries | None:
        """The entries of lines, None where they must be read one by one."""
        values = []
        try:
            for data in lines:
                line = data.decode()
                value, end = _decode(line)
                if line[end:].strip(" \t\r\n"):
                    return None
                values.append(value)
        except (ValueError, RecursionError):
            return None
        return self._of_values(values)

    def _line(self, data: bytes, number: int) -> Iterator[Entry | InputWarning]:
        """The entry of a line, none where the line is blank."""
        if len(data) >= MAX_LINE:
            raise UserError(f"{self.path}: line {number} is longer than {MAX_LINE // 2**20} MB. Are these JSON lines?")
        if data.isspace():
            return
        try:
            value = json.loads(data.decode("utf-8-sig" if number == 1 else "utf-8"))
        except json.JSONDecodeError as error:
            yield self._warning(number, f"malformed JSON: {error.msg} at column {error.colno}")
        except (ValueError, RecursionError) as error:
            yield self._warning(number, f"malformed JSON: {error}")
        else:
            yield self._entry_of(value, number)

    def _document(self) -> Iterator[Entry | Entries | InputWarning]:
        opening = _first_byte(self.path)
        if opening not in (b"[", b"{"):
            raise UserError(f"{self.path} is not a JSON list or object: it starts with {opening!r}.")
        yield from self._list() if opening == b"[" else self._object()

    def _blocks(self) -> Iterator[JsonBlock]:
        return json_blocks(self.path, lists=(), on_read=self._count)

    def _count(self, size: int) -> None:
        self.done += size

    def _list(self) -> Iterator[Entry | Entries | InputWarning]:
        """The objects of a list. ijson reads it up to where it is corrupt, if it is; there the salvage goes on."""
        read = 0
        with suppress(CorruptJson):
            for block in self._blocks():
                # A list in the list comes from a job that was resumed and began its file anew: its objects are entries too.
                whole = block if isinstance(block, UniformObjects) else [*takewhile(_is_not_list, block)]
                yield from self._of_elements(whole)
                read += len(whole)
                if len(whole) < len(block):
                    break
            else:
                return
        yield from self._salvaged(read)

    def _of_elements(self, elements: Sequence[JsonEntry] | UniformObjects) -> Iterator[Entry | Entries | InputWarning]:
        some = None
        if isinstance(elements, UniformObjects) and {self._image, self._caption} <= elements.columns.keys():
            some = _plain(elements.columns[self._image], elements.columns[self._caption])
        if some:
            yield some
        else:
            yield from (self._entry_of(element.value, element.line) for element in elements)

    def _salvaged(self, known: int) -> Iterator[Entry | InputWarning]:
        """The objects of a corrupt list but for the first `known`, whatever commas and brackets are between them."""
        with open(self.path, "rb") as data, TextIOWrapper(data, "utf-8-sig", "surrogateescape", newline="") as file:
            window = SalvageWindow(file.read)
            read, corrupt_before = 0, False
            while True:
                line, gap = window.line, window.skip("[,]")
                ended = not window.peek()
                due = ("[]" if ended else "[") if read == 0 else "]" if ended else ","
                if gap != due and not corrupt_before:
                    found = f"{gap!r} instead of {due!r}" if gap else f"{due!r} is missing"
                    yield self._warning(line, f"{found} after {_entries(read)}" + (": cut off?" if ended else ""), lost=False)
                if ended:
                    return
                line = window.line
                try:
                    found_entry = self._entry_of(window.value(), line)
                    corrupt_before = False
                except CorruptValue as error:
                    detail = f"{error.detail} (character {error.character:,}); reading goes on at the next entry"
                    found_entry = self._warning(error.line, detail)
                    window.skip_to_object(self._image)
                    corrupt_before = True
                if read >= known:
                    yield found_entry
                read += 1

    def _object(self) -> Iterator[Entry | Entries | InputWarning]:
        """The members of an object. If it is corrupt anywhere but at its end, no key after that can be told from a text."""
        read = 0
        try:
            for block in self._blocks():
                some = _plain(block.keys, block.texts) if isinstance(block, TextMembers) else None
                yield from (some,) if some else (self._checked(entry.key, entry.value, entry.line) for entry in block)
                read += len(block)
        except CorruptJson as error:
            if not error.cut_off:
                raise UserError(
                    f"{self.path} is corrupt on line {error.line}, after {_entries(read)}: {error.detail}. "
                    "What follows cannot be read: fix it there, or make the file again."
                ) from None
            yield self._warning(error.line, f"cut off after {_entries(read)}", lost=False)

    def _table(self) -> Iterator[Entry | Entries | InputWarning]:
        table = open_table(self.path)
        mapping, _ = map_columns(table.columns, *self._columns)
        back = {name: column for column, name in mapping.items()}
        if IMAGE not in back:
            raise UserError(f"{self.path} has no column of images (its columns: {name_list(table.columns)})")
        for batch in table.batches():
            for bad in batch.bad:
                yield self._warning(bad.line, f"{bad.reason}: {bad.detail}")
            for frame in batch.frame.select("line", back[IMAGE], back[CAPTION]).iter_slices(MAX_TOGETHER):
                lines, images, texts = (column.to_list() for column in frame)
                if some := _plain(images, texts):
                    yield some
                else:
                    yield from map(self._checked, images, texts, lines)

    def _is_one_document(self) -> bool:
        """Whether a file that might be JSON lines is a one-line `{path: caption}`."""
        with open(self.path, "rb") as file:
            first, second = file.readline(MAX_LINE), file.readline(MAX_LINE)
        try:
            value = json.loads(first)
        except (ValueError, RecursionError):
            return False
        return not second.strip() and isinstance(value, dict) and self._image not in value

    def _of_values(self, values: Sequence[Any]) -> Entries | None:
        """The entries of objects, None where they must be read one by one."""
        if set(map(type, values)) != {dict}:
            return None
        try:
            return _plain([value[self._image] for value in values], [value[self._caption] for value in values])
        except KeyError:
            return None

    def _entry_of(self, value: Any, line: int) -> Entry | InputWarning:
        if not isinstance(value, dict):
            return self._warning(line, f"not an object but a JSON {type(value).__name__}")
        for key in (self._image, self._caption):
            if key not in value:
                return self._warning(line, f"no key {key!r}; there are: {', '.join(value) or 'none'}"[:200])
        return self._checked(value[self._image], value[self._caption], line)

    def _checked(self, image: Any, text: Any, line: int) -> Entry | InputWarning:
        if not isinstance(image, str) or not image:
            return self._warning(line, "the entry names no image")
        if text is not None and not isinstance(text, str):
            return self._warning(line, f"the caption of {image} is not a text but a JSON {type(text).__name__}")
        text = text or ""
        if not (image.isascii() and text.isascii()):
            try:
                (image + text).encode()
            except UnicodeEncodeError:
                return self._warning(line, f"not UTF-8, or half of a surrogate pair: {image!a}")
        return image, text if text.strip() else None

    def _warning(self, line: int, detail: str, lost: bool = True) -> InputWarning:
        return InputWarning(self.path, line, detail, lost)


def _together(found: Iterable[Entry | Entries | InputWarning]) -> Iterator[Entries | InputWarning]:
    """Entries that were read one by one, put together in groups of bounded size."""
    single: list[Entry] = []
    size = 0
    for each in found:
        if isinstance(each, tuple):
            single.append(each)
            size += len(each[0]) + len(each[1] or "")
            if len(single) < MAX_TOGETHER and size < SLICE:
                continue
        if single:
            yield Entries(*zip(*single, strict=True))
            single, size = [], 0
        if not isinstance(each, tuple):
            yield each
    if single:
        yield Entries(*zip(*single, strict=True))


def _plain(images: Sequence[Any], texts: Sequence[Any]) -> Entries | None:
    """The entries, None where one of them is not as it should be. Much quicker than checking one by one."""
    kinds = set(map(type, texts))
    if set(map(type, images)) != {str} or not kinds <= {str, type(None)} or not all(images):
        return None
    if kinds != {str} or not all(map(str.strip, texts)):
        texts = [text if text and text.strip() else None for text in texts]
    together = "".join([*images, *filter(None, texts)])
    if not together.isascii():
        try:
            together.encode()
        except UnicodeEncodeError:
            return None
    return Entries(images, texts)


def _is_not_list(entry: JsonEntry) -> bool:
    return not isinstance(entry.value, list)


def _first_byte(path: Path) -> bytes:
    """The first byte that is not white space or a byte order mark."""
    with open(path, "rb") as file:
        blocks = iter(lambda: file.read(2**16), b"")
        return next((text[:1] for block in blocks if (text := block.lstrip(b"\xef\xbb\xbf \t\r\n"))), b"")


def _entries(number: int) -> str:
    return f"{number:,} {'entry' if number == 1 else 'entries'}"
