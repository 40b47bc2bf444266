"""A process that has everything imported, and forks a child for each order that it reads: a command starts in milliseconds.

It runs with shim.c loaded. Orders and answers are lines of JSON. `start` forks a child that runs commands on the run folder
`run` in the folder `root`, which the shim watches, and answers with its process id; `wait` answers how that child ended.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from crash import operations

UNEXPECTED = 70
MAX_SECONDS = 120


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


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    operations.warm_up()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            answer = {"pid": start(order)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
