"""Which process of which machine wrote something, and whether that process has ended."""

from __future__ import annotations

import contextlib
import os
import re
from hashlib import sha256
from pathlib import Path

MARK = re.compile(r"[0-9a-f]{12}-[0-9]{1,10}-[0-9]*")


def machine() -> str:
    """What tells computers, and containers with process numbers of their own, apart: two containers may share a host name."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    with contextlib.suppress(OSError):
        return f"{boot.read_text().strip()} {os.stat('/proc/self/ns/pid').st_ino}"
    return os.uname().nodename


def process_start(pid: int) -> str:
    """When a process of this machine started, in clock ticks since boot; empty when there is none (a zombie is none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def has_ended(where: str, pid: int, started: str) -> bool:
    """Whether a process is known to have ended: it ran on this machine, where its number is free or has another process now."""
    if where != machine():
        return False
    now = process_start(pid)
    return now != started and not (now == "" and _is_hidden(pid))


def is_running(pid: int) -> bool:
    """Whether this machine has a process of that number."""
    return process_start(pid) != "" or _is_hidden(pid)


def _is_hidden(pid: int) -> bool:
    """Whether a process without an entry in /proc exists: a mount with `hidepid` shows no processes of other users."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def process_mark() -> str:
    """This process as a part of a file name, for `mark_has_ended`."""
    return f"{_digest(machine())}-{os.getpid()}-{process_start(os.getpid())}"


def _digest(where: str) -> str:
    return sha256(where.encode()).hexdigest()[:12]


def is_mark_of_this_machine(text: str) -> bool:
    """Whether a text is the mark of a process of this machine."""
    return bool(MARK.fullmatch(text)) and text.startswith(f"{_digest(machine())}-")


def mark_has_ended(mark: str) -> bool:
    """Whether the process of a mark is known to have ended."""
    _, pid, started = mark.split("-")
    return is_mark_of_this_machine(mark) and has_ended(machine(), int(pid), started)
