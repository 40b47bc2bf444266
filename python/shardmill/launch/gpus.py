"""Which GPUs a worker gets: its share of those that this process may use."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

LIST_SECONDS = 30


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; without that variable, all of the machine."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu for gpu in named.split(",") if gpu]
    if not shutil.which("nvidia-smi"):
        return []
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=LIST_SECONDS)
    except subprocess.TimeoutExpired:
        return []
    return [str(index) for index, line in enumerate(line for line in done.stdout.splitlines() if line.startswith("GPU "))]


def share_of(gpus: Sequence[str], worker: int, each: int) -> tuple[str, ...]:
    """The GPUs of a worker when every worker gets `each` of them.

    >>> share_of(["0", "1", "2", "3"], worker=1, each=2)
    ('2', '3')
    """
    return tuple(gpus[worker * each : (worker + 1) * each])
