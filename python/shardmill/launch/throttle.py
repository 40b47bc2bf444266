"""One limit of nodes over all arrays of a run: as stages fill and empty, the shares of their arrays are moved, never their sum.

SLURM limits each array by itself. The shares that a launch gives them add up to the run's limit. Whoever finishes an element
reads the queue and moves the shares of arrays that cannot use them to those that can. Shares are lowered before others are
raised: in between, SLURM may start elements, and the sum must never exceed the limit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress

from pydantic import TypeAdapter

from shardmill.launch import slurm
from shardmill.store.jobs import ArrayRecord, JobsFolder
from shardmill.util.atomic import create_if_absent, replacing
from shardmill.util.errors import UserError
from shardmill.util.safe_files import read_untrusted
from shardmill.util.untrusted import Count

SHARES = "shares.json"
_SHARES = TypeAdapter(dict[str, Count])
LOCK_SECONDS = 60.0
HELD_BACK = {"Dependency", slurm.NEVER, "JobHeldUser", "JobHeldAdmin"}


def share_limit(jobs: JobsFolder) -> None:
    """Divide the run's limit of nodes among its arrays by their present need.

    Nothing is done where there is no limit, or while another process does this. The lock is a file: one that a killed process
    left counts for a minute.
    """
    submissions = jobs.submissions()
    max_nodes = submissions[-1].max_parallel if submissions else None
    if max_nodes is None:
        return
    lock = jobs.path / "sharing.lock"
    with suppress(FileNotFoundError):
        if time.time() - lock.stat().st_mtime > LOCK_SECONDS:
            lock.unlink()
    if not create_if_absent(lock, b""):
        return
    try:
        arrays = [array for submission in submissions for array in submission.arrays]
        _apply(jobs, wanted_shares(arrays, slurm.queue([array.job for array in arrays]), max_nodes))
    except UserError:
        pass  # SLURM does not answer: the shares stay as they are, which is within the limit
    finally:
        lock.unlink(missing_ok=True)


def wanted_shares(arrays: list[ArrayRecord], queue: Mapping[str, slurm.Job], max_nodes: int) -> dict[str, int]:
    """The share of each array that has work: at least one and what it runs now; the rest by demand, later stages first."""
    live = {array.job: [job for id in array.ids() if (job := queue.get(id)) is not None and job.live] for array in arrays}
    shares: dict[str, int] = {}
    demand: dict[str, int] = {}
    for array in arrays:
        blocked = any(live.get(job) for job in array.chained_to)
        if live[array.job] and not blocked:
            running = sum(job.running for job in live[array.job])
            shares[array.job] = max(1, running)
            demand[array.job] = sum(job.running or job.reason not in HELD_BACK for job in live[array.job])
    spare = max_nodes - sum(shares.values())
    wide = [array.job for array in arrays if array.job in shares and len(array.elements) > 1]
    for name in reversed(wide):
        more = max(0, min(spare, demand[name] - shares[name]))
        shares[name] += more
        spare -= more
    if wide and spare > 0:  # what no array can use now stays with the first, whose elements end next
        shares[wide[0]] += spare
    return {job: shares[job] for job in wide}


def _apply(jobs: JobsFolder, wanted: Mapping[str, int]) -> None:
    """Set the shares that changed, the lowered ones first."""
    known = current_shares(jobs)
    for job, share in sorted(wanted.items(), key=lambda item: item[1] - known.get(item[0], 0)):
        if known.get(job) != share:
            slurm.set_parallel(job, share)
            known[job] = share
    with replacing(jobs.path / SHARES) as file:
        file.write(json.dumps(known).encode())


def current_shares(jobs: JobsFolder) -> dict[str, int]:
    """How many elements of each array may run at once: as submitted, or as moved since."""
    shares = {array.job: array.parallel for submission in jobs.submissions() for array in submission.arrays}
    with suppress(FileNotFoundError, ValueError, UserError):
        moved = _SHARES.validate_json(read_untrusted(jobs.path / SHARES))
        shares.update({job: share for job, share in moved.items() if job in shares})
    return shares
