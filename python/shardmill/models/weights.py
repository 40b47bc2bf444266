"""A digest of the weights in a folder: a folder has no revision, and its files may be replaced."""

from __future__ import annotations

import os
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

SMALL = 1 << 20
PIECES, PIECE = 16, 1 << 16
"""Of a large file so many pieces of so many bytes are read, evenly spread: reading all of it would take minutes."""

State = tuple[tuple[str, int, int], ...]


def weights_digest(folder: Path) -> str:
    """A digest of the files of a model's folder: names, sizes, all of small files, and pieces of large ones."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    files = {name.as_posix(): path for name, path in found.items() if not any(part.startswith(".") for part in name.parts)}
    state = tuple(sorted((name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in files.items()))
    return _digest(folder, state)


@lru_cache(maxsize=16)
def _digest(folder: Path, state: State) -> str:
    seen = sha256()
    for name, size, _ in state:
        seen.update(f"{name} {size} ".encode("utf-8", "surrogateescape"))
        with open(folder / name, "rb") as file:
            if size <= SMALL:
                seen.update(file.read())
                continue
            for piece in range(PIECES):
                file.seek(piece * (size - PIECE) // (PIECES - 1), os.SEEK_SET)
                seen.update(file.read(PIECE))
    return seen.hexdigest()
