"""Small finished runs of every pipeline, and faults planted in them: parts are rewritten together with their manifests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.store.frames import write_frame
from shardmill.store.manifest import FileRecord
from shardmill.store.run_folder import RunFolder
from shardmill.util.atomic import file_digest

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
INPUTS = {"negbench": "captions.csv", "antidote": "antidote.json", "recaption": "captions.csv", "anyedit": "anyedit.csv"}

Row = dict[str, Any]


def make_run(folder: Path, pipeline: str, rows: int, *settings: str, stages: int | None = None, **options: Any) -> RunFolder:
    """A run over the first rows of the pipeline's sample; its first `stages` stages are finished, all of them if not given."""
    source = folder.parent / f"{folder.name}-{INPUTS[pipeline]}"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(first_rows(SAMPLES / INPUTS[pipeline], rows), encoding="utf-8")
    new = NewRun(input=source, pipeline=pipeline, settings=settings, **{"image_root": SAMPLES, "num_shards": 2, **options})
    run = start_run(folder, new)
    models: ModelPool = {}
    for stage in run.stages[:stages]:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard, models=models)
    return run


def first_rows(path: Path, rows: int) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        value = json.loads(text)
        return json.dumps(value[:rows] if isinstance(value, list) else dict(list(value.items())[:rows]))
    return "".join(text.splitlines(keepends=True)[: rows + 1])


def rewrite(run: RunFolder, stage: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Change the rows of a stage, and bring its manifests and those of the stages after it up to date."""
    for shard in range(run.num_shards):
        frame, manifest = run.read_part(stage, shard)
        changed = change(frame)
        part = run.files(stage, shard).part
        write_frame(changed, manifest.columns, part, run.plan.part_format)
        record = FileRecord(name=part.name, sha256=file_digest(part), bytes=part.stat().st_size)
        new = manifest.model_copy(update={"part": record, "lines_out": changed.height})
        run.files(stage, shard).manifest.write_bytes(new.to_bytes())
        for below in run.plan.stages:
            later = run.manifest(below.name, shard) if below.after == stage else None
            if later is not None:
                later.input.sha256 = record.sha256
                run.files(below.name, shard).manifest.write_bytes(later.to_bytes())


def rewrite_cells(run: RunFolder, stage: str, column: str, change: Callable[[Any, Row], Any]) -> None:
    """Change one column row by row; `change` gets and returns list and json cells as values."""
    json_cells = run.kinds(stage)[column] in ("list", "json")

    def changed(frame: pl.DataFrame) -> pl.DataFrame:
        values = []
        for row in frame.iter_rows(named=True):
            value = json.loads(row[column]) if json_cells and row[column] is not None else row[column]
            value = change(value, row)
            values.append(json.dumps(value, ensure_ascii=False) if json_cells else value)
        return frame.with_columns(pl.Series(column, values, frame.schema[column]))

    rewrite(run, stage, changed)


def lines_of(run: RunFolder, name: str) -> Iterator[Row]:
    """The lines of a JSONL file of the datasets; there is no file if there are none."""
    path = run.path / "datasets" / name
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        yield json.loads(line)
