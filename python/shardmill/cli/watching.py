"""Commands that tell how it goes: status, logs, failures, estimate, doctor."""

from __future__ import annotations

import json
from pathlib import Path

import click

from shardmill.cli.base import FOLDER, cli

SITE_HELP = "a site file, or its name in slurm/sites/"


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--watch", is_flag=True, help="look again every few seconds, until nothing is left to wait for")
@click.option("--seconds", type=click.FloatRange(1), default=5, show_default=True, help="with --watch: how often to look")
@click.option("--json", "as_json", is_flag=True, help="for scripts; exit code 0: finished, 3: going on, 1: failed shards")
@click.pass_context
def status(ctx: click.Context, folder: Path, watch: bool, seconds: float, as_json: bool) -> None:
    """How far a run is: stages, shards, rows, rates, rejections, GPU-hours; on a cluster with what SLURM says of its jobs.

    Told from the run's files first: right with any number of workers, wherever they are, and when SLURM does not answer.
    """
    from rich.console import Console

    from shardmill.monitor.status import exit_code, read_status
    from shardmill.monitor.status_view import render_status
    from shardmill.monitor.status_view import watch as watch_status
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    if watch:
        watch_status(run, seconds)
        return
    state = read_status(run)
    if as_json:
        click.echo(json.dumps(state.to_dict(), indent=1))
        ctx.exit(exit_code(state))
    Console().print(render_status(state), soft_wrap=True)


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.argument("stage")
@click.option("--shard", type=click.IntRange(0), help="which shard, from 0 (the latest log of the stage if not given)")
@click.option("--lines", type=click.IntRange(1), help="only so many lines from the end")
@click.option("--path", "only_path", is_flag=True, help="print where the log is, not what it says")
def logs(folder: Path, stage: str, shard: int | None, lines: int | None, only_path: bool) -> None:
    """The log of a shard of STAGE, wherever it was worked on last."""
    from shardmill.monitor.log_files import latest_text, logs_of
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    short = run.stage(stage).name
    if only_path:
        for path in logs_of(run, short, shard):
            click.echo(path)
    else:
        click.echo(latest_text(run, short, shard, lines))


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="for scripts")
def failures(folder: Path, as_json: bool) -> None:
    """What failed and why: the last lines of each failed shard, grouped by cause; and the nodes that were found bad."""
    from rich.console import Console

    from shardmill.monitor.failures import read_failures, render
    from shardmill.store.run_folder import RunFolder

    found = read_failures(RunFolder(folder))
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
    else:
        Console().print(render(found), soft_wrap=True)


@cli.command()
@click.argument("folder", type=FOLDER, metavar="RUN")
@click.option("--site", help=f"{SITE_HELP}: for nodes and GPU-hours (one worker on this machine if not given)")
@click.option("--max-parallel", type=click.IntRange(1), help="nodes at once")
@click.option("--probe/--no-probe", default=True, show_default=True, help="run one shard here if none was finished yet")
@click.option("--json", "as_json", is_flag=True, help="for scripts")
def estimate(folder: Path, site: str | None, max_parallel: int | None, probe: bool, as_json: bool) -> None:
    """What the whole run will take, before anything big is submitted: GPU-hours, wall time, disk.

    Measured on the shards that are finished; if there is none, one shard is run here through all stages. Its results are kept.
    """
    from rich.console import Console

    from shardmill.launch.site import load_site
    from shardmill.monitor.estimate import estimate as estimate_run
    from shardmill.monitor.estimate import probe as run_probe
    from shardmill.monitor.estimate_view import render
    from shardmill.monitor.rates import stage_rates
    from shardmill.store.run_folder import RunFolder

    run = RunFolder(folder)
    place = load_site(site) if site else None
    if place is not None:
        place.check(run.plan)
    if probe:
        run_probe(run)
    told = estimate_run(run, place, stage_rates(run), max_parallel)
    if as_json:
        click.echo(json.dumps(told.to_dict(), indent=1))
    else:
        Console().print(render(told))


@cli.command()
@click.option("--site", help=f"{SITE_HELP}: also look at SLURM, the partition, the environment")
@click.option("--run", "folder", type=FOLDER, help="also look at this run folder: its disk, its models, a tiny job writing to it")
@click.option("--json", "as_json", is_flag=True, help="for scripts")
@click.pass_context
def doctor(ctx: click.Context, site: str | None, folder: Path | None, as_json: bool) -> None:
    """Is everything there that a run needs? Each line that is not ok comes with a remedy; exit code 1 if one fails."""
    from rich.console import Console

    from shardmill.launch.site import load_site
    from shardmill.monitor.doctor import examine, render

    checks = examine(load_site(site) if site else None, folder)
    if as_json:
        click.echo(json.dumps([vars(check) for check in checks], indent=1))
    else:
        Console().print(render(checks))
    ctx.exit(int(any(check.verdict == "fail" for check in checks)))
