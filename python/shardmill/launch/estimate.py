"""What a whole run will take, told from the shards that are finished: GPU-hours, wall time, disk. Nothing is assumed silently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from shardmill.launch.rates import Rate, stage_rates, typical_shard
from shardmill.launch.site import Site
from shardmill.shards.manifest import summary
from shardmill.shards.run_folder import RunFolder
from shardmill.standalone import ProgressLine, StopFlag, clock
from shardmill.worker import ModelPool, Progress, run_shard

GOOD_MINUTES = (10, 30)
"""A shard that takes so long is small enough to lose and large enough to load a model for."""
TOLD_AFTER = 0.02
WORTH_TELLING = 30.0


@dataclass
class StageEstimate:
    """One stage of the whole run.

    worker_hours: of work for one worker; `_low` and `_high` if all shards were like the fastest or the slowest that was timed,
    None if only one was. node_hours: of nodes held, each until the last of its shards is done. gpu_hours: of GPUs held, and
    `gpu_hours_busy` of GPUs at work. hours_alone: wall time with all inputs there. minutes_limit: of an element on the site.
    """

    stage: str
    measured_shards: int
    measured_rows: int
    rows: int
    worker_hours: float
    worker_hours_low: float | None
    worker_hours_high: float | None
    spread: float | None
    workers_per_node: int
    gpus_per_worker: int
    node_hours: float
    gpu_hours: float
    gpu_hours_busy: float
    hours_alone: float
    minutes_per_shard: float
    minutes_per_element: float
    minutes_limit: int | None
    bytes: int


@dataclass
class Estimate:
    """The whole run. `hours` is the wall time on `nodes` nodes at once; `unmeasured` stages are in no figure.

    `_low` and `_high` are None where a stage was timed on one shard only. `bytes_left` are those not yet on disk.
    """

    run: str
    site: str | None
    shards: int
    shards_per_element: int
    elements: int
    nodes: int
    hours: float
    hours_low: float | None
    hours_high: float | None
    gpu_hours: float
    gpu_hours_low: float | None
    gpu_hours_high: float | None
    node_hours: float
    worker_hours: float
    bytes: int
    bytes_left: int
    stages: list[StageEstimate]
    unmeasured: list[str]
    measured_on: list[str]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def probe(run: RunFolder, shard: int | None = None, report: Callable[[str], None] | None = None) -> list[str]:
    """Run one shard (a typical one, if none is named) through all stages in this process; returns the stages that were run.

    Nothing is run when every stage has been timed. The results count: a launch goes on after them. `report` gets lines for people,
    which go to standard error if it is not given.
    """
    shard = typical_shard(run) if shard is None else shard
    if shard is None or stage_rates(run).keys() == set(run.stages):
        return []
    say = report or (lambda line: click.echo(line, err=True))
    models: ModelPool = {}
    stop = StopFlag()
    ran = [stage for stage in run.stages if not run.is_complete(stage, shard)]
    for stage in ran:
        label = f"{stage} shard {shard}"
        made = run_shard(run, stage, shard, models=models, report=_Telling(label, say), should_stop=stop)
        say(f"{label}: {summary(made.rows_in, made.rows_out, made.reasons, made.lines_out)} in {clock(made.seconds)}")
    return ran


class _Telling:
    """A progress line that says once, after the first rows, how long a probed shard will take."""

    def __init__(self, label: str, say: Callable[[str], None]):
        self._label, self._say, self._told = label, say, False
        self._line = ProgressLine(label)

    def __call__(self, progress: Progress) -> None:
        fresh, left = progress.rows - progress.resumed, progress.total - progress.rows
        if not self._told and fresh >= TOLD_AFTER * progress.total:
            self._told = True
            seconds = self._line.seconds * left / max(fresh, 1)
            if seconds >= WORTH_TELLING:
                self._say(f"{self._label}: about {clock(seconds)} more; stopped before, it keeps what is done")
        self._line(progress)


def estimate(
    run: RunFolder, site: Site | None, rates: Mapping[str, Rate], max_parallel: int | None, group: int | None = None
) -> Estimate:
    """The estimate for the whole run on nodes of `site`; without one, for one worker on this machine.

    `max_parallel` and `group` (shards of an element) are what `shardmill launch` is told, with the same defaults.
    """
