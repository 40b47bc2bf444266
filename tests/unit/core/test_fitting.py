"""A stage that learns from many rows at once: what it needs, what it is made from, and that the shards do not show."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from conftest import CAPTIONS, write_captions
from shardmill.core.pipeline import Pipeline
from shardmill.core.plan_changes import redo
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.core.stage import FittedStage
from shardmill.core.user_code import allow_code
from shardmill.launch.elements import arrays_of, groups
from shardmill.store.fits import FitBlocks
from shardmill.store.leases import Leases, this_process
from shardmill.store.manifest import Manifest
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.tasks import Task, TaskBoard
from shardmill.store.verify import check_stage
from shardmill.util.errors import Stopped, UserError


class CountWords(FittedStage):
    """caption (text) -> rarity (float): how rare the captions are that have as many letters."""

    name, reads, adds = "count_words", ("caption",), {"rarity": "float"}
    block_rows = 30

    def fit(self, table: pl.DataFrame) -> pl.DataFrame:
        return table.group_by(length=pl.col("caption").str.len_chars()).len().sort("length")

    def facts(self, fitted: pl.DataFrame) -> dict[str, float]:
        return {"lengths": fitted.height}

    def transform(self, table: pl.DataFrame) -> pl.DataFrame:
        known = table.with_columns(length=pl.col("caption").str.len_chars()).join(self.fitted, on="length", how="left")
        return known.select("row_id", reject_reason=pl.lit(None, pl.String), rarity=1 / pl.col("len"))


class Again(CountWords):
    """The same after it, to see that stages wait for each other."""

    name, adds = "again", {"rarity_again": "float"}

    def transform(self, table: pl.DataFrame) -> pl.DataFrame:
        return super().transform(table).rename({"rarity": "rarity_again"})


PIPELINE = Pipeline("words", stages=[CountWords, Again])


@pytest.fixture
def new_run(tmp_path: Path):
    allow_code(f"{__file__}:PIPELINE", tmp_path)
    write_captions(tmp_path / "captions.csv", CAPTIONS * 6)

    def make(name: str, shards: int) -> RunFolder:
        new = NewRun(input=tmp_path / "captions.csv", pipeline=f"{__file__}:PIPELINE", num_shards=shards)
        return start_run(tmp_path / name, new)

    return make


def run_all(run: RunFolder, *stages: str) -> None:
    for stage in stages or run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)


def rows(run: RunFolder) -> str:
    """All rows that came out, as CSV."""
    return pl.concat([run.read_part("again", shard)[0] for shard in range(run.num_shards)]).write_csv()


def test_rows_and_fits_are_the_same_for_any_number_of_shards(new_run) -> None:
    made = {}
    for shards in (1, 3, 8):
        run = new_run(f"run{shards}", shards)
        run_all(run)
        fits = [run.fit_files("again", block).table.read_bytes() for block in range(2)]
        made[shards] = rows(run), fits
    assert made[1] == made[3] == made[8]
    assert len(made[1][0].splitlines()) > 60


def test_a_shard_records_the_fits_that_it_was_made_with(new_run) -> None:
    run = new_run("run", 5)
    run_all(run)
    manifest = run.manifest("count_words", 2)
    assert manifest is not None
    records = {block: run.fit_files("count_words", block).read_manifest() for block in (0, 1)}
    assert manifest.fits == {block: record.file.sha256 for block, record in records.items()}
    assert records[0].rows + records[1].rows == sum(run.manifest(INGEST, shard).lines_out for shard in range(5))
    assert records[0].facts["lengths"] > 1


def test_a_shard_is_refused_while_a_shard_that_it_learns_from_is_missing(new_run) -> None:
    run = new_run("run", 4)
    run_shard(run, "count_words", 0)
    with pytest.raises(UserError, match=r"count_words has not finished the shards 1.*shardmill run .*count_words"):
        run_shard(run, "again", 0)


def test_a_fit_that_another_worker_makes_is_waited_for(new_run) -> None:
    run = new_run("run", 2)
    other = this_process("other")
    with Leases(run.files("count_words", 0), other) as lease:
        assert lease.take(99)
        with pytest.raises(Stopped):
            run_shard(run, "count_words", 0, owner=this_process(), should_stop=lambda: True)
    assert run_shard(run, "count_words", 0, owner=this_process()).rows_out


def test_a_table_that_a_killed_worker_left_is_used(new_run) -> None:
    run = new_run("run", 2)
    run_all(run)
    expected = rows(run)
    run = redo(run, "count_words")
    run_shard(run, "count_words", 0)
    run.fit_files("count_words", 0).manifest.unlink()  # killed between the two
    (run.folder("count_words") / "fits" / "block-00000.123.tmp").write_bytes(b"half a table")
    run_all(run)
    assert rows(run) == expected


def test_doing_a_stage_again_fits_it_again(new_run) -> None:
    run = new_run("run", 3)
    run_all(run)
    run = redo(run, "count_words")
    assert run.fit_files("count_words", 0).read_manifest() is None
    assert run.fit_files("again", 0).read_manifest() is None


def test_a_shard_made_with_another_fit_is_named(new_run) -> None:
    run = new_run("run", 3)
    run_all(run)
    record = run.fit_files("count_words", 0).read_manifest()
    changed = record.model_copy(update={"file": record.file.model_copy(update={"sha256": "0" * 64})})
    run.fit_files("count_words", 0).manifest.write_bytes(changed.to_bytes())
    assert check_stage(run, "count_words").problems
    assert ("count_words", 0) not in run.complete()


def manifest(shard: int) -> Manifest:
    return Manifest.model_construct(rows_out=1, shard=shard)


def test_a_board_gives_out_a_fitted_stage_when_all_its_shards_are_there_and_first_to_one_worker() -> None:
    board = TaskBoard({"a": INGEST, "b": "a"}, 3, {}, fitted={"b": dict.fromkeys(range(3), range(3))})
    for shard in range(3):
        assert board.next() == Task("a", shard)
        board.start(Task("a", shard))
    board.finish(Task("a", 0), manifest(0))
    board.finish(Task("a", 1), manifest(1))
    assert board.next() is None
    board.finish(Task("a", 2), manifest(2))
    assert board.next() == Task("b", 0)
    board.start(Task("b", 0))
    assert board.next() is None
    board.finish(Task("b", 0), manifest(0))
    assert board.next() == Task("b", 1)


def test_a_failed_shard_blocks_all_that_would_learn_from_it() -> None:
    fitted = {"b": {0: range(2), 1: range(2), 2: range(2, 3)}}
    board = TaskBoard({"a": INGEST, "b": "a"}, 3, {}, fitted=fitted)
    board.fail(Task("a", 1))
    assert [board.is_blocked(Task("b", shard)) for shard in range(3)] == [True, True, False]


def test_an_array_of_a_fitted_stage_waits_for_whole_arrays() -> None:
    def inputs(stage: str, shard: int) -> range:
        return range(4) if stage == "b" else range(shard, shard + 1)

    after = {"a": "ingest", "b": "a", "c": "b"}
    stages = [(stage,) for stage in after]
    arrays = arrays_of(stages, after, groups(4, 2), lambda stage, shard: True, {}, 100, inputs)
    by_stage = {array.name: array for array in arrays}
    assert by_stage["b"].after == ()
    assert by_stage["b"].after_all == (by_stage["a"],)
    assert by_stage["c"].after == (by_stage["b"],)
    live = {("a", 0): ["7_0"], ("a", 1): ["7_0"]}
    arrays = arrays_of(stages, after, groups(4, 2), lambda stage, shard: True, live, 100, inputs)
    assert all(array.waits_for == ("7_0",) for array in arrays if array.name == "b")


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 40])
def test_blocks_and_shards_cover_each_other(shards: int) -> None:
    rows = 40
    cut = [(rows * index // shards, rows * (index + 1) // shards) for index in range(shards)]
    blocks = FitBlocks([(0, 13), (13, 26), (26, 40)], cut)

    def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
        return one[0] < other[1] and other[0] < one[1]

    for shard, bounds in enumerate(cut):
        assert list(blocks.of_shard(shard)) == [index for index, other in enumerate(blocks.bounds) if overlap(bounds, other)]
    for block, bounds in enumerate(blocks.bounds):
        assert list(blocks.shards_of(block)) == [index for index, other in enumerate(cut) if overlap(bounds, other)]


def test_a_fit_that_a_worker_published_after_a_redo_is_not_used(new_run) -> None:
    run = new_run("run", 3)
    run_all(run)
    files = run.fit_files("count_words", 0)
    record = files.read_manifest().to_bytes(), files.table.read_bytes()
    run = redo(run, "count_words")
    for path, content in zip((files.manifest, files.table), record, strict=True):
        path.write_bytes(content)
    run_shard(run, "count_words", 0)
    assert files.read_manifest().revision == run.plan.revision == 2


def test_a_stage_does_not_learn_from_a_shard_of_another_plan(new_run) -> None:
    run = new_run("run", 3)
    run_all(run)
    manifest = run.manifest("count_words", 1)
    run = redo(run, "again")
    run.files("count_words", 1).manifest.write_bytes(manifest.model_copy(update={"revision": 7}).to_bytes())
    with pytest.raises(UserError, match=r"count_words: shards 1: made with another fingerprint .*shardmill run .*--redo"):
        run_shard(run, "again", 0)
