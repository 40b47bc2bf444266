"""Pictures as a table: a folder of them, or of WebDataset tar files, or one such file. A text beside a picture is its caption."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from shardmill.tables.base import UNDECODABLE, BadRecord, Batch, BatchBuilder, Table, raw_text
from shardmill.util.errors import UserError

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
FIRST = 1_000
LONGEST_CAPTION = 1 << 20

Entry = tuple[str, int, Callable[[], bytes]]
"""A file: its reference, its size, and how to read it."""


class ImageTable(Table):
    """One record for each picture, in the order of names: `image`, from the folder, or `SHARD.tar::MEMBER`; and `caption`, the
    text of a .txt file of the same name, unless none of the first 1,000 pictures has one. The line of a record is its ordinal,
    from 1.
    """

    format = "pictures"

    def __init__(self, path: Path) -> None:
        super().__init__(path, ["image", "caption"], "utf-8")
        first = list(islice(self._pictures(), FIRST))
        if first and all(text is None for _, text in first):
            self.columns = ["image"]
        if not first:
            kind = "folder" if path.is_dir() else "tar file"
            raise UserError(
                f"{path} is a {kind} without pictures ({', '.join(sorted(PICTURES))}); give a table, or a folder with pictures"
            )

    def _batches(self) -> Iterator[Batch]:
        builder = BatchBuilder(self.columns)
        for row_id, (image, text) in enumerate(self._pictures()):
            try:
                image.encode("utf-8")
                caption = text().decode("utf-8") if text else None
            except UnicodeError as error:
                builder.add_bad(
                    BadRecord(row_id, row_id + 1, UNDECODABLE, str(error)[:200], raw_text(image.encode("utf-8", "replace")))
                )
            else:
                builder.add(row_id, row_id + 1, [image, caption and caption.strip()][: len(self.columns)], len(image))
            if builder.full:
                yield builder.take()
        yield builder.take()

    def digest(self) -> tuple[str, int]:
        """SHA-256 (hex) of names and sizes of the files that count, and their bytes in all: reading them would take hours."""
        sha, total = hashlib.sha256(), 0
        for name, size, _ in _files(self.path):
            if Path(name).suffix.lower() not in {*PICTURES, ".txt", ".tar"}:
                continue
            sha.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
            total += size
        return sha.hexdigest(), total

    def _pictures(self) -> Iterator[tuple[str, Callable[[], bytes] | None]]:
        """Each picture, and how to read the text beside it, if there is one."""
        if self.path.is_dir():
            yield from _with_texts(each for each in _files(self.path) if not each[0].endswith(".tar"))
        for name, _, _ in _files(self.path):
            if name.endswith(".tar"):
                yield from _with_texts(_members(self.path / name if self.path.is_dir() else self.path, name))


def _files(path: Path) -> Iterator[Entry]:
    """All files below a folder, each folder's in the order of their names; or the one file."""
    if not path.is_dir():
        yield path.name, path.stat().st_size, path.read_bytes
        return
    for inner in sorted(path.iterdir()):
        if inner.name.startswith("."):
            continue
        if inner.is_dir():
            yield from ((f"{inner.name}/{name}", size, read) for name, size, read in _files(inner))
        elif inner.is_file():
            yield inner.name, inner.stat().st_size, inner.read_bytes


def _members(path: Path, name: str) -> Iterator[Entry]:
    """The files in a tar, in its order: WebDataset keeps the files of one sample next to each other."""
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isreg():
                    yield f"{name}::{member.name}", member.size, lambda member=member: _read(tar, member)  # type: ignore[misc]
    except (tarfile.TarError, OSError) as error:
        raise UserError(f"{path} is not a plain tar file: {error}; unpack a compressed one first") from error


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read(LONGEST_CAPTION) if file else b""


def _with_texts(files: Iterator[Entry]) -> Iterator[tuple[str, Callable[[], bytes] | None]]:
    """The pictures among files, each with the reader of the text of the same name, which is next to it in their order."""
    stem = ""
    pictures: list[str] = []
    text: Callable[[], bytes] | None = None
    for name, _, read in files:
        suffix = Path(name).suffix.lower()
        own = name[: len(name) - len(suffix)]
        if own != stem:
            yield from ((picture, text) for picture in pictures)
            stem, pictures, text = own, [], None
        if suffix in PICTURES:
            pictures.append(name)
        elif suffix == ".txt":
            text = _kept(read)
    yield from ((picture, text) for picture in pictures)


def _kept(read: Callable[[], bytes]) -> Callable[[], bytes]:
    """Read at once: a tar is open only while its members pass by."""
    data = read()[:LONGEST_CAPTION]
    return lambda: data
