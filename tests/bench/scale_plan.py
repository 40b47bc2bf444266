"""A very large run on paper: what its shards, files, calls and looks come to, worked out from parts that are measured first.

Nothing of the arithmetic is fitted: a part is measured at one or two sizes, and multiplied. What models need is not in here.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from generated_captions import write_captions
from many_shards import LookCost, ShardCost, cost_of_a_shard, cost_of_looks
from process_tree import run_measured
from stand_in_parts import SETTINGS, fill_all, sample_run

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.store.run_folder import INGEST, RunFolder

ROWS, NODES, GPUS = 1_000_000_000, 64, 8
HOURS = 24.0
"""Over which the calls of all workers are spread, to tell how many come in a second."""
COUNTS = (1_000, 4_000, 10_000, 100_000)
TABLE_ROWS = (20_000, 500_000)
HEAVIEST, SHARD_ROWS = "caption_negated", (2_000, 10_000)
MEASURED_SHARDS, LOOKED_AT_SHARDS = 1_000, 4_000
LARGEST_ARRAY = 1_000
SUBMIT_SECONDS = 2.2 / 7
"""For an array of 1,000 elements, by tests/bench/launch.py."""
FLUSH_SECONDS = 2.0


@dataclass(frozen=True)
class Parts:
    """What was measured: CPU seconds a row, bytes a row, and the costs of a shard and of looks."""

    ingest: float
    combine: float
    part_bytes: dict[str, float]
    journal_bytes: dict[str, float]
    shard_mb: float
    row_kb: float
    shard: ShardCost
    looks: LookCost


def measure(folder: Path) -> Parts:
    tables = [table_costs(folder, rows) for rows in TABLE_ROWS]
    ingest, combine = ((late - early) / (TABLE_ROWS[1] - TABLE_ROWS[0]) for early, late in zip(*tables, strict=True))
    sample = sample_run(folder)
    rows = sample.plan.input.rows
    sizes = {stage: sample.files(stage, 0).part.stat().st_size / rows for stage in (INGEST, *sample.stages)}
    peaks = [heaviest_stage_peak(folder, count, sample) for count in SHARD_ROWS]
    row_kb = (peaks[1] - peaks[0]) * 1024 / (SHARD_ROWS[1] - SHARD_ROWS[0])
    return Parts(
        ingest=ingest,
        combine=combine / sizes[INGEST],
        part_bytes=sizes,
        journal_bytes=journal_bytes(folder),
        shard_mb=peaks[0] - row_kb * SHARD_ROWS[0] / 1024,
        row_kb=row_kb,
        shard=cost_of_a_shard(folder, MEASURED_SHARDS),
        looks=cost_of_looks(folder, LOOKED_AT_SHARDS),
    )


def table_costs(folder: Path, rows: int) -> tuple[float, float]:
    """CPU seconds of ingest and combine of a table, starting Python included."""
    table, run = folder / "table.csv", folder / f"table-{rows}"
    write_captions(table, rows)
    setting = [option for each in SETTINGS for option in ("--set", each)]
    costs = (
        cpu("shard", table, "--run", run, "--rows-per-shard", 10_000, *setting),
        cpu("combine", run, INGEST, "--out", folder / "all.csv"),
    )
    shutil.rmtree(run)
    return costs


def cpu(*command: object) -> float:
    return run_measured([sys.executable, "-m", "shardmill", *map(str, command)]).cpu


def heaviest_stage_peak(folder: Path, rows: int, sample: RunFolder) -> float:
    """MB that a worker takes for a shard of so many rows in the stage that writes most; the stages before it are stand-ins."""
    table, path = folder / "shard.csv", folder / f"shard-{rows}"
    write_captions(table, rows)
    run = start_run(path, NewRun(input=table, num_shards=1, settings=SETTINGS))
    fill_all(run, [stage for stage in run.stages if HEAVIEST in run.downstream(stage) and stage != HEAVIEST], sample)
    peak = run_measured([sys.executable, "-m", "shardmill", "run", str(path), HEAVIEST]).peak_mb
    shutil.rmtree(path)
    return peak


def journal_bytes(folder: Path) -> dict[str, float]:
    """Bytes of journal a row of the input, by model stage, just before a shard is written."""
    table = folder / "journal.csv"
    write_captions(table, 2_000)
    run = start_run(folder / "journal", NewRun(input=table, num_shards=1, settings=SETTINGS))
    found = {}
    for stage in run.stages:
        sizes = [0]

        def note(progress: object, stage: str = stage, sizes: list[int] = sizes) -> None:
            sizes.append(sum(path.stat().st_size for path in run.files(stage, 0).journals()))

        run_shard(run, stage, 0, report=note)
        found[stage] = max(sizes) / run.plan.input.rows
    return found


def tell_plan(folder: Path) -> None:
    """Measure the parts, then print them and what follows for each number of shards."""
    parts = measure(folder)
    print("measured:")
    print(f"  ingest {1 / parts.ingest:,.0f} rows a CPU second; combine {1e-6 / parts.combine:,.0f} MB a CPU second")
    print(f"  parts, bytes a row: {listed(parts.part_bytes)}; together {sum(parts.part_bytes.values()):,.0f}")
    print(f"  journals, bytes a row: {listed(parts.journal_bytes)}; together {sum(parts.journal_bytes.values()):,.0f}")
    print(f"  a worker of {HEAVIEST}: {parts.shard_mb:,.0f} MB and {parts.row_kb:.2f} kB for each row of its shard")
    print(f"  {parts.shard}")
    print(f"  {parts.looks}")
    print(f"\n{ROWS:,} rows on {NODES} nodes with {GPUS} GPUs, one worker a GPU, calls spread over {HOURS:g} hours:")
    columns = [column(parts, count) for count in COUNTS]
    for name in columns[0]:
        print(f"{name:58}" + "".join(f"{each[name]:>16}" for each in columns))


def column(parts: Parts, shards: int) -> dict[str, str]:
    """What a run of so many shards comes to."""
    stages = parts.looks.stages - 1
    tasks, workers, seconds = shards * stages, NODES * GPUS, HOURS * 3600
    elements = -(-shards // GPUS)
    arrays = stages * -(-elements // LARGEST_ARRAY)
    own = parts.shard.names / (3 * parts.shard.shards)
    names = tasks * own * 3 * shards / 2  # the folder of a stage fills up: half of its names on the average
    looked = parts.looks.seconds
    per_shard = shards / parts.looks.shards
    worker = parts.shard_mb + parts.row_kb * ROWS / shards / 1024
    last = parts.part_bytes["paraphrase_mcq"] * ROWS
    return {
        "shards, and so shards a worker takes in each stage": f"{shards:,} ({shards / workers:.1f})",
        "rows in a shard": f"{ROWS // shards:,}",
        f"memory of a worker of {HEAVIEST}, without its model": f"{worker / 1024:.1f} GB",
        "files of all stages": f"{3 * shards * (stages + 1):,}",
        "files in the folder of a stage": f"{3 * shards:,}",
        "TB of parts, of journals in all": f"{tera(parts.part_bytes)}, {tera(parts.journal_bytes)}",
        "largest journal of a shard": f"{max(parts.journal_bytes.values()) * ROWS / shards / 1e6:,.0f} MB",
        "files looked for, millions": f"{tasks * parts.shard.looks / 1e6:,.1f}",
        "names made, linked, removed, millions": f"{tasks * parts.shard.changes / 1e6:,.1f}",
        "names listed, millions": f"{names / 1e6:,.0f}",
        "names listed a second": f"{names / seconds:,.0f}",
        "other metadata calls a second": f"{tasks * (parts.shard.looks + parts.shard.changes) / seconds:,.0f}",
        "fsync of journals a second, all workers": f"{workers / FLUSH_SECONDS:,.0f}",
        "elements, arrays": f"{elements * stages:,}, {arrays}",
        "submitting them (launch.py)": f"{arrays * SUBMIT_SECONDS:.0f} s",
        "plan.json": f"{parts.looks.plan * per_shard / 1e6:.1f} MB",
        "manifests": f"{parts.looks.manifest * shards * (stages + 1) / 1e6:,.0f} MB",
        "first look of status, CPU": f"{looked['first status'] * per_shard:.0f} s",
        "next look of status, CPU": f"{looked['next status'] * per_shard:.1f} s",
        "memory of status": f"{parts.looks.memory_mb * per_shard:,.0f} MB",
        "ingest, CPU (one process)": f"{ROWS * parts.ingest / 60:.0f} min",
        f"combine of the last stage ({last / 1e12:.1f} TB), CPU": f"{last * parts.combine / 60:.0f} min",
    }


def tera(sizes: dict[str, float]) -> str:
    return f"{sum(sizes.values()) * ROWS / 1e12:.1f}"


def listed(sizes: dict[str, float]) -> str:
    return ", ".join(f"{name} {size:,.0f}" for name, size in sizes.items() if size)
