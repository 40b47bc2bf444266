"""`join-captions` beside the original's way (each index a dict in memory), on the same generated files: time, peak memory.

python tests/bench/join_captions.py --rows 500000
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

NAMES = ("detail", "noun", "background", "main", "style")
WORDS = ["a", "the", "white", "ferry", "two", "red", "kites", "over", "old", "harbour", "wall", "with", "rope", "gulls", "pier"]
LENGTHS = {"detail": 45, "noun": 6, "background": 15, "main": 8, "style": 10}


def generate(folder: Path, rows: int) -> None:
    """CC12M-like: a JSONL of images and captions, and for each name an index {path: caption} in another order."""
    rng = Random(0)
    paths = [f"/data/cc12m/{row // 10_000:05}/{row:09}.jpg" for row in range(rows)]
    pool = {name: [" ".join(rng.choices(WORDS, k=count)) for _ in range(5_000)] for name, count in LENGTHS.items()}
    with open(folder / "original.jsonl", "w", encoding="utf-8") as file:
        for path in paths:
            file.write(json.dumps({"image": path, "caption": rng.choice(pool["style"])}) + "\n")
    for name in NAMES:
        rng.shuffle(paths)
        with open(folder / f"{name}.json", "w", encoding="utf-8") as file:
            for row, path in enumerate(paths):
                file.write(f"{', ' if row else '{'}{json.dumps(path)}: {json.dumps(rng.choice(pool[name]))}")
            file.write("}")


def ours(folder: Path) -> None:
    from shardmill.recaption.join import join_captions

    join_captions(folder / "original.jsonl", {name: [folder / f"{name}.json"] for name in NAMES}, folder / "ours.jsonl")


def dicts_in_memory(folder: Path) -> None:
    """As the original merges: load every index, then look each image up."""
    indexes = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES]
    with (
        open(folder / "original.jsonl", encoding="utf-8") as source,
        open(folder / "theirs.jsonl", "w", encoding="utf-8") as target,
    ):
        for line in source:
            row = json.loads(line)
            row["caption"] = [row["caption"], *(index[row["image"]] for index in indexes)]
            target.write(json.dumps(row, ensure_ascii=False) + "\n")


WAYS = {"shardmill": ours, "dicts": dicts_in_memory}


def measure(way: str, folder: Path) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak MB of one way in a process of its own."""
    command = [sys.executable, __file__, "--child", way, str(folder)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(told[0]), float(told[1]), float(told[2])


def peak_mb() -> float:
    """Peak of this process. Not `ru_maxrss` on Linux: a child starts with the figure of the process that it came from."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def child(way: str, folder: Path) -> None:
    started = time.perf_counter()
    WAYS[way](folder)
    print(time.perf_counter() - started, time.process_time(), peak_mb())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return
    peaks: dict[str, list[float]] = {way: [] for way in WAYS}
    for rows in (options.rows // 5, options.rows):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            generate(folder, rows)
            size = sum(path.stat().st_size for path in folder.iterdir())
            print(f"{rows:,} images, {len(NAMES)} indexes, {size / 1e6:,.0f} MB")
            cpus = {}
            for way in WAYS:
                seconds, cpus[way], peak = measure(way, folder)
                peaks[way].append(peak)
                print(
                    f"  {way:10} {seconds:8.1f} s {cpus[way]:8.1f} s of CPU {rows / seconds:>10,.0f} rows/s {peak:>8,.0f} MB peak"
                )
            if (folder / "ours.jsonl").read_bytes() != (folder / "theirs.jsonl").read_bytes():
                raise SystemExit("the two files differ")
            time_ratio = cpus["shardmill"] / cpus["dicts"]
            memory_ratio = peaks["dicts"][-1] / peaks["shardmill"][-1]
            print(f"  same file; {time_ratio:.1f} x the CPU time, {memory_ratio:.1f} x less memory")
    for way, (small, large) in peaks.items():
        print(f"{way:10} memory grows {large / small:.2f} x for 5 x the rows")


if __name__ == "__main__":
    main()
