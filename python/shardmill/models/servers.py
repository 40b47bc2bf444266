"""Servers that announce themselves in a shared folder: one small JSON file each, touched while the server is healthy.

Others may be able to write to the folder, so a file in it says only where a server is. It counts if this user wrote it, or if the
user has named the host in SHARDMILL_KEY_HOSTS. The key of a server of the user's own is in a file beside its announcement, which
only the user can read; the keys of other servers come from the user's environment.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shardmill.util.errors import UserError
from shardmill.util.safe_files import read_private, read_untrusted
from shardmill.util.untrusted import JobId, NodeName

STALE_SECONDS = 60.0
"""A server whose file was not touched for so long has died."""
MAX_ANNOUNCEMENT_BYTES, MAX_KEY_BYTES, MAX_SERVERS = 16_384, 4_096, 10_000
KEY_HOSTS = "SHARDMILL_KEY_HOSTS"
"""The environment variable with the hosts that the user trusts: `HOST` or `HOST=KEY_VARIABLE`, separated by commas."""
DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"


class Server(BaseModel):
    """A server's address: `url` ends in /v1, `model` is the name that it knows its model by."""

    model_config = ConfigDict(frozen=True)
    url: Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9_.:\[\]-]{1,300}(/[A-Za-z0-9_./-]{0,300})?$")]
    model: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    node: NodeName = ""
    pid: int = Field(default=0, ge=0, lt=2**31)
    job: JobId = ""
    started: Annotated[str, StringConstraints(max_length=60)] = ""


class AnnouncedServer(Server):
    """A server as found in the folder: whether this user announced it, and with which key it is to be called, if any."""

    own: bool
    key: str | None = Field(default=None, repr=False)


class Announcement:
    """A server's file in the folder, and its key beside it: there from the first `beat` until `withdraw`."""

    def __init__(self, folder: Path, server: Server, key: str | None = None):
        # The port too: two containers may have one host name, and the same process numbers.
        self.path = folder / f"{server.node}-{server.pid}-{urlsplit(server.url).port or 0}.json"
        self._server, self._key = server, key

    @property
    def key_path(self) -> Path:
        """The file of the key, which only this user can read: nodes are shared, and anybody can reach a port."""
        return self.path.with_suffix(".key")

    def beat(self) -> None:
        """Say that the server is healthy."""
        try:
            os.utime(self.path)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._key is not None:
                self._write(self.key_path, self._key, 0o600)
            self._write(self.path, self._server.model_dump_json(), 0o644)

    def _write(self, path: Path, text: str, mode: int) -> None:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False, encoding="utf-8") as file:
            file.write(text)
        os.chmod(file.name, mode)
        os.replace(file.name, path)

    def withdraw(self) -> None:
        """Say that the server takes no more requests."""
        self.path.unlink(missing_ok=True)
        self.key_path.unlink(missing_ok=True)


def live_servers(folder: Path, stale_seconds: float = STALE_SECONDS) -> list[AnnouncedServer]:
    """The servers announced in a folder, oldest first, without those that are stale and files that announce no server.

    Times are those of the file system: a file that is touched now shows its clock, which may differ from this machine's.
    """
    files = sorted(folder.glob("*.json"))[:MAX_SERVERS]
    if not files:
        return []
    now = _file_clock(folder)
    found = []
    for path in files:
        with suppress(OSError, UserError, ValidationError):
            if now - path.stat().st_mtime <= stale_seconds:
                found.append(_read_announcement(path))
    return sorted(found, key=lambda server: (server.started, server.url))


def _read_announcement(path: Path) -> AnnouncedServer:
    """The server that a file announces; its key is read only if the announcement and the key are this user's own."""
    try:
        server, own = Server.model_validate_json(read_private(path, MAX_ANNOUNCEMENT_BYTES)), True
    except UserError:
        server, own = Server.model_validate_json(read_untrusted(path, MAX_ANNOUNCEMENT_BYTES)), False
    key = None
    if own:
        with suppress(FileNotFoundError):
            key = read_private(path.with_suffix(".key"), MAX_KEY_BYTES, secret=True).decode("utf-8", "replace").strip()
    return AnnouncedServer(**server.model_dump(), own=own, key=key)


def trusted_hosts(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The hosts that the user lists in SHARDMILL_KEY_HOSTS, each with the environment variable that holds its key.

    >>> trusted_hosts({"SHARDMILL_KEY_HOSTS": "api.example.org=EXAMPLE_KEY, node07:8000"})
    {'api.example.org': 'EXAMPLE_KEY', 'node07:8000': 'OPENAI_API_KEY'}
    """
    entries = [entry.strip() for entry in environment.get(KEY_HOSTS, "").replace(" ", ",").split(",") if entry.strip()]
    pairs = [entry.partition("=") for entry in entries]
    return {host.lower(): variable or DEFAULT_KEY_VARIABLE for host, _, variable in pairs}


def host_of(url: str) -> str:
    """The host of an address, with its port if it names one."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def trusted_variable(url: str) -> str | None:
    """The variable with the key that the user has listed for the host of an address; None for a host that is not listed."""
    hosts, host = trusted_hosts(), host_of(url)
    return hosts.get(host) or hosts.get(urlsplit(url).hostname or "")


def _file_clock(folder: Path) -> float:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # a folder that we may only read
        return time.time()
