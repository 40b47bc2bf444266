"""Finished runs to export: small, with the embedded models, each made once for all tests and copied for those that break it."""

from __future__ import annotations

import atexit
import csv
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.export.make import Exported
from shardmill.export.make import export as make_export
from shardmill.export.options import ExportOptions
from shardmill.store.run_folder import RunFolder

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
ROWS = 24
ONLY_SELECT = "pipeline: anyedit\nstages:\n  - stage: select_captions\n    options: {captions: caption, images: image}\n"
HOSTILE_TEXTS = ["NA", 'A "quoted" dog,\twith a tab and\na line', "An <image> of a dog\u2028here ☕"]


def finish(run: RunFolder, stages: list[str] | None = None) -> RunFolder:
    """Do all shards of all stages."""
    models: ModelPool = {}
    for stage in stages or run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard, models=models)
    return run


def write_table(path: Path, columns: list[str], rows: list[list[str]]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def sample_rows(count: int) -> list[list[str]]:
    """The first rows of the bundled sample: image, caption."""
    table = pl.read_csv(SAMPLES / "captions.csv", infer_schema=False).head(count)
    return [list(row) for row in table.select("filepath", "caption").iter_rows()]


@cache
def _home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="shardmill-exports-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home


@cache
def negbench() -> RunFolder:
    """Captions with pictures, which lie in `images/` beside the table and may be spoilt by nobody."""
    source = _home() / "negbench"
    (source / "images").mkdir(parents=True)
    rows = sample_rows(ROWS)
    for image, _ in rows:
        shutil.copy(SAMPLES / image, source / image)
    table = write_table(source / "captions.csv", ["image", "caption"], rows)
    return finish(start_run(source / "run", NewRun(input=table, num_shards=3)))


@cache
def antidote() -> RunFolder:
    source = _home() / "antidote"
    source.mkdir()
    captions = dict(list(json.loads((SAMPLES / "antidote.json").read_text(encoding="utf-8")).items())[:16])
    (source / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
    return finish(start_run(source / "run", NewRun(input=source / "captions.json", pipeline="antidote", num_shards=2)))


@cache
def alike() -> RunFolder:
    """An Antidote run in which the same things are asked again and again."""
    source = _home() / "alike"
    source.mkdir()
    captions = {f"c{n}": f"A dog sleeps on a sofa in the quiet room {n}" for n in range(60)}
    (source / "captions.json").write_text(json.dumps(captions), encoding="utf-8")
    settings = ("ask_presuppositions.objects=first", "ask_pope.per_image=1")
    new = NewRun(input=source / "captions.json", pipeline="antidote", num_shards=4, settings=settings)
    return finish(start_run(source / "run", new))


@cache
def recaption() -> RunFolder:
    """Pictures with captions, three of which are hard to write into a table."""
    source = _home() / "recaption"
    source.mkdir()
    rows = sample_rows(ROWS)
    for place, text in enumerate(HOSTILE_TEXTS):
        rows[place][1] = text
    table = write_table(source / "captions.csv", ["image", "caption"], rows)
    return finish(start_run(source / "run", NewRun(input=table, pipeline="recaption", num_shards=3, image_root=SAMPLES)))


@cache
def anyedit() -> RunFolder:
    """Scenes from concepts, their pictures, and edits of all kinds."""
    source = _home() / "anyedit"
    source.mkdir()
    scenes = [["balloon", "", "on a decorated table"], ["lawnmower", "", "in a cottage garden"], ["dog", "", "on a sandy beach"]]
    rows = [[*scene, "cb2cap"] for scene in scenes * 2]
    table = write_table(source / "pairs.csv", ["concept", "concept2", "background", "mode"], rows)
    return finish(start_run(source / "run", NewRun(input=table, pipeline="anyedit", num_shards=2)))


@cache
def edited() -> RunFolder:
    """Edits with the images after them, where the scene editor can make them."""
    source = _home() / "edited"
    source.mkdir()
    lines = (SAMPLES / "anyedit.csv").read_text(encoding="utf-8").splitlines()
    table = write_table(source / "pairs.csv", lines[0].split(","), [line.split(",") for line in lines[1:13]])
    settings = ("draw_edits.types=[add, remove, replace, color_alter, style_change, visual_bbox]",)
    return finish(start_run(source / "run", NewRun(input=table, pipeline="anyedit-edited", num_shards=2, settings=settings)))


def selected(folder: Path, rows: list[list[str]], num_shards: int = 4) -> RunFolder:
    """An AnyEdit run of one stage without a model: cheap rows, as many as wanted."""
    folder.mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(ONLY_SELECT)
    table = write_table(folder / "captions.csv", ["image", "caption"], rows)
    new = NewRun(input=table, pipeline=str(folder / "pipeline.yaml"), num_shards=num_shards, image_root=SAMPLES)
    return finish(start_run(folder / "run", new))


def export(run: RunFolder, format: str, out: Path, **options: Any) -> Exported:
    """An export with options of `ExportOptions` beside those of `export`."""
    own = {name: options.pop(name) for name in ("what", "images", "allow_missing") if name in options}
    return make_export(run, format, out, options=ExportOptions("copy", **options), **own)


def parts(run: RunFolder, stage: str) -> pl.DataFrame:
    """All rows of a stage."""
    return pl.concat([run.read_part(stage, shard)[0] for shard in range(run.num_shards)])


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
