"""The names of the files of one shard of one stage, and of the images that it generates."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shardmill.store.cells import Kind

ATTEMPT = re.compile(r"\.([0-9]{13}-[^./]+)\.")
REJECTS: dict[str, Kind] = {"reason": "text", "detail": "text", "raw": "text", "attempts": "int"}
"""The columns of a rejects file after its keys."""
INGEST_REJECTS: dict[str, Kind] = {"row_id": "int", "line": "int", **REJECTS}
"""The columns of a rejects file of ingest."""
BEGUN = re.compile(r"part-(\d+)-of-(\d+)\.[^/]+\.(?:journal|tmp)")


def begun_shards(folder: Path, count: int) -> set[int]:
    """The shards of which attempts have left something in the folder of a stage of `count` shards; it is listed once."""
    try:
        with os.scandir(folder) as entries:
            matches = [match for entry in entries if (match := BEGUN.fullmatch(entry.name)) and int(match[2]) == count]
    except FileNotFoundError:
        return set()
    return {shard for match in matches if (shard := int(match[1])) < count}


def generated_image_path(run_folder: Path, value: str) -> str:
    """The absolute path of an image from the column `generated_image`, which starts from the run's folder. No file is read.

    A path that leads out of the run is taken as one from the run's folder all the same, where there is no such file.
    """
    root = os.path.abspath(run_folder)
    path = os.path.abspath(run_folder / value)
    return path if path.startswith(root + os.sep) else os.path.join(root, path.lstrip(os.sep))


@dataclass(frozen=True)
class ShardFiles:
    """Where shard `index` of `count` of a stage lives: `part-00003-of-00016.csv` and the files beside it."""

    folder: Path
    index: int
    count: int
    format: str = "csv"

    @property
    def stem(self) -> str:
        return f"part-{self.index:05d}-of-{self.count:05d}"

    @property
    def part(self) -> Path:
        return self.folder / f"{self.stem}.{self.format}"

    @property
    def rejects(self) -> Path:
        return self.folder / f"{self.stem}.rejects.csv"

    @property
    def manifest(self) -> Path:
        return self.folder / f"{self.stem}.json"

    def journal(self, attempt: str) -> Path:
        return self.folder / f"{self.stem}.{attempt}.journal"

    def staged(self, attempt: str) -> Staged:
        return Staged(*(self.folder / f"{self.stem}.{attempt}.{what}.tmp" for what in ("part", "rejects", "manifest")))

    def journals(self) -> list[Path]:
        """The journals of all attempts, oldest first."""
        return self._beside(self.folder, ".journal")

    def staged_attempts(self) -> list[str]:
        """The attempts that got as far as a manifest of their own, oldest first."""
        found = self._beside(self.folder, ".manifest.tmp")
        return sorted(match[1] for path in found if (match := ATTEMPT.search(path.name)))

    def leases(self) -> list[Path]:
        """The leases on blocks of rows of this shard."""
        return self._beside(self.leases_folder, ".claim")

    @property
    def leases_folder(self) -> Path:
        """Not the stage's own folder: this one is listed often, and has few files."""
        return self.folder.parent / "jobs" / "claims" / self.folder.name

    def temporaries(self) -> list[Path]:
        """Everything that attempts leave and that is not needed once there is a manifest."""
        return self._beside(self.folder, ".journal", ".tmp") + self._beside(self.leases_folder, ".claim", ".tmp")

    def _beside(self, folder: Path, *suffixes: str) -> list[Path]:
        """The files of this shard with these suffixes in a folder, sorted; no links or pipes, which only others leave there.

        It is listed once: it may have 100,000 names.
        """
        start = f"{self.stem}."
        try:
            with os.scandir(folder) as entries:
                ours = (entry for entry in entries if entry.name.startswith(start) and entry.name.endswith(suffixes))
                names = [entry.name for entry in ours if entry.is_file(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [folder / name for name in sorted(names)]


class Staged(NamedTuple):
    """The finished files of one attempt before they get their final names."""

    part: Path
    rejects: Path
    manifest: Path
