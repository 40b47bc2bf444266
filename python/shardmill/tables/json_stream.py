"""JSON documents of any size, entry by entry: a list of values, {id: caption}, {id: {...}}, or lists under keys.

ijson parses, with memory that does not grow with the file. Its `items` is not used: it gives no line numbers, and its memory
grows with the square of the depth of brackets, which a hostile file can have a million of.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import ijson

from shardmill.tables.base import MAX_RECORD
from shardmill.tables.json_dialect import StrictJson, restore_marks
from shardmill.tables.source import TextSource
from shardmill.util.errors import UserError

BLOCK_SIZE = 2**16  # the events of larger blocks fall out of the processor's cache
MAX_DEPTH = 500
_STARTS: dict[str, type[dict[str, Any]] | type[list[Any]]] = {"start_map": dict, "start_array": list}

NOT_A_CONTAINER = "a list or an object is expected"

Event = tuple[str, Any]


class CorruptJson(UserError):
    """The document is not JSON from a line on. `cut_off`: because it ends there."""

    def __init__(self, path: Path, line: int, detail: str, cut_off: bool = False) -> None:
        super().__init__(f"{path}: malformed JSON on line {line}: {detail}. Fix it: nothing after an error can be read.")
        self.line, self.detail, self.cut_off = line, detail, cut_off


@dataclass(slots=True)  # not frozen: that takes three times as long to make
class JsonEntry:
    """A value of a document: the key of the list or member it belongs to ("" in a list at the top), its position in that list
    (None for a member that is not a list), and its line.
    """

    key: str
    position: int | None
    line: int
    value: Any


@dataclass(frozen=True, slots=True)
class TextMembers:
    """Successive members of an object at the top that are all texts, with their lines."""

    lines: Sequence[int]
    keys: list[str]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[JsonEntry]:
        return (JsonEntry(*entry) for entry in zip(self.keys, repeat(None), self.lines, self.texts))


@dataclass(frozen=True, slots=True)
class UniformObjects:
    """Successive objects of a list that have the same keys with plain values, as columns."""

    key: str
    position: int
    lines: Sequence[int]
    columns: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[JsonEntry]:
        values = (dict(zip(self.columns, values, strict=True)) for values in zip(*self.columns.values(), strict=True))
        return (JsonEntry(*entry) for entry in zip(repeat(self.key), itertools.count(self.position), self.lines, values))


JsonBlock = list[JsonEntry] | TextMembers | UniformObjects
"""Some successive entries; iterated, one by one."""


def json_entries(
    path: Path, lists: Container[str] | None = None, encoding: str | None = None, block_size: int = BLOCK_SIZE
) -> Iterator[JsonEntry]:
    """The values of a document one by one: of a list at the top, of the lists under its keys, and its other members.

    Args:
        path: The file.
        lists: The keys whose lists are taken apart, None for all; another list is one value.
        encoding: None for UTF-8.
        block_size: How many bytes are parsed at once.

    Raises:
        CorruptJson: The document is not JSON; the message names the line. All entries before it were given.
    """
    return chain.from_iterable(json_blocks(path, lists, encoding, block_size))


def json_blocks(
    path: Path,
    lists: Container[str] | None = None,
    encoding: str | None = None,
    block_size: int = BLOCK_SIZE,
    on_read: Callable[[int], object] = lambda size: None,
) -> Iterator[JsonBlock]:
    """As `json_entries`, a block at a time. `on_read` gets the number of bytes of each block, in UTF-8."""
    parser, assembler = _Parser(path), _Assembler(path, lists)
    unfinished = 0
    with TextSource(path, encoding, end_line=False) as source:
        for block in _blocks(path, source, block_size, parser):
            on_read(len(block))
            unfinished += len(block)
            events, failure = parser.parse(block)
            for found in assembler.blocks(events):
                unfinished = 0
                yield found
            if failure:
                raise failure
            if unfinished > MAX_RECORD:
                raise _too_long(path, parser.line)
    parser.close()


def _blocks(path: Path, source: TextSource, block_size: int, parser: _Parser) -> Iterator[bytes]:
    """The text in blocks that end after a comma: no character, escape, number or literal is cut there, even in a string."""
    size = block_size
    while True:
        data, at_end = source.peek(size)
        end = len(data) if at_end else data.rfind(b",") + 1
        if end:
            source.skip(end)
            yield data[:end]
            size = block_size
        elif size > MAX_RECORD:
            raise _too_long(path, parser.line)
        else:
            size *= 2
        if at_end:
            return


def _too_long(path: Path, line: int) -> CorruptJson:
    return CorruptJson(path, line, f"a value of more than {MAX_RECORD // 2**20} MB")


class _Events:
    """What ijson found in a block: `kinds` and `values` of events, and on which line each is."""

    def __init__(self, events: list[Event], first_line: int, ends: list[int], restore: bool) -> None:
        self.kinds = [kind for kind, _ in events]
        self.values = [value for _, value in events]
        if restore:
            self.values = [restore_marks(value) if isinstance(value, str) else value for value in self.values]
        if "number" in self.kinds:
            self.values = [float(value) if type(value) is Decimal else value for value in self.values]
        self._first_line = first_line
        self._ends = ends  # how many events there are up to the end of each line

    def line(self, at: int) -> int:
        """The line of an event."""
        return self._first_line + (bisect_right(self._ends, at) if len(self._ends) > 1 else 0)

    def lines(self, kind: str) -> list[int]:
        """The lines of all events of a kind."""
        return self.lines_at([at for at, each in enumerate(self.kinds) if each == kind])

    def lines_at(self, numbers: Sequence[int]) -> list[int]:
        """The lines of some events."""
        return [self._first_line] * len(numbers) if len(self._ends) == 1 else list(map(self.line, numbers))


class _Parser:
    """ijson's parser, fed line by line, since it does not say where in the text it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sent: list[Event] = ijson.sendable_list()
        self._parser = ijson.basic_parse_coro(self._sent)
        self._strict = StrictJson()
        self._started = False
        self.line = 1

    def parse(self, block: bytes) -> tuple[_Events, CorruptJson | None]:
        """The events of a block; where it is corrupt, those before that, and the error."""
        strict = self._strict.rewrite(block)
        first_line, ends, failure = self.line, [], None
        try:
            for piece in strict.splitlines(keepends=True) if b"\n" in strict else (strict,):
                self._parser.send(piece)
                self.line += piece.endswith(b"\n")
                ends.append(len(self._sent))
        except ijson.JSONError as error:
            failure = self._corrupt(error)
            ends.append(len(self._sent))
        self._started |= bool(self._sent)
        events = _Events(self._sent, first_line, ends, self._strict.has_marks)
        self._sent.clear()
        return events, failure

    def close(self) -> None:
        """Raises CorruptJson where the document has not ended, or is neither a list nor an object."""
        try:
            self._parser.close()
        except ijson.JSONError as error:
            failure = self._corrupt(error)
            failure.cut_off = True
            raise failure from None
        if self._sent:  # a number at the top, which only the end of the document completes
            raise CorruptJson(self._path, self.line, NOT_A_CONTAINER)

    def _corrupt(self, error: Exception) -> CorruptJson:
        if not self._started and not self._sent:
            return CorruptJson(self._path, self.line, NOT_A_CONTAINER)
        message = error.args[0] if error.args else ""
        if isinstance(message, bytes):  # the excerpt of the text was cut within a character
            message = message.decode("utf-8", "replace")
        # ijson's messages have three lines, of which the second is the text around the error.
        reason, *text = str(message).split("\n")
        near = f", near {text[0].strip()}" if text and text[0].strip() else ""
        return CorruptJson(self._path, self.line, reason.rstrip(".") + near)


