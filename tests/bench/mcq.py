"""Making questions in the published style: rows/s and peak memory of the stage, beside the original way (a loop over rows with
parsed cells).

python tests/bench/mcq.py --rows 1000000
"""

from __future__ import annotations

import argparse
import ast
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

LOOP_SHARE = 20
"""The loop goes over one in so many rows, and the time of that is multiplied; the table is read whole, as the original does."""


def generate(path: Path, rows: int) -> None:
    """Object lists as validate_objects leaves them: two to four positives and negatives."""
    from shardmill.language.lexicon import lexicon

    rng = Random(0)
    names = list(lexicon().entries)
    lists = [json.dumps(rng.sample(names, rng.randint(2, 4))).replace('"', '""') for _ in range(20_000)]
    with open(path, "w", encoding="utf-8") as file:
        file.write("row_id,positive_objects,negative_objects,valid_questions\n")
        for row in range(rows):
            file.write(f'{row},"{rng.choice(lists)}","{rng.choice(lists)}",[]\n')


def stage(path: Path) -> float:
    """Seconds of the stage slice by slice as the worker does it, reading and writing CSV."""
    import polars as pl

    from shardmill.core.shard_runner import TABLE_SLICE
    from shardmill.core.stage import Context
    from shardmill.negbench.create_mcq import CreateMcq

    work = CreateMcq({"style": "original"}, Context(seed=0))
    started = time.perf_counter()
    reader = pl.scan_csv(path).collect_batches(chunk_size=TABLE_SLICE)
    for index, shard in enumerate(reader):
        work.transform(shard).write_csv(path.with_name(f"questions-{index}.csv"))
    return time.perf_counter() - started


def loop(path: Path) -> float:
    """Seconds of one row at a time in pandas, lists parsed from the cells, all questions held in a list."""
    import pandas as pd

    rng = Random(0)
    started = time.perf_counter()
    table = pd.read_csv(path)
    reading = time.perf_counter() - started
    questions = []
    for _, row in table.iloc[: max(len(table) // LOOP_SHARE, 1)].iterrows():
        positives, negatives = ast.literal_eval(row["positive_objects"]), ast.literal_eval(row["negative_objects"])
        a, b = rng.sample(positives, 2)
        negative = rng.choice(negatives)
        options = [
            f"This image features {a} and {b}.",
            f"This image features {negative}, but not {a}.",
            f"This image features {negative}.",
            f"This image does not feature {a}.",
        ]
        right = options[0]
        rng.shuffle(options)
        questions.append({"answer": options.index(right), **{f"caption_{index}": text for index, text in enumerate(options)}})
    pd.DataFrame(questions).to_csv(path.with_name("loop.csv"), index=False)
    looping = time.perf_counter() - started - reading
    return reading + looping * len(table) / len(questions)


WAYS = {"shardmill": stage, "row loop": loop}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        seconds = WAYS[options.child[0]](Path(options.child[1]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"rate": options.rows / seconds, "peak_mb": peak}))
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "lists.csv"
        generate(path, options.rows)
        figures = {}
        for way in WAYS:
            command = [sys.executable, __file__, "--rows", str(options.rows), "--child", way, str(path)]
            figures[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            print(
                f"{options.rows:,} rows  {way:10} {figures[way]['rate']:>10,.0f} rows/s {figures[way]['peak_mb']:>8,.0f} MB peak"
            )
        print(
            f"ratio {figures['shardmill']['rate'] / figures['row loop']['rate']:.1f} x faster (reading and writing CSV included)"
        )


if __name__ == "__main__":
    main()
