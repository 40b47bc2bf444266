"""A plan is made once, agrees with itself, and names the first thing in which a later one differs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import CAPTIONS, write_captions
from shardmill.core.planning import NewRun, default_rows_per_shard, make_plan, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.store.at_work import presence
from shardmill.store.leases import this_process
from shardmill.store.plan import Plan, compare, create_plan, cut, load_plan, replace_plan
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

MakeRun = Callable[..., RunFolder]


def test_the_same_values_again_change_nothing(make_run: MakeRun) -> None:
    run = make_run()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.path.rglob("*") if path.is_file()}
    make_run()
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.path.rglob("*") if path.is_file()} == before


def test_a_run_can_be_gone_on_with_without_naming_its_shards(make_run: MakeRun) -> None:
    make_run(num_shards=7)
    assert make_run(num_shards=None).num_shards == 7


@pytest.mark.parametrize(
    ("rows", "shards"), [(1, 1), (10_001, 2), (100_000_000, 10_000), (100_000_001, 10_000), (1_000_000_000, 10_000)]
)
def test_a_very_large_input_is_cut_into_larger_shards_not_into_more(rows: int, shards: int) -> None:
    assert len(cut(rows, rows_per_shard=default_rows_per_shard(rows))) == shards


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"seed": 1}, "the seed is 0 in its plan and 1 now"),
        ({"num_shards": 5}, "the number of shards is 4 in its plan and 5 now"),
        ({"num_shards": None, "rows_per_shard": 16}, "the row ranges of the shards"),
        ({"part_format": "jsonl"}, 'the part format is "csv" in its plan and "jsonl" now'),
        ({"target_rows": 9}, "the number of target rows"),
        ({"caption_column": "source"}, "the column mapping: caption is "),
        ({"caption_column": "source"}, 'source is "source" in its plan and "caption" now;'),
        ({"image_root": Path("/")}, "the image folder"),
        ({"encoding": "cp1252"}, 'how the input is read: encoding is null in its plan and "cp1252" now;'),
        ({"quoting": "standard"}, "how the input is read"),
        (
            {"settings": ["create_mcq.style=original", "create_mcq.medium=photo"]},
            'options of stage create_mcq: style is "balanced" in its plan and "original" now, '
            'medium is "image" in its plan and "photo" now;',
        ),
        ({"settings": ["filter_objects.model.miss_rate=0.5"]}, "model error rates of stage filter_objects"),
        ({"settings": ["extract_objects.attempts=9"]}, "the attempts per answer of stage extract_objects"),
    ],
)
def test_each_value_that_differs_is_named(make_run: MakeRun, options: dict[str, Any], field: str) -> None:
    run = make_run()
    run_shard(run, "extract_objects", 0)
    plan = (run.path / "plan.json").read_bytes()
    with pytest.raises(UserError, match="was planned differently") as error:
        make_run(**options)
    assert field in str(error.value)
    assert (run.path / "plan.json").read_bytes() == plan


def test_long_values_are_shown_where_they_begin_to_differ(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [tmp_path / ("photos" * 20) / name for name in ("first", "other")]
    for folder in folders:
        folder.mkdir(parents=True)
    run_shard(make_run(image_root=folders[0]), "extract_objects", 0)
    with pytest.raises(UserError, match=r'photos/first" in its plan and \.\.\..*photos/other" now'):
        make_run(image_root=folders[1])


@pytest.mark.parametrize(
    ("yaml", "field"),
    [
        ("- {stage: extract_objects, model: rules}", "the list of stages"),
        ("- {stage: extract_objects, model: rules}\n- {stage: propose_negatives, model: {kind: rules}}", ""),
    ],
)
def test_another_pipeline_file_is_named_by_what_it_changes(captions_csv: Path, tmp_path: Path, yaml: str, field: str) -> None:
    def start(stages: str) -> RunFolder:
        file = tmp_path / "mine.yaml"
        file.write_text(f"pipeline: negbench\nstages:\n{stages}\n")
        return start_run(tmp_path / "run", NewRun(input=captions_csv, pipeline=str(file), num_shards=2))

    run_shard(start("- {stage: extract_objects, model: rules}\n- {stage: propose_negatives, model: rules}"), "extract_objects", 0)
    if field:
        with pytest.raises(UserError, match=field):
            start(yaml)
    else:
        assert start(yaml).stages == ["extract_objects", "propose_negatives"]


def test_an_input_that_changed_is_named(make_run: MakeRun, captions_csv: Path) -> None:
    run_shard(make_run(), "extract_objects", 0)
    write_captions(captions_csv, CAPTIONS * 6)
    with pytest.raises(UserError, match="the input's sha256"):
        make_run()


@pytest.mark.parametrize("options", [{"seed": 1}, {"num_shards": 5}, {"settings": ["create_mcq.style=original"]}])
def test_a_plan_of_which_nothing_is_done_is_replaced(make_run: MakeRun, options: dict[str, Any]) -> None:
    make_run()
    asked = make_run("other", **options)
    replaced = make_run(**options)
    assert replaced.plan.revision == 2
    assert not compare(replaced.plan, asked.plan)
    parts = [{path.name: path.read_bytes() for path in each.folder("ingest").glob("*.csv")} for each in (replaced, asked)]
    assert parts[0] == parts[1] and len(replaced.complete()) == replaced.num_shards


def test_a_plan_of_which_nothing_is_done_may_get_another_input(make_run: MakeRun, captions_csv: Path) -> None:
    make_run()
    write_captions(captions_csv, CAPTIONS * 6)
    assert make_run().plan.input.rows == len(CAPTIONS) * 6


def test_a_plan_is_not_replaced_while_a_worker_is_at_work(make_run: MakeRun) -> None:
    run = make_run()
    with presence(run, this_process("1")), pytest.raises(UserError, match="at work"):
        make_run(seed=1)


def test_of_many_who_plan_at_once_all_get_one_plan(captions_csv: Path, tmp_path: Path) -> None:
    new = NewRun(input=captions_csv, num_shards=3)
    plans = [make_plan(tmp_path / "run", new).model_copy(update={"created": str(index)}) for index in range(8)]
    barrier = threading.Barrier(len(plans))
    got: list[Plan] = []

    def create(plan: Plan) -> None:
        barrier.wait()
        got.append(create_plan(tmp_path / "run", plan))

    threads = [threading.Thread(target=create, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(plans)
    assert {plan.created for plan in got} == {load_plan(tmp_path / "run").created}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["plan.json"]


def test_a_new_revision_keeps_the_old_plan(make_run: MakeRun) -> None:
    run = make_run()
    old = (run.path / "plan.json").read_bytes()
    assert replace_plan(run.path, run.plan).revision == 2
    assert (run.path / "superseded" / "plan-001.json").read_bytes() == old
    assert load_plan(run.path).revision == 2


@pytest.mark.parametrize(("rows", "count"), [(1, 1), (10, 3), (10, 10), (3, 10), (1_000_003, 16)])
def test_shards_differ_by_at_most_one_row_and_leave_no_gap(rows: int, count: int) -> None:
    shards = cut(rows, num_shards=count)
    sizes = [end - start for start, end in shards]
    assert len(shards) == min(rows, count) and max(sizes) - min(sizes) <= 1 and min(sizes) > 0
    assert [start for start, _ in shards] == [0, *(end for _, end in shards[:-1])] and shards[-1][1] == rows


def test_shards_of_so_many_rows() -> None:
    assert cut(10, rows_per_shard=4) == [(0, 4), (4, 8), (8, 10)]
    assert cut(8, rows_per_shard=4) == [(0, 4), (4, 8)]
    assert cut(3, rows_per_shard=10) == [(0, 3)]


@pytest.mark.parametrize("name", ["num_shards", "rows_per_shard", "target_rows"])
def test_numbers_below_one_are_refused(captions_csv: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"--{name.replace('_', '-')} must be at least 1"):
        NewRun(input=captions_csv, **{name: 0})  # type: ignore[arg-type]


def test_a_place_where_no_folder_can_be_is_named(captions_csv: Path) -> None:
    for folder in (captions_csv, captions_csv / "below"):
        with pytest.raises(UserError, match="is a file, or inside one"):
            start_run(folder, NewRun(input=captions_csv))
    with pytest.raises(UserError, match="no folder can be made at /proc/run"):
        start_run(Path("/proc/run"), NewRun(input=captions_csv))
