"""One stage on one shard by hand: `python -m shardmill.negbench.extract_objects --run RUN --shard-index 3`."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from shardmill.core.shard_runner import ModelPool, Progress, run_shard
from shardmill.core.stage import Stage
from shardmill.store.manifest import Manifest, summary
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import ModelDied, Stopped, UserError

EXIT_USER, EXIT_DIED, EXIT_RESUMABLE = 2, 70, 75
DISK_PROBLEMS = {
    errno.ENOSPC: "no space left",
    errno.EROFS: "read-only",
    errno.EDQUOT: "over quota",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.ENOTDIR: "a file where a folder is needed",
    errno.EEXIST: "a file where a folder is needed",
    errno.EISDIR: "a folder where a file is needed",
    errno.ENAMETOOLONG: "name too long",
}
FAILING_DISK = {
    errno.EIO: "the disk reports an input/output error",
    errno.ESTALE: "the file server has lost sight of a file (stale handle)",
    errno.EREMOTEIO: "the file server reports an input/output error",
}
"""Not for the user to mend before another try: on another node, or a minute later, all may be well."""


class StopFlag:
    """Turns true at SIGTERM, SIGINT or USR2, so that a worker can flush and leave; a second signal acts as usual.

    A `patient` one ignores more signals: a launcher watches over that process, and SLURM sends several.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.signal: int | None = None
        self._patient = patient
        self._previous = {number: signal.signal(number, self._set) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)}

    def _set(self, number: int, frame: object) -> None:
        self.signal = number if self.signal is None else self.signal
        if self._patient:
            return
        for each, handler in self._previous.items():
            signal.signal(each, handler)

    def __call__(self) -> bool:
        return self.signal is not None


def clock(seconds: float) -> str:
    """Seconds as 1:02:03 or 02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


class ProgressLine:
    """A line with rows, rate and ETA: rewritten in place on a terminal, else a new one now and then."""

    def __init__(self, label: str):
        self._label = label
        self._started = time.monotonic()
        self._live = sys.stderr.isatty()
        self._next = self._started + (0.5 if self._live else 10)
        self._shown = self._ended = False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        ends = self._shown and progress.rows == progress.total
        if self._ended or (now < self._next and not ends):
            return
        self._ended = ends
        self._next = now + (0.5 if self._live else 30)
        self._shown = True
        rate = (progress.rows - progress.resumed) / max(now - self._started, 1e-9)
        eta = f", ETA {clock((progress.total - progress.rows) / rate)}" if rate else ""
        line = (
            f"{self._label}: {progress.rows:,}/{progress.total:,} rows, {rate:,.0f} rows/s{eta}, rejected {progress.rejected:,}"
        )
        end = ("\n" if progress.rows == progress.total else "") if self._live else "\n"
        print(f"\r\033[K{line}" if self._live else line, end=end, file=sys.stderr, flush=True)


UNTOLD = "thrift: transport error"
"""All that Polars says when the end of a Parquet file cannot be written."""


def disk_problem(error: Exception) -> str | None:
    """What is wrong with the disk, if that is what an error says."""
    number = _system_error(error)
    if number is None and UNTOLD in str(error):
        return "a Parquet file could not be written: the disk is full, read-only or failing"
    if number is None or number not in {**DISK_PROBLEMS, **FAILING_DISK}:
        return None
    name = getattr(error, "filename", None)
    return {**DISK_PROBLEMS, **FAILING_DISK}[number] + (f": {name}" if name else " on the run folder's disk")


def is_transient(error: Exception) -> bool:
    """Whether a disk problem may be gone at the next try, with nothing mended by the user."""
    return _system_error(error) in FAILING_DISK or UNTOLD in str(error)


def _system_error(error: Exception) -> int | None:
    """The system's number of an error. Polars gives it in its message only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn what the user can mend into one line and exit code 2, a model that is gone into 70, a stop on request into 75."""
    try:
        yield
    except UserError as error:
        click.secho(f"shardmill: {error}", err=True, fg="red")
        sys.exit(EXIT_USER)
    except ModelDied as died:
        click.secho(f"shardmill: {died} Finished rows are saved; run the same command again.", err=True, fg="red")
        end_with_children(EXIT_DIED)
    except Stopped as stopped:
        click.echo(f"shardmill: stopped; {stopped}. Run the same command again to go on.", err=True)
        sys.exit(EXIT_RESUMABLE)
    except Exception as error:
        problem = disk_problem(error)
        if problem is None:
            raise
        click.secho(
            f"shardmill: {problem}; nothing that was finished is touched, run it again when that is mended", err=True, fg="red"
        )
        sys.exit(EXIT_USER)


def end_with_children(code: int) -> None:
    """End this process and those that a model has started, at once: what is left of a broken engine may wait for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(code)


def run_and_tell(run: RunFolder, stage: str, shard: int, models: ModelPool, should_stop: Callable[[], bool]) -> Manifest:
    """Run one shard with a progress line, and print its closing line."""
    label = f"{run.stage(stage).name} {shard}/{run.num_shards}"
    manifest = run_shard(run, stage, shard, models=models, report=ProgressLine(label), should_stop=should_stop)
    click.echo(f"{label}: {summary(manifest.rows_in, manifest.rows_out, manifest.reasons, manifest.lines_out)}")
    return manifest


def main(stage: type[Stage]) -> None:
    """The command line of a stage's module."""

    @click.command(help=(stage.__doc__ or "").replace("\n\n", "\n\n"))
    @click.option(
        "--run",
        "run",
        type=click.Path(path_type=Path, file_okay=False),
        required=True,
        help="the run folder, made by `shardmill shard`",
    )
    @click.option("--shard-index", type=int, required=True, help="which shard, from 0")
    def command(run: Path, shard_index: int) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        with user_errors():
            run_and_tell(RunFolder(run), stage.name, shard_index, {}, StopFlag())

    command()
