"""How far each stage of a run is, in numbers: shards by state, rows, rates, what is left, what it cost, what is slow."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from shardmill.monitor.cluster_state import ClusterState
from shardmill.monitor.snapshot import Snapshot, Writing, begun
from shardmill.store.allocations import RENEW_SECONDS
from shardmill.store.finished import FinishedShard
from shardmill.store.jobs import JobsFolder
from shardmill.store.leases import LeaseOwner
from shardmill.store.manifest import SLOW_FACTOR, totals
from shardmill.store.run_folder import INGEST
from shardmill.store.spending import Budget, read_budget
from shardmill.util.plain_text import plain

ALIVE_SECONDS = 120.0
"""An unfinished shard whose journal was written to within this time counts as running."""
MIN_SLOW_SECONDS = 60.0


@dataclass
class SlowShard:
    """A slow shard: its seconds so far, how many times the median of its stage that is, and its node."""

    shard: int
    seconds: float
    times_median: float
    node: str = ""
    running: bool = False


@dataclass
class StageStatus:
    """One stage. Every shard is one of done, running, queued, failed, waiting, and these add up to `shards`.

    queued: a live job will start it, `queued_why` counts the reasons; failed: quarantined; waiting: the rest. Of the waiting,
    `open` had a job that ended without finishing them (`open_why` counts how), `held_back` cannot start since the stage before
    failed them.
    rows_running: finished rows of unfinished shards; rows_left: expected, None while not even the stage before is known.
    rows_per_second: of one worker; workers: those at work now; eta_seconds: with these, None where nothing is known.
    gpu_hours, cpu_hours: allocated so far, or worked where nothing was allocated; `_left`: expected, None if no rate is known.
    usage: requests, tokens and their like of the finished shards; tokens_per_second: answered by one worker, None where no model
    counts tokens. cost: in the currency of the model file's prices, None without prices; `_left` as for the hours.
    """

    stage: str
    shards: int
    done: int = 0
    running: int = 0
    queued: int = 0
    failed: int = 0
    waiting: int = 0
    open: int = 0
    open_why: dict[str, int] = field(default_factory=dict)
    held_back: int = 0
    rows_in: int = 0
    rows_out: int = 0
    rejected: int = 0
    rows_running: int = 0
    rows_left: int | None = None
    workers: int = 0
    rows_per_second: float | None = None
    eta_seconds: float | None = None
    gpu_hours: float = 0.0
    gpu_hours_left: float | None = None
    cpu_hours: float = 0.0
    cpu_hours_left: float | None = None
    usage: dict[str, float] = field(default_factory=dict)
    tokens_per_second: float | None = None
    cost: float | None = None
    cost_left: float | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    queued_why: dict[str, int] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    slowest: list[SlowShard] = field(default_factory=list)
    behind: list[SlowShard] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.done >= self.shards

    @property
    def seconds_left(self) -> float | None:
        """Seconds of work of one worker that are left."""
        if self.finished or self.rows_left == 0:
            return 0.0
        return self.rows_left / self.rows_per_second if self.rows_per_second and self.rows_left is not None else None


def stage_statuses(
    run: Snapshot, jobs: JobsFolder, cluster: ClusterState, complete: Mapping[tuple[str, int], FinishedShard], needed: int
) -> list[StageStatus]:
    """All stages in order, ingest first, with the shards up to `needed`."""
    found: dict[str, StageStatus] = {}
    expected: dict[str, list[float]] = {}
    held_back: dict[str, set[int]] = {}
    worked, budget = _seconds_by_stage(complete), read_budget(run)
    for stage in [INGEST, *run.stages]:
        source = run.after(stage)
        done = {shard: complete[stage, shard] for shard in range(needed) if (stage, shard) in complete}
        status = found[stage] = StageStatus(stage, needed, done=len(done))
        broken = held_back[source] if source else set()
        blocked = {shard for shard in range(needed) if broken and not broken.isdisjoint(run.needed_by(stage, shard))}
        startable = {shard for shard in range(needed) if source is None or (source, shard) in complete}
        held_back[stage] = _sort(run, jobs, cluster, status, done, blocked, startable) | (blocked - done.keys())
        _add_totals(status, done.values())
        expected[stage] = _expect(status, done, expected[source] if source else _rows_of_plan(run, needed))
        _add_eta(status, found[source] if source else None)
        _add_hours(run, cluster, status, done.values(), worked)
        _add_cost(run, status, budget)
    return list(found.values())


def _sort(
    run: Snapshot,
    jobs: JobsFolder,
    cluster: ClusterState,
    status: StageStatus,
    done: Mapping[int, FinishedShard],
    blocked: set[int],
    startable: set[int],
) -> set[int]:
    """Give each open shard of a stage its state; returns those that failed. `startable` are those with input."""
    stage = status.stage
    writing, owners_of = run.writing(stage), run.lease_owners(stage)
    quarantined = {} if stage == INGEST else jobs.quarantined(stage)
    running: dict[int, float] = {}
    at_elements: Counter[str] = Counter()
    workers: set[str] = set()
    for shard in range(status.shards):
        if shard in done:
            continue
        journals = writing.get(shard, Writing())
        status.rows_running += journals.rows
        owners = [owner for owner in owners_of.get(shard, ()) if not owner.job or cluster.may_run(owner.job)]
        element = cluster.shards.get((stage, shard))
        works = element is not None and element.state == "running" and shard in startable and shard not in quarantined
        at_elements[element.job if element is not None and works else ""] += 1
        if shard in quarantined:
            status.failed += 1
            status.failures[shard] = plain(quarantined[shard].message)
        elif owners or _is_written(journals, cluster, stage, shard):
            status.running += 1
            running[shard] = _begun(owners, journals)
            workers |= {owner.attempt for owner in owners} or {f"shard {shard}"}
        elif element is not None and element.live:
            status.queued += 1
            why = element.words if element.state == "queued" else "its job runs and has not started it yet"
            status.queued_why[why] = status.queued_why.get(why, 0) + 1
        else:
            status.waiting += 1
            status.held_back += shard in blocked
            if shard not in blocked and element is not None and element.state == "ended":
                status.open += 1
                status.open_why[element.words] = status.open_why.get(element.words, 0) + 1
    del at_elements[""]
    status.workers = max(len(workers), sum(min(count, cluster.workers[job]) for job, count in at_elements.items()))
    status.slowest, status.behind = _slow(done, running, owners_of)
    return set(quarantined)


def _is_written(journals: Writing, cluster: ClusterState, stage: str, shard: int) -> bool:
    """Whether somebody writes the shard's journals; not if the job that did so has ended since."""
    element = cluster.shards.get((stage, shard))
    ended = 0.0
    if element is not None and cluster.answered and element.state != "running":
        ended = cluster.last_seen.get(element.job, 0.0) + 1.5 * RENEW_SECONDS
    return journals.written > max(time.time() - ALIVE_SECONDS, ended)


