"""What a launch on a cluster would do, for people: the arrays in a table, and the job scripts word by word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from rich.console import Group
from rich.table import Table
from rich.text import Text

from shardmill.launch.cluster_plan import ClusterPlan, workers_per_node
from shardmill.launch.elements import groups
from shardmill.launch.phases import Phase, phase_name, phases_of
from shardmill.launch.submit import job_of, script
from shardmill.monitor.estimate import Estimate, estimate
from shardmill.monitor.rates import StageRate, shard_minutes, stage_rates
from shardmill.util.errors import UserError
from shardmill.util.progress import clock
from shardmill.util.words import count_of


def describe(plan: ClusterPlan, rates: Mapping[str, StageRate] | None = None) -> Group:
    """The arrays of a plan, how long an element of each will take as far as that was measured, and what is left out and why."""
    rates = stage_rates(plan.run) if rates is None else rates
    lines = []
    if plan.live:
        running = sum(job.running for job in plan.live.values())
        lines.append(f"{count_of(len(plan.live), 'element')} already in the queue ({running} running), not submitted again")
    again = f"fix the cause, then: shardmill retry {plan.run.path}"
    for stage, shards in plan.quarantined.items():
        lines.append(f"{stage}: {count_of(len(shards), 'shard')} quarantined ({_few(shards)}); {again}")
    if plan.bad_nodes:
        lines.append(f"excluded nodes, where everything failed: {', '.join(plan.bad_nodes)}")
    if plan.postponed:
        wait = f"{count_of(plan.postponed, 'element')} more when the queue has room (max_jobs: {plan.site.max_jobs})"
        lines.append(f"{wait}: a job submits them when half of these are done")
    if plan.complete:
        lines.append("every shard is finished")
    elif not plan.arrays:
        lines.append("nothing to submit now" if plan.postponed else "nothing to submit")
    if not plan.arrays:
        return Group(*(Text(line) for line in lines))
    whole_run = estimate(plan.run, plan.site, rates, plan.max_parallel, plan.group, plan.phases)
    if whole_run.unmeasured:
        lines.append(f"not measured yet: {', '.join(whole_run.unmeasured)}; to measure: shardmill estimate {plan.run.path}")
    else:
        hours = (
            f"{whole_run.gpu_hours:,.2f} GPU-hours, about {clock(whole_run.hours * 3600)} on {count_of(whole_run.nodes, 'node')}"
        )
        lines.append(f"the whole run, by its finished shards: {hours}")
    told = [*_phase_lines(plan, shard_minutes(plan.run, rates)), *_order(plan), *lines]
    return Group(_table(plan, whole_run), *(Text(line) for line in told))


def _phase_lines(plan: ClusterPlan, minutes: Mapping[str, float]) -> Iterator[str]:
    """What phases save, and where stages without a model run."""
    allocations, loads = _cost(plan, plan.phases)
    whole = f"the whole run: {count_of(len(plan.phases), 'array')}, {count_of(allocations, 'node')} allocated, "
    whole += f"{count_of(loads, 'model load')}"
    with suppress(UserError):  # phases that ask for different GPUs are no alternative
        other = phases_of(plan.run.plan.stages, plan.site.resources, minutes, by_stage=not plan.by_stage)
        allocations, loads = _cost(plan, other)
        name = "in phases (--phases)" if plan.by_stage else "stage by stage (--no-phases)"
        whole += f"; {name}: {len(other):,}, {allocations:,} and {loads:,}"
    yield whole
    for phase in plan.phases:
        gpus = plan.resources(phase).gpus_per_worker
        for stage in phase:
            planned = plan.run.stage(stage)
            if planned.role is None and any(plan.resources(each).gpus_per_worker for each in plan.phases):
                measured = stage in minutes
                takes = clock(60 * minutes[stage] if measured else 60 * plan.resources((stage,)).minutes)
                how = f"{takes} a shard {'measured' if measured else 'planned'}"
                yield f"{stage} needs no GPU ({how}): " + (
                    f"done by the workers of {phase_name(phase)}" if gpus else "workers without GPUs"
                )


def _cost(plan: ClusterPlan, phases: Sequence[Phase]) -> tuple[int, int]:
    """The nodes that the whole run is allocated, one after another, and how often workers load a model."""
    elements = [len(each) for each in groups(plan.run.num_shards, plan.group)]
    loads = 0
    for phase in phases:
        if any(plan.run.stage(stage).role for stage in phase):
            workers = workers_per_node(plan.run, plan.site, phase)
            loads += sum(min(workers, shards) for shards in elements)
    return len(phases) * len(elements), loads


def _order(plan: ClusterPlan) -> Iterator[str]:
    """What waits for what."""
    if any(array.after for array in plan.arrays):
        yield "each element starts when the same element of the phase before it is done (aftercorr)"
    for array in plan.arrays:
        if array.after_all:
            sources = ", ".join(dict.fromkeys(each.name for each in array.after_all))
            learning = ", ".join(stage for stage in array.stages if plan.run.stage(stage).fit_rows)
            yield f"{array.name}: after all of {sources}, since {learning} learns from many shards at once (afterok)"
        if array.waits_for:
            yield f"{array.name}: after {', '.join(array.waits_for)}, in the queue already"
        if array.chained_to is not None:
            yield f"{array.name}: after all of {job_of(array.chained_to)}, to keep the limit of nodes"


def _table(plan: ClusterPlan, whole_run: Estimate) -> Table:
    table = Table(title=f"{plan.run.path} on {plan.site.name}", title_justify="left", box=None, pad_edge=False)
    for name in ("stages", "model", "elements", "at once", "shards", "per node", "limit", "estimate"):
        table.add_column(name, justify="left" if name in ("stages", "model") else "right", no_wrap=True)
    measured = {stage.stage: stage.minutes_per_element for stage in whole_run.stages}
    for array in plan.arrays:
        gpus = plan.resources(array.stages).gpus_per_worker
        known = all(stage in measured for stage in array.stages)
        table.add_row(
            "\n".join(array.stages),
            _model(plan, array.stages),
            f"{len(array.elements):,}",
            f"{array.parallel:,}",
            f"{array.shards:,}",
            f"{plan.workers(array)} x {gpus} GPU",
            clock(plan.minutes(array) * 60),
            clock(sum(measured[stage] for stage in array.stages) * 60) if known else "?",
        )
    return table


def _model(plan: ClusterPlan, phase: Phase) -> str:
    """The model of a phase, by the last part of its name."""
    specs = [plan.run.stage(stage).model for stage in phase if plan.run.stage(stage).role]
    return str(specs[0].get("model") or specs[0].get("kind", "")).rpartition("/")[2] if specs else ""


def scripts(plan: ClusterPlan) -> Iterator[str]:
    """The text of each job script, after a line that says which it is."""
    for array in plan.arrays:
        what = f"{', '.join(array.stages)}: {count_of(len(array.elements), 'element')}"
        yield f"# ---- {what}; the script for sbatch:\n{script(plan, array)}"


def _few(shards: list[int]) -> str:
    return ", ".join(map(str, shards[:8])) + (" …" if len(shards) > 8 else "")
