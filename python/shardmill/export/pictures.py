"""The pictures of a run: found where the run itself reads them, checked, and copied under names made of row ids.

What stands in a picture column is data that nobody vouches for. It never becomes part of a path that is written, a painted
picture is only looked for inside the run's folder, and bytes that are no picture are never passed on.
"""

from __future__ import annotations

import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from PIL import Image

from shardmill.export.folder import MAKING
from shardmill.models.archives import is_member
from shardmill.models.images import UnreadableImage, decode, known_formats, read
from shardmill.store.atomic import new_attempt, write_durably
from shardmill.store.run_folder import RunFolder
from shardmill.tables.parquet_images import check_embedded
from shardmill.util.errors import UserError

SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}
GENERATED = "generated_image"
WORKERS, WAITING = 8, 32
"""Threads that read pictures, and how many pictures wait in memory."""
A_FOLDER = 10_000
"""Row ids of which the pictures share a folder."""

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class ExportImage:
    """The bytes of an image file as they are, and its size upright."""

    data: bytes
    suffix: str
    width: int
    height: int


@dataclass(frozen=True)
class ExportImages:
    """The pictures that a column of a run names."""

    run: RunFolder
    column: str

    def reference(self, value: str | None) -> str:
        """What `models.images` opens, absolute: as the run itself resolves it. Raises UnreadableImage."""
        if not value:
            raise UnreadableImage("the row names no picture")
        if self.column != GENERATED:
            check_embedded(self.run.plan, [value])
            return os.path.join(self.run.plan.input.image_root, value)
        inside = PurePosixPath(value)
        if inside.is_absolute() or ".." in inside.parts:
            raise UnreadableImage(f"a painted picture outside of the run's folder: {value}")
        return str(self.run.path.resolve() / inside)

    def path(self, value: str | None) -> str:
        """The absolute path, for a trainer to open. Raises UserError for a picture inside an archive."""
        reference = self.reference(value)
        if is_member(reference):
            raise UserError(f"{value} lies inside an archive, where trainers do not look; take the pictures along: --images copy")
        return reference

    def load(self, value: str | None) -> ExportImage:
        """The picture, whole and of a known kind. Raises UnreadableImage."""
        reference = self.reference(value)
        data = read(reference)
        width, height = decode(data, reference).size
        return ExportImage(data, suffix_of(data), width, height)


def suffix_of(data: bytes) -> str:
    """The usual ending of an image file, by its content."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=known_formats()) as image:
            name = image.format or ""
    return SUFFIXES.get(name, name.lower())


def copied_name(row_id: int, suffix: str) -> str:
    """Where the copy of a row's picture lies in an export.

    >>> copied_name(12_345, "jpg")
    'images/00001/000000012345.jpg'
    """
    return f"images/{row_id // A_FOLDER:05d}/{row_id:012d}.{suffix}"


def copy(picture: ExportImage, row_id: int, folder: Path) -> str:
    """Put a picture into an export, whole or not at all; one that is there already stays. Returns its name there."""
    name = copied_name(row_id, picture.suffix)
    target = folder / name
    if target.is_file() and target.stat().st_size == len(picture.data) and target.read_bytes() == picture.data:
        return name
    temporary = folder / MAKING / f"{target.name}.{new_attempt()}"
    for parent in (target.parent, temporary.parent):
        parent.mkdir(parents=True, exist_ok=True)
    write_durably(temporary, picture.data)
    os.replace(temporary, target)
    return name


def ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[tuple[Item, Made]]:
    """Each item with what is made of it, in order, while threads make the next ones."""
    waiting: deque[tuple[Item, Future[Made]]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        for item in items:
            waiting.append((item, pool.submit(make, item)))
            if len(waiting) >= WAITING:
                first, made = waiting.popleft()
                yield first, made.result()
        while waiting:
            first, made = waiting.popleft()
            yield first, made.result()
