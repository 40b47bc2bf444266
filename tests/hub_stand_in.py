"""A stand-in for the API of the Hugging Face Hub, over HTTP on loopback: repositories, LFS uploads, commits, and faults.

What it answers is what huggingface_hub's own client reads (hf_api.py, _commit_api.py, lfs.py).
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_the_test"


@dataclass
class Hub:
    """What the stand-in holds and has been asked.

    Attributes:
        url: Where it listens.
        commits: The files of the repository after each commit, by path.
        stored: The contents that were uploaded, by SHA-256.
        puts: The SHA-256 of each upload that was completed, in order.
        visibility: Of the repository.
        faults: What goes wrong next, for paths that contain a text: a status, "reset" (in the middle of a body), or "wait".
        waiting: Set once a request waits for ever.
    """

    url: str = ""
    commits: list[dict[str, bytes]] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    visibility: str | None = None
    faults: list[tuple[str, int | str]] = field(default_factory=list)
    waiting: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1] if self.commits else {}


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A stand-in that listens until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.released.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def _handle(self) -> None:
        fault = self._fault()
        size = int(self.headers.get("Content-Length", 0))
        if fault == "reset":
            self.rfile.read(size // 2)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        body = self.rfile.read(size)
        if fault == "wait":
            self.hub.waiting.set()
            self.hub.released.wait()
            return
        path = self.path.partition("?")[0]
        if isinstance(fault, int):
            self._answer({"error": f"a fault of the stand-in: {fault}"}, fault)
        elif not path.startswith("/lfs/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid user token."}, 401)
        else:
            self._answer(*self._reply(path, body))

    def _fault(self) -> int | str | None:
        for at, (text, fault) in enumerate(self.hub.faults):
            if text in self.path:
                del self.hub.faults[at]
                return fault
        return None

    def _answer(self, content: Any, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _reply(self, path: str, body: bytes) -> tuple[Any, int]:
        hub = self.hub
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith("/tree/main"):
            return [_entry(name, data) for name, data in hub.files.items()], 200
        if path.endswith("/preupload/main"):
            return {"files": [self._mode(each["path"]) for each in json.loads(body)["files"]]}, 200
        if path.endswith("/info/lfs/objects/batch"):
            return {"transfer": "basic", "objects": [self._action(each) for each in json.loads(body)["objects"]]}, 200
        if path.startswith("/lfs/"):
            digest = path.removeprefix("/lfs/")
            assert hashlib.sha256(body).hexdigest() == digest
            hub.stored[digest] = body
            hub.puts.append(digest)
            return {}, 200
        if path == "/api/validate-yaml":
            assert json.loads(body)["content"].startswith("---\n")
            return {"errors": [], "warnings": []}, 200
        if path.endswith("/commit/main"):
            return self._commit(path.removeprefix("/api/").removesuffix("/commit/main"), body)
        raise AssertionError(f"the stand-in does not know {path}")

    def _create(self, wanted: dict[str, Any]) -> tuple[Any, int]:
        exists, self.hub.visibility = self.hub.visibility is not None, self.hub.visibility or wanted["visibility"]
        assert wanted["type"] == "dataset"
        name = f"{wanted['organization']}/{wanted['name']}"
        return {"url": f"{self.hub.url}/datasets/{name}", "name": name}, 409 if exists else 200

    def _mode(self, path: str) -> dict[str, Any]:
        return {"path": path, "uploadMode": "lfs" if path.endswith(".parquet") else "regular", "shouldIgnore": False}

    def _action(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["oid"] in self.hub.stored:
            return wanted
        return {**wanted, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"}}}

    def _commit(self, repository: str, body: bytes) -> tuple[Any, int]:
        files = dict(self.hub.files)
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        self.hub.commits.append(files)
        oid = f"{len(self.hub.commits):040x}"
        return {"success": True, "commitOid": oid, "commitUrl": f"{self.hub.url}/{repository}/commit/{oid}"}, 200


def _entry(name: str, data: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    entry = {"type": "file", "path": name, "size": len(data), "oid": blob}
    lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return {**entry, "lfs": lfs} if name.endswith(".parquet") else entry
