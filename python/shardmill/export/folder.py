"""The folder of an export: what is in it, what was left out and why, and how far an interrupted one got.

export.json           what was exported, of which parts, with the digest of each file; written last
left_out.jsonl        a line for each row that is not in it, with the reason; absent if there is none
export.progress.jsonl while it is being made: what is made, and what is finished of it
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from shardmill import __version__
from shardmill.store.atomic import file_digest, make_folder, replacing, sync_folder
from shardmill.util.errors import UserError

RECORD, PROGRESS, LEFT_OUT = "export.json", "export.progress.jsonl", "left_out.jsonl"
SPOOL, MAKING = f".{LEFT_OUT}.part", ".making"
"""What is there only while an export is made: the list of what is left out so far, and files that are not whole yet."""


class LeftOut:
    """Rows that are not exported, written down as they are met: memory does not grow with them."""

    def __init__(self, path: Path):
        self.counts: Counter[str] = Counter()
        self._path = path
        self._file: IO[bytes] = open(path, "ab+")  # noqa: SIM115 (open as long as the export is made)

    def add(self, reason: str, row_id: int, detail: str, sub_id: int | None = None) -> None:
        self.counts[reason] += 1
        line = {"row_id": row_id, **({} if sub_id is None else {"sub_id": sub_id}), "reason": reason, "detail": detail}
        self._file.write((json.dumps(line) + "\n").encode("utf-8"))

    def mark(self) -> dict[str, Any]:
        """How much is written down now, for `back_to`."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"bytes": self._file.tell(), "counts": dict(self.counts)}

    def back_to(self, mark: Mapping[str, Any]) -> None:
        """Forget what was written down after a mark."""
        self._file.truncate(mark["bytes"])
        self._file.seek(0, os.SEEK_END)
        self.counts = Counter(mark["counts"])

    def close(self) -> None:
        self._file.close()

    def finish(self, final: Path) -> None:
        """Give the list its name, if it has any line."""
        self.mark()
        self.close()
        if self.counts:
            os.replace(self._path, final)
        else:
            self._path.unlink()
            final.unlink(missing_ok=True)


@dataclass
class ExportFolder:
    """An export under way. `identity` says what is made; `progress` holds what an earlier attempt at the same had finished.

    `files` are the finished data files, by name: rows, and digest and size where they are known already.
    """

    path: Path
    identity: dict[str, Any]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    progress: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def open(self) -> dict[str, Any] | None:
        """Make ready to write; the record of a finished export of the same if there is one.

        Raises UserError where the folder holds anything else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; name a folder with --out")
        record = self._finished()
        if record is not None:
            self._tidy()
            return record
        lines = _lines(self.path / PROGRESS)
        if not lines and self.path.is_dir() and any(path.name != PROGRESS for path in self.path.iterdir()):
            raise UserError(f"{self.path} holds other files; name a folder of its own with --out")
        if lines:
            self._check(lines[0])
        make_folder(self.path)
        self.progress = lines[1:]
        if not lines:
            self.note(self.identity)
        self.left_out = LeftOut(self.path / SPOOL)
        sync_folder(self.path)
        if not self.progress:
            self.left_out.back_to({"bytes": 0, "counts": {}})
        return None

    def note(self, entry: Mapping[str, Any]) -> None:
        """Write down durably what is finished."""
        with open(self.path / PROGRESS, "ab") as file:
            file.write((json.dumps(entry) + "\n").encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path)

    def finish(self) -> dict[str, Any]:
        """Write the record: the export is whole."""
        self.left_out.finish(self.path / LEFT_OUT)
        for name, entry in self.files.items():
            path = self.path / name
            entry.setdefault("bytes", path.stat().st_size)
            entry.setdefault("sha256", file_digest(path))
        for folder, _, _ in os.walk(self.path):
            sync_folder(Path(folder))
        record = {**self.identity, **self.facts, "left_out": dict(sorted(self.left_out.counts.items())), "files": self.files}
        with replacing(self.path / RECORD) as file:
            file.write((json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
        self._tidy()
        return record

    def _tidy(self) -> None:
        """Remove what is of no use once the record stands, whoever left it."""
        shutil.rmtree(self.path / MAKING, ignore_errors=True)
        for torn in (self.path / SPOOL, *self.path.glob(".*.tmp"), *self.path.glob("data/.*.tmp"), self.path / PROGRESS):
            torn.unlink(missing_ok=True)

    def _finished(self) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads((self.path / RECORD).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            raise UserError(f"{self.path / RECORD} is damaged; remove the folder and export again") from None
        self._check(record)
        for name, entry in record["files"].items():
            path = self.path / name
            if not path.is_file() or path.stat().st_size != entry["bytes"]:
                raise UserError(f"{path} is missing or changed; remove the folder {self.path} and export again")
        return record

    def _check(self, found: Mapping[str, Any]) -> None:
        """Raises UserError naming the first thing in which another export in this folder differs."""
        for key, value in self.identity.items():
            if found.get(key) != value:
                raise UserError(
                    f"{self.path} holds another export: its {key.replace('_', ' ')} is {short(found.get(key))}, "
                    f"not {short(value)}; name another folder with --out, or remove that one"
                )


def identity_of(format: str, pipeline: str, digests: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    """What tells an export apart from others: `digests` of what it is made of, by name, and its options."""
    return {
        "shardmill_export": 1,
        "format": format,
        "pipeline": pipeline,
        "what": list(digests),
        "run_digest": dict(digests),
        "options": dict(options),
        "code_version": __version__,
    }


def short(value: Any) -> str:
    """A value for a message."""
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a progress file; one that was cut off does not count."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError:
        raise UserError(f"{path} is damaged; remove the folder {path.parent} and export again") from None