class _Assembler:
    """Puts the events of a document together to the values of its entries."""

    def __init__(self, path: Path, lists: Container[str] | None) -> None:
        self._path = path
        self._lists = lists
        self._open: list[Any] = []  # the containers that are not closed yet, the document itself first
        self._entry_depth = 1  # 2 within a list that is taken apart
        self._key = ""  # the last key, at any depth
        self._entry_key = ""
        self._entry_line = 1
        self._position: int | None = None

    def blocks(self, events: _Events) -> Iterator[JsonBlock]:
        """The entries that end with these events. Most files have few shapes of entries; these are made many at a time."""
        if members := self._text_members(events):
            yield members
            return
        found: list[JsonEntry] = []
        kinds, values = events.kinds, events.values
        at, tried = 0, False
        while at < len(kinds):
            starts = kinds[at] == "start_map" and len(self._open) == self._entry_depth
            end = _end_of_flat(kinds, at) if starts else 0
            if not end:
                self._step(kinds[at], values[at], events.line(at), found)
                at += 1
                continue
            if not tried and self._position is not None and (objects := self._uniform_objects(events, at, end + 1 - at)):
                if found:
                    yield found
                    found = []
                yield objects
                at += (end + 1 - at) * len(objects)
            else:
                if self._position is not None:
                    self._entry_line = events.line(at)
                found.append(self._entry(dict(zip(values[at + 1 : end : 2], values[at + 2 : end : 2], strict=True))))
                at = end + 1
            tried = True
        if found:
            yield found

    def _text_members(self, events: _Events) -> TextMembers | None:
        """The entries, where the events are nothing but keys and texts of an object at the top."""
        kinds, parts = events.kinds, events.values
        if len(self._open) != 1 or not isinstance(self._open[0], dict) or not kinds:
            return None
        if kinds.count("map_key") + kinds.count("string") != len(kinds):
            return None
        lines = events.lines("map_key")
        if kinds[0] == "string":  # its key came with the events before
            parts, lines = [self._entry_key, *parts], [self._entry_line, *lines]
        if len(parts) % 2:
            self._entry_key = self._key = parts[-1]
            self._entry_line = lines.pop()
        pairs = len(parts) // 2 * 2
        return TextMembers(lines, parts[0:pairs:2], parts[1:pairs:2]) if pairs else None

    def _uniform_objects(self, events: _Events, start: int, width: int) -> UniformObjects | None:
        """The objects from `start` to the end of the events, if each has the shape of the first, which takes `width` events."""
        number = (len(events.kinds) - start) // width
        shape = events.kinds[start : start + width]
        if events.kinds[start : start + number * width] != shape * number:
            return None
        values = events.values[start : start + number * width]
        names = values[1 : width - 1 : 2]
        if (
            not names
            or len({*names}) < len(names)
            or any(values[1 + 2 * at :: width].count(name) < number for at, name in enumerate(names))
        ):
            return None
        columns = {name: values[2 + 2 * at :: width] for at, name in enumerate(names)}
        position = self._position or 0
        self._position = position + number
        return UniformObjects(self._entry_key, position, events.lines_at(range(start, start + number * width, width)), columns)

    def _step(self, kind: str, value: Any, line: int, found: list[JsonEntry]) -> None:
        """Takes one event into account; an entry that ends with it goes to `found`."""
        depth = len(self._open)
        if kind == "map_key":
            self._key = value
            if depth == 1:
                self._entry_key, self._entry_line = value, line
        elif kind in ("end_map", "end_array"):
            value = self._open.pop()
            if depth - 1 == self._entry_depth:
                found.append(self._entry(value))
            elif depth - 1 < self._entry_depth:
                self._entry_depth, self._position = 1, None
        else:
            start = _STARTS.get(kind)
            value = start() if start else value
            if depth == 0 and not start:
                raise CorruptJson(self._path, line, NOT_A_CONTAINER)
            if depth > self._entry_depth:
                self._attach(value)
            elif depth == self._entry_depth and self._position is not None:
                self._entry_line = line
            if start:
                self._descend(value, line)
            elif depth == self._entry_depth:
                found.append(self._entry(value))

    def _entry(self, value: Any) -> JsonEntry:
        entry = JsonEntry(self._entry_key, self._position, self._entry_line, value)
        if self._position is not None:
            self._position += 1
        return entry

    def _attach(self, value: Any) -> None:
        parent = self._open[-1]
        if type(parent) is dict:
            parent[self._key] = value
        else:
            parent.append(value)

    def _descend(self, container: Any, line: int) -> None:
        depth = len(self._open)
        if depth > MAX_DEPTH:
            raise CorruptJson(self._path, line, f"values nested more than {MAX_DEPTH} deep")
        is_list = isinstance(container, list)
        if depth == 0 and is_list:
            self._position = 0
        elif depth == 1 and self._position is None and is_list and (self._lists is None or self._entry_key in self._lists):
            self._entry_depth, self._position = 2, 0
        self._open.append(container)


def _end_of_flat(kinds: list[str], start: int) -> int:
    """The index of the event that ends the object, if it holds only plain values and ends in this block; else 0."""
    try:
        end = kinds.index("end_map", start)
    except ValueError:
        return 0
    inside = kinds[start + 1 : end]
    return 0 if "start_map" in inside or "start_array" in inside else end
