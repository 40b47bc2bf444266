"""From captions with pictures to judged instructions and chains, through the worker: the same rows for any number of shards."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import pytest

from shardmill.anyedit.edit_types import TYPES
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import check_stage

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
PIPELINE = """
pipeline: anyedit
stages:
  - {stage: select_captions, options: {captions: caption, images: image}}
  - {stage: ground_objects, model: scene, options: {images: image}}
  - {stage: draw_edits, options: {edits: 6}}
  - {stage: write_instructions, model: rules}
  - {stage: judge_instructions, model: rules}
  - {stage: chain_instructions, model: rules, after: ground_objects, options: {share: 0.5}}
"""
CAPTIONS = 60


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """The same captions in one shard and in five."""
    folder = tmp_path_factory.mktemp("edits")
    with (SAMPLES / "captions.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))[: CAPTIONS + 1]
    with (folder / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "edits.yaml").write_text(PIPELINE)
    made = []
    for shards in (1, 5):
        new = NewRun(folder / "captions.csv", str(folder / "edits.yaml"), num_shards=shards, image_root=SAMPLES)
        run = start_run(folder / f"run-{shards}", new)
        models: ModelPool = {}
        for stage in run.stages:
            for shard in range(shards):
                run_shard(run, stage, shard, models=models)
            check = check_stage(run, stage)
            assert not check.problems and not check.missing
        made.append(run)
    return made


def rows_of(run: RunFolder, stage: str) -> list[dict[str, object]]:
    return [row for shard in range(run.num_shards) for row in run.read_part(stage, shard)[0].iter_rows(named=True)]


@pytest.mark.parametrize("stage", ["draw_edits", "write_instructions", "judge_instructions", "chain_instructions"])
def test_rows_do_not_depend_on_the_number_of_shards(runs: list[RunFolder], stage: str) -> None:
    one, five = (rows_of(run, stage) for run in runs)
    assert one == five and len(one) > CAPTIONS / 2


def test_instructions_belong_to_the_caption_of_their_row(runs: list[RunFolder]) -> None:
    inputs = {row["row_id"]: row["input"] for row in rows_of(runs[0], "select_captions")}
    written = rows_of(runs[0], "judge_instructions")
    assert len({(row["row_id"], row["sub_id"]) for row in written}) == len(written) > 200
    for row in written:
        assert row["input"] == inputs[row["row_id"]]
        if row["edit_type"] not in ("textual_change", "outpaint"):
            assert row["edit_input"] == row["input"]
        by_code = TYPES[str(row["edit_type"])].writer == "template"
        assert row["instruction_verdict"] == ("checked by code" if by_code else "pass")
    assert len({row["edit_type"] for row in written}) >= 20


def test_chains_come_through_the_worker(runs: list[RunFolder]) -> None:
    chains = [json.loads(str(row["chain"])) for row in rows_of(runs[0], "chain_instructions")]
    drawn = [chain for chain in chains if chain]
    assert 0.25 < len(drawn) / len(chains) < 0.75
    for chain in drawn:
        assert all(after["input"] == before["output"] for before, after in pairwise(chain))
