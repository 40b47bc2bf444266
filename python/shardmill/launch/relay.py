"""SLURM's commands from inside a container: a task writes what to run into a folder, and the job script outside runs it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from shardmill.util.atomic import new_attempt

VARIABLE = "SHARDMILL_SLURM_RELAY"
POLL_SECONDS = 0.1

SERVE = f"""\
# SLURM's commands are not in the container: the tasks write what they want to run into this folder.
export {VARIABLE}="${{SHARDMILL_TIME_WARNING%/came}}"
serve_slurm() {{
  trap '' TERM USR1 USR2
  local conf=${{SLURM_CONF-}} request name words
  # shellcheck disable=SC2086
  unset ${{!SLURM_@}} ${{!SBATCH_@}}
  [ -z "$conf" ] || export SLURM_CONF=$conf
  while [ -d "${VARIABLE}" ]; do
    for request in "${VARIABLE}"/*.request; do
      [ -e "$request" ] || continue
      name=${{request%.request}}
      mapfile -d '' -t words <"$request"
      rm -f "$request"
      case ${{words[0]}} in
        sbatch | scancel | scontrol | sinfo | squeue | sacct | sacctmgr)
          "${{words[@]}}" <"$name.in" >"$name.out" 2>"$name.err"
          echo $? >"$name.new" ;;
        *)
          : >"$name.out"
          echo "not a command of SLURM" >"$name.err"
          echo 126 >"$name.new" ;;
      esac
      mv "$name.new" "$name.code"
    done
    sleep 0.3
  done
}}
serve_slurm 2>/dev/null &"""
"""Lines of a job script, after those that make the folder of the time warning."""


def folder() -> Path | None:
    """The folder of requests, for a task in a container."""
    path = os.environ.get(VARIABLE)
    return Path(path) if path else None


def run(place: Path, argv: Sequence[str], send: str | None, timeout: float) -> subprocess.CompletedProcess[str]:
    """Have a command run outside, given `send` as its input.

    Raises:
        subprocess.TimeoutExpired: If it did not end in time.
    """
    base = place / new_attempt()
    files = {suffix: base.with_name(f"{base.name}.{suffix}") for suffix in ("in", "out", "err", "code", "request", "written")}
    files["in"].write_text(send or "", encoding="utf-8")
    files["written"].write_bytes(b"".join(word.encode() + b"\0" for word in argv))
    files["written"].rename(files["request"])
    deadline = time.monotonic() + timeout
    try:
        while not files["code"].exists():
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(list(argv), timeout)
            time.sleep(POLL_SECONDS)
        out, err = (files[suffix].read_text(encoding="utf-8", errors="replace") for suffix in ("out", "err"))
        return subprocess.CompletedProcess(list(argv), int(files["code"].read_text()), out, err)
    finally:
        for path in files.values():
            path.unlink(missing_ok=True)
