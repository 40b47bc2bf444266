"""The report of a large run: seconds, peak memory, and how both grow from 100,000 rows.

python tests/bench/report.py --rows 1000000

A NegBench run over the sample is made, then runs of many rows whose parts repeat its rows under new numbers, their captions made
different. Nothing is asked of a model, and every part passes the checks of a real one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

ROOT = Path(__file__).parents[2]
SHARD = 100_000
POOL = 300


def sample_run(folder: Path):
    """A finished run over the first captions of the sample."""
    from shardmill.core.planning import NewRun, start_run
    from shardmill.core.shard_runner import ModelPool, run_shard

    source = ROOT / "data" / "samples" / "captions.csv"
    (folder / "sample.csv").write_bytes(b"".join(source.read_bytes().splitlines(keepends=True)[: POOL + 1]))
    run = start_run(folder / "sample", NewRun(input=folder / "sample.csv", image_root=source.parent, num_shards=1))
    models: ModelPool = {}
    for stage in run.stages:
        run_shard(run, stage, 0, models=models)
    return run


def generate(pool, folder: Path, rows: int) -> Path:
    """A run of so many rows; returns its folder."""
    from shardmill.core.planning import NewRun, start_run

    source = folder / f"{rows}.csv"
    parts, rejects = {}, {}
    for stage in pool.stages:
        parts[stage], manifest = pool.read_part(stage, 0)
        kinds = {"row_id": "int", "sub_id": "int", "reason": "text", "detail": "text", "raw": "text", "attempts": "int"}
        known = {
            name: kind for name, kind in kinds.items() if name != "sub_id" or "sub_id" in pool.kinds(pool.stage(stage).after)
        }
        rejects[stage] = pool.read_rejects(stage, 0, manifest, known), known
    captions = pool.read_part("ingest", 0)[0]
    many = pl.DataFrame({"row_id": range(rows)}).with_columns(pool=pl.col("row_id") * 7919 % captions.height)
    many = many.join(captions.rename({"row_id": "line"}).with_row_index("pool").cast({"pool": pl.Int64}), on="pool", how="left")
    many.select(
        filepath="image", caption=pl.col("caption") + " No. " + pl.col("row_id").cast(pl.String), source="source"
    ).write_csv(source)
    ids = many.select("row_id", line="line")
    run = start_run(folder / f"run-{rows}", NewRun(input=source, image_root=ROOT / "data" / "samples", rows_per_shard=SHARD))
    for stage in run.stages:
        for shard, (start, end) in enumerate(run.plan.shards):
            _publish(run, stage, shard, ids.slice(start, end - start), parts[stage], *rejects[stage])
    return run.path


def _publish(run, stage: str, shard: int, ids: pl.DataFrame, part: pl.DataFrame, rejects: pl.DataFrame, known: dict) -> None:
    from shardmill.store.finish import ShardCounts, seal
    from shardmill.store.frames import write_frame
    from shardmill.store.manifest import InputRecord
    from shardmill.util.atomic import new_attempt

    above = run.manifest(run.after(stage), shard)
    attempt, kinds = new_attempt(), run.kinds(stage)
    files = run.files(stage, shard)
    files.folder.mkdir(exist_ok=True)
    number = " " + pl.col("row_id").cast(pl.String)
    out = ids.join(part.rename({"row_id": "line"}), on="line", how="inner", maintain_order="left_right")
    if "negative_captions" in out.columns:
        text = pl.col("negative_captions").str.replace_all('","', number + '","', literal=True)
        out = out.with_columns(negative_captions=text.str.strip_suffix('"]') + number + '"]')
    refused = ids.join(rejects.rename({"row_id": "line"}), on="line", how="inner", maintain_order="left_right")
    columns = {name: kind for name, kind in kinds.items() if name in out.columns}
    write_frame(out, columns, files.staged(attempt).part, run.plan.part_format)
    counts = ShardCounts(above.lines_out, out["row_id"].n_unique(), out.height)
    source = InputRecord(stage=above.stage, sha256=above.part.sha256)
    seal(run, stage, shard, attempt, counts, refused.select(list(known)), known, source, columns=columns, started=time.time())


def child(path: Path) -> None:
    """Seconds and peak memory of one report, as JSON."""
    from shardmill.quality.gather import gather
    from shardmill.store.run_folder import RunFolder

    started, spent = time.perf_counter(), time.process_time()
    report = gather(RunFolder(path))
    seconds, cpu = time.perf_counter() - started, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak, "cpu": cpu, "bytes": len(report.model_dump_json())}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    with tempfile.TemporaryDirectory() as name:
        pool = sample_run(Path(name))
        figures = {}
        for rows in sorted({min(100_000, options.rows), options.rows}):
            path = generate(pool, Path(name), rows)
            size = sum(file.stat().st_size for file in path.rglob("part-*")) / 1e9
            command = [sys.executable, __file__, "--child", str(path)]
            answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            figures[rows] = own = json.loads(answer.splitlines()[-1])
            spent = f"{own['seconds']:.1f} s ({own['cpu']:.1f} s of CPU), {own['peak_mb']:,.0f} MB peak"
            print(f"{rows:>11,} rows ({size:.1f} GB of parts): {spent}, {own['bytes'] / 1e3:,.0f} kB of report")
        first, last = min(figures), max(figures)
        growth = (figures[last]["cpu"] - figures[first]["cpu"]) / max((last - first) / 1e6, 1e-9)
        memory = figures[last]["peak_mb"] - figures[first]["peak_mb"]
        print(f"{growth:.1f} s of CPU for each further million rows, {memory:+,.0f} MB from {first:,} to {last:,} rows")


if __name__ == "__main__":
    main()
