"""Looking at single rows: before a run (preview) and after it (explain)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.core.planning import NewRun
from shardmill.core.shard_runner import run_shard
from shardmill.previews import preview_stage
from shardmill.store.run_folder import RunFolder
from shardmill.store.trace import explain
from shardmill.util.errors import UserError


def new(captions_csv: Path) -> NewRun:
    return NewRun(input=captions_csv, settings=["filter_objects.unverified=keep"])


def test_a_preview_shows_prompt_answer_and_result_and_writes_nothing(captions_csv: Path) -> None:
    before = sorted(captions_csv.parent.rglob("*"))
    rows = preview_stage("caption_negated", new(captions_csv), 3)
    assert [row.row_id for row in rows] == [0, 1, 2]
    for row in rows:
        assert not row.rejected
        assert len(row.steps[-1].exchanges) == 1
        assert row.steps[-1].exchanges[0].sent[0]["role"] == "system"
        assert row.values["caption"] in row.steps[-1].exchanges[0].sent[-1]["content"]
        assert '"captions"' in row.steps[-1].exchanges[0].raw
    assert sorted(captions_csv.parent.rglob("*")) == before


def test_a_preview_of_a_table_stage_has_no_exchanges(captions_csv: Path) -> None:
    rows = preview_stage("negbench.create_mcq", new(captions_csv), 2)
    assert [row.steps[-1].exchanges for row in rows] == [[], []]


def test_a_preview_of_an_unknown_stage_gets_a_suggestion(captions_csv: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'create_mcq'"):
        preview_stage("create_mqc", new(captions_csv), 2)


def test_a_row_is_followed_through_all_stages(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    for stage in ("extract_objects", "propose_negatives"):
        for shard in range(4):
            run_shard(run, stage, shard)
    outcomes = {row_id: {each.stage: each.outcome for each in explain(run, row_id)} for row_id in (0, 7, 11)}
    assert outcomes[0]["propose_negatives"] == "accepted" and outcomes[0]["draw_questions"] == "waiting"
    assert outcomes[7]["extract_objects"] == "rejected" and outcomes[7]["propose_negatives"] == "not reached"
    assert outcomes[11]["ingest"] == "rejected"
    found = next(each for each in explain(run, 0) if each.stage == "extract_objects")
    assert found.rows == [{"objects": ["dog", "beach", "ball"]}]
