"""What an engine has died of, from its error and its log: the cause, whether another try can help, and the message."""

from __future__ import annotations

import os
import re
from pathlib import Path

from shardmill.util.plain_text import plain

OUT_OF_MEMORY = ("out of memory", "OutOfMemoryError", "No available memory", "KV cache", "Free memory on device")
TRANSIENT = ("out of memory", "OutOfMemoryError", "Free memory on device")
"""Memory of a GPU may be that of a process that is ending; memory of the machine or of the cache is as it is set."""
CAUSE = re.compile(r"(?:^|[\s\]])((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)): (\S.*)")
PERMANENT = {"ValueError", "OSError", "ValidationError", "ImportError", "ModuleNotFoundError", "NotImplementedError", "KeyError"}
PERMANENT |= {"RepositoryNotFoundError", "GatedRepoError", "EntryNotFoundError", "RevisionNotFoundError", "SafetensorError"}
ELSEWHERE = ("initialization failed", "root cause")
"""In an error that only says that another process has failed."""
TAIL = 65_536
MAX_CAUSE = 600


def log_size() -> int:
    """How long the worker's log is now; 0 for a worker without one."""
    path = os.environ.get("SHARDMILL_LOG")
    return os.path.getsize(path) if path else 0


def logged_cause(log: Path | None = None, start: int = 0) -> str:
    """The error that a process of the engine ended with, as `ValueError: ...`; empty where the log has none.

    Args:
        log: The log; the worker's own if not given.
        start: Where in the log to begin.
    """
    path = log or os.environ.get("SHARDMILL_LOG")
    if not path:
        return ""
    with open(path, "rb") as file:
        file.seek(max(start, os.path.getsize(path) - TAIL))
        lines = plain(file.read().decode("utf-8", "replace")).splitlines()
    found = [match for line in lines if (match := CAUSE.search(line)) and not any(sign in line for sign in ELSEWHERE)]
    return f"{found[-1][1].rpartition('.')[2]}: {found[-1][2]}"[:MAX_CAUSE].rstrip(". ") if found else ""


def is_permanent(cause: str) -> bool:
    """Whether an engine that could not start for this cause would fail again."""
    return cause.partition(":")[0] in PERMANENT and not any(sign in cause for sign in TRANSIENT)


def startup_remedy(cause: str) -> str:
    """What to do about a cause, where its own words do not say it."""
    if any(sign in cause for sign in (*OUT_OF_MEMORY, "memory utilization")):
        return "; set gpu_memory_utilization, max_model_len or max_num_seqs of the model"
    return ""


def failure_message(engine: str, what: str, log: Path | None = None) -> str:
    """What an engine died of and what to do about it.

    Args:
        engine: The engine, as the message calls it.
        what: What is known of the failure.
        log: The file to quote the last errors from; the worker's log if not given.
    """
    tail = ""
    if path := log or os.environ.get("SHARDMILL_LOG"):
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 65_536))
            tail = file.read().decode("utf-8", "replace")
    lines = [line.strip()[:300] for line in tail.splitlines() if "Error" in line or "error:" in line][-3:]
    if any(sign in what + tail for sign in OUT_OF_MEMORY):
        remedy = "lower max_model_len, max_num_seqs or gpu_memory_utilization of the model, or give a worker more GPUs"
    else:
        remedy = "its worker's log says more"
    last = f". Last lines: {' | '.join(lines)}" if lines else ""
    return f"{engine} has died ({' '.join(what.split())[:400]}); {remedy}{last}"
