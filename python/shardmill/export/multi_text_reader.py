"""Reads multi-text files line by line, with memory that does not grow with the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shardmill.export.multi_text_format import read_header
from shardmill.util.errors import UserError
from shardmill.util.words import count_of

MAX_LINE = 64 * 2**20


@dataclass(frozen=True)
class MultiTextLine:
    """One line of the file, by its number from 1."""

    number: int
    image: str
    captions: list[str]


@dataclass(frozen=True)
class UnreadableLine:
    """A line that cannot be read: its number and why."""

    number: int
    detail: str


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line's number, from 1, and its bytes. Raises UserError for what is not a file of lines."""
    if not path.is_file():
        raise UserError(f"{path} was not found, or is not a file.")
    with open(path, "rb") as file:
        number = 0
        while data := file.readline(MAX_LINE):
            number += 1
            if len(data) == MAX_LINE:
                raise UserError(f"{path}: line {number} is longer than {MAX_LINE // 2**20} MB. Are these JSON lines?")
            yield number, data


def scan_multitext(path: Path) -> Iterator[MultiTextLine | UnreadableLine]:
    """Every line of the file, readable or not, with memory that does not grow. The number of texts is not checked."""
    return (parse_line(number, data) for number, data in raw_lines(path))


def parse_line(number: int, data: bytes) -> MultiTextLine | UnreadableLine:
    """A line from its bytes."""
    try:
        row = json.loads(data.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return UnreadableLine(number, f"byte 0x{data[error.start]:02x} is not UTF-8")
    except json.JSONDecodeError as error:
        return UnreadableLine(
            number, "an empty line" if data.isspace() else f"malformed JSON: {error.msg} at column {error.colno}"
        )
    except (ValueError, RecursionError) as error:
        return UnreadableLine(number, f"malformed JSON: {error}")
    image = row.get("image") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(image, str) or not image:
        return UnreadableLine(number, "no image" if isinstance(row, dict) else f"not an object but a JSON {type(row).__name__}")
    captions = row.get("caption")
    if not isinstance(captions, list):
        return UnreadableLine(number, f"caption is not a list but {type(captions).__name__}")
    odd = next((position for position, text in enumerate(captions, 1) if not isinstance(text, str)), None)
    if odd is not None:
        return UnreadableLine(number, f"text {odd} is not a string but {type(captions[odd - 1]).__name__}")
    if b"\\u" in data and not _is_unicode([image, *captions]):
        return UnreadableLine(number, "half of a surrogate pair")
    return MultiTextLine(number, image, captions)


def _is_unicode(texts: Sequence[str]) -> bool:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_multitext(path: Path, m: int | None = None) -> Iterator[MultiTextLine]:
    """The lines, each with exactly `m` texts that are not blank (None: as many as the header says, else as the first line has).

    Raises UserError naming the first line that is not so.
    """
    header = read_header(path)
    m = m or (header.m if header else None)
    for line in scan_multitext(path):
        if isinstance(line, UnreadableLine):
            raise UserError(f"{path}, line {line.number}: {line.detail}. All errors: shardmill check-multitext {path}")
        m = m or len(line.captions)
        blank = [position for position, text in enumerate(line.captions, 1) if not text.strip()]
        if len(line.captions) != m or blank:
            what = f"text {blank[0]} is empty" if blank else f"{count_of(len(line.captions), 'text')} instead of {m}"
            raise UserError(f"{path}, line {line.number}: {what}. All errors: shardmill check-multitext {path}")
        yield line
