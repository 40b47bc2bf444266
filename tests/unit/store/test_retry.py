"""`shardmill retry`: rejected rows are asked again with new seeds, accepted ones never."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl
import pytest

from shardmill.core.model_shard import pool_key
from shardmill.core.shard_runner import run_shard
from shardmill.models.contract import Model, Reply, TextRequest
from shardmill.models.registry import open_model
from shardmill.store.combine import combine
from shardmill.store.run_folder import RunFolder
from shardmill.store.shard import Shard
from shardmill.util.errors import UserError

RULES = {"kind": "rules"}


class Watched(Model):
    """The rules with a note of who was asked with which seed; rows of `bad` get half an object for an answer."""

    def __init__(self, bad: Callable[[int], bool] = lambda row_id: False):
        self.bad = bad
        self.seeds: dict[int, list[int]] = {}
        self.rules: Model = open_model("text", RULES)

    def stream(self, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        for request in requests:
            row_id = int(request.key.split("/")[0])
            self.seeds.setdefault(row_id, []).append(request.seed)
            yield Reply(request.key, '{"objects": [') if self.bad(row_id) else next(self.rules.stream([request]))


def watched_run(run: RunFolder, stage: str, model: Watched) -> None:
    for shard in range(run.num_shards):
        run_shard(run, stage, shard, models={pool_key("text", RULES): model})


def reopen(run: RunFolder, stage: str) -> int:
    manifests = [run.manifest(stage, shard) for shard in range(run.num_shards)]
    return sum(Shard(run, stage, shard).reopen_rejected(manifest) for shard, manifest in enumerate(manifests) if manifest)


def test_only_rejected_rows_are_asked_again_each_time_with_seeds_never_used_before(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    first, second, third = Watched(lambda row: row % 5 == 0), Watched(lambda row: row % 10 == 0), Watched()
    watched_run(run, "extract_objects", first)
    rejected = reopen(run, "extract_objects")
    watched_run(run, "extract_objects", second)
    assert len(second.seeds) == rejected
    assert reopen(run, "extract_objects") < rejected
    watched_run(run, "extract_objects", third)
    assert set(third.seeds) < set(second.seeds) < set(first.seeds)
    for row_id in third.seeds:
        seeds = first.seeds[row_id] + second.seeds[row_id] + third.seeds[row_id]
        assert len(set(seeds)) == len(seeds)
    rows, _ = run.read_part("extract_objects", 0)
    assert rows["row_id"].is_sorted() and rows["row_id"].n_unique() == rows.height


def test_later_stages_ask_only_the_rows_that_came_back(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    run, calm = make_run("run"), make_run("calm")
    watched_run(run, "extract_objects", Watched(lambda row: row % 7 == 0))
    watched_run(run, "propose_negatives", Watched())
    reopen(run, "extract_objects")
    watched_run(run, "extract_objects", Watched())
    late = Watched()
    watched_run(run, "propose_negatives", late)
    assert late.seeds and all(row_id % 7 == 0 for row_id in late.seeds)
    for stage in ("extract_objects", "propose_negatives"):
        watched_run(calm, stage, Watched())
    rows = [pl.read_csv(combine(each, "propose_negatives", tmp_path / f"{each.path.name}.csv").path) for each in (run, calm)]
    assert rows[0].select("row_id", "objects").equals(rows[1].select("row_id", "objects"))


def test_a_retry_that_is_killed_before_its_end_has_changed_nothing(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    run = make_run()
    watched_run(run, "extract_objects", Watched(lambda row: row % 5 == 0))
    before = combine(run, "extract_objects", tmp_path / "before.csv").path.read_bytes()
    manifest = run.manifest("extract_objects", 0)
    assert manifest is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shardmill.store.shard.archive_files", lambda *words: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Shard(run, "extract_objects", 0).reopen_rejected(manifest)
    run_shard(run, "extract_objects", 0)
    assert combine(run, "extract_objects", tmp_path / "after.csv").path.read_bytes() == before
    assert not run.files("extract_objects", 0).temporaries()


def test_a_damaged_shard_is_not_retried(make_run: Callable[..., RunFolder]) -> None:
    """Its rows would go into a journal, and from there into a part with a digest that says they are sound."""
    run = make_run()
    watched_run(run, "extract_objects", Watched(lambda row: row % 5 == 0))
    path = run.files("extract_objects", 1).part
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    with pytest.raises(UserError, match=f"{path.name} does not match its manifest.*--shard 1 --redo"):
        reopen(run, "extract_objects")
    assert run.files("extract_objects", 1).manifest.exists()


def test_rejects_say_how_often_a_row_was_asked_and_what_came(make_run: Callable[..., RunFolder]) -> None:
    run = make_run(settings=["extract_objects.attempts=2"])
    watched_run(run, "extract_objects", Watched(lambda row: row == 3))
    refused = pl.read_csv(run.files("extract_objects", 0).rejects).filter(pl.col("row_id") == 3).to_dicts()[0]
    assert (refused["reason"], refused["attempts"], refused["raw"]) == ("malformed answer", 2, '{"objects": [')
    named_none = pl.read_csv(run.files("extract_objects", 0).rejects).filter(pl.col("reason") == "the model named none").height
    assert json.loads(run.files("extract_objects", 0).manifest.read_text())["usage"]["retries"] == 1 + named_none
