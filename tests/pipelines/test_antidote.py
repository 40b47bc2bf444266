"""Antidote from captions to preference pairs with the embedded models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shardmill.antidote.build import build
from shardmill.core.plan_changes import redo
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.launch.finish import build_datasets
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import check_stage
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_path, resource_text

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "antidote.json"
FILES = {
    "queries/cpq_list.jsonl", "queries/tpq_list.jsonl", "queries/pope_list.jsonl", "queries/desc_list.jsonl",
    "queries/near_duplicates.jsonl", "antidote.jsonl", "preferences.swift.jsonl", "preferences.trl.jsonl",
    "antidote.schema.parquet", "dataset.json",
}  # fmt: skip


def make(folder: Path, *settings: str, **options: Any) -> RunFolder:
    new = NewRun(
        input=SAMPLE, pipeline="antidote", settings=settings, **{"num_shards": 3, "min_words": 8, "total": 60, **options}
    )
    run = start_run(folder, new)
    models: ModelPool = {}
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard, models=models)
        check = check_stage(run, stage)
        assert not check.problems and not check.missing
    build_datasets(run)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make(tmp_path_factory.mktemp("antidote") / "run")


def lines(run: RunFolder, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "datasets" / name).read_text().splitlines()]


def contents(run: RunFolder) -> dict[str, bytes]:
    """The bytes of everything that was made, but for the card and the manifests, which bear dates; the run's folder is RUN."""
    found = [*(run.path / "datasets").rglob("*.jsonl"), *run.path.rglob("part-*.csv"), *run.path.rglob("*.png")]
    root = str(run.path).encode()
    return {str(path.relative_to(run.path)): path.read_bytes().replace(root, b"RUN") for path in found}


def test_all_files_are_there_and_every_query_is_about_its_own_picture(run: RunFolder) -> None:
    made = {path.relative_to(run.path / "datasets").as_posix() for path in (run.path / "datasets").rglob("*") if path.is_file()}
    assert made | {"queries/near_duplicates.jsonl"} == FILES  # which is there only if it has lines
    pictures = {row["row_id"]: row for row in lines(run, "antidote.jsonl")}
    assert len(pictures) > 50
    for name in ("cpq", "tpq", "pope", "desc"):
        found = lines(run, f"queries/{name}_list.jsonl")
        assert len(found) > 20
        for query in found:
            picture = pictures[query["row_id"]]
            assert query["image"] == picture["generated_image"] and (run.path / query["image"]).is_file()
            assert query["preferred"] == ("hint" if query["hint_is_true"] else "plain")
            if "object" in query:
                there = query["object"] in picture["verified_present"]
                assert there is (name != "cpq") and (query["object"] in picture["verified_absent"]) is (name == "cpq")
    assert [row["row_id"] for row in lines(run, "antidote.jsonl")] == sorted(pictures)


def test_preferences_of_all_formats_say_the_same(run: RunFolder) -> None:
    swift, trl = (lines(run, f"preferences.{name}.jsonl") for name in ("swift", "trl"))
    assert len(swift) == len(trl) > 100
    for one, two in zip(swift, trl, strict=True):
        assert one["query"] == f"<image>\n{two['prompt'][0]['content'][1]['text']}"
        assert one["response"] == two["chosen"][0]["content"][0]["text"]
        assert one["rejected_response"] == two["rejected"][0]["content"][0]["text"] != one["response"]
        assert one["images"] == two["images"]


def test_the_same_for_any_number_of_shards_and_nothing_changes_when_it_is_run_again(run: RunFolder, tmp_path: Path) -> None:
    other = make(tmp_path / "other", num_shards=7)
    mine, yours = ({name: data for name, data in contents(each).items() if "part-" not in name} for each in (run, other))
    assert mine == yours
    before = contents(run)
    again = make(run.path)
    assert contents(again) == before


