"""A plugin that vLLM loads in each of its processes: an engine's process dies with the worker that started it.

By itself it would live on after the worker was killed, and hold the GPU's memory against the next one.
"""

from __future__ import annotations

import ctypes
import os
import signal

PARENT = "SHARDMILL_ENGINE_PARENT"
PR_SET_PDEATHSIG = 1
"""From `linux/prctl.h`: the signal that a process gets when the thread that made it ends."""


def die_with_parent() -> None:
    """Does nothing in a process that no worker of ours started."""
    parent = os.environ.get(PARENT)
    if parent is None or os.getppid() != int(parent):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGKILL)
