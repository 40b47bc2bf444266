"""The message that a worker ends with when its engine has died."""

from __future__ import annotations

import os
from pathlib import Path

OUT_OF_MEMORY = ("out of memory", "OutOfMemoryError", "No available memory", "KV cache", "Free memory on device")


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
