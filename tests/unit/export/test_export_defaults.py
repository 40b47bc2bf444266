"""A pipeline that lists no tables exports the rows of its last stages; formats come from other packages too."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from exported import SAMPLES, export, finish, parts, sample_rows, write_table
from shardmill.core.pipeline import Pipeline
from shardmill.core.planning import NewRun, start_run
from shardmill.core.stage import RowStage
from shardmill.core.user_code import allow_object
from shardmill.export import formats
from shardmill.export.formats import BUILT_IN, ExportFormat, installed_formats
from shardmill.export.tables import export_tables
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError


class Shout(RowStage):
    """caption (text) -> loud (text): the caption in capitals."""

    name, reads, adds = "shout", ("caption",), {"loud": "text"}

    def decide(self, row: Any, rng: Any) -> Any:
        return {"loud": row["caption"].upper()}


class SplitWords(RowStage):
    """caption (text) -> words (list), long (bool)."""

    name, reads, adds = "split_words", ("caption",), {"words": "list", "long": "bool"}

    def decide(self, row: Any, rng: Any) -> Any:
        words = row["caption"].split()
        return {"words": words, "long": len(words) > 6}


def own_run(folder: Path, *stages: type[RowStage], images: bool = True) -> RunFolder:
    rows = sample_rows(8)
    table = write_table(
        folder / "t.csv", ["image", "caption"] if images else ["caption"], rows if images else [row[1:] for row in rows]
    )
    pipeline = allow_object(Pipeline("own", stages=stages), "in_process.own:PIPELINE")
    return finish(start_run(folder / "run", NewRun(input=table, pipeline=pipeline, num_shards=3, image_root=SAMPLES)))


def test_the_last_stage_is_exported_with_the_text_that_was_added_last(tmp_path: Path) -> None:
    run = own_run(tmp_path, SplitWords, Shout)
    (table,) = export_tables(run)
    assert {name for name, format in BUILT_IN.items() if format.fits(table)} == {
        "csv",
        "tsv",
        "webdataset",
        "table",
        "parquet",
        "hf",
        "coco-captions",
        "label-studio",
        "fiftyone",
        "mds",
    }
    done = export(run, "csv", tmp_path / "out")
    titles = pd.read_csv(done.path / "shout.csv")["title"].tolist()
    assert titles == parts(run, "shout")["loud"].to_list()


def test_a_list_gives_a_line_for_each_of_its_texts(tmp_path: Path) -> None:
    run = own_run(tmp_path, Shout, SplitWords)
    done = export(run, "tsv", tmp_path / "out")
    words = [word for cell in parts(run, "split_words")["words"] for word in json.loads(cell)]
    assert pd.read_csv(done.path / "split_words.tsv", sep="\t")["title"].tolist() == words


def test_without_images_there_are_tables(tmp_path: Path) -> None:
    run = own_run(tmp_path, SplitWords, images=False)
    done = export(run, "table", tmp_path / "out")
    with open(done.path / "split_words.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    rows = parts(run, "split_words")
    assert [line["caption"] for line in lines] == rows["caption"].to_list()
    assert [line["words"] for line in lines] == rows["words"].to_list()
    assert done.record["files"]["split_words.csv"]["rows"] == rows.height
    assert "own data made by shardmill" in (export(run, "hf", tmp_path / "hf").path / "README.md").read_text(encoding="utf-8")
    with pytest.raises(UserError, match="csv needs images with texts"):
        export(run, "csv", tmp_path / "no")


def test_a_format_of_another_package_is_found_and_one_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(rows: Any, folder: Any, options: Any) -> None:
        (folder.path / "n.txt").write_text(str(sum(frame.height for _, frame in rows.frames(folder.left_out))))
        folder.files["n.txt"] = {"rows": 1}

    class Entry:
        name, value = "count", "other:COUNT"

        def load(self) -> Any:
            return ExportFormat("number of rows", "any table", lambda table: True, write)

    class Broken(Entry):
        def load(self) -> Any:
            return 7

    run = own_run(tmp_path, SplitWords)
    monkeypatch.setattr(formats, "entry_points", lambda group: [Entry()])
    installed_formats.cache_clear()
    assert (export(run, "count", tmp_path / "out").path / "n.txt").read_text() == "8"
    monkeypatch.setattr(formats, "entry_points", lambda group: [Broken()])
    installed_formats.cache_clear()
    with pytest.raises(UserError, match=r"count \(other:COUNT\) is a int, not an ExportFormat"):
        export(run, "count", tmp_path / "again")
    installed_formats.cache_clear()
