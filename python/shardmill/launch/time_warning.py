"""SLURM's signal before the time limit, caught by the job script, so that it is never lost on a task that is only starting.

A task that is signalled while Python imports would die of it, and with it the job and all that waits for it. So SLURM signals the
batch shell alone (`B:`), at whatever point the job is; the shell makes a file, and the tasks look for it.
"""

from __future__ import annotations

import os
import re

VARIABLE = "SHARDMILL_TIME_WARNING"
CATCH = f"""\
# The signal before the time limit makes a file, for which the tasks look.
export {VARIABLE}="$(mktemp -d)/came"
trap ': >"${VARIABLE}"' USR1 USR2"""
WAIT = f"""\
step=$!
until [ -s "${VARIABLE}.code" ] || ! kill -0 "$step" 2>/dev/null; do wait "$step" || :; done
code=$(cat "${VARIABLE}.code") || code=1
rm -rf "${{{VARIABLE}%/came}}"
exit "$code\""""


def has_come() -> bool:
    """Whether the job script has caught the signal."""
    path = os.environ.get(VARIABLE, "")
    return path != "" and os.path.exists(path)


def catching(script: str) -> str:
    """A job script by submitit that catches the signal from its first line on, and goes on waiting for its step."""
    lines = re.sub(r"(?m)^(#SBATCH --signal=)(?![RB]+:)", r"\1B:", script).rstrip("\n").split("\n")
    first = next(index for index, line in enumerate(lines) if index > 0 and line and not line.startswith("#"))
    step = max(index for index, line in enumerate(lines) if line.startswith("srun "))
    # The step writes down its exit code: `wait` gives a wrong one where the signal and the end of the step meet.
    in_background = ["{ code=0", f"{lines[step]} || code=$?", f'echo "$code" >"${VARIABLE}.code"', "} &"]
    return "\n".join([*lines[:first], CATCH, *lines[first:step], *in_background, WAIT, *lines[step + 1 :], ""])
