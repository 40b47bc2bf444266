"""Shardmill beside its peers: one text job (the objects of a caption, as JSON) over one loopback server, all in one run.

    tests/bench/peers/install.sh /tmp/peers                                      # once: an environment for each peer
    .venv/bin/python tests/bench/peers/run.py --scratch /tmp/peers               # 2,000 rows, three rounds, and the faults
    .venv/bin/python tests/bench/peers/run.py --scratch /tmp/peers --rows 100000 # the full one

Rounds are interleaved; medians with ranges. The server has one core and the client another. What is measured is the cost of the
harness on loopback, with a server that thinks as long as it is told: never the speed of generating text.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from clients import CLIENTS, Client, read, server, start
from faults import fault_table
from job import caption_of, write_table

CONCURRENCY = 64


@dataclass(frozen=True)
class Figures:
    """One run. `asking_seconds` is from the first request to the last answer, `cpu_asking` the CPU seconds from the first on."""

    seconds: float
    startup_seconds: float
    asking_seconds: float
    cpu_seconds: float
    cpu_asking: float
    peak_mb: float
    server_share: float
    connections: int
    load: float


def once(
    client: Client, options: argparse.Namespace, table: Path, folder: Path, captions: Sequence[str], delay: float
) -> Figures:
    """Do the job once. Raises RuntimeError when a row is missing or wrong: then there is nothing to compare."""
    out = folder / client.name
    shutil.rmtree(out, ignore_errors=True)
    with server("--delay", str(delay), core=options.server_core) as beside:
        before = beside.stats()["cpu_seconds"]
        running = start(client, options.scratch, table, out, beside.url, options.client_core)
        measured = running.wait(options.limit)
        asked = beside.stats()
    outcome = read(client, options.scratch, table, out, captions)
    if outcome.out != len(captions) or outcome.wrong or outcome.doubled:
        raise RuntimeError(f"{client.name}: not the rows that were wanted ({outcome}); see {folder / client.name}.log")
    asking = asked["last"] - asked["first"]
    return Figures(
        seconds=measured.seconds,
        startup_seconds=asked["first"] - measured.started,
        asking_seconds=asking,
        cpu_seconds=measured.cpu_seconds,
        cpu_asking=measured.cpu_seconds - measured.cpu_at(asked["first"]),
        peak_mb=measured.peak_mb,
        server_share=(asked["cpu_seconds"] - before) / asking,
        connections=asked["connections"] - 1,
        load=os.getloadavg()[0],
    )


def import_seconds(client: Client, scratch: Path) -> float:
    """CPU seconds of importing what a program needs, the best of three, less those of an empty program."""

    def cpu(program: str) -> float:
        told = f"import os, time\n{program}\nprint(time.process_time())"
        done = subprocess.run([client.python(scratch), "-c", told], capture_output=True, text=True, cwd="/", timeout=300)
        return float(done.stdout.splitlines()[-1])

    return min(cpu(client.needs) for _ in range(3)) - min(cpu("") for _ in range(3))


def speed_table(options: argparse.Namespace, clients: Sequence[Client], folder: Path) -> list[dict[str, object]]:
    """All clients in turn, round after round; prints and returns a line for each."""
    table = folder / "input" / "captions.csv"
    table.parent.mkdir()
    write_table(table, options.rows)
    captions = [caption_of(row) for row in range(options.rows)]
    alone = once(CLIENTS["bare"], options, table, folder, captions, 0.0)
    rate = options.rows / alone.asking_seconds
    print(f"without think time the bare client gets {rate:,.0f} answers/s, for which the server uses {alone.server_share:.0%} of "
          f"its core: {rate / alone.server_share:,.0f}/s would fill it")  # fmt: skip
    runs: dict[str, list[Figures]] = {client.name: [] for client in clients}
    for turn in range(options.rounds):
        for client in clients:
            try:
                figures = once(client, options, table, folder, captions, options.delay)
            except RuntimeError as error:
                print(f"  round {turn + 1} {error}", flush=True)
                continue
            runs[client.name].append(figures)
            print(f"  round {turn + 1} {client.name:13} {figures.seconds:7.1f} s  load {figures.load:.1f}", flush=True)
    ideal = options.rows * options.delay / CONCURRENCY
    think = f"think time {options.delay * 1000:.0f} ms"
    print(f"\n{options.rows:,} rows, {CONCURRENCY} at once, {think}: the server alone needs {ideal:.2f} s")
    print(f"{'':14}{'version':>8} {'rows/s':>8} {'while asking':>20} {'x server':>9} {'CPU s per 1,000 rows':>21} {'all in':>7} "
          f"{'peak MB':>8} {'start-up s':>11} {'import CPU s':>13} {'connections':>12} {'server busy':>12}")  # fmt: skip
    lines: list[dict[str, object]] = []
    for client in clients:
        own = runs[client.name]
        if not own:
            print(f"{client.name:14} has no round that gave all rows")
            continue
        middle = {name: statistics.median(asdict(each)[name] for each in own) for name in asdict(own[0])}
        rates = sorted(options.rows / each.asking_seconds for each in own)
        line = {
            "bench": "peers",
            "client": client.name,
            "version": client.version(options.scratch),
            "rows": options.rows,
            "rows_per_second": options.rows / middle["seconds"],
            "asking_rows_per_second": options.rows / middle["asking_seconds"],
            "times_server": middle["asking_seconds"] / ideal,
            "cpu_per_1000": middle["cpu_asking"] / options.rows * 1000,
            "cpu_all_in_per_1000": middle["cpu_seconds"] / options.rows * 1000,
            "peak_mb": middle["peak_mb"],
            "startup_seconds": middle["startup_seconds"],
            "import_cpu_seconds": import_seconds(client, options.scratch),
            "connections": middle["connections"],
            "load": middle["load"],
        }
        spread = f"{line['asking_rows_per_second']:,.0f} ({rates[0]:,.0f}-{rates[-1]:,.0f})"
        print(f"{client.name:14}{line['version']:>8} {line['rows_per_second']:>8,.0f} {spread:>20} {line['times_server']:>9.2f} "
              f"{line['cpu_per_1000']:>21.2f} {line['cpu_all_in_per_1000']:>7.2f} {line['peak_mb']:>8,.0f} "
              f"{line['startup_seconds']:>11.1f} {line['import_cpu_seconds']:>13.2f} {line['connections']:>12,.0f} "
              f"{middle['server_share']:>12.0%}")  # fmt: skip
        lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="the folder that install.sh made")
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--fault-rows", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that the server thinks about an answer")
    parser.add_argument("--limit", type=float, default=3_600, help="seconds after which a client is given up")
    parser.add_argument("--fault-limit", type=float, default=300, help="the same, where things go wrong")
    parser.add_argument("--clients", nargs="*", choices=sorted(CLIENTS), default=list(CLIENTS))
    parser.add_argument("--only", choices=("speed", "faults"))
    parser.add_argument("--server-core", type=int, default=0)
    parser.add_argument("--client-core", type=int, default=1)
    options = parser.parse_args()
    if os.cpu_count() == 1:
        options.server_core = options.client_core = None
    clients = [CLIENTS[name] for name in options.clients if CLIENTS[name].installed(options.scratch)]
    for name in set(options.clients) - {client.name for client in clients}:
        print(f"{name}: not installed in {options.scratch}; see tests/bench/peers/install.sh")
    print(
        f"{os.cpu_count()} cores, load {' '.join(f'{load:.1f}' for load in os.getloadavg())}, {time.strftime('%Y-%m-%d %H:%M')}"
    )
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        lines = []
        if options.only != "faults":
            lines += speed_table(options, clients, Path(name))
        if options.only != "speed":
            lines += fault_table(options, clients, Path(name))
    for line in lines:
        print(json.dumps(line))


if __name__ == "__main__":
    main()
