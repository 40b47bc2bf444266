"""Writes multi-text files: `{"image": path, "caption": [t1..tM]}` per line, and a header beside it that describes t1..tM.

Training pairs vector i of an image with text i, so each line must have exactly M texts and each position one meaning. The lines
alone do not say which; for `multi.jsonl` the file `multi.header.json` does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, NoReturn

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError

Missing = Literal["drop", "pad", "fail"]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")
_encode = json.JSONEncoder(ensure_ascii=False).encode
NOTHING: Mapping[str, Any] = MappingProxyType({})


class TextSlot(BaseModel):
    """The text at one position of `caption`: its name and, where known, the model and prompt that wrote it."""

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


def header_path(path: Path) -> Path:
    """The path of the header of a data file.

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
            raise UserError(f"the text {name!r} is named twice; each position of a line has a meaning of its own")
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
        """A header of other data must not be beside these, not even after a crash between the two."""
        if error is None:
            header_path(self.path).unlink(missing_ok=True)

    def write(self, image: str, captions: Sequence[str | None], others: Mapping[str, Any] = NOTHING) -> bool:
        """One line with one text for each position, and further fields; returns whether it was written."""
        if len(captions) != len(self.names):
            raise ValueError(f"{len(captions)} texts of {image}, where {len(self.names)} positions are declared")
        lacking = [position for position, text in enumerate(captions) if text is None or not text.strip()]
        if lacking:
            stand_in = next((captions[position] for position in self._from if position not in lacking), None)
            if self._missing == "fail":
                self._refuse(image, lacking)
            self._count(self.counts.dropped if stand_in is None else self.counts.padded, lacking)
            if stand_in is None:
                self.counts.dropped_lines += 1
                return False
            captions = [stand_in if position in lacking else text for position, text in enumerate(captions)]
        line = _encode({"image": image, "caption": list(captions), **others}) + "\n"
        self._append(line.encode("utf-8"), 1)
        return True

    def write_columns(self, images: pl.Series, captions: Sequence[pl.Series]) -> None:
        """As `write`, many lines at a time and much quicker.

        Args:
            images: The path of each line's image.
            captions: For each position of a line a column of texts, null where one is missing; none of them is blank.
        """
        columns = [f"text {at}" for at in range(len(self.names))]
        table = pl.DataFrame([images.alias("image"), *(texts.alias(name) for name, texts in zip(columns, captions, strict=True))])
        lacking = table.filter(pl.any_horizontal(pl.col(columns).is_null()))
        if lacking.height:
            if self._missing == "fail":
                image, *found = lacking.row(0)
                self._refuse(image, [at for at, text in enumerate(found) if text is None])
            stand_in = pl.coalesce([columns[at] for at in self._from] or pl.lit(None, pl.String))
            for counts, some in (
                (self.counts.dropped, lacking.filter(stand_in.is_null())),
                (self.counts.padded, lacking.filter(stand_in.is_not_null())),
            ):
                for name, column in zip(self.names, columns, strict=True):
                    counts[name] += some[column].null_count()
            self.counts.dropped_lines += lacking.filter(stand_in.is_null()).height
            table = table.with_columns(pl.col(columns).fill_null(stand_in)).drop_nulls(columns)
        texts = pl.concat_str([_json_text(column) for column in columns], separator=", ")
        lines = table.select(
            pl.concat_str(pl.lit('{"image": '), _json_text("image"), pl.lit(', "caption": ['), texts, pl.lit("]}\n"))
        )
        self._append(lines.to_series().str.join().item().encode("utf-8") if table.height else b"", table.height)

    def _append(self, data: bytes, lines: int) -> None:
        self._file.write(data)
        self._sha.update(data)
        self._size += len(data)
        self.counts.lines += lines

    def _refuse(self, image: str, lacking: Iterable[int]) -> NoReturn:
        names = ", ".join(self.names[at] for at in lacking)
        raise UserError(f"{image} has no text for {names}. Leave such images out (drop), or fill in another text (pad).")

    def decided(self, missing: Missing, fallback: Sequence[str]) -> None:
        """What was done about missing texts before the lines came here, for the header; `counts` are then the caller's."""
        self._missing, self._fallback = missing, list(fallback)

    def _count(self, by_text: dict[str, int], positions: Iterable[int]) -> None:
        for position in positions:
            by_text[self.names[position]] += 1

    def header(self) -> MultiTextHeader:
        """The header of the lines so far."""
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


def _json_text(column: str) -> pl.Expr:
    """A column of texts as JSON strings, with the escapes of `json.dumps(text, ensure_ascii=False)`."""
    prefix = '{"":'  # Polars encodes structs only
    return pl.struct(pl.col(column).alias("")).struct.json_encode().str.slice(len(prefix)).str.strip_suffix("}")


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
            f"{beside} is not a header of a multi-text file: {where}: {first['msg']}. Remove it, or make it again."
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
