"""What people are told when an engine is gone."""

from __future__ import annotations

import os
from pathlib import Path

OUT_OF_MEMORY = ("out of memory", "OutOfMemoryError", "No available memory", "KV cache", "Free memory on device")


def last_words(engine: str, what: str, log: Path | None = None) -> str:
    """What an engine died of and what to do, with the last lines of its log (the worker's) that speak of an error."""
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
    return f"{engine} is gone ({' '.join(what.split())[:400]}); {remedy}{last}"
