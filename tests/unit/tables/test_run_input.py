"""Inputs as people have them: which column is what is found, each caption is a row, and a list is never a caption."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from shardmill.core.planning import NewRun, start_run
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

PAIR = ["a dog on a sofa", "a sofa with a dog"]


def ingested(path: Path, **options: Any) -> tuple[RunFolder, list[dict[str, Any]], list[dict[str, Any]]]:
    number = len(list(path.parent.glob("run*")))
    run = start_run(path.parent / f"run{number}", NewRun(input=path, **{"num_shards": 2, **options}))
    rows = [row for shard in range(run.num_shards) for row in run.read_part("ingest", shard)[0].to_dicts()]
    files = [run.files("ingest", shard).rejects for shard in range(run.num_shards)]
    rejects = [row for file in files for row in pl.read_csv(file, infer_schema=False).to_dicts()]
    assert sorted([*(row["row_id"] for row in rows), *(int(row["row_id"]) for row in rejects)]) == list(
        range(run.plan.input.rows)
    )
    return run, rows, rejects


def write(path: Path, records: list[dict[str, Any]] | dict[str, Any]) -> Path:
    if path.suffix == ".parquet":
        pl.DataFrame(records).write_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif path.suffix == ".csv":
        frame = pl.DataFrame(
            [{name: json.dumps(cell) if isinstance(cell, list) else cell for name, cell in record.items()} for record in records]
        )
        frame.write_csv(path)
    else:
        path.write_text(json.dumps(records))
    return path


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv", "json"])
def test_each_caption_of_a_list_is_a_row(tmp_path: Path, suffix: str) -> None:
    records = [
        {"image": "1.jpg", "caption": PAIR},
        {"image": "2.jpg", "caption": []},
        {"image": "3.jpg", "caption": ["[HD] cats"]},
    ]
    run, rows, rejects = ingested(write(tmp_path / f"t.{suffix}", records))
    found = [(row["row_id"], row["image"], row["caption"], row["caption_number"]) for row in rows]
    assert found == [(0, "1.jpg", PAIR[0], "0"), (1, "1.jpg", PAIR[1], "1"), (3, "3.jpg", "[HD] cats", "0")]
    assert [(reject["row_id"], reject["reason"]) for reject in rejects] == [("2", "empty caption")]
    assert any("has lists: each caption is a row" in note for note in run.plan.input.notes)


def test_bad_records_keep_their_place_among_lists(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"caption": ["a", "b"]}\n{\n{"caption": [1]}\n{"caption": "c"}\n{"caption": {"x": 1}}\n')
    _, rows, rejects = ingested(tmp_path / "t.jsonl")
    assert [(row["row_id"], row["caption"]) for row in rows] == [(0, "a"), (1, "b"), (4, "c")]
    assert [(reject["row_id"], reject["reason"]) for reject in rejects] == [
        ("2", "malformed json"),
        ("3", "not a caption"),
        ("5", "not a caption"),
    ]


def test_captions_by_the_name_of_their_image(tmp_path: Path) -> None:
    _, rows, _ = ingested(write(tmp_path / "t.json", {"a.jpg": PAIR, "b.jpg": ["a bus"]}))
    assert [(row["image"], row["caption"]) for row in rows] == [("a.jpg", PAIR[0]), ("a.jpg", PAIR[1]), ("b.jpg", "a bus")]


def test_a_list_that_comes_late_is_no_caption(tmp_path: Path) -> None:
    records = [{"caption": "a dog"}] * 30_000 + [{"caption": PAIR}, {"caption": "['x' 'y']"}]
    _, rows, rejects = ingested(write(tmp_path / "t.jsonl", records))
    assert len(rows) == 30_000 and "caption_number" not in rows[0]
    assert [(reject["row_id"], reject["reason"]) for reject in rejects] == [
        ("30000", "not a caption"),
        ("30001", "not a caption"),
    ]


def test_a_column_of_objects_is_refused_as_captions(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'captions' holds lists of other things than texts and no captions"):
        ingested(write(tmp_path / "t.jsonl", [{"captions": [{"text": "a dog"}]}] * 3))


@pytest.mark.parametrize("name", ["photo", "pic", "bild"])
def test_the_image_column_is_found_by_what_it_holds(tmp_path: Path, name: str) -> None:
    records = [{"path": "https://x.org/a", name: f"{number}.jpg#0", "caption": "a dog"} for number in range(3)]
    run, rows, _ = ingested(write(tmp_path / "t.csv", records))
    assert [row["image"] for row in rows] == ["0.jpg", "1.jpg", "2.jpg"]
    assert f"the images are taken from the column {name!r}" in run.plan.input.notes


def test_of_two_columns_of_images_the_one_whose_files_exist_is_taken(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "here.png")
    _, rows, _ = ingested(write(tmp_path / "t.csv", [{"thumb": "gone.png", "full": "here.png", "caption": "a dog"}]))
    assert rows[0]["image"] == "here.png"


def test_addresses_without_images_are_noted(tmp_path: Path) -> None:
    run, _, _ = ingested(write(tmp_path / "t.csv", [{"url": "https://x.org/1.jpg", "caption": "a dog"}]))
    assert "download them, e.g. with img2dataset" in run.plan.input.notes[0]


@pytest.mark.parametrize(("pipeline", "column"), [("negbench", "negatives"), ("recaption", "texts")])
def test_a_column_that_a_stage_adds_is_carried_along_under_another_name(tmp_path: Path, pipeline: str, column: str) -> None:
    path = write(tmp_path / "t.csv", [{"image": "1.jpg", "caption": "a dog", column: '["x"]'}])
    run, rows, _ = ingested(path, pipeline=pipeline, list_columns=[column])
    assert rows[0][f"input_{column}"] == '["x"]' and run.plan.input.columns[f"input_{column}"] == "list"
    assert any(f"carried along as 'input_{column}'" in note for note in run.plan.input.notes)


def test_the_list_of_a_download_leads_to_the_images_beside_it(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (9, 9)).save(picture, "PNG")
    with tarfile.open(tmp_path / "00000.tar", "w") as tar:
        for name, data in (("000000001.png", picture.getvalue()), ("000000001.txt", b"a dog"), ("000000001.json", b"{}")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    path = tmp_path / "00000.parquet"
    pl.DataFrame({"url": ["u", "v"], "key": ["000000000", "000000001"], "status": ["failed", "success"]}).write_parquet(path)
    run, rows, _ = ingested(path, num_shards=1)
    assert [(row["image"], row["caption"]) for row in rows] == [("00000.tar::000000001.png", "a dog")]
    assert run.plan.input.notes[0].endswith("are in 00000.tar")


KNOWN: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "captions_val.json": (
        {"info": {}, "images": [{"id": 7, "file_name": "7.jpg"}], "annotations": [{"id": 1, "image_id": 7, "caption": "a dog"}]},
        [("7.jpg", "a dog")],
    ),
    "dataset_flickr30k.json": (
        {"images": [{"filename": "1.jpg", "imgid": 0, "sentences": [{"raw": "a dog"}, {"raw": "it  runs"}]}], "dataset": "f"},
        [("1.jpg", "a dog"), ("1.jpg", "it runs")],
    ),
    "sharegpt4v.json": (
        [{"id": "1", "image": "1.jpg", "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "a dog"}]}],
        [("1.jpg", "a dog")],
    ),
    "region_descriptions.json": (
        [{"id": 5, "regions": [{"region_id": 1, "phrase": "a dog"}, {"region_id": 2, "phrase": "grass"}]}],
        [("5.jpg", "a dog"), ("5.jpg", "grass")],
    ),
    "coco_val_localized_narratives.jsonl": (
        [{"dataset_id": "mscoco_val2017", "image_id": "139", "annotator_id": 1, "caption": "a dog", "timed_caption": []}],
        [("000000000139.jpg", "a dog")],
    ),
    "docci.jsonl": ([{"example_id": "x", "split": "train", "image_file": "x.jpg", "description": "a dog"}], [("x.jpg", "a dog")]),
    "by_id.json": ({"9": {"image_file": "9.jpg", "captions": PAIR}}, [("9.jpg", PAIR[0]), ("9.jpg", PAIR[1])]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_caption_files_of_known_data_sets_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    content, expected = KNOWN[name]
    path = write(tmp_path / name, content)
    _, rows, rejects = ingested(path, num_shards=1)
    assert [(row["image"], row["caption"]) for row in rows] == expected and not rejects
    if "texts" in rows[0]:
        run, _, _ = ingested(path, pipeline="anyedit-captions")
        assert run.plan.input.columns["texts"] == "list"


def test_a_file_of_boxes_has_no_captions(tmp_path: Path) -> None:
    boxes = {"images": [{"id": 7, "file_name": "7.jpg"}], "annotations": [{"id": 1, "image_id": 7, "bbox": [1, 2, 3, 4]}]}
    with pytest.raises(UserError, match="looks like COCO captions, but it has no caption of the expected form"):
        ingested(write(tmp_path / "instances.json", boxes))


def test_one_list_among_many_captions_is_an_accident_and_no_row_is_split(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    path.write_text("caption\n" + "A dog on a mat\n" * 99 + "\"['sunglasses', 'handbag']\"\n", encoding="utf-8")
    _, rows, rejects = ingested(path)
    assert len(rows) == 99 and "caption_number" not in rows[0]
    assert [row["reason"] for row in rejects] == ["not a caption"]
