"""Who is at work on a run. `replan` keeps workers out: what they would publish under the old names meanwhile would be lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shardmill.store.exclusive import exclusive
from shardmill.store.leases import STALE_SECONDS, LeaseOwner, Presence, read_owner, this_process
from shardmill.store.run_folder import RunFolder
from shardmill.util.atomic import sweep, temporary_name
from shardmill.util.commands import command_line
from shardmill.util.errors import UserError
from shardmill.util.words import count_of

REPLANNING = "replanning.json"
FOLDER = Path("jobs", "claims")
CARDS = "**/*.card.*tmp"
"""Those of processes, and in the folder of each stage those of attempts at its shards."""
SHOWN = 3


def presence(run: RunFolder, owner: LeaseOwner) -> Presence:
    """The file that says that a process is at work on a run, whichever shards its workers have just now."""
    return Presence(temporary_name(run.path / FOLDER / "at-work.card"), owner)


def remove_dead(run: RunFolder) -> None:
    """Remove the files of processes that were killed, or could not write theirs, and the plans that they were replacing."""
    for folder in (run.path, run.path / FOLDER):
        with suppress(FileNotFoundError):
            sweep(folder)


def is_at_work(run: RunFolder) -> bool:
    """Whether a launch or a worker that is no job of SLURM is at work on a run."""
    return any(live and not owner.job for _, owner, live in _owners(run))


def processes_at_work(run: RunFolder) -> list[LeaseOwner]:
    """The launches and workers that are at work on a run, as far as can be seen from here; files of dead ones are removed."""
    me, found = this_process(), {}
    for path, owner, live in _owners(run):
        if live:
            found[owner.machine, owner.pid] = owner
        elif owner.is_dead(me):
            path.unlink(missing_ok=True)
    return list(found.values())


def _owners(run: RunFolder) -> Iterator[tuple[Path, LeaseOwner, bool]]:
    """Each file, who wrote it, and whether that process is at work, as far as can be seen from here."""
    me = this_process()
    for path in (run.path / FOLDER).glob(CARDS):
        with suppress(FileNotFoundError, ValueError, UserError):
            owner, age = read_owner(path), time.time() - path.stat().st_mtime
            recent = owner.machine == me.machine or age < STALE_SECONDS  # one of this machine may be suspended
            yield path, owner, recent and not owner.is_dead(me)


@contextmanager
def keeping_workers_out(run: RunFolder) -> Iterator[None]:
    """Let no worker start on a run until the block ends. Raises UserError if one is at work."""
    with exclusive(run.path / "jobs" / REPLANNING, f"another replan of {run.path} is under way"):
        working = processes_at_work(run)
        if working:
            shown = ", ".join(f"process {each.pid}{f' on {each.node}' if each.node else ''}" for each in working[:SHOWN])
            raise UserError(
                f"{count_of(len(working), 'process is', 'processes are')} at work on {run.path} ({shown}); wait for the end, or "
                f"stop them (Ctrl-C, or on a cluster: {command_line('cancel', run.path)}), then replan"
            )
        yield


def check_not_kept_out(run: RunFolder) -> None:
    """Raise UserError while a replan keeps workers out. A worker first says that it is there and then looks here."""
    path = run.path / "jobs" / REPLANNING
    try:
        owner = read_owner(path)
    except (FileNotFoundError, ValueError):
        return
    if not owner.is_dead(this_process()):
        raise UserError(
            f"{run.path} is being cut into other shards (process {owner.pid}); start again when that has ended, or if it has, "
            f"remove {path}"
        )
