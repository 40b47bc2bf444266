"""A worker process: `python -m shardmill.launch.worker_main RUN REPLY_FD`, started by a supervisor on the same node.

Tasks come as JSON lines on stdin; progress and results go as JSON lines to the pipe REPLY_FD, since libraries print to stdout.
Both streams of a task are written to its log. The process stays, with its models, until stdin is closed. When its model has all
requests of a task the worker says so ("asked_all"), and may be given the next one, so that the model does not run dry in between.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.store.leases import ShardBusy, this_process
from shardmill.store.run_folder import RunFolder
from shardmill.util.disk_errors import disk_problem, is_transient
from shardmill.util.errors import BudgetSpent, FingerprintChanged, ModelDied, PlanChanged, Stopped, UserError
from shardmill.util.exits import EXIT_DIED, end_with_children
from shardmill.util.progress import Progress
from shardmill.util.signals import POLL_SECONDS, StopFlag, end_in_time
from shardmill.util.terminal import echo, start_logging

REPORT_SECONDS = 0.5


class Inbox:
    """Tasks from stdin, read in a thread of its own, so that its end (the supervisor left or died) is noticed at once."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self._tasks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with os.fdopen(os.dup(0), encoding="utf-8") as lines:
            for line in lines:
                self._tasks.put(json.loads(line))
        self.closed.set()
        self._tasks.put(None)

    def next(self, should_stop: Callable[[], bool]) -> dict[str, Any] | None:
        """The next task; None when the supervisor has no more, after `end`, or when the worker is to stop."""
        while not should_stop():
            with contextlib.suppress(queue.Empty):
                return self._tasks.get(timeout=POLL_SECONDS)
        return None

    def end(self) -> None:
        """Give out no more tasks."""
        self._tasks.put(None)


class Outbox:
    """Messages to the supervisor. That it is gone shows at the end of stdin, not here."""

    def __init__(self, handle: int):
        os.set_inheritable(handle, False)  # a model's own processes must not keep the pipe open after this one has died
        self._handle = handle
        self._next = 0.0

    def send(self, **message: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._handle, (json.dumps(message) + "\n").encode("utf-8"))

    def progress(self, task: dict[str, Any], progress: Progress) -> None:
        """Report progress on a task, at most twice a second."""
        now = time.monotonic()
        if now >= self._next or progress.rows == progress.total:
            self._next = now + REPORT_SECONDS
            self.send(stage=task["stage"], shard=task["shard"], progress=asdict(progress))


def write_to(log: Path, header: str) -> None:
    """Append all that this process prints from now on to `log`, after a header line."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ["SHARDMILL_LOG"] = str(log)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    echo(f"=== {now} {header} on {socket.gethostname()}, process {os.getpid()}", err=True)


def do_task(run: RunFolder, task: dict[str, Any], models: ModelPool, outbox: Outbox, should_stop: StopTest) -> dict[str, str]:
    """Run one task.

    Args:
        run: The run.
        task: Stage, shard, and `lease`: the arguments of `this_process` for leases on its rows, None to work without; `revision`:
            that of the plan by which the task was chosen.
        models: The models that are loaded.
        outbox: Where progress goes.
        should_stop: Whether to save what is done and leave.

    Returns:
        `end`, with a `message`: done, busy (other workers have the rows that are left), stopped, outdated (the plan was changed),
        spent (the run has cost what it may), refused (the user can fix it), changed (the stage is not what was planned), error,
        or died (the model died, and this process ends with it).
    """
    stage, shard = task["stage"], task["shard"]
    try:
        if run.plan.revision != task.get("revision", run.plan.revision):
            raise PlanChanged(f"the plan of {run.path} was changed by another command")
        owner = None if task["lease"] is None else this_process(**task["lease"])
        run_shard(
            run,
            stage,
            shard,
            models=models,
            report=lambda progress: outbox.progress(task, progress),
            should_stop=should_stop,
            owner=owner,
            all_requested=lambda: outbox.send(stage=stage, shard=shard, asked_all=True),
        )
    except ShardBusy as busy:
        logging.info("%s", busy)
        return {"end": "busy", "message": str(busy)}
    except Stopped as stopped:
        logging.info("stopped: %s", stopped)
        return {"end": "stopped", "message": str(stopped)}
    except PlanChanged as change:
        logging.info("%s", change)
        return {"end": "outdated", "message": str(change)}
    except ModelDied as died:
        logging.error("%s", died)
        return {"end": "died", "message": str(died)}
    except BudgetSpent as spent:
        logging.info("%s", spent)
        return {"end": "spent", "message": str(spent)}
    except FingerprintChanged as change:
        logging.error("%s", change)
        return {"end": "changed", "message": str(change)}
    except UserError as error:
        logging.error("%s", error)
        return {"end": "refused", "message": str(error)}
    except Exception as error:
        logging.exception("%s shard %s failed", stage, shard)
        if (problem := disk_problem(error)) is not None:
            return {"end": "error" if is_transient(error) else "refused", "message": problem}
        return {"end": "error", "message": f"{type(error).__name__}: {error}"}
    return {"end": "done", "message": ""}


class StopTest:
    """True after a signal, or when the supervisor is gone or wants no more."""

    def __init__(self, inbox: Inbox):
        self._inbox, self._signalled = inbox, StopFlag(patient=True)

    def __call__(self) -> bool:
        return self._signalled() or self._inbox.closed.is_set()


def main(run_path: str, reply_handle: str) -> None:
    """Run tasks from stdin until it is closed; replies go to the file descriptor `reply_handle`."""
    start_logging(logging.INFO, "%(asctime)s %(levelname)s %(message)s")
    faulthandler.enable()
    inbox = Inbox()
    should_stop = StopTest(inbox)
    outbox = Outbox(int(reply_handle))
    models = ModelPool()
    end_in_time(should_stop, end_group)
    outbox.send(ready=os.getpid())

    def work(task: dict[str, Any]) -> None:
        ended = do_task(RunFolder(Path(run_path)), task, models, outbox, should_stop)
        outbox.send(stage=task["stage"], shard=task["shard"], **ended)
        if ended["end"] == "died":
            end_with_children(EXIT_DIED)
        if should_stop():
            inbox.end()

    threads = []
    while (task := inbox.next(should_stop)) is not None:
        write_to(Path(task["log"]), f"{task['stage']} shard {task['shard']}")
        threads.append(threading.Thread(target=work, args=(task,)))
        threads[-1].start()
    for thread in threads:
        thread.join()


def end_group() -> None:
    """End this process and those of its models at once; the journals keep what is done."""
    logging.error("stopped while a call was in progress; what is finished is in the journal")
    # Only if the group is ours: started by hand, it is the user's shell.
    os.killpg(os.getpgid(0), signal.SIGKILL) if os.getpgid(0) == os.getpid() else os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
