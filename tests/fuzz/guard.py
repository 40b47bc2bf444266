"""What no input may bring about: a program that is started, a connection, a file outside of the folder, a hang."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shardmill.util.parquet_probe import COMMAND

STARTS = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "ctypes.dlopen")
REACHES = ("socket.connect", "socket.getaddrinfo", "pickle.find_class")
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "shutil.rmtree")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
SECONDS = 10
"""Of computing, for one case."""
WAITS = 20
"""So many times as long may a case take by the clock: the machine may have other work, but nothing may be waited for."""


class Hang(BaseException):
    """A case took too long. No `except Exception` of the product holds it up."""


class _Watch:
    folder: Path | None = None
    allowed: frozenset[str] = frozenset()
    seen: list[str] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _Watch.folder is None:
        return
    if event == "subprocess.Popen" and tuple(args[1][: len(COMMAND)]) == COMMAND:
        return
    if event in _Watch.allowed and args[1][0] == "127.0.0.1":
        return
    if event in STARTS or event in REACHES:
        _Watch.seen.append(f"{event} {args!r}"[:300])
    elif event == "open":
        if isinstance(args[2], int) and args[2] & WRITING:
            _look(event, args[0])
    elif event in CHANGES:
        two = event in ("os.rename", "os.link", "os.symlink")
        for path in args[event == "os.symlink" : 2 if two else 1]:
            _look(event, path, args[-1] if isinstance(args[-1], int) and event != "os.truncate" else -1)


def _look(event: str, path: Any, handle: int = -1) -> None:
    """`handle` is that of the folder that a relative path starts from."""
    if isinstance(path, (str, bytes, os.PathLike)):
        start = os.readlink(f"/proc/self/fd/{handle}") if handle >= 0 and event != "os.mkdir" else ""
        place = os.path.realpath(os.path.join(start, os.fsdecode(path)))
        if _Watch.folder is not None and not f"{place}{os.sep}".startswith(f"{_Watch.folder}{os.sep}") and place != "/dev/null":
            _Watch.seen.append(f"{event} {place}")


sys.addaudithook(_hook)


@contextmanager
def guarded(seconds: float = SECONDS) -> Iterator[Path]:
    """A folder for one case, which may step into it. Raises AssertionError for what no input may bring about, Hang for a hang."""

    def hang(*_: object) -> None:
        raise Hang(f"more than {seconds} s of computing")

    before = [signal.signal(kind, hang) for kind in (signal.SIGVTALRM, signal.SIGALRM)]
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_fast()) as outer:
        folder = Path(outer).resolve() / "inside"
        folder.mkdir()
        came_from = os.getcwd()
        _Watch.folder, _Watch.seen = folder, []
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        signal.setitimer(signal.ITIMER_REAL, WAITS * seconds)
        try:
            yield folder
        finally:
            for timer in (signal.ITIMER_VIRTUAL, signal.ITIMER_REAL):
                signal.setitimer(timer, 0)
            for kind, handler in zip((signal.SIGVTALRM, signal.SIGALRM), before, strict=True):
                signal.signal(kind, handler)
            _Watch.folder = None
            os.chdir(came_from)
        beside = sorted(path.name for path in Path(outer).iterdir())
    assert not _Watch.seen, f"an input brought about: {_Watch.seen}"
    assert beside == ["inside"], f"files beside the folder: {beside}"


@contextmanager
def allowing(event: str) -> Iterator[None]:
    """Lets the product reach this machine itself by an event such as `socket.connect`."""
    _Watch.allowed |= {event}
    try:
        yield
    finally:
        _Watch.allowed -= {event}


@contextmanager
def untimed() -> Iterator[None]:
    """What every case of a target needs, and the first one makes, does not count as that case's time."""
    timers = (signal.ITIMER_VIRTUAL, signal.ITIMER_REAL)
    left = [signal.setitimer(timer, 0)[0] for timer in timers]
    try:
        yield
    finally:
        for timer, seconds in zip(timers, left, strict=True):
            signal.setitimer(timer, seconds)


def _fast() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
