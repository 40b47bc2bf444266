"""AnyEdit from a pool of concepts, or from captions with images, to instructions of every type, with the embedded models."""

from __future__ import annotations

import csv
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shardmill.anyedit.build import record_of
from shardmill.anyedit.edit_types import TYPES
from shardmill.cli.main import cli
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.embedded.scene import draw_scene
from shardmill.launch.finish import build_datasets
from shardmill.store.run_folder import RunFolder
from shardmill.util.resources import resource_path

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
CAPTIONED = str(resource_path("slurm/pipelines/anyedit-captions.yaml"))
PUBLISHED = ["edit", "edited object", "input", "output", "edit_type", "visual_input", "image_file", "edited_file"]


def do(run: RunFolder) -> RunFolder:
    models: ModelPool = {}
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard, models=models)
    build_datasets(run)
    return run


def lines(run: RunFolder, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "datasets" / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("anyedit")
    return do(start_run(folder / "run", NewRun(input=SAMPLES / "anyedit.csv", pipeline="anyedit", num_shards=3)))


def test_the_bundled_pool_gives_every_edit_type(pool: RunFolder) -> None:
    records = lines(pool, "instructions.jsonl")
    assert {record["edit_type"] for record in records} == set(TYPES)
    assert all(list(record)[: len(PUBLISHED)] == PUBLISHED for record in records)
    assert all(record["edit"] and record["input"] for record in records)
    assert len({(record["row_id"], record["sub_id"], record["edit_type"]) for record in records}) == len(records)


def test_the_card_counts_types_and_rejects_and_tells_how_varied_they_are(pool: RunFolder) -> None:
    card = json.loads((pool.path / "datasets" / "dataset.json").read_text())["edit_types"]
    counts = Counter(record["edit_type"] for record in lines(pool, "instructions.jsonl"))
    assert {kind: entry["out"] for kind, entry in card.items()} == counts
    assert all(0 < entry["distinct_1"] <= 1 and 0 < entry["distinct_2"] <= 1 for entry in card.values())
    rejected: Counter[str] = Counter()
    for entry in card.values():
        rejected.update(entry["rejected"])
    manifests = [pool.manifest(stage, shard) for stage in ("write_instructions", "judge_instructions") for shard in range(3)]
    told = sum((Counter(manifest.reasons) for manifest in manifests if manifest), Counter[str]())
    told["said before"] = rejected["said before"]
    assert rejected == +told


def test_instructions_have_the_picture_that_was_painted_for_their_own_caption(pool: RunFolder) -> None:
    with open(pool.path / "datasets" / "captions.csv", newline="", encoding="utf-8") as file:
        captions = {int(row["row_id"]): row for row in csv.DictReader(file)}
    for record in lines(pool, "instructions.jsonl"):
        if record["edit_type"] == "implicit_change":
            assert record["image_file"] is None
            continue
        assert record["image_file"] == captions[record["row_id"]]["image"]
        assert (pool.path / record["image_file"]).is_file()
        if record["edit_type"] not in ("textual_change", "outpaint"):
            assert record["input"] == captions[record["row_id"]]["caption"]


def test_turns_of_a_chain_start_where_the_last_one_ended(pool: RunFolder) -> None:
    chains = lines(pool, "chains.jsonl")
    assert len(chains) > 50
    for chain in chains:
        turns = chain["turns"]
        assert 2 <= len(turns) <= 3 and turns[0]["input"] == chain["input"]
        assert all(after["input"] == before["output"] for before, after in pairwise(turns))
        kinds = [turn["edit_type"] for turn in turns]
        assert len(set(kinds)) == len(kinds) and "tune_transfer" not in kinds[:-1]


def test_the_files_are_the_same_for_any_number_of_shards(pool: RunFolder, tmp_path: Path) -> None:
    other = do(start_run(tmp_path / "run", NewRun(input=SAMPLES / "anyedit.csv", pipeline="anyedit", num_shards=16)))
    for name in ("instructions.jsonl", "chains.jsonl", "captions.csv"):
        mine, yours = (
            (run.path / "datasets" / name).read_bytes().replace(str(run.path).encode(), b"RUN") for run in (pool, other)
        )
        assert mine == yours, name


THINGS = ["dog", "cat", "boat", "lamp", "chair", "bicycle", "tree", "car", "horse", "cup", "clock", "sofa"]


def test_skipped_and_rejected_captions_never_shift_an_image(tmp_path: Path) -> None:
    """Every third row is empty, too long, without a picture or names nothing; each good row has a picture of its own."""
    rows = []
    (tmp_path / "images").mkdir()
    for number in range(120):
        thing = THINGS[number % len(THINGS)]
        caption = (
            f"Two {thing}s stand by the wall in room number {number}." if number % 5 == 0 else f"A {thing} stands by a wall."
        )
        image = f"images/{number:03}-{thing}.png"
        if number % 3 == 1:
            caption, image = [("", image), ("word " * 60, image), (caption, "images/none.png"), ("Truth is good.", image)][
                number // 3 % 4
            ]
        elif not (tmp_path / image).exists():
            draw_scene([thing], seed=number).save(tmp_path / image)
        rows.append((image, caption, "[]"))
    with open(tmp_path / "captions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption", "texts"), *rows])
    run = do(start_run(tmp_path / "run", NewRun(input=tmp_path / "captions.csv", pipeline=CAPTIONED, num_shards=7)))
    records = [record for record in lines(run, "instructions.jsonl") if record["edit_type"] != "implicit_change"]
    assert len({record["row_id"] for record in records}) == 80
    for record in records:
        image, caption, _ = rows[record["row_id"]]
        assert record["image_file"] == str(tmp_path / image)
        thing = image.partition("-")[2].removesuffix(".png")
        assert thing in record["input"].lower()
        assert record["input"] == caption or record["edit_type"] in ("textual_change", "outpaint")
    for chain in lines(run, "chains.jsonl"):
        image, caption, _ = rows[chain["row_id"]]
        assert (chain["image_file"], chain["input"]) == (str(tmp_path / image), caption)


