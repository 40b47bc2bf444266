"""A supervised model server: started, announced while it answers, started again when it does not."""

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

from shardmill.models.failures import failure_message, is_permanent, logged_cause, startup_remedy
from shardmill.models.servers import Announcement, Server
from shardmill.models.text.vllm_plugin import PR_SET_PDEATHSIG
from shardmill.util.errors import UserError

POLL_SECONDS = 2.0
RENEW_SECONDS = 10.0
ANSWER_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A healthy server that has not answered for this long is stale, and started again."""
GRACE_SECONDS = 20.0
MAX_STARTS = 5
"""A server that was started this often in a row and was never healthy is given up."""


@dataclass
class ServerSupervisor:
    """Keeps one server running. Called, it works until `should_stop`.

    Attributes:
        command: Returns the server's command line for a port.
        model: The name by which requests call the model.
        folder: Where the server is announced to workers.
        log: Where the server prints.
        host: The host name by which workers reach it.
        environment: The server's variables.
        start_seconds: How long loading the model may take.
        should_stop: Whether to end.
        say: Gets a line whenever something changes.
        port: A fixed port; any free one if not given.
        key: The key that requests must have.
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
    healthy: bool = field(default=False, init=False)
    failed_starts: int = field(default=0, init=False)
    _log_start: int = field(default=0, init=False)

    def __call__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        while not self.should_stop():
            self._serve()
            if self.healthy:
                self.failed_starts = 0
            elif not self.should_stop():
                self._give_up_or_wait()

    def _serve(self) -> None:
        """Run the server once: until it is to stop, dies, or is stale."""
        port = self.port or free_port()
        self.healthy = False
        process = self._start(port)
        started = answered = time.monotonic()
        server = Server(
            url=f"http://{self.host}:{port}/v1", model=self.model, node=self.host, pid=os.getpid(),
            job=os.environ.get("SLURM_JOB_ID", ""), started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )  # fmt: skip
        card, announced = Announcement(self.folder, server, self.key), 0.0
        try:
            while not self.should_stop() and process.poll() is None:
                now = time.monotonic()
                if self._answers(port):
                    answered = now
                    if not self.healthy and self._completes(port):
                        self.healthy = True
                        self.say(f"{server.url} serves {self.model}, ready after {now - started:.0f} s")
                    if self.healthy and now - announced >= RENEW_SECONDS:
                        card.beat()
                        announced = now
                elif now - answered > (STALE_SECONDS if self.healthy else self.start_seconds):
                    self.say(f"{server.url} has not answered for {now - answered:.0f} s; starting it again")
                    return
                time.sleep(POLL_SECONDS)
            if process.poll() is not None:
                self.say(f"{server.url} exited with code {process.returncode}")
        finally:
            card.withdraw()  # before the server ends: this process may be killed while it waits for that
            _end(process)

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        environment = {**self.environment, "VLLM_API_KEY": self.key}
        with open(self.log, "ab") as output:
            self._log_start = output.tell()
            return subprocess.Popen(
                self.command(port),
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
                preexec_fn=_die_with_parent,
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
        self.failed_starts += 1
        cause = logged_cause(self.log, self._log_start)
        if is_permanent(cause):
            raise UserError(
                f"the server of {self.model} cannot start: {cause}{startup_remedy(cause)}; the whole log is {self.log}"
            )
        if self.failed_starts >= MAX_STARTS:
            cause = failure_message(
                f"the server of {self.model}", f"started {self.failed_starts} times and never answered", self.log
            )
            raise UserError(f"{cause}; the whole log is {self.log}")
        self.say(f"it never answered; starting it again (attempt {self.failed_starts + 1} of {MAX_STARTS})")
        time.sleep(min(2.0**self.failed_starts, 30.0))


def free_port() -> int:
    """A port that is free now. If another process takes it first, the server fails and is started on another one."""
    with socket.socket() as bound:
        bound.bind(("", 0))
        return int(bound.getsockname()[1])


def _local(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "localhost", socket.gethostname()) else host


def _get(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes | None:
    """What a server answers; None if it does not, or with an error. Proxies of the environment are not used."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, body, headers or {}), timeout=ANSWER_SECONDS) as response:
            return bytes(response.read(1_000_000))
    except (urllib.error.URLError, OSError, ValueError):
        return None


def _die_with_parent() -> None:
    """In the child: have the kernel send SIGTERM when the parent dies, so that nothing keeps the GPUs."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and all that it has started, with SIGTERM first and SIGKILL if it does not end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass(frozen=True)
class Load:
    """A server's load: requests in progress, requests that wait, tokens generated since it started."""

    running: int
    waiting: int
    generated: int


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
