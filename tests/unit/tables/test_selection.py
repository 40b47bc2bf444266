"""A reproducible sample of the input: long enough, each caption once, so many."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import write_captions
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.util.errors import UserError

CAPTIONS = [f"caption number {number} says that there is a dog here" for number in range(300)]
SHORT = ["a dog", "two small   cats ", ""]


def taken(run: RunFolder) -> list[str]:
    return [caption for shard in range(run.num_shards) for caption in run.read_part(INGEST, shard)[0]["caption"]]


def reasons(run: RunFolder) -> dict[str, int]:
    found: dict[str, int] = {}
    for shard in range(run.num_shards):
        manifest = run.manifest(INGEST, shard)
        assert manifest is not None and manifest.conserved()
        for reason, count in manifest.reasons.items():
            found[reason] = found.get(reason, 0) + count
    return found


def start(tmp_path: Path, name: str, captions: list[str], **options: object) -> RunFolder:
    source = write_captions(tmp_path / f"{name}.csv", captions)
    return start_run(tmp_path / name, NewRun(input=source, **{"num_shards": 3, **options}))  # type: ignore[arg-type]


def test_short_captions_and_doubles_are_left_out_and_counted(tmp_path: Path) -> None:
    run = start(tmp_path, "run", [*CAPTIONS, *SHORT, *CAPTIONS[:20]], min_words=8, total=100)
    assert len(taken(run)) == 100 == len({*taken(run)})
    assert reasons(run)["too few words"] == 2 and reasons(run)["empty caption"] == 1
    assert sum(reasons(run).values()) == len(CAPTIONS) + 3 + 20 - 100


def test_words_are_what_stands_between_any_blanks(tmp_path: Path) -> None:
    run = start(tmp_path, "run", ["one\ttwo three\u00a0four", "one two\nthree", "one  two "], min_words=3)
    assert taken(run) == ["one\ttwo three\u00a0four", "one two\nthree"]


def test_the_sample_depends_on_seed_and_captions_alone(tmp_path: Path) -> None:
    first = {*taken(start(tmp_path, "first", CAPTIONS, total=80))}
    turned = {*taken(start(tmp_path, "turned", CAPTIONS[::-1], total=80, num_shards=5))}
    other = {*taken(start(tmp_path, "other", CAPTIONS, total=80, seed=1))}
    assert first == turned and first != other
    more = {*taken(start(tmp_path, "more", CAPTIONS, total=120))}
    assert first < more


def test_all_are_taken_when_fewer_are_there_than_wanted(tmp_path: Path) -> None:
    assert len(taken(start(tmp_path, "run", [*CAPTIONS[:10], *CAPTIONS[:5]], total=1_000))) == 10
    assert len(taken(start(tmp_path, "long", [*CAPTIONS[:10], *SHORT], min_words=4))) == 10
    with pytest.raises(UserError, match="--total must be at least 1"):
        start(tmp_path, "none", CAPTIONS, total=0)


def test_starting_again_with_another_selection_is_refused(tmp_path: Path) -> None:
    source = write_captions(tmp_path / "captions.csv", CAPTIONS)
    new = NewRun(input=source, num_shards=3, total=50)
    run = start_run(tmp_path / "run", new)
    assert taken(start_run(tmp_path / "run", new)) == taken(run)
    run_shard(run, "extract_objects", 0)
    with pytest.raises(UserError, match="selection of records"):
        start_run(tmp_path / "run", NewRun(input=source, num_shards=3, total=60))
