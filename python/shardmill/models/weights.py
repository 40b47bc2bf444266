"""Which weights a model has: a digest of those in a folder, the commit of those from the Hugging Face hub."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from shardmill.util.errors import UserError

SMALL = 1 << 20
PIECES, PIECE = 16, 1 << 16
"""Of a large file so many pieces of so many bytes are read, evenly spread: reading all of it would take minutes."""

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A commit of the hub: the only name of weights that always means the same ones."""
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
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


def is_hub_name(model: str) -> bool:
    """Whether a model is named by an id on the hub, and not by a path."""
    return _HUB_NAME.fullmatch(model) is not None and not model.startswith(".") and not Path(model).expanduser().exists()


def cached_commit(model: str, revision: str | None) -> str | None:
    """The commit that a revision of a hub model stands for in the local cache, which is where libraries load it from.

    Args:
        model: The id on the hub.
        revision: A commit, tag or branch; `main` if None.

    Returns:
        The commit; None if the cache does not have the model.
    """
    if revision and COMMIT.fullmatch(revision):
        return revision
    folder = _hub_cache() / f"models--{model.replace('/', '--')}" / "refs"
    try:
        found = (folder / (revision or "main")).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return found if COMMIT.fullmatch(found) else None


def _hub_cache() -> Path:
    """The cache of huggingface_hub, by the rules of that library, which need not be installed here."""
    if found := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(found).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def refuse_code(model: str) -> None:
    """Raise UserError for a folder of weights with Python files in it, for libraries that would run them without asking."""
    folder = Path(model).expanduser()
    code = next((path for path in sorted(folder.rglob("*.py"))), None) if folder.is_dir() else None
    if code is not None:
        raise UserError(f"{code} in the folder of weights would be run; move the Python files out of {model} if it needs none")
