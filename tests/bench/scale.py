"""What each step of a NegBench run takes as rows or shards grow: CPU seconds, peak memory, disk, files, and their growth.

    python tests/bench/scale.py --rows 100000,1000000          # time per row and memory from 100,000 rows to a million
    python tests/bench/scale.py --shards 100,10000             # what a shard costs in a run of so many
    python tests/bench/scale.py --plan                         # what a billion rows take on 64 nodes, from parts measured here

Each step is a process of its own, as a user starts it. The stages of `--real` ask `rules` about every row; the parts of the other
model stages are stand-ins (stand_in_parts.py), which is said in the output. A run of 1,000 rows in one shard comes first: what it
takes is the fixed cost of a step (starting Python, reading the lexicon) and is subtracted before growth is told.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from generated_captions import write_captions
from many_shards import cost_of_a_shard
from process_tree import Taken, run_measured
from scale_plan import tell_plan
from stand_in_parts import SETTINGS, fill_all, sample_run

from shardmill.store.run_folder import RunFolder

SHARDMILL = (sys.executable, "-m", "shardmill")
FIXED_ROWS = 1_000
QUESTIONS = "create_mcq"


@dataclass(frozen=True)
class Size:
    """How large a run is made."""

    rows: int
    rows_per_shard: int

    @property
    def shards(self) -> int:
        return -(-self.rows // self.rows_per_shard)

    def __str__(self) -> str:
        return f"{self.rows:,} rows in {self.shards:,} shards"


@dataclass(frozen=True)
class Step:
    """A measured step: what it took, and what it left on disk."""

    name: str
    taken: Taken
    size: int
    files: int


def steps(folder: Path, size: Size, sample: RunFolder, real: Sequence[str], *, build: bool) -> Iterator[Step]:
    """Make a run of a size in `folder`, step by step; what is not asked for is not made."""
    table, path = folder / "captions.csv", folder / "run"
    write_captions(table, size.rows)
    options = [option for setting in SETTINGS for option in ("--set", setting)]
    yield step("ingest", path / "ingest", "shard", table, "--run", path, "--rows-per-shard", size.rows_per_shard, *options)
    run = RunFolder(path)
    early = [stage for stage in run.stages if QUESTIONS in run.downstream(stage)]
    for stage in early:
        yield from stage_step(run, stage, sample, real)
    for suffix in ("csv", "parquet"):
        out = folder / f"combined.{suffix}"
        yield step(f"combine {suffix}", out, "combine", path, QUESTIONS, "--out", out)
        out.unlink()
    for stage in run.stages:
        if stage not in early:
            yield from stage_step(run, stage, sample, real)
    if build:
        yield step("build", path / "datasets", "build", path)
    yield step("report", path / "report", "report", path)
    yield step("status", path / "plan.json", "status", path, "--json")


def stage_step(run: RunFolder, stage: str, sample: RunFolder, real: Sequence[str]) -> Iterator[Step]:
    if stage in real or not run.stage(stage).model:
        yield step(stage, run.folder(stage), "run", run.path, stage)
    else:
        stand_in(run.path, sample.path, stage)


def step(name: str, made: Path, *command: object) -> Step:
    taken = run_measured([*SHARDMILL, *map(str, command)])
    files = [made] if made.is_file() else [path for path in made.rglob("*") if path.is_file()]
    return Step(name, taken, sum(path.stat().st_size for path in files), len(files))


def stand_in(run: Path, sample: Path, stage: str) -> None:
    """In a process of its own: what it reads must not stay in this one."""
    started = time.perf_counter()
    subprocess.run([sys.executable, __file__, "--stand-in", run, sample, stage], check=True)
    print(f"{stage:18} stand-in parts, {time.perf_counter() - started:,.0f} s to write", flush=True)


def tell(size: Size, step: Step) -> None:
    taken = step.taken
    print(
        f"{step.name:18} {size.rows / taken.seconds:>10,.0f} rows/s {taken.seconds:>9,.1f} s {taken.cpu:>9,.1f} CPU s "
        f"{taken.peak_mb:>7,.0f} MB {step.size / size.rows:>8,.1f} bytes/row {step.files:>7,} files",
        flush=True,
    )


def measure(folder: Path, size: Size, sample: RunFolder, real: Sequence[str], options: argparse.Namespace) -> dict[str, Step]:
    """The steps of one size up to `--until`, told as they are done."""
    print(f"\n{size} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)", flush=True)
    own = folder / f"{size.rows}-{size.shards}"
    own.mkdir()
    found = {}
    for each in steps(own, size, sample, real, build=not options.no_build):
        tell(size, each)
        found[each.name] = each
        if each.name == options.until:
            break
    if not options.keep:
        shutil.rmtree(own)
    return found


def tell_growth(fixed: dict[str, Step], first: tuple[Size, dict[str, Step]], last: tuple[Size, dict[str, Step]]) -> None:
    """CPU time per row and memory of a large run beside those of the smallest."""
    (small, before), (large, after) = first, last
    print(f"\ngrowth from {small} to {large}, fixed costs subtracted:")
    for name, each in after.items():
        cpu = [max(run[name].taken.cpu - fixed[name].taken.cpu, 1e-3) for run in (before, after)]
        was, now = before[name].taken.peak_mb, each.taken.peak_mb
        print(
            f"{name:18} CPU time per row x {cpu[1] / cpu[0] * small.rows / large.rows:5.2f}   "
            f"memory x {now / was:5.2f} ({was:,.0f} to {now:,.0f} MB)"
        )


def tell_rows(folder: Path, sizes: Sequence[Size], options: argparse.Namespace) -> None:
    sample = sample_run(folder)
    real = sample.stages if options.real == "all" else options.real.split(",")
    fixed = measure(folder, Size(FIXED_ROWS, FIXED_ROWS), sample, real, options)
    runs = [(size, measure(folder, size, sample, real, options)) for size in sizes]
    for later in runs[1:]:
        tell_growth(fixed, runs[0], later)


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=numbers, default=[100_000], help="numbers of rows, with commas between them")
    parser.add_argument("--shards", type=numbers, help="numbers of shards, with commas between them")
    parser.add_argument("--rows-per-shard", type=int, default=10_000)
    parser.add_argument("--real", default="extract_objects", help="model stages to run for real: names, all, or none")
    parser.add_argument("--until", default="status", help="the last step to do, such as create_mcq")
    parser.add_argument("--no-build", action="store_true", help="without the datasets: they are as large as all parts together")
    parser.add_argument("--plan", action="store_true", help="work out a very large run")
    parser.add_argument("--folder", type=Path, help="where the runs are made (a temporary folder if not given)")
    parser.add_argument("--keep", action="store_true", help="leave the runs in --folder")
    parser.add_argument("--stand-in", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stand_in:
        run, sample, stage = options.stand_in
        fill_all(RunFolder(Path(run)), [stage], RunFolder(Path(sample)))
        return
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="scale-"))
    try:
        if options.plan:
            tell_plan(folder)
        elif options.shards:
            for shards in options.shards:
                print(cost_of_a_shard(folder, shards), flush=True)
        else:
            tell_rows(folder, [Size(rows, options.rows_per_shard) for rows in sorted(options.rows)], options)
    finally:
        if options.keep:
            print(f"\nleft in {folder}")
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
