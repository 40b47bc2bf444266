"""The multi-text file: `{"image": path, "caption": [t1..tM]}` per line, and beside it a header that says what t1..tM are.

Training pairs vector i of an image with text i, so each line must have exactly M texts and each place one meaning. The lines
alone do not say it; `multi.jsonl` has it in `multi.header.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shardmill.store.atomic import replacing
from shardmill.util.errors import UserError

Missing = Literal["drop", "pad", "fail"]
MAX_LINE = 64 * 2**20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")
_encode = json.JSONEncoder(ensure_ascii=False).encode
NOTHING: Mapping[str, Any] = MappingProxyType({})


class TextSlot(BaseModel):
    """What stands at one place of `caption`: its name, and where it is known who wrote it and when asked what."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    captioner: str | None = None
    perspective: str | None = None
    model: str | None = None
    prompt_id: str | None = None


class TextCounts(BaseModel):
    """`dropped_lines` were left out for the texts in `dropped` (a line counts for each text it lacked); `padded` by text."""

    model_config = ConfigDict(extra="forbid")
    lines: int = 0
    dropped_lines: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    padded: dict[str, int] = Field(default_factory=dict)


class MultiTextHeader(BaseModel):
    """The header file. `fallback` names the texts that stand in for a missing one, first choice first; `sha256` and `size` (in
    bytes) are those of the data file; `details` is what its maker adds.
    """

    model_config = ConfigDict(extra="forbid")
    format: Literal["shardmill-multitext"] = "shardmill-multitext"
    version: Literal[1] = 1
    m: int = Field(ge=1)
    texts: list[TextSlot]
    missing: Missing
    fallback: list[str] = []
    counts: TextCounts
    size: int
    sha256: str
    details: dict[str, Any] = {}


@dataclass(frozen=True)
class Line:
    """One line of the file, by its number from 1."""

    number: int
    image: str
    captions: list[str]


@dataclass(frozen=True)
class Fault:
    """A line that is none: its number and what is wrong."""

    number: int
    detail: str


def header_path(path: Path) -> Path:
    """Where the header of a data file stands.

    >>> header_path(Path("data/multi.jsonl")).as_posix()
    'data/multi.header.json'
    """
    return path.with_name(f"{path.stem}.header.json")


def check_texts(names: Sequence[str], fallback: Sequence[str] = (), missing: Missing = "fail") -> None:
    """Raises UserError unless the names are usable, all different, and the fallback is among them and fits `missing`."""
    if not names:
        raise UserError("a multi-text file needs at least one text")
    for name in names:
        if not NAME.match(name):
            raise UserError(f"{name!r} cannot name a text: letters, digits, '.', '_', '-' and '/' can")
        if names.count(name) > 1:
            raise UserError(f"the text {name!r} is named twice; each place of a line has a meaning of its own")
    for name in fallback:
        if name not in names:
            raise UserError(f"no text is called {name!r} to fill in for a missing one; there are: {', '.join(names)}")
    if missing == "pad" and not fallback:
        raise UserError(f"say which text stands in for a missing one, for example {names[0]!r}")


class MultiTextWriter:
    """Writes the data file and its header; both appear whole, under their names, when the block ends without an error.

    with MultiTextWriter(path, texts, missing="drop") as writer:
        writer.write("a.jpg", ["a ferry", None])   # False: left out and counted

    A missing text (None or blank) has the line left out ("drop"), is replaced by the first text of `fallback` that the line has
    ("pad"; left out where it has none of them), or raises UserError ("fail").
    """

    def __init__(
        self,
        path: Path,
        texts: Sequence[TextSlot],
        missing: Missing = "fail",
        fallback: Sequence[str] = (),
        details: Mapping[str, Any] = NOTHING,
    ) -> None:
        self.names = [text.name for text in texts]
        check_texts(self.names, fallback, missing)
        self.path = path
        self.counts = TextCounts(dropped=dict.fromkeys(self.names, 0), padded=dict.fromkeys(self.names, 0))
        self.details = dict(details)
        self._texts, self._missing, self._fallback = list(texts), missing, list(fallback)
        self._from = [self.names.index(name) for name in fallback] if missing == "pad" else []
        self._sha, self._size = sha256(), 0

    def __enter__(self) -> MultiTextWriter:
        self._stack = ExitStack()
        self._file = self._stack.enter_context(replacing(self.path))
        self._stack.push(self._forget_header)
        return self

    def _forget_header(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """A header of other data must not stand beside these, not even after a crash between the two."""
        if error is None:
            header_path(self.path).unlink(missing_ok=True)

    def write(self, image: str, captions: Sequence[str | None], others: Mapping[str, Any] = NOTHING) -> bool:
        """One line with one text for each place, and what else it shall hold; whether it was written."""
        if len(captions) != len(self.names):
            raise ValueError(f"{len(captions)} texts of {image}, where {len(self.names)} places are declared")
        lacking = [place for place, text in enumerate(captions) if text is None or not text.strip()]
        if lacking:
            stand_in = next((captions[place] for place in self._from if place not in lacking), None)
            if self._missing == "fail":
                names = ", ".join(self.names[place] for place in lacking)
                raise UserError(f"{image} has no text for {names}. Leave such images out (drop), or fill in another text (pad).")
            self._count(self.counts.dropped if stand_in is None else self.counts.padded, lacking)
            if stand_in is None:
                self.counts.dropped_lines += 1
                return False
            captions = [stand_in if place in lacking else text for place, text in enumerate(captions)]
        line = _encode({"image": image, "caption": list(captions), **others}) + "\n"
        data = line.encode("utf-8")
        self._file.write(data)
        self._sha.update(data)
        self._size += len(data)
        self.counts.lines += 1
        return True

    def decided(self, missing: Missing, fallback: Sequence[str]) -> None:
        """What was done about missing texts before the lines came here, for the header; `counts` are then the caller's."""
        self._missing, self._fallback = missing, list(fallback)

    def _count(self, by_text: dict[str, int], places: Iterable[int]) -> None:
        for place in places:
            by_text[self.names[place]] += 1

    def header(self) -> MultiTextHeader:
        """The header as it stands now."""
        return MultiTextHeader(
            m=len(self._texts),
            texts=self._texts,
            missing=self._missing,
            fallback=self._fallback,
            counts=self.counts,
            size=self._size,
            sha256=self._sha.hexdigest(),
            details=self.details,
        )

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)
        if error is None:
            with replacing(header_path(self.path)) as file:
                content = self.header().model_dump(mode="json")
                file.write((json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))


