"""Pictures as a table: a folder of them, or of WebDataset tar files, or one such file. A text beside a picture is its caption."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from shardmill.tables.base import UNDECODABLE, BadRecord, Batch, BatchBuilder, Table, raw_text
from shardmill.tables.sniff import TABLE_SUFFIXES
from shardmill.util.compressed import inner_suffix
from shardmill.util.errors import UserError, name_list
from shardmill.util.image_formats import image_suffixes
from shardmill.util.tars import REPLACED, DamagedTar, read_tar

UNREADABLE_TEXT = "unreadable text"
FIRST = 1_000
MAX_CAPTION_BYTES = 1 << 20
TEXT, TAR = ".txt", ".tar"
PART_OF_SAMPLE = re.compile(r"(?:\.[A-Za-z][A-Za-z_-]*)+")
"""What is between the key of a WebDataset sample and the suffix of a picture that belongs to it: `0001.seg.png`."""


class NoPictures(UserError):
    """A folder or a tar file without pictures."""


class Entry(NamedTuple):
    """A file: its reference, its size, and how to read it."""

    name: str
    size: int
    read: Callable[[], bytes]


class Picture(NamedTuple):
    """A picture, and how to read the text beside it, if there is one."""

    name: str
    text: Callable[[], bytes] | None


class ImageTable(Table):
    """One record for each picture, in the order of names: `image`, from the folder, or `SHARD.tar::MEMBER`; and `caption`, the
    text of a .txt file of the same name, unless none of the first 1,000 pictures has one. The line of a record is its ordinal,
    from 1.

    The files up to the first dot of whose names are the same are a sample, as in WebDataset: a picture with a further word in its
    name (`0001.seg.png` beside `0001.jpg`) that has no text of its own is a part of it and no record.
    """

    format = "pictures"

    def __init__(self, path: Path) -> None:
        super().__init__(path, ["image", "caption"], "utf-8")
        self._suffixes = image_suffixes()
        first = list(islice(self._pictures(), FIRST))
        if path.is_dir() and (tables := [each.name for each in path.iterdir() if inner_suffix(each) in TABLE_SUFFIXES]):
            self.remarks.append(f"it also has {name_list(sorted(tables), 3)}; to read a table, name it as the input")
        if first and all(text is None for _, text in first):
            self.columns = ["image"]
        if not first:
            kind = "folder" if path.is_dir() else "tar file"
            remarks = "".join(f" ({note})" for note in self.notes())
            raise NoPictures(f"{path} is a {kind} without pictures{remarks}; give a table, or a folder with pictures")

    def _batches(self) -> Iterator[Batch]:
        builder = BatchBuilder(self.columns)
        for row_id, (image, text) in enumerate(self._pictures()):
            try:
                image.encode("utf-8")
                caption = text().decode("utf-8") if text else None
            except (UnicodeError, OSError) as error:
                reason = UNDECODABLE if isinstance(error, UnicodeError) else UNREADABLE_TEXT
                raw = raw_text(image.encode("utf-8", "replace"))
                builder.add_bad(BadRecord(row_id, row_id + 1, reason, str(error)[:200], raw))
            else:
                builder.add(row_id, row_id + 1, [image, caption and caption.strip()][: len(self.columns)], len(image))
            if builder.full:
                yield builder.take()
        yield builder.take()

    def digest(self) -> tuple[str, int]:
        """SHA-256 (hex) of names and sizes of the files that count, and their bytes in all: reading them would take hours."""
        sha, total = hashlib.sha256(), 0
        for name, size, _ in chain.from_iterable(self._folder_samples()):
            if _suffix(name) not in {*self._suffixes, TEXT, TAR}:
                continue
            sha.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
            total += size
        return sha.hexdigest(), total

    def _pictures(self) -> Iterator[Picture]:
        """Each picture, those in tars last. What is passed over is counted anew."""
        self.passed_over.clear()
        tars: list[Entry] = []
        for sample in self._folder_samples():
            tars += (entry for entry in sample if _suffix(entry.name) == TAR)
            yield from self._of_sample([entry for entry in sample if _suffix(entry.name) != TAR])
        for tar in tars:
            for sample in self._tar_samples(tar.name):
                yield from self._of_sample(sample)

    def _of_sample(self, sample: Iterable[Entry]) -> Iterator[Picture]:
        """The pictures of a sample with their texts."""
        by_suffix = [(entry, *_name_parts(entry.name)) for entry in sample]
        texts = {stem: entry for entry, _, stem, suffix in by_suffix if suffix == TEXT}
        pictures = [each for each in by_suffix if each[3] in self._suffixes]
        has_plain = any(stem == key for _, key, stem, _ in pictures)
        used = set()
        for entry, key, stem, _ in pictures:
            is_part = has_plain and stem not in texts and PART_OF_SAMPLE.fullmatch(stem[len(key) :])
            if is_part:
                continue
            text = texts.get(stem) or (texts.get(key) if len(pictures) == 1 else None)
            used |= {entry.name} | ({text.name} if text else set())
            yield Picture(entry.name, text and text.read)
        for entry, key, stem, suffix in by_suffix:
            if entry.name not in used:
                self.passed_over[f"{stem[len(key) :]}{suffix}" or "files without a suffix"] += 1

    def _folder_samples(self) -> Iterator[list[Entry]]:
        """The files below the folder by sample, each folder's in the order of names; or the one file.

        Each folder is read once, and none above this one, wherever links lead.
        """
        if not self.path.is_dir():
            yield [Entry(self.path.name, self.path.stat().st_size, self.path.read_bytes)]
            return
        seen = {(found.st_dev, found.st_ino) for found in map(os.stat, self.path.resolve().parents)}
        open_folders = [self._listing("", seen)]
        while open_folders:
            found = next(open_folders[-1], None)
            if found is None:
                open_folders.pop()
            elif isinstance(found, str):
                open_folders.append(self._listing(found, seen))
            else:
                yield found

    def _listing(self, prefix: str, seen: set[tuple[int, int]]) -> Iterator[str | list[Entry]]:
        """The samples and the folders in a folder."""
        folder = self.path / prefix
        try:
            stat, paths = folder.stat(), sorted(folder.iterdir())
        except OSError as error:
            raise UserError(f"{folder} cannot be read: {error.strerror}") from None
        if (stat.st_dev, stat.st_ino) in seen:
            self.passed_over["links to folders that were read already"] += 1
            return
        seen.add((stat.st_dev, stat.st_ino))
        samples: dict[str, list[Entry]] = {}
        order: list[str | list[Entry]] = []
        for path in paths:
            name = path.name
            if name.startswith("."):
                self.passed_over["hidden files"] += 1
            elif path.is_dir():
                order.append(f"{prefix}{name}/")
            elif path.is_file():
                key = _name_parts(name)[0]
                if key not in samples:
                    samples[key] = []
                    order.append(samples[key])
                samples[key].append(Entry(f"{prefix}{name}", path.stat().st_size, _reader(path)))
            else:
                self.passed_over["links that lead nowhere, devices and pipes"] += 1
        yield from order

    def _tar_samples(self, name: str) -> Iterator[list[Entry]]:
        """The files in a tar by sample, in the order in which these begin: their files need not be next to each other."""
        path = self.path / name if self.path.is_dir() else self.path
        try:
            found = read_tar(path)
        except DamagedTar as error:
            raise UserError(str(error)) from error
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        if found.passed_over[REPLACED]:
            raise UserError(f"{path} has several members with the same name, and rows name images by member; unpack it")
        self.passed_over.update(found.passed_over)
        samples: dict[str, list[Entry]] = {}
        for member, (offset, size) in found.members.items():
            folder, _, base = member.rpartition("/")
            if base.startswith("."):
                self.passed_over["hidden files"] += 1
                continue
            entry = Entry(f"{name}::{member}", size, _reader(path, offset, size))
            samples.setdefault(f"{folder}/{_name_parts(base)[0]}", []).append(entry)
        yield from samples.values()


def _name_parts(name: str) -> tuple[str, str, str]:
    """The name of a file up to its first dot, up to its last, and its suffix in lower case.

    >>> _name_parts("a.tar::b.c/0001.seg.PNG")
    ('0001', '0001.seg', '.png')
    """
    base = PurePosixPath(name.rpartition("/")[2].rpartition("::")[2])
    return base.name.partition(".")[0], base.stem, base.suffix.lower()


def _suffix(name: str) -> str:
    return _name_parts(name)[2]


def _reader(path: Path, offset: int = 0, size: int = MAX_CAPTION_BYTES) -> Callable[[], bytes]:
    """What reads the start of a file, or of a part of it."""

    def read() -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(min(size, MAX_CAPTION_BYTES))

    return read
