"""Servers that announce themselves in a shared folder: one small JSON file each, touched while the server is healthy."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

STALE_SECONDS = 60.0
"""A server whose file was not touched for so long has died."""


@dataclass(frozen=True)
class Server:
    """A server's address: `url` ends in /v1, `model` is the name that it knows its model by, `key_file` holds its key, if any."""

    url: str
    model: str
    node: str = ""
    pid: int = 0
    job: str = ""
    started: str = ""
    key_file: str = ""

    def key(self) -> str | None:
        """The key that the server wants; None if it wants none. Raises OSError when the file cannot be read."""
        return Path(self.key_file).read_text(encoding="utf-8").strip() if self.key_file else None


class Announcement:
    """A server's file in the folder: there from the first `beat` until `withdraw`."""

    def __init__(self, folder: Path, server: Server):
        self.path = folder / f"{server.node}-{server.pid}.json"
        self._server = server

    def beat(self) -> None:
        """Say that the server is healthy."""
        try:
            os.utime(self.path)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
                json.dump(asdict(self._server), file)
            os.chmod(file.name, 0o644)
            os.replace(file.name, self.path)

    def withdraw(self) -> None:
        """Say that the server takes no more requests."""
        self.path.unlink(missing_ok=True)


def live_servers(folder: Path, stale_seconds: float = STALE_SECONDS) -> list[Server]:
    """The servers announced in a folder, oldest first, without those that are stale.

    Times are those of the file system: a file that is touched now shows its clock, which may differ from this machine's.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        return []
    now = _file_clock(folder)
    found = []
    for path in files:
        try:
            if now - path.stat().st_mtime <= stale_seconds:
                found.append(Server(**json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue
    return sorted(found, key=lambda server: (str(server.started), str(server.url)))


def _file_clock(folder: Path) -> float:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # a folder that we may only read
        return time.time()
