"""A node by its number, without a scheduler: `python -m shardmill.launch.node RUN NODE_NUM [NUM_NODES]`; see `slurm/run_node.sh`.

Node k of n takes the k-th of n equal parts of the shards and does all stages on them, with as many workers as fit, each with GPUs
of its own. Nodes do not wait for each other: a stage reads shards of its own node only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from shardmill.launch.assignment import Assignment, WorkerContext, part
from shardmill.launch.element_queue import ElementQueue, worker_log
from shardmill.launch.gpus import share_of, visible_gpus
from shardmill.launch.node_check import node_problem
from shardmill.launch.site import Site, load_site
from shardmill.launch.supervisor import WorkerSupervisor
from shardmill.launch.worker_process import WorkerSpec
from shardmill.store.jobs import BadNode, JobsFolder
from shardmill.store.leases import this_process
from shardmill.store.plan import StagePlan
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.util.errors import UserError
from shardmill.util.exits import EXIT_RESUMABLE, user_errors
from shardmill.util.signals import StopFlag


def run_node(run: RunFolder, node: int, nodes: int, site: Site, stages: list[str] | None = None) -> int:
    """Do all stages (or those named) on this node's shards.

    Returns:
        The exit code: 0 if every shard of the node is finished in every stage, 1 if not, 75 after a signal.

    Raises:
        UserError: If there is no such node, or the site does not fit the run.
    """
    if not 0 <= node < nodes:
        raise UserError(f"there is no node {node} of {nodes}: they are numbered from 0")
    site.check(run.plan)
    shards, context = part(run.num_shards, node, nodes), WorkerContext(f"node{node}")
    stop = StopFlag(patient=True)
    failed = False
    for planned in run.plan.stages if stages is None else [run.stage(name) for name in stages]:
        failed |= not _run_stage(run, planned, shards, context, site, stop)
        quarantined = sorted(JobsFolder(run).quarantined(planned.name).keys() & set(shards))
        failed |= bool(quarantined)
        done = sum(run.is_complete(planned.name, shard) for shard in shards)
        addition = f"; quarantined: {quarantined}" if quarantined else ""
        click.echo(f"node {node}: {planned.name}: {done} of {len(shards)} shards are finished{addition}", err=True)
        if stop():
            return EXIT_RESUMABLE
    return int(failed)


def _run_stage(run: RunFolder, planned: StagePlan, shards: range, context: WorkerContext, site: Site, stop: StopFlag) -> bool:
    """Do one stage; whether nothing is left undone."""
    gpus = site.resources(planned).gpus_per_worker
    logs = TaskLogs(run).folder
    work = Assignment(str(run.path), planned.name, tuple(shards), str(logs), gpus, chained=False)
    specs = _worker_specs(work, context, min(site.workers_per_node(site.resources(planned)), max(1, len(shards))), site)
    jobs = JobsFolder(run)
    visible = _gpus(site) if gpus else []
    problem = node_problem(run, visible, gpus * len(specs), site.scratch, site.health_check)
    if problem is not None:
        click.echo(f"{context.node}: {problem}", err=True)
        jobs.note_bad_node(BadNode(node=context.node, reason=problem, stage=planned.name))
        return False
    queue = ElementQueue(run, work, context, this_process(node=context.node), other_nodes=set)
    stopped = WorkerSupervisor(run, queue, specs, context, stop).supervise()
    return not stopped and not queue.unfinished()


def _worker_specs(work: Assignment, context: WorkerContext, workers: int, site: Site) -> list[WorkerSpec]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environment["SHARDMILL_NODE"] = context.node
    specs = []
    for number in range(workers):
        log = worker_log(Path(work.logs), work.stage, context, number)
        own = (
            {"CUDA_VISIBLE_DEVICES": ",".join(share_of(_gpus(site), number, work.gpus_per_worker))}
            if work.gpus_per_worker
            else {}
        )
        specs.append(WorkerSpec({**environment, **own}, log, lease={"node": context.node, "log": str(log)}))
    return specs


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
@click.option("--site", default=None, help="a site file, for the GPUs, CPUs and memory of a node (8 GPUs if not given)")
def main(run: Path, node_num: int, num_nodes: int, stages: tuple[str, ...], site: str | None) -> None:
    """Do the part of RUN that belongs to node NODE_NUM (from 0) of NUM_NODES, with all GPUs of this machine."""
    with user_errors():
        machine = load_site(site) if site else Site(name="this machine")
        sys.exit(run_node(RunFolder(run.resolve()), node_num, num_nodes, machine, list(stages) or None))


if __name__ == "__main__":
    main()
