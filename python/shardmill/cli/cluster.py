"""Commands for clusters and servers: doctor, serve, servers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from shardmill.cli.base import code_option
from shardmill.util.commands import CLUSTER, FOLDER, command, command_line, group, json_option, print_next
from shardmill.util.errors import UserError
from shardmill.util.terminal import echo
from shardmill.util.words import count_of


@command(CLUSTER)
@click.option("--site", help="a site file, or its name in slurm/sites/: also check SLURM, the partition, the environment")
@click.option("--run", "folder", type=FOLDER, help="also check this run: its disk, its models, a small job that writes to it")
@click.option(
    "--probe",
    is_flag=True,
    help="with --site: also submit a job of a minute for each phase of the run (or each kind of jobs), "
    "which says what its node has",
)
@json_option
@code_option
@click.pass_context
def doctor(ctx: click.Context, site: str | None, folder: Path | None, probe: bool, as_json: bool) -> None:
    """Check what a run needs of a machine or site.

    Each line that is not ok comes with a remedy. Exit code 1 if a check fails.
    """
    from shardmill.launch.site import load_site
    from shardmill.monitor.doctor import examine, render
    from shardmill.util.console import TextConsole

    if probe and not site:
        raise UserError("--probe submits jobs to a cluster; name its site file with --site")
    checks = examine(load_site(site) if site else None, folder, probe)
    if as_json:
        echo(json.dumps([vars(check) for check in checks], indent=1))
    else:
        TextConsole().print(render(checks))
    ctx.exit(int(any(check.verdict == "fail" for check in checks)))


@group(CLUSTER)
def site() -> None:
    """Describe your cluster in a site file."""


@site.command("new")
@click.argument("name")
@click.option("--folder", type=FOLDER, default=Path(), help="where to write it (default: the current folder)")
def new_site_file(name: str, folder: Path) -> None:
    """Write a site file to fill in.

    NAME.yaml says where jobs go and what a node has, NAME.env which Python environment they use. Every entry is explained there.
    """
    from shardmill.launch.site import new_site
    from shardmill.util.safe_files import is_plain_name

    if not is_plain_name(name):
        raise UserError(f"{name!r} cannot be the name of a site; use letters, digits, underscores and hyphens")
    for path in new_site(name, folder):
        echo(f"{path}: fill it in")
    print_next("doctor", "--site", folder / f"{name}.yaml")


@command(CLUSTER, context_settings={"ignore_unknown_options": True})
@click.argument("model")
@click.option("--servers", type=FOLDER, required=True, help="the shared folder in which the server is announced to workers")
@click.option("--host", help="the name by which other nodes reach this one (default: its host name)")
@click.option("--port", type=int, help="a fixed port (default: any free one)")
@click.option("--start-minutes", type=float, default=30, show_default=True, help="how long loading the model may take")
@click.argument("extra", nargs=-1, type=click.UNPROCESSED, metavar="[-- VLLM OPTIONS]")
def serve(model: str, servers: Path, host: str | None, port: int | None, start_minutes: float, extra: tuple[str, ...]) -> None:
    """Serve a model with vLLM on this node.

    It uses the node's GPUs and answers workers on all nodes. MODEL is a name in slurm/models. The server is announced in the
    folder for as long as it answers. Workers that were given the folder wait for a server, share several, and survive a
    restart. The command runs until it is stopped; a server that exits or no longer answers is restarted.
    """
    import os
    import signal
    import socket

    from shardmill.launch import slurm
    from shardmill.launch.gpus import visible_gpus
    from shardmill.launch.serve import ServerSupervisor
    from shardmill.launch.serve_command import serve_command, served_settings
    from shardmill.models.text.vllm_slot import take_engine_slot
    from shardmill.util.exits import EXIT_RESUMABLE
    from shardmill.util.resources import logs_folder
    from shardmill.util.signals import StopFlag

    settings = served_settings(model)
    name = host or os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    gpus = len(visible_gpus())
    log = (logs_folder() or servers.resolve()) / f"serve-{name}-{os.getpid()}.log"
    stop = StopFlag(patient=True)
    bind = "127.0.0.1" if name in ("127.0.0.1", "localhost") else "0.0.0.0"
    supervisor = ServerSupervisor(
        command=lambda number: serve_command(settings, bind, number, gpus, list(extra)),
        model=settings.model,
        folder=servers.resolve(),
        log=log,
        host=name,
        environment={**os.environ, **take_engine_slot(), "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"},
        start_seconds=start_minutes * 60,
        should_stop=stop,
        say=lambda line: echo(f"{time.strftime('%H:%M:%S')} {line}"),
        port=port,
    )
    echo(f"starting vLLM with {settings.model} on {count_of(gpus, 'GPU')} of {name}; its log: {log}")
    if model == settings.model:
        echo(f"to use it: shardmill launch … --model FILE --servers {servers}")
        echo(f"where FILE is a model file (as in slurm/models) with the line model: {model}")
    else:
        echo(f"to use it: shardmill launch … --model {model} --servers {servers}")
    supervisor()
    job = os.environ.get("SLURM_JOB_ID")
    if stop.signal in (signal.SIGUSR1, signal.SIGUSR2) and job:
        slurm.requeue(job)
        raise SystemExit(EXIT_RESUMABLE)


@command(CLUSTER)
@click.argument("announced", type=FOLDER, metavar="FOLDER")
def servers(announced: Path) -> None:
    """List the servers announced in a folder.

    Each is shown with its model and its load.
    """
    from rich.table import Table

    from shardmill.launch.serve import load_of
    from shardmill.models.servers import live_servers, trusted_variable
    from shardmill.util.console import TextConsole

    found = live_servers(announced)
    if not found:
        raise UserError(
            f"no server is announced in {announced}; start one: {command_line('serve', 'MODEL', '--servers', announced)}"
        )
    # No request goes to an address that another user names.
    first = {server.url: load_of(server) if server.own or trusted_variable(server.url) else None for server in found}
    time.sleep(1.0)
    table = Table(box=None, pad_edge=False)
    for column in ("server", "model", "since", "running", "waiting", "tokens/s"):
        table.add_column(column, justify="right" if column in ("running", "waiting", "tokens/s") else "left")
    for server in found:
        before = first[server.url]
        load = load_of(server) if before is not None else None
        if before is None or load is None:
            state = "does not answer" if server.own or trusted_variable(server.url) else "another user's"
            table.add_row(server.url, server.model, server.started, state)
        else:
            rate = f"{load.generated - before.generated:,}"
            table.add_row(server.url, server.model, server.started, str(load.running), str(load.waiting), rate)
    TextConsole(width=160).print(table)
