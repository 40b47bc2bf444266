"""The images of a run: found where the run itself reads them, checked, and copied under names made of row_ids.

The values of an image column are untrusted. They never become part of a path that is written, a generated image is only looked
for inside the run's folder, and bytes that are not an image are never passed on.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from shardmill.export.folder import MAKING
from shardmill.models.archives import is_member
from shardmill.models.images import UnreadableImage, decode, format_of, read
from shardmill.store.image_columns import RUN_IMAGES
from shardmill.store.run_folder import RunFolder
from shardmill.tables.parquet_images import check_embedded
from shardmill.util.atomic import new_attempt, write_durably
from shardmill.util.errors import UserError

SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}
THREADS, MAX_WAITING = 8, 32
"""Threads that read images, and how many images may wait in memory."""
ROWS_PER_FOLDER = 10_000
IMAGES = "images"
"""The folder of copied images in an export."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ExportImage:
    """The bytes of an image file as they are, and its size upright."""

    data: bytes
    suffix: str
    width: int
    height: int


@dataclass(frozen=True)
class ExportImages:
    """The images that a column of a run names."""

    run: RunFolder
    column: str

    def reference(self, value: str | None) -> str:
        """What `models.images` opens, absolute: as the run itself resolves it. Raises UnreadableImage."""
        if not value:
            raise UnreadableImage("the row names no image")
        if self.column not in RUN_IMAGES:
            check_embedded(self.run.plan, [value])
            return os.path.join(self.run.plan.input.image_root, value)
        inside = PurePosixPath(value)
        if inside.is_absolute() or ".." in inside.parts:
            raise UnreadableImage(f"a generated image outside of the run's folder: {value}")
        return str(self.run.path.resolve() / inside)

    def path(self, value: str | None) -> str:
        """The absolute path, for a trainer to open. Raises UserError for an image inside an archive."""
        reference = self.reference(value)
        if is_member(reference):
            raise UserError(
                f"{value} is inside an archive, which trainers do not open by this name; "
                "copy the images with --images copy, or take --format webdataset"
            )
        return reference

    def load(self, value: str | None) -> ExportImage:
        """The image, decoded once to check it. Raises UnreadableImage."""
        reference = self.reference(value)
        data = read(reference)
        width, height = decode(data, reference).size
        return ExportImage(data, suffix_of(data), width, height)


def suffix_of(data: bytes) -> str:
    """The usual suffix of an image file, by its content."""
    name = format_of(data)
    return SUFFIXES.get(name, name.lower())


def copied_path(row_id: int, suffix: str) -> str:
    """The path of the copy of a row's image in an export.

    >>> copied_path(12_345, "jpg")
    'images/00001/000000012345.jpg'
    """
    return f"{IMAGES}/{row_id // ROWS_PER_FOLDER:05d}/{row_id:012d}.{suffix}"


def copy_image(image: ExportImage, row_id: int, folder: Path) -> str:
    """Copy an image into an export atomically, unless it is there already; returns its path there."""
    name = copied_path(row_id, image.suffix)
    target = folder / name
    if target.is_file() and target.stat().st_size == len(image.data) and target.read_bytes() == image.data:
        return name
    temporary = folder / MAKING / f"{target.name}.{new_attempt()}"
    for parent in (target.parent, temporary.parent):
        parent.mkdir(parents=True, exist_ok=True)
    write_durably(temporary, image.data)
    os.replace(temporary, target)
    return name


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """Each item with the function's result, in order, while threads work on the next ones."""
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) >= MAX_WAITING:
                first, result = waiting.popleft()
                yield first, result.result()
        while waiting:
            first, result = waiting.popleft()
            yield first, result.result()
