"""Rows per second and peak memory of reading a CC12M-like CSV: this reader, pandas in chunks, and Python's csv module.

python tests/bench/read_tables.py [--rows 1000000] [--folder /tmp]
"""

from __future__ import annotations

import argparse
import csv
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

WORDS = ["a", "the", "of", "on", "in", "with", "and", "dog", "cat", "man", "street", "red", "stock", "photo", "café", "old"]
PANDAS_CHUNK = 100_000


def write_captions(path: Path, rows: int) -> None:
    """Like CC12M: a file path and a caption, about 120 bytes a row; some captions with commas, quotes or a newline."""
    rng = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["filepath", "caption"])
        for row in range(rows):
            words = rng.choices(WORDS, k=rng.randint(8, 26))
            chance = rng.random()
            if chance < 0.3:
                words[4] += ","
            elif chance < 0.33:
                words[4] = f'"{words[4]}"'
            elif chance < 0.35:
                words[4] += "\n"
            writer.writerow([f"cc12m/{row // 10_000:05d}/{row:09d}.jpg", " ".join(words)])


def read_here(path: Path) -> int:
    from shardmill.tables import open_table

    return sum(batch.frame.height for batch in open_table(path).batches())


def read_pandas(path: Path) -> int:
    import pandas as pd

    return sum(len(chunk) for chunk in pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=PANDAS_CHUNK))


def read_csv_module(path: Path) -> int:
    with path.open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


READERS: dict[str, Callable[[Path], int]] = {"shardmill": read_here, "pandas": read_pandas, "csv": read_csv_module}


def measure(reader: str, path: Path) -> None:
    """Runs in a process of its own, so that the peak memory is that of one reader."""
    start = time.perf_counter()
    rows = READERS[reader](path)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{reader:10} {rows:>11,} rows  {seconds:7.2f} s  {rows / seconds:>11,.0f} rows/s  peak {peak:6.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the temporary file goes")
    parser.add_argument("--measure", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "captions.csv"
        write_captions(path, options.rows)
        print(f"{options.rows:,} rows, {path.stat().st_size / 2**20:,.0f} MB", flush=True)
        for reader in READERS:
            subprocess.run([sys.executable, __file__, "--measure", reader, str(path)], check=True)


if __name__ == "__main__":
    main()
