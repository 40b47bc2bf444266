"""A node by its number, without a scheduler: `python -m shardmill.launch.node RUN NODE_NUM [NUM_NODES]`; see `slurm/run_node.sh`.

Node k of n takes the k-th of n equal parts of the shards through all stages, phase by phase, with as many workers as fit, each
with GPUs of its own. Nodes do not wait for each other. A stage that learns from the shards of other nodes too is left out until
they have finished the stage before it: run the same line again then.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from shardmill.launch.assignment import Assignment, JobSignals, WorkerContext, part
from shardmill.launch.cluster_plan import phase_resources, workers_per_node
from shardmill.launch.element import Element
from shardmill.launch.gpus import visible_gpus
from shardmill.launch.phases import Phase, phases_of
from shardmill.launch.site import Site, load_site
from shardmill.store.jobs import JobsFolder
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.util.errors import UserError
from shardmill.util.exits import EXIT_BUDGET, EXIT_RESUMABLE, user_errors
from shardmill.util.terminal import echo
from shardmill.util.words import count_of


def run_node(
    run: RunFolder, node: int, nodes: int, site: Site, stages: list[str] | None = None, *, by_stage: bool = False
) -> int:
    """Do all stages (or those named) on this node's shards, each of them by itself if `by_stage`.

    Returns:
        The exit code: 0 if every shard of the node is finished in every stage, 1 if not, 75 after a signal.

    Raises:
        UserError: If there is no such node, the site does not fit the run, or stages of one phase ask for different GPUs.
    """
    if not 0 <= node < nodes:
        raise UserError(f"there is no node {node} of {nodes}: they are numbered from 0")
    site.check(run.plan)
    shards, signals = part(run.num_shards, node, nodes), JobSignals()
    named = run.stages if stages is None else [run.stage(name).name for name in stages]
    planned = [stage for stage in run.plan.stages if stage.name in named]
    failed = False
    for phase in phases_of(planned, site.resources, by_stage=by_stage):
        code = _run_phase(run, phase, shards, node, site, signals)
        failed |= bool(code)
        for stage in phase:
            quarantined = sorted(JobsFolder(run).quarantined(stage).keys() & set(shards))
            failed |= bool(quarantined)
            done = sum(run.is_complete(stage, shard) for shard in shards)
            addition = f"; quarantined: {quarantined}" if quarantined else ""
            echo(f"node {node}: {stage}: {done} of {count_of(len(shards), 'shard')} finished{addition}", err=True)
        if signals() or code == EXIT_BUDGET:
            return EXIT_RESUMABLE if signals() else EXIT_BUDGET
    return int(failed)


def _run_phase(run: RunFolder, phase: Phase, shards: range, node: int, site: Site, signals: JobSignals) -> int:
    """Do the stages of a phase; returns the exit code of an element."""
    resources = phase_resources(run, site, phase)
    workers = min(workers_per_node(run, site, phase), max(1, len(shards)))
    work = Assignment(
        run=str(run.path), stages=phase, shards=tuple(shards), logs=str(TaskLogs(run).folder),
        gpus_per_worker=resources.gpus_per_worker, scratch=site.scratch, health_check=tuple(site.health_check),
        chained=False, helps=False,
    )  # fmt: skip
    gpus = tuple(_gpus(site)) if work.gpus_per_worker else ()
    context = WorkerContext(f"node{node}", workers=workers, gpus=gpus)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    return Element(work, context, signals, workers, {**environment, "SHARDMILL_NODE": context.node}).run_shards()


def _gpus(site: Site) -> list[str]:
    """Those that this process may use; all that the site says a node has where that is not known."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return visible_gpus()
    return visible_gpus() or [str(number) for number in range(site.gpus_per_node)]


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.argument("node_num", type=int)
@click.argument("num_nodes", type=int, default=1)
@click.option("--stage", "stages", multiple=True, help="only this stage; may be repeated (all stages if not given)")
@click.option("--no-phases", "by_stage", is_flag=True, help="each stage by itself, with workers of its own")
@click.option("--site", default=None, help="a site file, for the GPUs, CPUs and memory of a node (8 GPUs if not given)")
def main(run: Path, node_num: int, num_nodes: int, stages: tuple[str, ...], by_stage: bool, site: str | None) -> None:
    """Do the part of RUN that belongs to node NODE_NUM (from 0) of NUM_NODES, with all GPUs of this machine."""
    with user_errors():
        machine = load_site(site) if site else Site(name="this machine")
        sys.exit(run_node(RunFolder(run.resolve()), node_num, num_nodes, machine, list(stages) or None, by_stage=by_stage))


if __name__ == "__main__":
    main()
