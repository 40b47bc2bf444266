"""The quick set of all benches, and one table of what they found at the end.

    python tests/bench/table.py [--only mcq tables]

A bench tells its figures by lines of JSON with `bench`, `what` and a number, or in words: then its lines that say what is sought
here are taken as they are. Benches of real models and of a cluster are not among them: they need what not every machine has.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Bench:
    """A bench with few rows, and the lines of its output that go into the table."""

    arguments: str
    sought: str


QUICK = {
    "extract_objects": Bench("", r"^all +all|captions/s"),
    "scene": Bench("", r"\d"),
    "read_tables": Bench("--rows 300000", r"rows/s"),
    "tables": Bench("--rows 300000", r"ratio"),
    "mcq": Bench("--rows 200000", r"ratio"),
    "originals": Bench("--rows 100000", r"^\{"),
    "join_captions": Bench("--rows 50000", r"CPU time|grows"),
    "concepts": Bench("--concepts 10000", r"\d"),
    "status": Bench("--shards 300", r"\d"),
    "report": Bench("--rows 100000", r"peak"),
}


def in_words(line: str) -> str:
    """A line of the table: a sentence, or the figures of a line of JSON."""
    if not line.startswith("{"):
        return " ".join(line.split())
    told = json.loads(line)
    figures = {name: value for name, value in told.items() if isinstance(value, (int, float))}
    shown = ", ".join(f"{name.replace('_', ' ')} {value:,.4g}" for name, value in figures.items())
    return f"{told.get('what', '')}: {shown}"


def run(name: str, bench: Bench) -> tuple[list[str], float, bool]:
    """The lines that are sought, seconds, and whether it went well. Its whole output is passed on as it comes."""
    started = time.monotonic()
    command = [sys.executable, str(HERE / f"{name}.py"), *bench.arguments.split()]
    found = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):
                print(line, end="", flush=True)
            if re.search(bench.sought, line):
                found.append(in_words(line))
    return found, time.monotonic() - started, process.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=QUICK, default=list(QUICK))
    options = parser.parse_args()
    results = {}
    for name in options.only:
        print(f"\n== {name} {QUICK[name].arguments}", flush=True)
        results[name] = (*run(name, QUICK[name]), os.getloadavg()[0])
    print(f"\n{'bench':16}{'seconds':>8}{'load':>6}  found")
    for name, (lines, seconds, well, load) in results.items():
        for place, line in enumerate(lines if well else [*lines, "FAILED"]):
            head = f"{name:16}{seconds:>8.0f}{load:>6.1f}" if place == 0 else " " * 30
            print(f"{head}  {line}")
    print(f"{os.cpu_count()} cores; a load above their number says that the machine had other work: then trust ratios, not rates")
    if not all(well for _, _, well, _ in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
