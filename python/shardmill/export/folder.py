"""The folder of an export: its files, the rows that were left out and why, and the progress of an unfinished one.

export.json            what was exported, from which parts, with the digest of each file; written last
left_out.jsonl         a line for each row that was left out, with the reason; no file if there is none
export.progress.jsonl  while the export is made: what it is, and which files are finished
.exporting.json        while the export is made: the process that makes it
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from shardmill import __version__
from shardmill.store.exclusive import exclusive
from shardmill.util.atomic import file_digest, make_folder, replacing, sync_folder
from shardmill.util.errors import NoRows, UserError

RECORD, PROGRESS, LEFT_OUT = "export.json", "export.progress.jsonl", "left_out.jsonl"
LOCK = ".exporting.json"
SPOOL, MAKING = f".{LEFT_OUT}.part", ".making"
"""Only there while an export is made: the list of rows left out so far, and the folder of unfinished files."""


class LeftOutRows:
    """Rows that are not exported, recorded on disk as they are found, so that memory does not grow with them."""

    def __init__(self, path: Path):
        self.counts: Counter[str] = Counter()
        self.example = ""
        self._path = path
        self._file: IO[bytes] = open(path, "ab+")  # noqa: SIM115 (open as long as the export is made)

    def add(self, reason: str, row_id: int, detail: str, sub_id: int | None = None) -> None:
        """Record a row with the reason why it is left out."""
        self.counts[reason] += 1
        self.example = self.example or f"row {row_id}: {detail or reason}"
        line = {"row_id": row_id, **({} if sub_id is None else {"sub_id": sub_id}), "reason": reason, "detail": detail}
        self._file.write((json.dumps(line) + "\n").encode("utf-8"))

    def mark(self) -> dict[str, Any]:
        """How much is recorded now, for `rewind`."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"bytes": self._file.tell(), "counts": dict(self.counts)}

    def rewind(self, mark: Mapping[str, Any]) -> None:
        """Remove what was recorded after a mark."""
        self._file.truncate(mark["bytes"])
        self._file.seek(0, os.SEEK_END)
        self.counts = Counter(mark["counts"])

    def close(self) -> None:
        """Close the file; what is recorded stays for the next attempt."""
        self._file.close()

    def finish(self, final: Path) -> None:
        """Give the list its final name, if it has any line."""
        self.mark()
        self.close()
        if self.counts:
            os.replace(self._path, final)
        else:
            self._path.unlink()
            final.unlink(missing_ok=True)


@dataclass
class ExportFolder:
    """An export that is being made.

    Attributes:
        path: Its folder.
        identity: What is exported; a folder with another identity is refused.
        files: The finished data files by name: rows, and digest and size if they are known already.
        progress: What an earlier attempt at the same export had finished.
        facts: What else the record says.
    """

    path: Path
    identity: dict[str, Any]
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    progress: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other exports out of the folder until the block ends: each removes what others have left unfinished.

        Raises:
            UserError: If another export is made there, or it is not a folder.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; name a folder with --out")
        with exclusive(self.path / LOCK, f"another export into {self.path} is under way"):
            yield

    def open(self) -> dict[str, Any] | None:
        """Prepare the folder for writing, or return the record of the same export if it is finished.

        Raises UserError if the folder holds anything else.
        """
        record = self._finished()
        if record is not None:
            self._tidy()
            return record
        lines = _lines(self.path / PROGRESS)
        if not lines and self.path.is_dir() and any(self._is_foreign(path) for path in self.path.iterdir()):
            raise UserError(f"{self.path} holds other files; name an empty or new folder with --out")
        if lines:
            self._check(lines[0])
        make_folder(self.path)
        self.progress = lines[1:]
        if not lines:
            self.note(self.identity)
        self.left_out = LeftOutRows(self.path / SPOOL)
        sync_folder(self.path)
        if not self.progress:
            self.left_out.rewind({"bytes": 0, "counts": {}})
        return None

    @staticmethod
    def _is_foreign(path: Path) -> bool:
        return path.name != PROGRESS and LOCK not in path.name  # another export may just be trying to get in

    def note(self, entry: Mapping[str, Any]) -> None:
        """Record durably what is finished."""
        with open(self.path / PROGRESS, "ab") as file:
            file.write((json.dumps(entry) + "\n").encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.path)

    def write_text(self, name: str, text: str) -> None:
        """Write a file beside the data."""
        with replacing(self.path / name) as file:
            file.write(text.encode("utf-8"))
        self.files[name] = {"rows": None}

    def refuse_if_empty(self) -> None:
        """Raises NoRows if every row was left out, and removes what was written, so that the export can be made again."""
        if not self.left_out.counts or any(entry["rows"] for entry in self.files.values()):
            return
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif LOCK not in path.name:
                path.unlink()
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.left_out.counts.most_common())
        example = f"; for example {self.left_out.example}" if self.left_out.example else ""
        raise NoRows(f"no row was exported to {self.path}: all were left out ({reasons}){example}")

    def finish(self) -> dict[str, Any]:
        """Write the record, which makes the export complete."""
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
        """Remove what is of no use once the record exists, including what other attempts left."""
        shutil.rmtree(self.path / MAKING, ignore_errors=True)
        for leftover in (self.path / SPOOL, *self.path.glob(".*.tmp"), *self.path.glob("data/.*.tmp"), self.path / PROGRESS):
            if LOCK not in leftover.name:
                leftover.unlink(missing_ok=True)

    def _finished(self) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = json.loads((self.path / RECORD).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            raise UserError(f"{self.path / RECORD} is corrupt; remove the folder and export again") from None
        self._check(record)
        for name, entry in record["files"].items():
            path = self.path / name
            if not path.is_file() or path.stat().st_size != entry["bytes"]:
                raise UserError(f"{path} was removed or changed; remove the folder {self.path} and export again")
        return record

    def _check(self, found: Mapping[str, Any]) -> None:
        """Raises UserError naming the first field in which another export in this folder differs."""
        for key, value in self.identity.items():
            if found.get(key) != value:
                raise UserError(
                    f"{self.path} holds another export: its {key.replace('_', ' ')} is {short(found.get(key))}, "
                    f"not {short(value)}; name another folder with --out, or remove this one"
                )


def identity_of(format: str, pipeline: str, digests: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    """What distinguishes an export from others: the digests of its tables, by name, and its options."""
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
    """The complete lines of a progress file. A last line that was cut off is removed from it."""
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
        raise UserError(f"{path} is corrupt; remove the folder {path.parent} and export again") from None
