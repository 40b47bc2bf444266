"""The names of the files of one shard of one stage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ATTEMPT = re.compile(r"\.([0-9]{13}-[^./]+)\.")


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
        return sorted(self.folder.glob(f"{self.stem}.*.journal"))

    def staged_attempts(self) -> list[str]:
        """The attempts that got as far as a manifest of their own, oldest first."""
        found = self.folder.glob(f"{self.stem}.*.manifest.tmp")
        return sorted(match[1] for path in found if (match := ATTEMPT.search(path.name)))

    def claims(self) -> list[Path]:
        """The claims on blocks of rows of this shard."""
        return sorted(self.claims_folder.glob(f"{self.stem}.block-*.claim"))

    @property
    def claims_folder(self) -> Path:
        """Not the stage's own folder: this one is listed often, and has few files."""
        return self.folder.parent / "jobs" / "claims" / self.folder.name

    def temporaries(self) -> list[Path]:
        """Everything that attempts leave and that is of no use once the manifest stands."""
        return [
            *self.journals(),
            *sorted(self.folder.glob(f"{self.stem}.*.tmp")),
            *self.claims(),
            *sorted(self.claims_folder.glob(f"{self.stem}.*.tmp")),
        ]


@dataclass(frozen=True)
class Staged:
    """The finished files of one attempt before they get their final names."""

    part: Path
    rejects: Path
    manifest: Path
