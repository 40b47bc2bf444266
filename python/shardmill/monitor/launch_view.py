"""What a launch on a cluster would do, for people: the arrays in a table, and the job scripts word by word."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shardmill.launch.cluster_plan import ClusterPlan
from shardmill.launch.submit import job_of, script
from shardmill.monitor.estimate import Estimate, estimate
from shardmill.monitor.rates import stage_rates
from shardmill.util.progress import clock
from shardmill.util.words import count_of


def describe(plan: ClusterPlan) -> Group:
    """The arrays of a plan, how long an element of each will take as far as that was measured, and what is left out and why."""
    lines = []
    if plan.live:
        running = sum(job.running for job in plan.live.values())
        lines.append(f"{count_of(len(plan.live), 'element')} already in the queue ({running} running), not submitted again")
    again = f"fix the cause, then: shardmill retry {plan.run.path}"
    for stage, shards in plan.quarantined.items():
        lines.append(f"{stage}: {count_of(len(shards), 'shard')} quarantined ({_few(shards)}); {again}")
    if plan.bad_nodes:
        lines.append(f"excluded nodes, where everything failed: {', '.join(plan.bad_nodes)}")
    if plan.complete:
        lines.append("every shard is finished")
    elif not plan.arrays:
        lines.append("nothing to submit")
    if not plan.arrays:
        return Group(*(Text(line) for line in lines))
    whole_run = estimate(plan.run, plan.site, stage_rates(plan.run), plan.max_parallel, plan.group)
    if whole_run.unmeasured:
        lines.append(f"not measured yet: {', '.join(whole_run.unmeasured)}; to measure: shardmill estimate {plan.run.path}")
    else:
        hours = (
            f"{whole_run.gpu_hours:,.2f} GPU-hours, about {clock(whole_run.hours * 3600)} on {count_of(whole_run.nodes, 'node')}"
        )
        lines.append(f"the whole run, by its finished shards: {hours}")
    return Group(_table(plan, whole_run), *(Text(line) for line in [*_order(plan), *lines]))


def _order(plan: ClusterPlan) -> Iterator[str]:
    """What waits for what."""
    if any(array.after for array in plan.arrays):
        yield "each element starts when the same element of the stage before it is done (aftercorr)"
    for array in plan.arrays:
        if array.after_all:
            stages = ", ".join(dict.fromkeys(each.stage for each in array.after_all))
            yield f"{array.stage}: after all of {stages}, since it learns from many shards at once (afterok)"
        if array.waits_for:
            yield f"{array.stage}: after {', '.join(array.waits_for)}, in the queue already"
        if array.chained_to is not None:
            yield f"{array.stage}: after all of {job_of(array.chained_to)}, to keep the limit of nodes"


def _table(plan: ClusterPlan, whole_run: Estimate) -> Table:
    table = Table(title=f"{plan.run.path} on {plan.site.name}", title_justify="left", box=None, pad_edge=False)
    for name in ("stage", "elements", "at once", "shards", "per node", "limit", "estimate"):
        table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
    measured = {stage.stage: stage for stage in whole_run.stages}
    for array in plan.arrays:
        gpus = plan.resources(array.stage).gpus_per_worker
        table.add_row(
            array.stage,
            f"{len(array.elements):,}",
            f"{array.parallel:,}",
            f"{array.shards:,}",
            f"{plan.workers(array)} x {gpus} GPU",
            clock(plan.minutes(array) * 60),
            clock(measured[array.stage].minutes_per_element * 60) if array.stage in measured else "?",
        )
    return table


def scripts(plan: ClusterPlan) -> Iterator[str]:
    """The text of each job script, after a line that says which it is."""
    for array in plan.arrays:
        yield f"# ---- {array.stage}: {count_of(len(array.elements), 'element')}; the script for sbatch:\n{script(plan, array)}"


def _few(shards: list[int]) -> str:
    return ", ".join(map(str, shards[:8])) + (" …" if len(shards) > 8 else "")
