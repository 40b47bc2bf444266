"""A preview in a notebook: frames and files in, rows as data out, for a pipeline, a stage of one, or a stage class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from shardmill import preview
from shardmill.core.pipeline import Pipeline
from shardmill.core.planning import NewRun
from shardmill.core.stage import Reject, RowStage
from shardmill.core.user_code import allow_object
from shardmill.negbench.extract_objects import ExtractObjects
from shardmill.previews.page import write_preview
from shardmill.previews.run import preview_run
from shardmill.util.errors import UserError

CAPTIONS = ["A dog on a sofa", "A cat in a box", "The meaning of true happiness"]


class CountWords(RowStage):
    """caption (text), tags (list) -> words (int), seen (list): how long the caption is, and the tags in capitals."""

    name, reads, adds = "count_words", ("caption", "tags"), {"words": "int", "seen": "list"}

    def decide(self, row: Any, rng: Any) -> Any:
        if not row["tags"]:
            return Reject("no tags")
        return {"words": len(row["caption"].split()), "seen": [tag.upper() for tag in row["tags"]]}


@pytest.mark.parametrize(
    "frame", [pl.DataFrame({"caption": CAPTIONS}), pd.DataFrame({"caption": CAPTIONS})], ids=["polars", "pandas"]
)
def test_a_stage_class_reads_a_frame(frame: Any) -> None:
    rows = preview(ExtractObjects, frame, model="rules")
    assert [row.rejected for row in rows] == [False, False, True]
    assert rows[0].values["objects"] == ["dog", "sofa"]
    assert "A dog on a sofa" in rows[0].steps[-1].exchanges[0].sent[-1]["content"]


def test_a_class_of_the_notebook_reads_lists_and_missing_values() -> None:
    frame = pd.DataFrame({"caption": CAPTIONS[:2], "tags": [["a", "b"], None]})
    rows = preview(CountWords, frame)
    assert rows[0].values["words"] == 5 and rows[0].values["seen"] == ["A", "B"]
    assert rows[1].rejected and rows[1].steps[-1].result.rows[0]["reason"] == "no tags"


def test_a_pipeline_object_is_previewed_with_a_page(tmp_path: Path) -> None:
    pipeline = Pipeline("words", stages=[CountWords])
    frame = pl.DataFrame({"caption": CAPTIONS, "tags": [["a"], ["b", "c"], ["d"]]})
    rows = preview(pipeline, frame, rows=2)
    assert len(rows) == 2 and {row.steps[-1].stage for row in rows} == {"count_words"}
    frame.write_ndjson(tmp_path / "t.jsonl")
    new = NewRun(input=tmp_path / "t.jsonl", pipeline=allow_object(pipeline, "in_process.words:PIPELINE"), list_columns=["tags"])
    with preview_run(new, 3) as (run, found):
        page = write_preview(run, found, tmp_path / "p.html", "t.jsonl").read_text(encoding="utf-8")
    assert "count_words" in page and page.count('<article class="card"') == 3


def test_a_stage_of_a_pipeline_runs_what_comes_before_it(captions_csv: Path) -> None:
    rows = preview("negbench.propose_negatives", captions_csv, rows=3)
    assert [row.steps[-1].stage for row in rows] == ["propose_negatives"] * 3
    assert rows[0].values["negatives"]


def test_options_and_models_are_those_of_the_stage_or_named_by_stage(captions_csv: Path) -> None:
    few = preview("negbench.propose_negatives", captions_csv, rows=1, options={"count": 2})[0]
    assert len(few.values["negatives"]) == 2
    named = preview("negbench", captions_csv, rows=1, options={"propose_negatives.count": 2, "filter_objects.unverified": "keep"})
    assert len(named[0].values["negatives"]) <= 2
    with pytest.raises(UserError, match="no option 'cuont'"):
        preview("negbench.propose_negatives", captions_csv, options={"cuont": 2})
