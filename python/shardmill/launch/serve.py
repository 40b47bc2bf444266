"""Keeping a server well: started, looked after, announced while it answers, started again when it does not."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from shardmill.models.failures import failure_message
from shardmill.models.servers import Announcement, Server
from shardmill.models.text.vllm_plugin import PR_SET_PDEATHSIG
from shardmill.util.errors import UserError

LOOK_SECONDS = 2.0
BEAT_SECONDS = 10.0
ANSWER_SECONDS = 10.0
SILENT_SECONDS = 60.0
"""A server that has not answered for so long is started again."""
GRACE_SECONDS = 20.0
MAX_STARTS = 5
"""So often in a row a server is started without ever having been well."""


@dataclass
class ServerSupervisor:
    """Keeps one server. `command` gives its command line for a port; `start_seconds` is what loading may take.

    `say` gets a line for people at each turn. Calling it works until `should_stop`, and returns then.
    """

    command: Callable[[int], list[str]]
    model: str
    folder: Path
    log: Path
    host: str
    environment: dict[str, str]
    start_seconds: float
    should_stop: Callable[[], bool]
    say: Callable[[str], None]
    port: int | None = None
    key: str = field(default_factory=lambda: os.environ.get("SHARDMILL_API_KEY") or secrets.token_urlsafe(24), repr=False)
    well: bool = field(default=False, init=False)
    fruitless: int = field(default=0, init=False)

    def __call__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        while not self.should_stop():
            self._serve()
            if self.well:
                self.fruitless = 0
            elif not self.should_stop():
                self._give_up_or_wait()

    def _write_key(self) -> Path:
        """The key for those who may read the folder's files of ours: nodes are shared, and anybody can reach a port."""
        path = self.folder / f"{self.host}-{os.getpid()}.key"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.key)
        return path

    def _serve(self) -> None:
        """One life of the server: from its start until it is to stop, dies, or falls silent."""
        port = self.port or free_port()
        self.well = False
        key_file = self._write_key()
        process = self._start(port)
        started = answered = time.monotonic()
        server = Server(
            f"http://{self.host}:{port}/v1", self.model, self.host, os.getpid(), os.environ.get("SLURM_JOB_ID", ""),
            datetime.now(timezone.utc).isoformat(timespec="seconds"), str(key_file),
        )  # fmt: skip
        card, beaten = Announcement(self.folder, server), 0.0
        try:
            while not self.should_stop() and process.poll() is None:
                now = time.monotonic()
                if self._answers(port):
                    answered = now
                    if not self.well and self._completes(port):
                        self.well = True
                        self.say(f"{server.url} serves {self.model}, ready after {now - started:.0f} s")
                    if self.well and now - beaten >= BEAT_SECONDS:
                        card.beat()
                        beaten = now
                elif now - answered > (SILENT_SECONDS if self.well else self.start_seconds):
                    self.say(f"{server.url} has not answered for {now - answered:.0f} s; it is started again")
                    return
                time.sleep(LOOK_SECONDS)
            if process.poll() is not None:
                self.say(f"{server.url} has ended with code {process.returncode}")
        finally:
            card.withdraw()
            key_file.unlink(missing_ok=True)  # first: who is told to end may soon be killed
            _end(process)

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        environment = {**self.environment, "VLLM_API_KEY": self.key}
        with open(self.log, "ab") as output:
            return subprocess.Popen(
                self.command(port), stdout=output, stderr=output, env=environment, start_new_session=True, preexec_fn=_end_with_us
            )

    def _answers(self, port: int) -> bool:
        return _get(f"http://{_local(self.host)}:{port}/health") is not None

    def _completes(self, port: int) -> bool:
        """Whether the server gives a first answer."""
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        url = f"http://{_local(self.host)}:{port}/v1/chat/completions"
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        return _get(url, json.dumps(body).encode(), headers) is not None

    def _give_up_or_wait(self) -> None:
        self.fruitless += 1
        if self.fruitless >= MAX_STARTS:
            told = failure_message(f"the server of {self.model}", f"started {self.fruitless} times and never well", self.log)
            raise UserError(f"{told}; all of it is in {self.log}")
        self.say(f"it was never well; started again, {self.fruitless} of {MAX_STARTS - 1} times")
        time.sleep(min(2.0**self.fruitless, 30.0))


def free_port() -> int:
    """A port that nothing is bound to. Should another process be faster, the server fails and is started on another one."""
    with socket.socket() as bound:
        bound.bind(("", 0))
        return int(bound.getsockname()[1])


def _local(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "localhost", socket.gethostname()) else host


def _get(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes | None:
    """What a server answers, None if it does not or with an error. A proxy of the environment is not asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, body, headers or {}), timeout=ANSWER_SECONDS) as response:
            return bytes(response.read(1_000_000))
    except (urllib.error.URLError, OSError, ValueError):
        return None


def _end_with_us() -> None:
    """In the child: a signal to end when this process is gone, so that nothing keeps the GPUs."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and all that it has started: asked first, then made to."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass(frozen=True)
class Load:
    """What a server says of itself: requests it works on, requests that wait, tokens answered since it started."""

    running: int
    waiting: int
    answered: int


def load_of(server: Server) -> Load | None:
    """The load of a vLLM server; None when it cannot be reached."""
    text = _get(server.url.removesuffix("/v1") + "/metrics")
    if text is None:
        return None
    sums = {"vllm:num_requests_running": 0.0, "vllm:num_requests_waiting": 0.0, "vllm:generation_tokens_total": 0.0}
    for line in text.decode("utf-8", "replace").splitlines():
        name = line.partition("{")[0]
        if name in sums:
            with suppress(ValueError):
                sums[name] += float(line.rpartition(" ")[2])
    return Load(*(int(value) for value in sums.values()))
