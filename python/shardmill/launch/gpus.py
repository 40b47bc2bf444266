"""Which GPUs a worker gets: those that its launcher may use, shared out by slot."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

LIST_SECONDS = 30


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; without that variable, all of the machine."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [gpu for gpu in told.split(",") if gpu]
    if not shutil.which("nvidia-smi"):
        return []
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=LIST_SECONDS)
    except subprocess.TimeoutExpired:
        return []
    return [str(index) for index, line in enumerate(line for line in done.stdout.splitlines() if line.startswith("GPU "))]


def share_of(gpus: Sequence[str], slot: int, each: int) -> tuple[str, ...]:
    """The GPUs of a slot when every slot gets `each` of them.

    >>> share_of(["0", "1", "2", "3"], slot=1, each=2)
    ('2', '3')
    """
    return tuple(gpus[slot * each : (slot + 1) * each])
