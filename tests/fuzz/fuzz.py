"""Looks for faults with hostile input for as long as it is told: `fuzz.py TARGET --seconds N`, or `all` for every target.

Hypothesis draws cases from new seeds; where atheris is installed, for a third of the time, and then the code that a case reaches
decides which are changed further: what is rare and what is deep is found by one or by the other.
Prints the number of cases of each target. A case that fails is printed, made small where Hypothesis found it.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stderr
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])
MODULES = ("tables", "cells", "answers", "files", "pictures", "exports", "pages", "servers", "records")
ROUND, FIRST = 200, 40
"""Cases of one seed of Hypothesis; random inputs that atheris starts from."""


def targets() -> dict[str, Any]:
    """Every target by its name."""
    return {target.name: target for name in MODULES for target in importlib.import_module(f"fuzz.{name}").TARGETS}


def main() -> int:
    arguments = parsed()
    if arguments.target != "all":
        return one(arguments)
    failed = []
    names = list(targets())
    for name in names:
        own = [sys.executable, __file__, name, "--seconds", str(arguments.seconds), "--engine", arguments.engine]
        if subprocess.run([*own, "--seed", str(arguments.seed)], check=False).returncode:
            failed.append(name)
    print(f"{len(names)} targets, {len(failed)} with a fault" + (f": {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


def one(arguments: argparse.Namespace) -> int:
    """One target, in a process of its own: atheris never returns."""
    atheris = None if arguments.engine == "hypothesis" else engine()
    if arguments.engine == "atheris" and atheris is None:
        print("atheris is not installed: pip install atheris (CPython up to 3.13 on Linux)", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    if atheris is not None:
        with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["shardmill"], enable_loader_override=False):
            known = targets()
    else:
        known = targets()
    if arguments.target not in known:
        print(f"no target {arguments.target!r}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    target = known[arguments.target]
    end = time.monotonic() + arguments.seconds
    generated_until = time.monotonic() + (0.3 * arguments.seconds if atheris else arguments.seconds)
    while time.monotonic() < generated_until:
        generated(target, arguments.seed, generated_until)
        arguments.seed += 1
    if atheris is not None:
        guided(atheris, target, arguments, end)
    told(target, "hypothesis", arguments.seconds)
    return 0


def engine() -> ModuleType | None:
    try:
        return importlib.import_module("atheris")
    except ImportError:
        return None


class TimeIsUp(BaseException):
    """Ends Hypothesis's loop between two cases."""


def generated(target: Any, seed: int, end: float) -> None:
    """So many cases of one seed, made small where one fails."""
    from hypothesis import seed as seeded

    def check(case: Any, folder: Path) -> None:
        if time.monotonic() > end and not failing:
            raise TimeIsUp
        try:
            original(case, folder)
        except BaseException as error:
            failing.append(error)
            raise

    failing: list[BaseException] = []
    original = target.check
    target.check = check
    try:
        seeded(seed)(target.property(ROUND, derandomize=False))()
    except TimeIsUp:
        target.cases -= 1
    finally:
        target.check = original


def guided(atheris: ModuleType, target: Any, arguments: argparse.Namespace, end: float) -> None:
    """Cases that reach new code are kept and changed further. Ends the process."""
    give = target.property(1).hypothesis.fuzz_one_input

    def try_bytes(data: bytes) -> None:
        if time.monotonic() > end:
            told(target, "hypothesis and atheris", arguments.seconds)
            sys.stdout.flush()
            os._exit(0)
        try:
            give(data)
        except BaseException:
            print(f"{target.name}: case {target.cases:,} failed; its bytes are in {corpus}: {target.last!r}"[:4_000], flush=True)
            raise

    corpus = Path(tempfile.mkdtemp(prefix="fuzz-corpus-"))
    random = Random(arguments.seed)
    for place in range(FIRST):
        (corpus / str(place)).write_bytes(random.randbytes(random.randrange(16, 4_096)))
    limits = [
        "-verbosity=0",
        "-timeout=0",
        "-rss_limit_mb=0",
        "-max_len=16384",
        "-len_control=0",
        f"-artifact_prefix={corpus}/failed-",
    ]
    atheris.Setup([sys.argv[0], f"-seed={arguments.seed + 1}", *limits, str(corpus)], try_bytes, enable_python_coverage=True)
    atheris.Fuzz()


def told(target: Any, by: str, seconds: float) -> None:
    print(f"{target.name:24} {target.cases:9,} cases in {seconds:,.0f} s ({by})", flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", help="the name of a target, or all")
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--engine", choices=["auto", "atheris", "hypothesis"], default="auto")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
