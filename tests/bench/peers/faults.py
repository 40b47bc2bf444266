"""What becomes of rows when things go wrong: faulty answers, a kill, another system prompt."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clients import Client, Outcome, Server, read, server, start
from job import caption_of, write_table

MAX_LAUNCHES, MAX_HANGS = 5, 2
"""A client that ends with an error, or goes on and on, is started again by the same command, as its user would."""
SHARES = ("--malformed", "0.01", "--errors", "0.01")


class Trial:
    """One client, one server, one output folder; the client may be started several times."""

    def __init__(self, client: Client, options: argparse.Namespace, folder: Path, beside: Server):
        self.client, self.options, self.server = client, options, beside
        self.rows = options.fault_rows
        self.table = folder / "input" / "captions.csv"
        self.out = folder / client.name
        self.launches = self.hangs = 0
        shutil.rmtree(self.out, ignore_errors=True)

    def start(self, *more: str) -> Any:
        self.launches += 1
        return start(self.client, self.options.scratch, self.table, self.out, self.server.url, self.options.client_core, *more)

    def finish(self) -> int:
        """Start it until it ends well, or has had its launches; returns the last exit code."""
        while True:
            code = self.start().wait(self.options.fault_limit).code
            self.hangs += code == -signal.SIGKILL
            if code == 0 or self.launches >= MAX_LAUNCHES or self.hangs >= MAX_HANGS:
                return code

    def told(self, expected: int) -> str:
        """How often it had to be started, if that was more often than expected, and how often it hung."""
        hung = f", hung {self.hangs} times (over {self.options.fault_limit:.0f} s)" if self.hangs else ""
        return (f", {self.launches} launches" if self.launches > expected else "") + hung

    def outcome(self) -> Outcome:
        captions = [caption_of(row) for row in range(self.rows)]
        return read(self.client, self.options.scratch, self.table, self.out, captions)


def faulty(trial: Trial) -> str:
    """1 % malformed answers and 1 % HTTP 500."""
    code = trial.finish()
    left, asked = trial.outcome(), trial.server.stats()
    failed = f", ends with {code}" if code else ""
    wrong = f" ({left.wrong:,} of them wrong)" if left.wrong else ""
    rows = f"{left.out:,} out{wrong}, {left.reasoned:,} with a reason, {left.gone:,} gone"
    return f"{rows}; {asked['requests']:,} requests{trial.told(1)}{failed}"


def killed(trial: Trial) -> str:
    """kill -9 of the whole tree at half, and the same command again."""
    running = trial.start()
    trial.server.wait(trial.rows // 2, trial.options.fault_limit)
    running.kill()
    running.wait()
    trial.finish()
    left, asked = trial.outcome(), trial.server.stats()
    return f"{asked['repeated']:,} repeated; {left.doubled:,} doubled, {left.gone + left.reasoned:,} missing{trial.told(2)}"


def reprompted(trial: Trial) -> str:
    """A whole run, and the same again with another system prompt."""
    trial.finish()
    before = trial.server.stats()["requests"]
    code = trial.start("--changed").wait(trial.options.fault_limit).code
    asked = trial.server.stats()["requests"] - before
    doubled = trial.outcome().doubled if asked else 0
    if asked >= trial.rows:
        return "asks all again" + (f", {doubled:,} rows doubled" if doubled else "")
    if code != 0:
        lines = (trial.out.parent / f"{trial.out.name}.log").read_text(errors="replace").strip().splitlines()
        return f"stops: {lines[-1].replace(str(trial.out), 'OUT')[:130] if lines else ''}"
    return f"not noticed: the old answers are given again ({asked:,} requests)"


def fault_table(options: argparse.Namespace, clients: Sequence[Client], folder: Path) -> list[dict[str, Any]]:
    """Every trial of every client; prints and returns a line for each."""
    trials: dict[str, tuple[tuple[str, ...], Callable[[Trial], str]]] = {
        "faults that pass": (SHARES, faulty),
        "faults that last": ((*SHARES, "--lasting"), faulty),
        "kill -9 at half": ((), killed),
        "prompt changed": ((), reprompted),
    }
    (folder / "input").mkdir(exist_ok=True)
    write_table(folder / "input" / "captions.csv", options.fault_rows)
    print(f"\n{options.fault_rows:,} rows; faults: 1 % malformed, 1 % HTTP 500; drawn anew each time, or the same for a row")
    lines = []
    for client in clients:
        for name, (faults, trial) in trials.items():
            with server("--delay", str(options.delay), *faults, core=options.server_core) as beside:
                told = trial(Trial(client, options, folder, beside))
            print(f"{client.name:14}{name:17} {told}", flush=True)
            lines.append(
                {"bench": "peers faults", "client": client.name, "trial": name, "told": told, "load": os.getloadavg()[0]}
            )
    return lines
