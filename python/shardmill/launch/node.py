"""A node by its number, without a scheduler: `python -m shardmill.launch.node RUN NODE_NUM [NUM_NODES]`; see `slurm/run_node.sh`.

Node k of n takes the k-th of n equal parts of the shards and does all stages on them, with as many workers as fit, each with GPUs
of its own. Nodes do not wait for each other: a stage reads shards of its own node only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click

from shardmill.launch.gpus import visible_gpus
from shardmill.launch.plain import part
from shardmill.launch.site import Site, load_site
from shardmill.store.jobs import JobsFolder
from shardmill.store.plan import StagePlan
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError
from shardmill.util.exits import EXIT_RESUMABLE, user_errors
from shardmill.util.signals import StopFlag


def run_node(run: RunFolder, node: int, nodes: int, site: Site, stages: list[str] | None = None) -> int:
    """Do all stages (or those named) on this node's shards; exit code 0 if no slot failed and no shard is quarantined."""
    if not 0 <= node < nodes:
        raise UserError(f"there is no node {node} of {nodes}: they count from 0")
    site.check(run.plan)
    shards = part(run.num_shards, node, nodes)
    stop = StopFlag(patient=True)
    failed = False
    for planned in run.plan.stages if stages is None else [run.stage(name) for name in stages]:
        codes = _run_stage(run, planned, node, nodes, site, max(1, len(shards)), stop)
        aside = sorted(JobsFolder(run).quarantined(planned.name).keys() & set(shards))
        failed |= any(codes) or bool(aside)
        told = f"; quarantined: {aside}" if aside else ""
        click.echo(f"node {node}: {planned.name}: {codes.count(0)} of {len(codes)} slots ended well{told}", err=True)
        if stop():
            return EXIT_RESUMABLE
    return int(failed)


def _run_stage(run: RunFolder, planned: StagePlan, node: int, nodes: int, site: Site, shards: int, stop: StopFlag) -> list[int]:
    """Start the slots of one stage and wait for all of them; returns their exit codes."""
    resources = site.resources(planned)
    slots = min(site.workers_per_node(resources), shards)
    command = [sys.executable, "-m", "shardmill.launch.element_job", str(run.path), planned.name]
    processes = [
        subprocess.Popen(command, env=_environment(slot, slots, node, nodes, site, resources.gpus_per_worker))
        for slot in range(slots)
    ]
    told = False
    while True:
        for process in processes:
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                break
        else:
            return [process.returncode for process in processes]
        if stop() and not told:
            told = True
            for process in processes:
                process.send_signal(signal.SIGTERM)


def _environment(slot: int, slots: int, node: int, nodes: int, site: Site, gpus: int) -> dict[str, str]:
    """The variables of a slot. GPUs are those that this process may use, or all that the site says a node has."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environment |= {
        "SHARDMILL_NODE": f"node{node}",
        "SHARDMILL_SLOT": str(slot),
        "SHARDMILL_SLOTS": str(slots),
        "SHARDMILL_ELEMENT": str(node),
        "SHARDMILL_ELEMENTS": str(nodes),
        "SHARDMILL_GPUS_PER_WORKER": str(gpus),
    }
    if gpus and "CUDA_VISIBLE_DEVICES" not in environment:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(visible_gpus() or map(str, range(site.gpus_per_node)))
    return environment


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.argument("node_num", type=int)
@click.argument("num_nodes", type=int, default=1)
@click.option("--stage", "stages", multiple=True, help="only this stage; may be repeated (all stages if not given)")
@click.option("--site", default=None, help="a site file, for the GPUs, CPUs and memory of a node (8 GPUs if not given)")
def main(run: Path, node_num: int, num_nodes: int, stages: tuple[str, ...], site: str | None) -> None:
    """Do the part of RUN that belongs to node NODE_NUM (from 0) of NUM_NODES, with all GPUs of this machine."""
    with user_errors():
        place = load_site(site) if site else Site(name="this machine")
        sys.exit(run_node(RunFolder(run.resolve()), node_num, num_nodes, place, list(stages) or None))


if __name__ == "__main__":
    main()
