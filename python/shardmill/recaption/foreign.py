"""Captions of images in the files of others: JSON lines and lists of `{"image", "caption"}`, `{path: caption}`, and any table.

A list that was cut off, or that a resumed job has torn, gives all of its whole entries; what was wrong is told with its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from shardmill.recaption.json_window import OBJECTS, PAIRS, SLICE, CorruptJson, JsonWindow
from shardmill.tables import open_table
from shardmill.tables.ingest import map_columns
from shardmill.tables.sniff import sniff_format
from shardmill.util.errors import UserError, name_list

IMAGE, CAPTION = "image", "caption"
MAX_LINE = 64 * 2**20
MAX_TOGETHER = 1_000
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
        """Some entries at a time. Raises UserError for a missing file, or one damaged where what follows cannot be told apart."""
        if self.path.is_file() and _is_blank(self.path):
            yield self._odd(1, "the file is empty", lost=False)
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
        """The entries of lines, None where one is to be looked at by itself."""
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
            yield self._odd(number, f"malformed JSON: {error.msg} at column {error.colno}")
        except (ValueError, RecursionError) as error:
            yield self._odd(number, f"malformed JSON: {error}")
        else:
            yield self._entry_of(value, number)

    def _document(self) -> Iterator[Entry | Entries | InputWarning]:
        with open(self.path, "rb") as data, TextIOWrapper(data, "utf-8-sig", "surrogateescape", newline="") as file:

            def read(size: int) -> str:
                text = file.read(size)
                self.done = data.tell()
                return text

            window = JsonWindow(read)
            opening = window.peek()
            if opening not in ("[", "{"):
                raise UserError(f"{self.path} is no JSON list or object: it starts with {opening!r}.")
            yield from self._elements(window) if opening == "[" else self._members(window)

    def _elements(self, window: JsonWindow) -> Iterator[Entry | Entries | InputWarning]:
        """The objects of a list, whatever commas and brackets stand between them."""
        read, torn_before = 0, False
        while True:
            if read and not torn_before and (some := window.several(OBJECTS, self._of_values)):
                yield some
                read += len(some.images)
                continue
            line, gap = window.line, window.skip("[,]")
            ended = not window.peek()
            due = ("[]" if ended else "[") if read == 0 else "]" if ended else ","
            if gap != due and not torn_before:
                told = f"{gap!r} stands where {due!r} is due" if gap else f"{due!r} is missing"
                yield self._odd(line, f"{told} behind {read:,} entries" + (": cut off?" if ended else ""), lost=False)
            if ended:
                return
            line = window.line
            try:
                value = window.value()
            except CorruptJson as torn:
                yield self._odd(torn.line, f"{torn.detail} (character {torn.character:,}); read on at the next entry")
                window.skip_to_object(self._image)
                torn_before = True
            else:
                yield self._entry_of(value, line)
                torn_before = False
            read += 1

    def _members(self, window: JsonWindow) -> Iterator[Entry | Entries | InputWarning]:
        """The pairs of an object. Behind damage nothing can be told apart: it is refused unless it is the end."""
        window.take("{")
        read = 0
        try:
            while True:
                if read and (some := window.several(PAIRS, lambda pairs: _plain(*zip(*pairs, strict=True)))):
                    yield some
                    read += len(some.images)
                    continue
                pair = window.plain_pair() if read else None
                if pair:
                    yield self._checked(*pair, window.line)
                    read += 1
                    continue
                if window.take("}"):
                    break
                if read and not window.take(","):
                    raise window.torn("a comma is missing")
                line = window.line
                key = window.value()
                if not isinstance(key, str) or not window.take(":"):
                    raise window.torn("a key and a colon are due")
                yield self._checked(key, window.value(), line)
                read += 1
            if window.peek():
                raise window.torn("text behind the end of the object")
        except CorruptJson as torn:
            if not torn.at_end:
                raise UserError(
                    f"{self.path} is damaged on line {torn.line} (character {torn.character:,}, behind {read:,} entries): "
                    f"{torn.detail}. What follows cannot be told apart; mend that place or make the index again."
                ) from None
            yield self._odd(
                torn.line, f"cut off behind {read:,} entries, at character {torn.character:,} ({torn.detail})", lost=False
            )

    def _table(self) -> Iterator[Entry | Entries | InputWarning]:
        table = open_table(self.path)
        mapping, _ = map_columns(table.columns, *self._columns)
        back = {name: column for column, name in mapping.items()}
        if IMAGE not in back:
            raise UserError(f"no column of {self.path} looks like images (it has: {name_list(table.columns)})")
        for batch in table.batches():
            for bad in batch.bad:
                yield self._odd(bad.line, f"{bad.reason}: {bad.detail}")
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
        """The entries of objects, None where one is to be looked at by itself."""
        if set(map(type, values)) != {dict}:
            return None
        try:
            return _plain([value[self._image] for value in values], [value[self._caption] for value in values])
        except KeyError:
            return None

    def _entry_of(self, value: Any, line: int) -> Entry | InputWarning:
        if not isinstance(value, dict):
            return self._odd(line, f"not an object but a JSON {type(value).__name__}")
        for key in (self._image, self._caption):
            if key not in value:
                return self._odd(line, f"no key {key!r}; there are: {', '.join(value) or 'none'}"[:200])
        return self._checked(value[self._image], value[self._caption], line)

    def _checked(self, image: Any, text: Any, line: int) -> Entry | InputWarning:
        if not isinstance(image, str) or not image:
            return self._odd(line, "the entry names no image")
        if text is not None and not isinstance(text, str):
            return self._odd(line, f"the caption of {image} is not a text but a JSON {type(text).__name__}")
        text = text or ""
        if not (image.isascii() and text.isascii()):
            try:
                (image + text).encode()
            except UnicodeEncodeError:
                return self._odd(line, f"not UTF-8, or half of a surrogate pair: {image!a}")
        return image, text if text.strip() else None

    def _odd(self, line: int, detail: str, lost: bool = True) -> InputWarning:
        return InputWarning(self.path, line, detail, lost)


def _together(found: Iterable[Entry | Entries | InputWarning]) -> Iterator[Entries | InputWarning]:
    """What was read one by one put together, as far as it is not much."""
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
    """The entries, None where one of them is not as it should be: much quicker than a look at each."""
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


def _is_blank(path: Path) -> bool:
    with open(path, "rb") as file:
        return not any(block.strip(b"\xef\xbb\xbf \t\r\n") for block in iter(lambda: file.read(2**16), b""))