def test_another_seed_never_pairs_an_old_picture_with_a_new_caption(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the seed is 0"):
        make(run.path, seed=1)
    shutil.copytree(run.path / "generate_images" / "images", tmp_path / "other" / "generate_images" / "images")
    other = make(tmp_path / "other", seed=1)
    old = {Path(row["generated_image"]).name: row["caption"] for row in lines(run, "antidote.jsonl")}
    new = {Path(row["generated_image"]).name: row["caption"] for row in lines(other, "antidote.jsonl")}
    assert len(new) > 50 and not old.keys() & new.keys()


def test_a_changed_prompt_paints_anew_and_keeps_the_other_pictures(run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    copy = redo(RunFolder(tmp_path / "run"), "parse_captions", ["parse_captions.absent_count=2"])
    before = {path.name for path in (copy.path / "generate_images" / "images").rglob("*.png")}
    for stage in ("parse_captions", "judge_captions", "draw_objects", "generate_images"):
        for shard in range(3):
            run_shard(copy, stage, shard)
    rows = [row for shard in range(3) for row in copy.read_part("generate_images", shard)[0].iter_rows(named=True)]
    assert rows and not {Path(row["generated_image"]).name for row in rows} & before
    assert before <= {path.name for path in (copy.path / "generate_images" / "images").rglob("*.png")}


def test_more_pairs_ask_about_further_objects_and_absent_ones_join_pope(tmp_path: Path) -> None:
    settings = ["ask_presuppositions.pairs=3", "ask_pope.absent=adversarial", "ask_pope.grammar=model"]
    made = make(tmp_path / "run", *settings, total=20)
    for row in lines(made, "antidote.jsonl"):
        for kind in ("cpq", "tpq"):
            asked = [each["object"] for each in row["asked"] if each["kind"] == kind]
            assert len(asked) == len(set(asked)) <= 3
        assert {each["answer"] for each in row["pope"]} == {"yes", "no"}
    assert max(len(row["asked"]) for row in lines(made, "antidote.jsonl")) > 2


def test_without_the_last_stages_there_are_queries_and_no_pairs(tmp_path: Path) -> None:
    pipeline = yaml.safe_load(resource_text("slurm/pipelines/antidote.yaml"))
    pipeline["stages"] = pipeline["stages"][:-2]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump(pipeline))
    new = NewRun(input=SAMPLE, pipeline=str(tmp_path / "queries.yaml"), num_shards=2, total=12)
    run = start_run(tmp_path / "run", new)
    for stage in run.stages:
        for shard in range(2 if stage in ("parse_captions", "judge_captions") else 1):  # what draw_objects learns from
            run_shard(run, stage, shard)
    with pytest.raises(UserError, match="not finished"):
        build(run)
    result = build(run, allow_missing=True)
    assert result.missing == [1] and all("partial-1-of-2" in path.name for path in result.files)
    assert not [path for path in result.files if "preferences" in path.name]


def test_what_a_worker_killed_after_publishing_left_is_gone_when_the_datasets_are_built(run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    copy = RunFolder(tmp_path / "run")
    left = [
        copy.folder(stage) / f"{copy.files(stage, 1).stem}.1795257386725-host-1-abcdef.{kind}"
        for stage in ("ingest", "parse_captions")
        for kind in ("journal", "part.tmp", "manifest.tmp")
    ]
    for path in left:
        path.write_bytes(b"")
    build_datasets(copy)
    assert not [path for path in left if path.exists()] and contents(copy) == contents(run)


def test_prompts_of_ones_own_need_no_captions(tmp_path: Path) -> None:
    source = tmp_path / "prompts.csv"
    source.write_text('prompt,prompt_neg,present,absent\n"a (dog:1.3) and a cat","(bus:1.2)","[""dog"",""cat""]","[\'bus\']"\n')
    file = str(resource_path("slurm/pipelines/antidote-pictures.yaml"))
    run = start_run(tmp_path / "run", NewRun(input=source, pipeline=file, list_columns=["present", "absent"]))
    for stage in run.stages:
        run_shard(run, stage, 0)
    (row,) = run.read_part("check_facts", 0)[0].iter_rows(named=True)
    assert row["verified_present"] == '["dog","cat"]' and row["caption"] is None


def test_target_rows_are_refused_where_rows_are_drawn() -> None:
    with pytest.raises(UserError, match="--total"):
        NewRun(input=SAMPLE, pipeline="antidote", target_rows=5)


def rows_with_problem(run: RunFolder, word: str) -> Iterator[str]:
    for path in run.path.rglob("*.rejects.csv"):
        yield from (line for line in path.read_text().splitlines() if word in line)


def test_every_image_that_went_in_is_accounted_for(run: RunFolder) -> None:
    card = json.loads((run.path / "datasets" / "dataset.json").read_text())
    stages = {stage["stage"]: stage for stage in card["stages"]}
    assert stages["ingest"]["rows_in"] == 320 and stages["ingest"]["rows_out"] == 60
    assert (
        stages["ingest"]["rejected"]["not drawn"]
        + sum(count for reason, count in stages["ingest"]["rejected"].items() if reason != "not drawn")
        == 260
    )
    assert not list(rows_with_problem(run, "stage error"))
