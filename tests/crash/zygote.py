"""A process that has everything imported, and forks a child for each order that it reads: a command starts in milliseconds.

It runs with shim.c loaded. Orders and answers are lines of JSON. `start` forks a child that runs commands on the run folder
`run` in the folder `root`, which the shim watches, and answers with its process id; `wait` answers how that child ended; `quiet`
waits for the processes that a killed child has left, and answers with those that do not end by themselves.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from crash import forked_worker, operations

UNEXPECTED = 70
MAX_SECONDS = 120
QUIET_SECONDS = 30.0
PR_SET_CHILD_SUBREAPER = 36


def start(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = UNEXPECTED
    try:
        os.setpgid(0, 0)
        signal.alarm(MAX_SECONDS)
        told = os.open(order["told"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(told, 1)
        os.dup2(told, 2)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        if order.get("hurry"):
            operations.hurry()
            forked_worker.kept_open.add(log)
            forked_worker.use_forked_workers()
        shim = ctypes.CDLL(None)
        turns = order.get("turns", [-1, -1])
        if turns[0] != -1:
            turns = [os.open(turns[0], os.O_WRONLY), os.open(turns[1], os.O_RDONLY)]
        shim.crash_arm(
            os.fsencode(order["root"]), log, ctypes.c_long(order["at"]), order["how"], order["error"], turns[0], turns[1]
        )
        code = operations.act(order["commands"], Path(order["root"], "run"), Path(order["table"]), order["settled"])
        shim.crash_disarm()
        os.write(log, b"%d\tcalls\t0\n" % shim.crash_calls())
    except BaseException:  # noqa: BLE001 (reported to the parent process)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait_for_the_rest() -> list[int]:
    """Wait until no process is left; those that are still there after QUIET_SECONDS are killed and returned."""
    deadline = time.monotonic() + QUIET_SECONDS
    late: list[int] = []
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return late
        if time.monotonic() > deadline:
            late = [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
            for pid in late:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphaned workers become children of this process
    operations.warm_up()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer: dict[str, Any] = {"code": os.waitstatus_to_exitcode(status)}
        elif "quiet" in order:
            answer = {"late": wait_for_the_rest()}
        else:
            answer = {"pid": start(order)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
