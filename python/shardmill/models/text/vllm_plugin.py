"""A plugin that vLLM loads in each of its processes: an engine's process dies with the worker that started it.

Without it the process would outlive a killed worker, and keep the GPU's memory from the next one.
"""

from __future__ import annotations

import ctypes
import os
import signal

PARENT = "SHARDMILL_ENGINE_PARENT"
PR_SET_PDEATHSIG = 1
"""From `linux/prctl.h`: the signal that a process gets when the thread that made it ends."""


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; does nothing in a process that no worker of ours started."""
    parent = os.environ.get(PARENT)
    if parent is None or os.getppid() != int(parent):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # the parent may have ended just before prctl, which then sends no signal
        os.kill(os.getpid(), signal.SIGKILL)