def read_header(path: Path) -> MultiTextHeader | None:
    """The header of a data file, None where it has none. Raises UserError for one that is damaged or of other data."""
    beside = header_path(path)
    try:
        header = MultiTextHeader.model_validate_json(beside.read_bytes())
        check_texts([text.name for text in header.texts])
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise UserError(
            f"{beside} is no header of a multi-text file: {where}: {first['msg']}. Remove it, or make it again."
        ) from None
    if header.m != len(header.texts):
        raise UserError(f"{beside} names {len(header.texts)} texts where m is {header.m}. Make it again.")
    size = path.stat().st_size if path.exists() else 0
    if size != header.size:
        raise UserError(
            f"{beside} was written for {header.size:,} bytes of data, and {path} has {size:,}: the file was cut or changed. "
            "Make it again, or remove the header."
        )
    return header


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line's number, from 1, and its bytes. Raises UserError for what is no file of lines."""
    if not path.is_file():
        raise UserError(f"{path} does not exist, or is no file.")
    with open(path, "rb") as file:
        number = 0
        while data := file.readline(MAX_LINE):
            number += 1
            if len(data) == MAX_LINE:
                raise UserError(f"{path}: line {number} is longer than {MAX_LINE // 2**20} MB. Are these JSON lines?")
            yield number, data


def scan_multitext(path: Path) -> Iterator[Line | Fault]:
    """Every line of the file, readable or not, with memory that does not grow. How many texts a line has is not looked at."""
    return (parse_line(number, data) for number, data in raw_lines(path))


def parse_line(number: int, data: bytes) -> Line | Fault:
    """A line from its bytes."""
    try:
        row = json.loads(data.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return Fault(number, f"byte 0x{data[error.start]:02x} is not UTF-8")
    except json.JSONDecodeError as error:
        return Fault(number, "an empty line" if data.isspace() else f"malformed JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return Fault(number, f"malformed JSON: {error}")
    image = row.get("image") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(image, str) or not image:
        return Fault(number, "no image" if isinstance(row, dict) else f"not an object but a JSON {type(row).__name__}")
    captions = row.get("caption")
    if not isinstance(captions, list):
        return Fault(number, f"caption is not a list but {type(captions).__name__}")
    odd = next((place for place, text in enumerate(captions, 1) if not isinstance(text, str)), None)
    if odd is not None:
        return Fault(number, f"text {odd} is not a string but {type(captions[odd - 1]).__name__}")
    if b"\\u" in data and not _is_unicode([image, *captions]):
        return Fault(number, "half of a surrogate pair")
    return Line(number, image, captions)


def _is_unicode(texts: Sequence[str]) -> bool:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_multitext(path: Path, m: int | None = None) -> Iterator[Line]:
    """The lines, each with exactly `m` texts that are not blank (None: as many as the header says, else as the first line has).

    Raises UserError naming the first line that is not so.
    """
    header = read_header(path)
    m = m or (header.m if header else None)
    for line in scan_multitext(path):
        if isinstance(line, Fault):
            raise UserError(f"{path}, line {line.number}: {line.detail}. Look at all faults: shardmill check-multitext {path}")
        m = m or len(line.captions)
        blank = [place for place, text in enumerate(line.captions, 1) if not text.strip()]
        if len(line.captions) != m or blank:
            what = f"text {blank[0]} is empty" if blank else f"{len(line.captions)} texts where {m} are due"
            raise UserError(f"{path}, line {line.number}: {what}. Look at all faults: shardmill check-multitext {path}")
        yield line
