"""How a command ends: exit codes, and one line instead of a traceback for what the user can fix."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from shardmill.util.disk_errors import disk_problem
from shardmill.util.errors import BudgetSpent, ModelDied, NoRows, Stopped, UserError
from shardmill.util.signals import GRACE_SECONDS, StopFlag, end_in_time
from shardmill.util.terminal import echo, show_traceback

EXIT_USER, EXIT_NO_ROWS, EXIT_BUDGET, EXIT_DIED, EXIT_RESUMABLE = 2, 3, 5, 70, 75


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn what the user can fix into one line and exit code 2 (3 where no row came out, 5 where a budget is spent), a model that
    died into 70, a stop on request into 75.
    """
    sys.excepthook = show_traceback
    try:
        yield
    except UserError as error:
        echo(f"shardmill: {error}", err=True, fg="red")
        sys.exit(exit_code_of(error))
    except ModelDied as died:
        echo(f"shardmill: {died} Finished rows are saved; run the same command again.", err=True, fg="red")
        end_with_children(EXIT_DIED)
    except Stopped as stopped:
        echo(f"shardmill: stopped; {stopped}. Run the same command again to continue.", err=True)
        sys.exit(EXIT_RESUMABLE)
    except Exception as error:
        problem = disk_problem(error)
        if problem is None:
            raise
        echo(f"shardmill: {problem}; finished rows are untouched; fix it and run the same command again", err=True, fg="red")
        sys.exit(EXIT_USER)


def exit_code_of(error: UserError) -> int:
    """How a command ends with an error that the user can fix."""
    return EXIT_NO_ROWS if isinstance(error, NoRows) else EXIT_BUDGET if isinstance(error, BudgetSpent) else EXIT_USER


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """Whether a signal has asked this process to stop. If the block does not end in time then, the process does, with 75."""
    stop = StopFlag()
    left = end_in_time(stop, _end_stopped)
    try:
        yield stop
    finally:
        left.set()
        stop.restore()


def _end_stopped() -> None:
    echo(
        f"shardmill: stopped; a call took longer than {GRACE_SECONDS:.0f} s, and finished rows are saved. "
        "Run the same command again to continue.",
        err=True,
    )
    end_with_children(EXIT_RESUMABLE)


def end_with_children(code: int) -> None:
    """End this process and those that a model has started, at once: what is left of a broken engine may wait for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)
