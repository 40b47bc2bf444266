"""Ingest and combine beside plain pandas doing the same, on one generated table: rows/s, peak memory, ratio.

python tests/bench/tables.py --rows 1000000
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
from random import Random

SHARDS = 16
WORDS = [
    "a",
    "dog",
    "the",
    "ferry",
    "at",
    "dusk",
    "two",
    "red",
    "kites",
    "over",
    "an",
    "old",
    "harbour",
    "wall",
    "with",
    "rope",
    "rain",
]


def generate(path: Path, rows: int) -> None:
    """A CC12M-like CSV: image path and a caption of 6 to 24 words; some captions have quotes, commas or line breaks."""
    rng = Random(0)
    captions = []
    for _ in range(10_000):
        text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(6, 24)))
        kind = rng.random()
        text = f'""{text}"", she said' if kind < 0.03 else text.replace(" ", "\n", 1) if kind < 0.05 else text
        captions.append(f'"{text}"' if kind < 0.05 or "," in text else text)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("filepath,caption\n")
        for row in range(rows):
            file.write(f"cc12m/{row // 10_000:05}/{row:09}.jpg,{captions[rng.randrange(10_000)]}\n")


def ingest(folder: Path) -> None:
    from shardmill.core.planning import NewRun, start_run

    start_run(
        folder / "run", NewRun(input=folder / "captions.csv", num_shards=SHARDS, settings=["filter_objects.unverified=keep"])
    )


def combine(folder: Path) -> None:
    from shardmill.store.combine import combine as combine_stage
    from shardmill.store.run_folder import RunFolder

    combine_stage(RunFolder(folder / "run"), "ingest", folder / "combined.csv")


def pandas_ingest(folder: Path) -> None:
    import pandas as pd

    table = pd.read_csv(folder / "captions.csv", keep_default_na=False)
    table.insert(0, "row_id", range(len(table)))
    table = table[table["caption"].str.strip() != ""]
    (folder / "pandas").mkdir(exist_ok=True)
    bounds = [len(table) * index // SHARDS for index in range(SHARDS + 1)]
    for index in range(SHARDS):
        table.iloc[bounds[index] : bounds[index + 1]].to_csv(folder / "pandas" / f"part-{index:05}.csv", index=False)


def pandas_combine(folder: Path) -> None:
    import pandas as pd

    parts = [pd.read_csv(path, keep_default_na=False) for path in sorted((folder / "pandas").glob("*.csv"))]
    pd.concat(parts).to_csv(folder / "pandas.csv", index=False)


STEPS = {"ingest": (ingest, pandas_ingest), "combine": (combine, pandas_combine)}


def measure(step: str, who: int, folder: Path) -> dict[str, float]:
    """Seconds and peak memory of one step in a process of its own."""
    command = [sys.executable, __file__, "--child", step, str(who), str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def child(step: str, who: int, folder: Path) -> None:
    started = time.perf_counter()
    STEPS[step][who](folder)
    peak = max(resource.getrusage(who_).ru_maxrss for who_ in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": time.perf_counter() - started, "peak_mb": peak / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]), Path(options.child[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "captions.csv", options.rows)
        size = (folder / "captions.csv").stat().st_size
        print(f"{options.rows:,} rows, {size / 1e6:,.0f} MB, {SHARDS} shards; ours verifies digests and fsyncs, pandas does not")
        for step in STEPS:
            ours, theirs = measure(step, 0, folder), measure(step, 1, folder)
            for who, figure in (("shardmill", ours), ("pandas", theirs)):
                print(f"{step:8} {who:10} {options.rows / figure['seconds']:>12,.0f} rows/s {figure['peak_mb']:>8,.0f} MB peak")
            faster, smaller = theirs["seconds"] / ours["seconds"], theirs["peak_mb"] / ours["peak_mb"]
            print(f"{step:8} ratio      {faster:>12.1f} x faster {smaller:>6.1f} x less memory")


if __name__ == "__main__":
    main()
