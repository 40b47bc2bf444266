"""Whether a node is fit for work. Checked before a worker starts: a bad node must not use up the attempts of good shards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from shardmill.store.run_folder import RunFolder

CHECK_SECONDS = 60
MIN_FREE_BYTES = 64 << 20


def node_problem(run: RunFolder, gpus: Sequence[str], wanted: int, scratch: str | None, check: Sequence[str]) -> str | None:
    """What is wrong with this node.

    Args:
        run: The run folder, which must be writable here.
        gpus: The GPUs that are visible.
        wanted: The GPUs that are needed.
        scratch: The site's scratch folder, if it has one.
        check: The site's own health check: a command that fails on a bad node, or nothing.

    Returns:
        The first problem that is found, None if there is none.
    """
    if len(gpus) < wanted:
        return f"{len(gpus)} of {wanted} GPUs are visible"
    return _folder_problem(run.path, "run folder") or (scratch and _folder_problem(Path(scratch), "scratch folder")) or (
        _command_problem(["nvidia-smi", "-L"]) if wanted and shutil.which("nvidia-smi") else None
    ) or (_command_problem(check) if check else None)  # fmt: skip


def _folder_problem(folder: Path, name: str) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"cannot write to the {name} {folder}: {error.strerror}"
    return f"the {name} {folder} has {free >> 20} MB left" if free < MIN_FREE_BYTES else None


def _command_problem(argv: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=CHECK_SECONDS, stdin=subprocess.DEVNULL)
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{argv[0]} did not answer within {CHECK_SECONDS} s"
    if done.returncode == 0:
        return None
    output = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return f"{argv[0]} failed ({done.returncode})" + (f": {output[-1][:200]}" if output else "")
