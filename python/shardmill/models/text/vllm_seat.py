"""A seat on a node: what engines that run side by side must not share, held by a lock until the process ends.

Many engines that start on one compile cache corrupt it or wait for each other, and ports that were merely free a moment ago are
taken by the neighbour. Each engine takes the first free seat and has its cache folders and its range of ports to itself; a later
engine on the seat finds the cache warm.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

FIRST_PORT, PORTS = 21_000, 64
MAX_SEATS = 128
CACHES = {
    "VLLM_CACHE_ROOT": "vllm",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
}


def seats_folder() -> Path:
    """The folder of this user's seats on this node's own disk: in SHARDMILL_NODE_CACHE, which outlives a job, or TMPDIR."""
    folder = Path(os.environ.get("SHARDMILL_NODE_CACHE") or tempfile.gettempdir()) / f"shardmill-engines-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        folder = Path(tempfile.mkdtemp(prefix="shardmill-engines-"))
    return folder


def take_seat() -> dict[str, str]:
    """Lock a free seat for as long as this process lives; the environment variables that an engine on it needs.

    What the user has set already is left as it is.
    """
    folder = seats_folder()
    for number in range(MAX_SEATS):
        handle = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            continue
        place = folder / str(number)
        wanted = {name: str(place / part) for name, part in CACHES.items()} | {"VLLM_PORT": str(FIRST_PORT + PORTS * number)}
        for name in CACHES:
            Path(wanted[name]).mkdir(parents=True, exist_ok=True)
        return {name: value for name, value in wanted.items() if name not in os.environ}
    raise RuntimeError(f"no free seat for an engine in {folder}")
