"""How long does an export take, and in how much memory, beside a plain pandas script that holds everything at once?

    python tests/bench/export.py [--rows 100000] [--pictures 10000]

The run is made of a few real rows of the sample, again and again. Each way runs in a process of its own; images are exported
for fewer rows: by the script unchecked, and with nothing to go on from; shardmill decodes each, and coco looks for EXIF.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.store.frames import write_frame
from shardmill.store.manifest import FileRecord, InputRecord, Manifest
from shardmill.store.run_folder import RunFolder
from shardmill.util.atomic import file_digest

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
SEED_ROWS, ROWS_PER_SHARD = 60, 10_000
STAGE = "caption_negated"

PANDAS = """
import glob, json, sys
import pandas as pd
run, out, kind, root = sys.argv[1:]
table = pd.concat([pd.read_csv(path) for path in sorted(glob.glob(run + "/caption_negated/part-*.csv")) if "rejects" not in path])
for column in ("objects", "positive_objects", "negative_objects", "negative_captions", "seen_objects"):
    table[column] = table[column].apply(json.loads)
if kind == "tsv":
    lines = table[["image", "negative_captions"]].explode("negative_captions")
    lines.columns = ["filepath", "title"]
    lines.to_csv(out, sep="\\t", index=False)
elif kind == "parquet":
    table.to_parquet(out)
elif kind == "coco":
    from PIL import Image
    images, annotations, categories = [], [], {}
    for _, row in table.iterrows():
        with Image.open(root + "/" + row.image) as image:
            width, height = image.size
        images.append({"id": row.row_id, "file_name": row.image, "width": width, "height": height})
        found = json.loads(row.detections)
        for name in row.positive_objects:
            for x0, y0, x1, y1 in found[name]["boxes"]:
                number = categories.setdefault(name, len(categories) + 1)
                box = [x0, y0, x1 - x0, y1 - y0]
                annotations.append({"id": len(annotations) + 1, "image_id": row.row_id, "category_id": number, "bbox": box})
    named = [{"id": number, "name": name} for name, number in categories.items()]
    json.dump({"images": images, "annotations": annotations, "categories": named}, open(out, "w"))
else:
    import io, tarfile
    with tarfile.open(out, "w") as tar:
        for _, row in table.iterrows():
            picture = open(root + "/" + row.image, "rb").read()
            files = {"png": picture, "txt": row.negative_captions[0].encode(), "json": row.to_json().encode()}
            for end, data in files.items():
                info = tarfile.TarInfo(f"{row.row_id:012d}.{end}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
"""


def sample_run(folder: Path) -> RunFolder:
    """A small real run up to the negated captions."""
    table = pl.read_csv(SAMPLES / "captions.csv", infer_schema=False).head(SEED_ROWS)
    table.write_csv(folder / "sample.csv")
    run = start_run(folder / "sample", NewRun(input=folder / "sample.csv", num_shards=1, image_root=SAMPLES))
    for stage in run.stages[: run.stages.index(STAGE) + 1]:
        run_shard(run, stage, 0)
    return run


def tiled_run(folder: Path, rows: int, real: RunFolder) -> RunFolder:
    """A run of so many rows, of which the parts that an export reads are the real ones again and again."""
    table = folder / f"table-{rows}.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["filepath", "caption", "source"], *(["a.png", f"caption {row}", "x"] for row in range(rows))]
        )
    new = NewRun(input=table, rows_per_shard=ROWS_PER_SHARD, image_root=SAMPLES)
    run = start_run(folder / f"run-{rows}", new)
    for stage in (str(run.after(STAGE)), STAGE):
        kinds, source = run.kinds(stage), real.read_part(stage, 0)[0]
        for shard, (start, end) in enumerate(run.plan.shards):
            at = pl.int_range(start, end, eager=True)
            frame = source[(at % source.height)].with_columns(row_id=at)
            files = run.files(stage, shard)
            files.folder.mkdir(exist_ok=True)
            write_frame(frame, kinds, files.part, "csv")
            files.rejects.write_text("row_id,reason,detail,raw,attempts\n")
            above = run.manifest(str(run.after(stage)), shard) if stage == STAGE else None
            manifest = Manifest(
                stage=stage, shard=shard, num_shards=run.num_shards, rows_in=end - start, rows_out=end - start, rejected=0,
                lines_out=end - start, columns=kinds, part=record(files.part), rejects=record(files.rejects),
                input=InputRecord(stage="above", sha256=above.part.sha256 if above else ""), fingerprint=run.fingerprint(stage),
            )  # fmt: skip
            files.manifest.write_bytes(manifest.to_bytes())
    return run


def record(path: Path) -> FileRecord:
    return FileRecord(name=path.name, sha256=file_digest(path), bytes=path.stat().st_size)


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds on the clock and of work, and the peak memory in MB, of a process of its own."""
    code = (
        "import json, resource, subprocess, sys, time; started = time.perf_counter(); subprocess.run(sys.argv[1:], check=True, "
        "stdout=subprocess.DEVNULL); used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps([time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))"
    )
    found = subprocess.run([sys.executable, "-c", code, *command], check=True, stdout=subprocess.PIPE, text=True).stdout
    clock, work, peak = json.loads(found)
    return clock, work, peak


def compare(run: RunFolder, kind: str, folder: Path, rows: int) -> None:
    """Both ways of one format."""
    shardmill = [
        sys.executable,
        "-m",
        "shardmill",
        "export",
        str(run.path),
        "--format",
        kind,
        "--out",
        str(folder / f"out-{kind}-{rows}"),
    ]
    pandas = [sys.executable, "-c", PANDAS, str(run.path), str(folder / f"naive-{kind}-{rows}"), kind, str(SAMPLES)]
    for name, command in (("shardmill", shardmill), ("pandas", pandas)):
        clock, work, peak = measured(command)
        print(f"{kind:<11} {rows:>9,} rows  {name:<10} {clock:7.1f} s ({work:6.1f} s of work)  {peak:7,.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = sample_run(folder)
        run = tiled_run(folder, given.rows, real)
        for kind in ("tsv", "parquet"):
            compare(run, kind, folder, given.rows)
        run = tiled_run(folder, given.pictures, real)
        for kind in ("coco", "webdataset"):
            compare(run, kind, folder, given.pictures)


if __name__ == "__main__":
    main()
