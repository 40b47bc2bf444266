"""What launch and retry have in common: unfinished shards are run on this machine, or submitted to a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shardmill.util.commands import command_line, print_next, print_note
from shardmill.util.terminal import echo

if TYPE_CHECKING:
    from shardmill.store.run_folder import RunFolder


def launch_here(run: RunFolder, workers: int, build: bool) -> int:
    """Run everything on this machine; returns the exit code."""
    from shardmill.launch.finish import build_datasets
    from shardmill.launch.local import launch_local
    from shardmill.monitor.progress import LiveView
    from shardmill.monitor.run_summary import closing_lines, final_table
    from shardmill.store.no_rows import check_rows
    from shardmill.store.run_folder import RunFolder
    from shardmill.util.console import TextConsole
    from shardmill.util.errors import PlanChanged

    repair_shards(run)
    while True:
        finish_ingest(run)
        try:
            result = launch_local(run, workers, view=LiveView(run))
            break
        except PlanChanged as change:
            print_note(f"{change}. This launch continues with the current plan")
            run = RunFolder(run.path)
    TextConsole().print(final_table(run))
    for line in closing_lines(run, run.finished()):
        echo(line)
    for failure in result.failed:
        echo(f"failed: {failure.stage} shard {failure.shard}: {failure.message} (log: {failure.log})", fg="red", err=True)
    if result.failed:
        again = command_line("launch", run.plan.pipeline, "--run", run.path)
        echo(f"finished shards are kept; fix the cause and run again: {again}", err=True)
        return 1
    check_rows(run)
    if build:
        build_datasets(run)
    echo(f"to trace one row: {command_line('explain', run.path, 0)}")
    print_next("report", run.path)
    return 0


def repair_shards(run: RunFolder) -> None:
    """Open the finished shards again of which a file is gone or corrupt, and say which; usually there is none."""
    from shardmill.store.repair import repair

    for found in repair(run):
        print_note(found)


def finish_ingest(run: RunFolder) -> None:
    """Cut the shards of the input that are missing, as after an `ingest --redo` that was killed; usually none is."""
    from shardmill.cli.base import ingest_progress
    from shardmill.tables.ingest import ingest

    ingest(run, ingest_progress())


def launch_on_cluster(
    run: RunFolder,
    site: str,
    max_parallel: int | None,
    shards_per_node: int | None,
    dry_run: bool,
    build: bool,
    phases: bool | None = None,
) -> None:
    """Submit every shard that is neither finished nor in the queue, or only print what would be submitted.

    Without `phases` each stage has arrays of its own; as in the last launch if that is None.
    """
    from shardmill.launch.cluster_plan import plan_launch
    from shardmill.launch.launch_lock import one_launch_at_a_time
    from shardmill.launch.site import load_site
    from shardmill.launch.submit import submit
    from shardmill.monitor.launch_view import describe, scripts
    from shardmill.monitor.rates import shard_minutes, stage_rates
    from shardmill.store.jobs import JobsFolder
    from shardmill.util.console import TextConsole

    with one_launch_at_a_time(JobsFolder(run)):
        if not dry_run:
            repair_shards(run)
            finish_ingest(run)
        rates = stage_rates(run)
        plan = plan_launch(
            run,
            load_site(site),
            max_parallel=max_parallel,
            group=shards_per_node,
            by_stage=None if phases is None else not phases,
            minutes=shard_minutes(run, rates),
        )
        TextConsole(width=160).print(describe(plan, rates))
        if dry_run:
            for text in scripts(plan):
                echo(text)
            echo("nothing was submitted; to submit it, leave out --dry-run")
            return
        if plan.arrays or plan.postponed:
            submit(plan, echo, build=build)
    if plan.complete:
        print_next("build", run.path)
    else:
        print_next("status", run.path, "--watch")