def _begun(owners: Sequence[LeaseOwner], journals: Writing) -> float:
    times = [begun(f".{owner.attempt}.") for owner in owners]
    return min((each for each in times if each), default=journals.begun or time.time())


def _slow(
    done: Mapping[int, FinishedShard], running: Mapping[int, float], owners_of: Mapping[int, Sequence[LeaseOwner]]
) -> tuple[list[SlowShard], list[SlowShard]]:
    """The three finished shards that took longest, and the running ones that are far behind."""
    if len(done) < 2:
        return [], []
    middle = median(manifest.seconds for manifest in done.values()) or 1e-3
    worst = sorted(done.items(), key=lambda item: -item[1].seconds)[:3]
    slowest = [SlowShard(shard, made.seconds, made.seconds / middle, made.node) for shard, made in worst]
    behind = []
    for shard, since in running.items():
        seconds = time.time() - since
        if seconds > max(SLOW_FACTOR * middle, MIN_SLOW_SECONDS):
            node = next((owner.node for owner in owners_of.get(shard, ())), "")
            behind.append(SlowShard(shard, seconds, seconds / middle, node, running=True))
    return slowest, sorted(behind, key=lambda slow: -slow.seconds)


def _add_totals(status: StageStatus, manifests: Iterable[FinishedShard]) -> None:
    manifests = list(manifests)
    sums = totals(manifests)
    status.usage = {name: value for name, value in sums["usage"].items() if value}
    timed = [made for made in manifests if not made.elsewhere]
    seconds, answered = sum(made.seconds for made in timed), sum(made.usage.get("completion_tokens", 0.0) for made in timed)
    if seconds and answered:
        status.tokens_per_second = answered / seconds
    status.rows_in, status.rows_out, status.rejected = sums["rows_in"], sums["rows_out"], sums["rejected"]
    status.reasons = dict(Counter(sums["reasons"]).most_common())
    if sums["seconds"] and sums["rows_in"]:
        status.rows_per_second = sums["rows_in"] / sums["seconds"]


