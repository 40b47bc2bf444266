"""What vLLM engines on one node must not share: a slot with compile caches and a range of ports, locked for one engine at a time.

Engines that start side by side on one compile cache corrupt it or wait for each other, and a port that was free a moment ago may
be another engine's by now. Each engine locks the first free slot until its process ends; the next one there finds warm caches.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

FIRST_PORT, PORTS_PER_SLOT = 21_000, 64
MAX_SLOTS = 128
CACHES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
}
"""Environment variables of the caches, with the folder of each in a slot."""


def slots_folder() -> Path:
    """The folder of this user's slots on the node's own disk: in SHARDMILL_NODE_CACHE, which outlives a job, or in TMPDIR."""
    folder = Path(os.environ.get("SHARDMILL_NODE_CACHE") or tempfile.gettempdir()) / f"shardmill-engines-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():  # someone else made a folder of that name first: do not trust its contents
        folder = Path(tempfile.mkdtemp(prefix="shardmill-engines-"))
    return folder


def take_engine_slot() -> dict[str, str]:
    """Lock a free slot for as long as this process lives.

    Returns:
        The environment variables that an engine needs there, without those that the user has set.

    Raises:
        RuntimeError: If all slots are taken.
    """
    folder = slots_folder()
    for number in range(MAX_SLOTS):
        # The descriptor is never closed: the kernel drops the lock when the process ends, however it ends.
        handle = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            continue
        slot = folder / str(number)
        ports = {"VLLM_PORT": str(FIRST_PORT + PORTS_PER_SLOT * number)}
        wanted = {name: str(slot / part) for name, part in CACHES.items()} | ports
        for name in CACHES:
            Path(wanted[name]).mkdir(parents=True, exist_ok=True)
        return {name: value for name, value in wanted.items() if name not in os.environ}
    raise RuntimeError(f"there is no free slot for an engine in {folder}")
