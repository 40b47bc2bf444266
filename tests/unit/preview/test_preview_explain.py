"""Looking at single rows: before a run (preview) and after it (explain)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.core.planning import NewRun
from shardmill.core.shard_runner import run_shard
from shardmill.preview import preview
from shardmill.store.run_folder import RunFolder
from shardmill.store.trace import explain
from shardmill.util.errors import UserError


def new(captions_csv: Path) -> NewRun:
    return NewRun(input=captions_csv, settings=["filter_objects.unverified=keep"])


def test_a_preview_shows_prompt_answer_and_verdict_and_writes_nothing(captions_csv: Path) -> None:
    before = sorted(captions_csv.parent.rglob("*"))
    rows = preview("caption_negated", new(captions_csv), 3)
    assert [row.row_id for row in rows] == [0, 1, 2]
    for row in rows:
        assert row.verdict is not None and row.verdict.fate == "out"
        assert len(row.exchanges) >= 3
        assert row.exchanges[0].sent[0]["role"] == "system"
        assert row.before["caption"] in row.exchanges[0].sent[-1]["content"]
        assert '"caption"' in row.exchanges[0].raw
    assert sorted(captions_csv.parent.rglob("*")) == before


def test_a_preview_of_a_table_stage_has_no_exchanges(captions_csv: Path) -> None:
    rows = preview("negbench.create_mcq", new(captions_csv), 2)
    assert [row.exchanges for row in rows] == [[], []]


def test_a_preview_of_an_unknown_stage_gets_a_suggestion(captions_csv: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'create_mcq'"):
        preview("create_mqc", new(captions_csv), 2)


def test_a_row_is_followed_through_all_stages(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    for stage in ("extract_objects", "propose_negatives"):
        for shard in range(4):
            run_shard(run, stage, shard)
    fates = {row_id: {chapter.stage: chapter.fate for chapter in explain(run, row_id)} for row_id in (0, 7, 11)}
    assert fates[0]["propose_negatives"] == "out" and fates[0]["filter_objects"] == "waiting"
    assert fates[7]["extract_objects"] == "rejected" and fates[7]["propose_negatives"] == "not reached"
    assert fates[11]["ingest"] == "rejected"
    told = next(chapter for chapter in explain(run, 0) if chapter.stage == "extract_objects")
    assert told.rows == [{"objects": ["dog", "beach", "ball"]}]