def _rows_of_plan(run: Snapshot, needed: int) -> list[float]:
    return [float(end - start) for start, end in run.plan.shards[:needed]]


def _expect(status: StageStatus, done: Mapping[int, FinishedShard], rows_in: Sequence[float]) -> list[float]:
    """Set the rows that are left, from the rows that each shard is expected to read; returns those that it will pass on.

    Unfinished shards pass on the same share as finished ones; all rows where none is finished.
    """
    share = status.rows_out / status.rows_in if status.rows_in else 1.0
    left = sum(rows for shard, rows in enumerate(rows_in) if shard not in done)
    status.rows_left = max(round(left) - status.rows_running, 0)
    return [done[shard].rows_out if shard in done else rows * share for shard, rows in enumerate(rows_in)]


def _add_eta(status: StageStatus, source: StageStatus | None) -> None:
    """A stage ends when its workers are through, and not before the stage that it reads from."""
    if status.finished:
        return
    own = status.seconds_left
    before = 0.0 if source is None or source.finished else source.eta_seconds
    if own is not None and status.workers and before is not None:
        status.eta_seconds = max(own / status.workers, before)


def _seconds_by_stage(complete: Mapping[tuple[str, int], FinishedShard]) -> dict[str, float]:
    """The seconds of work in each stage's finished shards."""
    found: dict[str, float] = {}
    for (stage, _), made in complete.items():
        found[stage] = found.get(stage, 0.0) + made.seconds
    return found


def _add_hours(
    run: Snapshot, cluster: ClusterState, status: StageStatus, manifests: Iterable[FinishedShard], worked: Mapping[str, float]
) -> None:
    """Hours allocated to jobs, and hours of work outside of jobs; for what is left, the work at the rate so far."""
    gpus, cpus = _per_worker(run, cluster, status.stage)
    outside = sum(made.seconds for made in manifests if not made.element) / 3600
    status.gpu_hours, status.cpu_hours = outside * gpus, outside * cpus
    for allocation in cluster.allocations:
        share = allocation.share_of(status.stage, worked)
        status.gpu_hours += share * allocation.hours * allocation.gpus
        status.cpu_hours += share * allocation.hours * allocation.cpus
    left = status.seconds_left
    if left is not None:
        status.gpu_hours_left, status.cpu_hours_left = left / 3600 * gpus, left / 3600 * cpus


def _add_cost(run: Snapshot, status: StageStatus, budget: Budget) -> None:
    """What the tokens and GPUs cost, and what those of the rows that are left will, at the cost per row so far."""
    price = None if status.stage == INGEST else budget.price_of(run.stage(status.stage))
    if price is None:
        return
    tokens = price.of(status.usage)
    status.cost = tokens + price.gpu_hour * status.gpu_hours
    if status.rows_left == 0 or status.finished:
        status.cost_left = 0.0
    elif status.rows_left is not None and status.rows_in and status.gpu_hours_left is not None:
        status.cost_left = tokens / status.rows_in * status.rows_left + price.gpu_hour * status.gpu_hours_left


def _per_worker(run: Snapshot, cluster: ClusterState, stage: str) -> tuple[float, float]:
    """GPUs and CPUs of a worker: as submitted last, else as planned."""
    if stage == INGEST:
        return 0.0, 1.0
    planned = run.stage(stage).resources
    return cluster.per_worker.get(stage, (planned.gpus_per_worker, planned.cpus_per_worker))
