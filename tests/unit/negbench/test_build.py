"""The datasets of a run: nothing is written that is not finished and sound, and every reader gets back what was meant."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from conftest import CAPTIONS, write_captions
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.negbench.build import build, needed_shards
from shardmill.negbench.datasets import FILES, ShardParts
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.util.errors import UserError

NUM_SHARDS = 4
ALL_FILES = {*FILES, "negfull.schema.parquet", "object_counts.csv", "dataset.json"}
WITH_ONE_OBJECT = ["A dog sits quietly.", "A cat sleeps."]
HOSTILE = [
    'A dog with no "cat" in sight.',
    '"No cat", says a dog.',
    'One lone " quote and no cat.',
    "A dog,\tand no cat.",
    "A dog,\nand no\r\ncat.",
    "  A dog, no cat.\n",
    "A dög ☕, no cat\u2028here.",
    "A dog and no cat \\",
]


def start(folder: Path, **options: Any) -> RunFolder:
    captions = write_captions(folder.parent / f"{folder.name}.csv", [*CAPTIONS, *WITH_ONE_OBJECT] * 5)
    new = NewRun(**{"input": captions, "num_shards": NUM_SHARDS, "settings": ("filter_objects.unverified=keep",), **options})
    return start_run(folder, new)


def finish(run: RunFolder, shards: list[int]) -> None:
    models: ModelPool = {}
    for stage in run.stages:
        for shard in shards:
            run_shard(run, stage, shard, models=models)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = start(tmp_path_factory.mktemp("whole") / "run")
    finish(run, list(range(NUM_SHARDS)))
    return run


@pytest.fixture
def run(whole: RunFolder, tmp_path: Path) -> RunFolder:
    """A finished run of which a test may break what it likes."""
    shutil.copytree(whole.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def unfinish(run: RunFolder, stage: str, shard: int) -> None:
    for path in (run.files(stage, shard).part, run.files(stage, shard).rejects, run.files(stage, shard).manifest):
        path.unlink()


def rows_of(run: RunFolder, stage: str, shards: range = range(NUM_SHARDS)) -> pl.DataFrame:
    return pl.concat([run.read_part(stage, shard)[0] for shard in shards])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def card_of(run: RunFolder) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((run.path / "datasets" / "dataset.json").read_text())
    return card


def test_every_accepted_row_is_in_the_datasets_once_and_in_order(run: RunFolder) -> None:
    build(run)
    folder = run.path / "datasets"
    assert {path.name for path in folder.iterdir()} == ALL_FILES
    captions, questions = rows_of(run, "caption_negated"), rows_of(run, "paraphrase_mcq")
    assert captions.height > 20 and questions.height > 5
    assert pd.read_csv(folder / "negcap.csv")["row_id"].tolist() == captions["row_id"].to_list()
    mcq = pd.read_csv(folder / "negmcq.csv")
    assert mcq["row_id"].tolist() == questions["row_id"].to_list()
    assert mcq["caption_2"].tolist() == questions["paraphrase_2"].to_list()
    assert mcq["template_2"].tolist() == questions["caption_2"].to_list()
    full = lines(folder / "negfull.jsonl")
    assert [line["row_id"] for line in full] == sorted({*captions["row_id"], *questions["row_id"]})
    assert [line["row_id"] for line in full if line["mcq"]] == questions["row_id"].to_list()
    negated = [text for cell in captions["negative_captions"] for text in json.loads(cell)]
    assert pd.read_csv(folder / "negcap.tsv", sep="\t")["title"].tolist() == [" ".join(text.split()) for text in negated]
    retrieval = pd.read_csv(folder / "retrieval.csv")
    wanted = [[row["caption"], *json.loads(row["negative_captions"])] for row in captions.to_dicts()]
    assert [json.loads(cell) for cell in retrieval["captions"]] == wanted


def test_an_unfinished_shard_is_named_with_the_command_that_finishes_it(run: RunFolder) -> None:
    unfinish(run, "paraphrase_mcq", 2)
    with pytest.raises(UserError, match=r"paraphrase_mcq: shards 2 of 4 .*shardmill launch negbench --run "):
        build(run)
    assert not (run.path / "datasets").exists()


def test_shards_left_out_on_demand_are_told_by_the_names_and_the_card(run: RunFolder) -> None:
    unfinish(run, "paraphrase_mcq", 2)
    unfinish(run, "caption_negated", 0)
    result = build(run, allow_missing=True)
    assert result.missing == [0, 2]
    partial = {"{0}.partial-2-of-4.{2}".format(*name.partition(".")) for name in ALL_FILES}
    assert {path.name for path in (run.path / "datasets").iterdir()} == partial
    table = pd.read_csv(run.path / "datasets" / "negcap.partial-2-of-4.csv")
    expected = [row for shard in (1, 3) for row in run.read_part("caption_negated", shard)[0]["row_id"]]
    assert table["row_id"].tolist() == expected
    card = json.loads((run.path / "datasets" / "dataset.partial-2-of-4.json").read_text())
    assert card["shards"] == {"used": 2, "missing": [0, 2], "of": 4}


def test_without_any_finished_shard_there_is_nothing_to_build(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no shard of .* is finished yet"):
        build(start(tmp_path / "run"), allow_missing=True)


@pytest.mark.parametrize("allow_missing", [False, True])
def test_a_damaged_part_stops_the_build_and_what_was_built_stays(run: RunFolder, allow_missing: bool) -> None:
    build(run)
    before = {path.name: path.read_bytes() for path in (run.path / "datasets").iterdir()}
    part = run.files("caption_negated", 1).part
    part.write_bytes(part.read_bytes().replace(b"no ", b"an ", 1))
    with pytest.raises(UserError, match=r"caption_negated: shards 1: .*changed; do them again: "):
        build(run, allow_missing=allow_missing)
    assert {path.name: path.read_bytes() for path in (run.path / "datasets").iterdir()} == before


def test_a_build_that_fails_halfway_leaves_no_file(run: RunFolder) -> None:
    part = run.files("validate_objects", 3).part
    part.write_bytes(part.read_bytes() + b"x")
    with pytest.raises(UserError, match="does not match its manifest"):
        build(run)
    assert list((run.path / "datasets").iterdir()) == []


def test_the_target_takes_the_first_accepted_rows_and_needs_only_their_shards(whole: RunFolder, tmp_path: Path) -> None:
    rows = {stage: whole.read_part(stage, 0)[0]["row_id"].n_unique() for stage in ("caption_negated", "paraphrase_mcq")}
    target = min(rows.values()) + 1
    run = start(tmp_path / "run", target_rows=target)
    finish(run, list(range(NUM_SHARDS)))
    for shard in range(2, NUM_SHARDS):
        run.files("paraphrase_mcq", shard).manifest.unlink()
    assert needed_shards(run) == [0, 1]
    build(run)
    run.files("paraphrase_mcq", 1).manifest.unlink()
    with pytest.raises(UserError, match="not finished"):
        build(run)
    for name, stage in (("negcap.csv", "caption_negated"), ("negmcq.csv", "paraphrase_mcq")):
        first = rows_of(whole, stage, range(2))["row_id"].unique(maintain_order=True).head(target).to_list()
        assert pd.read_csv(run.path / "datasets" / name)["row_id"].unique().tolist() == first


@pytest.mark.parametrize("num_shards", [1, 3, 7])
def test_with_a_target_every_file_is_the_same_for_any_number_of_shards(whole: RunFolder, tmp_path: Path, num_shards: int) -> None:
    target = rows_of(whole, "paraphrase_mcq")["row_id"].n_unique() // 2
    built = []
    for folder, shards in ((tmp_path / "four", NUM_SHARDS), (tmp_path / "other", num_shards)):
        run = start(folder, num_shards=shards, target_rows=target)
        finish(run, list(range(shards)))
        build(run)
        built.append({path.name: path.read_bytes() for path in (folder / "datasets").iterdir() if path.name != "dataset.json"})
    assert built[0] == built[1]
    full = {line["row_id"] for line in lines(tmp_path / "four" / "datasets" / "negfull.jsonl")}
    lists = rows_of(whole, "validate_objects").filter(pl.col("row_id").is_in(list(full)))
    assert len(full) < rows_of(whole, "validate_objects").height
    counts = pl.read_csv(tmp_path / "four" / "datasets" / "object_counts.csv")
    for column in ("positive", "negative"):
        assert counts[f"{column}s"].sum() == sum(len(json.loads(cell)) for cell in lists[f"{column}_objects"])


def test_the_card_tells_of_every_file_and_every_row(run: RunFolder) -> None:
    result = build(run)
    card = card_of(run)
    folder = run.path / "datasets"
    assert card["files"].keys() == ALL_FILES - {"dataset.json"}
    for name, entry in card["files"].items():
        data = (folder / name).read_bytes()
        assert (entry["sha256"], entry["bytes"]) == (sha256(data).hexdigest(), len(data))
        assert entry["rows"] == result.files[folder / name]
    with open(folder / "negmcq.csv", newline="", encoding="utf-8") as file:
        assert card["files"]["negmcq.csv"]["rows"] == sum(1 for _ in csv.DictReader(file))
    assert [entry["stage"] for entry in card["stages"]] == [INGEST, *run.stages]
    above = {entry["stage"]: entry for entry in card["stages"]}
    for entry in card["stages"]:
        assert entry["rows_in"] == entry["rows_out"] + sum(entry["rejected"].values())
        assert entry["stage"] == INGEST or entry["rows_in"] == above[entry["after"]]["rows_out"]
    assert above[INGEST]["rejected"] == {"empty caption": 5}
    assert above["extract_objects"]["rejected"]["the model named none"] == 10
    assert above["create_mcq"]["rejected"] == {
        "no question confirmed": above["validate_objects"]["rows_out"] - above["create_mcq"]["rows_out"]
    }
    assert above["filter_objects"]["options"]["present_above"] == run.stage("filter_objects").options["present_above"]
    assert card["input"]["sha256"] == run.plan.input.sha256
    assert card["seed"] == run.plan.seed
    assert card["created"].endswith("+00:00")


def test_the_object_counts_are_those_of_the_lists(run: RunFolder) -> None:
    build(run)
    path = run.path / "datasets" / "object_counts.csv"
    counts = {row["object"]: row for row in pl.read_csv(path).to_dicts()}
    lists = rows_of(run, "validate_objects")
    positives = [name for cell in lists["positive_objects"] for name in json.loads(cell)]
    assert {name: row["positives"] for name, row in counts.items() if row["positives"]} == {
        name: positives.count(name) for name in positives
    }


def test_open_clip_gets_every_true_caption_of_an_image_and_no_false_one(run: RunFolder) -> None:
    build(run)
    titles = set(pd.read_csv(run.path / "datasets" / "negfull.tsv", sep="\t")["title"])
    for row in rows_of(run, "paraphrase_mcq").to_dicts():
        for index in range(4):
            assert (row[f"paraphrase_{index}"] in titles) == (index == row["correct_answer"])
    for caption in rows_of(run, "caption_negated")["caption"]:
        assert " ".join(caption.split()) in titles


def test_an_original_caption_that_names_an_unseen_object_is_not_given_as_true() -> None:
    shard = hostile_shard()
    doubtful = shard.captions.with_columns(objects=pl.lit('["dog","bone"]'), caption=pl.lit("A dog with a bone."))
    file = io.BytesIO()
    FILES["negfull.tsv"](replace(shard, captions=doubtful), file, True)
    assert file.getvalue().decode().count("bone") == 0


def hostile_shard() -> ShardParts:
    count = len(HOSTILE)
    lists = {name: ['["dog"]'] * count for name in ("objects", "seen_objects", "positive_objects")}
    shared = pl.DataFrame(
        {"row_id": range(count), "image": [f"a {n}\"\t.png" for n in range(count)], "caption": HOSTILE, **lists,
         "negative_objects": ['["cat"]'] * count}
    )  # fmt: skip
    captions = shared.with_columns(
        negative_captions=pl.Series([json.dumps([text]) for text in HOSTILE]), negation_details=pl.lit("[]")
    )
    questions = shared.with_columns(
        *(pl.Series(f"{name}_{index}", HOSTILE) for name in ("caption", "paraphrase") for index in range(4)),
        sub_id=pl.lit(0), correct_answer=pl.lit(1), correct_answer_template=pl.lit("first_only"),
        mcq_objects=pl.lit('[{"name":"dog","present":true},{"name":"cat","present":false}]'), option_truths=pl.lit("[]"),
    )  # fmt: skip
    return ShardParts(captions, questions, ["row_id", "image", "caption"])


def written(name: str) -> bytes:
    file = io.BytesIO()
    FILES[name](hostile_shard(), file, True)
    return file.getvalue()


@pytest.mark.parametrize("name", ["negcap.tsv", "negfull.tsv"])
def test_quotes_survive_the_reader_of_open_clip_and_breaks_become_blanks(name: str) -> None:
    table = pd.read_csv(io.BytesIO(written(name)), sep="\t")
    expected = [text.replace("\t", " ").replace("\r\n", " ").replace("\n", " ").strip() for text in HOSTILE]
    repeats = len(table) // len(HOSTILE)
    assert table["title"].tolist() == [text for text in expected for _ in range(repeats)]
    assert table["filepath"].tolist() == [f'a {n}"\t.png' for n in range(len(HOSTILE)) for _ in range(repeats)]


def test_the_tables_give_every_caption_back_as_it_was() -> None:
    assert pd.read_csv(io.BytesIO(written("negmcq.csv")))["caption_3"].tolist() == HOSTILE
    cells = pd.read_csv(io.BytesIO(written("negcap.csv")))["negative_captions"]
    assert [json.loads(cell) for cell in cells] == [[text] for text in HOSTILE]
    records = [json.loads(line) for line in written("negfull.jsonl").decode().split("\n") if line]
    assert [record["mcq"][0]["options"][0] for record in records] == HOSTILE
    assert [record["mcq"][0]["correct_answer"] for record in records] == [1] * len(HOSTILE)
