"""Commands for servers: serve, servers."""

from __future__ import annotations

import time
from pathlib import Path

import click

from shardmill.cli.base import FOLDER, cli
from shardmill.util.errors import UserError


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("model")
@click.option("--servers", type=FOLDER, required=True, help="the shared folder in which the server is announced to workers")
@click.option("--host", help="the name by which other nodes reach this one (its own name if not given)")
@click.option("--port", type=int, help="a fixed port (a free one if not given)")
@click.option("--start-minutes", type=float, default=30, show_default=True, help="how long loading the model may take")
@click.argument("extra", nargs=-1, type=click.UNPROCESSED, metavar="[-- VLLM OPTIONS]")
def serve(model: str, servers: Path, host: str | None, port: int | None, start_minutes: float, extra: tuple[str, ...]) -> None:
    """Serve MODEL, a name of slurm/models, with vLLM on this node's GPUs, for workers anywhere on the cluster.

    The server is announced in the folder while it answers; workers that were given the folder wait for it, share several, and
    survive a restart. It runs until it is told to end; one that dies or falls silent is started again.
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
    log = logs_folder() / f"serve-{name}-{os.getpid()}.log"
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
        say=lambda line: click.echo(f"{time.strftime('%H:%M:%S')} {line}"),
        port=port,
    )
    click.echo(f"starting vLLM with {settings.model} on {gpus} GPUs of {name}; its log: {log}")
    named = model if model != settings.model else "FILE"
    click.echo(f"workers ask it with: shardmill launch … --model {named} --servers {servers}")
    if named != model:
        click.echo(f"where FILE is a model file (as in slurm/models) with the line model: {model}")
    supervisor()
    job = os.environ.get("SLURM_JOB_ID")
    if stop.signal == signal.SIGUSR2 and job:
        slurm.requeue(job)
        raise SystemExit(EXIT_RESUMABLE)


@cli.command("servers")
@click.argument("folder", type=FOLDER)
def list_servers(folder: Path) -> None:
    """Show the servers that are announced in FOLDER: what they serve, and how much they have to do."""
    from rich.console import Console
    from rich.table import Table

    from shardmill.launch.serve import load_of
    from shardmill.models.servers import live_servers

    found = live_servers(folder)
    if not found:
        raise UserError(f"no server is announced in {folder}; start one: shardmill serve MODEL --servers {folder}")
    first = {server.url: load_of(server) for server in found}
    time.sleep(1.0)
    table = Table(box=None, pad_edge=False)
    for column in ("server", "model", "since", "running", "waiting", "tokens/s"):
        table.add_column(column, justify="right" if column in ("running", "waiting", "tokens/s") else "left")
    for server in found:
        before, load = first[server.url], load_of(server)
        if before is None or load is None:
            table.add_row(server.url, server.model, server.started, "does not answer")
        else:
            rate = f"{load.generated - before.generated:,}"
            table.add_row(server.url, server.model, server.started, str(load.running), str(load.waiting), rate)
    Console(width=160).print(table)
