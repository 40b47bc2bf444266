"""What a launch on a cluster would do, for people: the arrays in a table, and the job scripts word by word."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shardmill.launch.cluster_plan import ClusterPlan
from shardmill.launch.submit import dependency, script
from shardmill.standalone import clock


def describe(plan: ClusterPlan) -> Group:
    """The arrays of a plan, what is left out and why."""
    lines = []
    if plan.live:
        running = sum(job.running for job in plan.live.values())
        lines.append(f"{len(plan.live)} elements are under way ({running} running); they are not submitted again")
    again = f"mend the cause, then: shardmill retry {plan.run.path}"
    for stage, shards in plan.quarantined.items():
        lines.append(f"{stage}: {len(shards)} shards are quarantined ({_few(shards)}); {again}")
    if plan.bad_nodes:
        lines.append(f"kept away from {', '.join(plan.bad_nodes)}, where everything failed")
    if plan.complete:
        lines.append("every shard is finished")
    elif not plan.arrays:
        lines.append("nothing to submit")
    return Group(*([_table(plan)] if plan.arrays else []), *(Text(line) for line in lines))


def _table(plan: ClusterPlan) -> Table:
    table = Table(title=f"{plan.run.path} on {plan.site.name}", title_justify="left")
    for name in ("stage", "elements", "at once", "shards", "workers x GPUs", "time limit", "waits for"):
        table.add_column(name, justify="left" if name in ("stage", "waits for") else "right", no_wrap=name != "waits for")
    for array in plan.arrays:
        gpus = plan.resources(array.stage).gpus_per_worker
        table.add_row(
            array.stage,
            f"{len(array.elements):,}",
            f"{array.parallel:,}",
            f"{array.shards:,}",
            f"{plan.workers(array.stage)} x {gpus}",
            clock(plan.minutes(array) * 60),
            Text(dependency(array) or ""),
        )
    return table


def scripts(plan: ClusterPlan) -> Iterator[str]:
    """The text of each job script, after a line that says which it is."""
    for array in plan.arrays:
        yield f"# ---- {array.stage}: {len(array.elements)} elements; sbatch is given:\n{script(plan, array)}"


def _few(shards: list[int]) -> str:
    return ", ".join(map(str, shards[:8])) + (" …" if len(shards) > 8 else "")