def test_texts_that_are_seen_in_a_picture_can_be_edited(tmp_path: Path) -> None:
    (tmp_path / "a.png").parent.mkdir(exist_ok=True)
    draw_scene(["bus"], seed=1).save(tmp_path / "a.png")
    with open(tmp_path / "captions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "texts"])
        for number in range(20):
            writer.writerow(["a.png", f"A bus with the sign 'LINE {number}' stands still.", json.dumps([f"LINE {number}"])])
    settings = ["draw_edits.types=[textual_change]", "draw_edits.edits=1"]
    run = do(start_run(tmp_path / "run", NewRun(input=tmp_path / "captions.csv", pipeline=CAPTIONED, settings=settings)))
    records = [record for record in lines(run, "instructions.jsonl") if record["edit_type"] == "textual_change"]
    assert len(records) > 10
    for record in records:
        old = f"LINE {record['row_id']}"
        assert old in record["input"] and old in record["edit"] and old not in record["output"]


def test_a_pool_is_judged_and_given_backgrounds(tmp_path: Path) -> None:
    pipeline = str(resource_path("slurm/pipelines/anyedit-concepts.yaml"))
    run = do(start_run(tmp_path / "run", NewRun(input=SAMPLES / "concepts.csv", pipeline=pipeline, list_columns=["backgrounds"])))
    made = json.loads((run.path / "datasets" / "concepts.json").read_text())
    assert len(made) > 350 and all(len(backgrounds) >= 5 for backgrounds in made.values())
    out = tmp_path / "pairs.csv"
    words = [
        "concepts",
        "pairs",
        str(run.path / "datasets" / "concepts.csv"),
        "--mode",
        "cc2cap",
        "--total",
        "500",
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    with open(out, newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 500


def test_a_record_has_the_published_fields_first_and_loses_none_of_the_others() -> None:
    row = {
        "row_id": 5, "sub_id": 2, "edit": "Remove the dog", "edited_object": "dog", "edit_input": "a dog and a cat",
        "output": "a cat",
        "edit_type": "remove", "visual_input": None, "image": "d.png", "input_objects": ["dog", "cat"], "width": 3, "height": 4,
        "details": {"edited_object": "dog", "verb": "remove"}, "instruction_verdict": "pass",
    }  # fmt: skip
    record = record_of(row, "d.png")
    assert list(record)[:8] == PUBLISHED
    assert (record["image_file"], record["edited object"], record["verb"], record["object"]) == ("d.png", "dog", "remove", "dog")
