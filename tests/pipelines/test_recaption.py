"""Recaption from pictures to multi-text lines, with the embedded captioner."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from shardmill.core.plan_changes import redo
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.embedded.scene import draw_scene
from shardmill.export.multi_text_format import read_header
from shardmill.launch.finish import build_datasets
from shardmill.store.combine import combine
from shardmill.store.run_folder import RunFolder

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "captions.csv"
THINGS = ["dog", "cat", "car", "tree", "boat", "lamp", "chair", "bicycle"]
ODD_NAMES = [
    "plain.png",
    "with spaces.png",
    "in jpg folder/jpg/a.jpg.png",
    "ünïcödé/日本/図 1.webp",
    "UPPER.JPG",
    "photo.jpeg",
    'quote\'d "name".png',
    "comma,semi;colon.png",
]


def do(run: RunFolder) -> RunFolder:
    models: ModelPool = {}
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard, models=models)
    return run


def lines(run: RunFolder, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.path / "datasets" / name).read_text(encoding="utf-8").splitlines()]


def paint_all(folder: Path, names: Sequence[str] = ODD_NAMES) -> None:
    for name, thing in zip(names, THINGS, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        options = {"quality": 95, "subsampling": 0} if name.lower().endswith(("jpg", "jpeg")) else {}
        draw_scene([thing], seed=1).save(folder / name, **({"lossless": True} if name.endswith("webp") else options))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("recaption")
    run = do(start_run(folder / "run", NewRun(input=SAMPLE, pipeline="recaption", num_shards=3)))
    build_datasets(run)
    return run


def test_the_sample_becomes_lines_of_six_texts(sample: RunFolder) -> None:
    made = lines(sample, "multicaption.jsonl")
    assert len(made) > 500 and all(len(line["caption"]) == 6 and all(line["caption"]) for line in made)
    header = read_header(sample.path / "datasets" / "multicaption.jsonl")
    assert header is not None and header.counts.lines == len(made)
    assert [text.name for text in header.texts] == ["original", "detail", "noun", "background", "main", "style"]
    assert header.texts[1].model == "scene" and header.texts[1].prompt_id
    assert header.counts.dropped["original"] == 2


def test_every_caption_is_told_with_how_it_came_about(sample: RunFolder) -> None:
    captions = lines(sample, "captions.jsonl")
    part = combine(sample, "caption_images", sample.path / "x.jsonl")
    assert len(captions) == 7 * part.lines
    assert captions[0].keys() == {
        "row_id", "image", "captioner", "model", "perspective", "prompt_id", "caption", "finish_reason", "tokens", "fault",
    }  # fmt: skip
    card = json.loads((sample.path / "datasets" / "dataset.json").read_text())
    good = {name: counts["good"] for name, counts in card["captions"].items()}
    assert good == {
        name: sum(caption["perspective"] == name and caption["fault"] is None for caption in captions) for name in good
    }


def test_there_is_an_index_for_each_perspective(sample: RunFolder) -> None:
    folder = sample.path / "datasets" / "indexes"
    assert {path.stem for path in folder.iterdir()} == {"detail", "brief", "sentence", "noun", "style", "background", "main"}
    index = json.loads((folder / "noun.json").read_text())
    captions = [each for each in lines(sample, "captions.jsonl") if each["perspective"] == "noun" and each["fault"] is None]
    root = sample.plan.input.image_root
    assert {os.path.join(root, name): caption for name, caption in index.items()} == {
        each["image"]: each["caption"] for each in captions
    }


def test_the_lines_are_the_same_for_any_number_of_shards(sample: RunFolder, tmp_path: Path) -> None:
    run = do(start_run(tmp_path / "run", NewRun(input=SAMPLE, pipeline="recaption", num_shards=16)))
    build_datasets(run)
    for path in (sample.path / "datasets").rglob("*.json*"):
        if path.name != "dataset.json":
            assert path.read_bytes() == (run.path / path.relative_to(sample.path)).read_bytes(), path.name


def test_odd_paths_stay_with_their_own_captions(tmp_path: Path) -> None:
    paint_all(tmp_path / "pictures")
    table = tmp_path / "list.json"
    entries = [*ODD_NAMES, ODD_NAMES[1], str((tmp_path / "pictures" / ODD_NAMES[2]).resolve()), "missing.png"]
    table.write_text(json.dumps([{"image": name} for name in entries], ensure_ascii=False), encoding="utf-8")
    new = NewRun(
        input=table, pipeline="recaption", image_root=tmp_path / "pictures", num_shards=4,
        settings=["merge_captions.texts=[detail, noun]"],
    )  # fmt: skip
    run = do(start_run(tmp_path / "run", new))
    build_datasets(run)
    made = lines(run, "multicaption.jsonl")
    assert [line["image"] for line in made] == [str(tmp_path / "pictures" / name) for name in entries[:-1]]
    assert [line["caption"][1] for line in made] == [*THINGS, THINGS[1], THINGS[2]]
    assert json.loads((run.path / "datasets" / "indexes" / "noun.json").read_text())[ODD_NAMES[3]] == THINGS[3]


def test_a_folder_and_tar_shards_are_inputs_too(tmp_path: Path) -> None:
    paint_all(tmp_path / "pictures")
    settings = ["merge_captions.texts=[noun, main]"]
    run = do(start_run(tmp_path / "folder", NewRun(input=tmp_path / "pictures", pipeline="recaption", settings=settings)))
    build_datasets(run)
    paths = [str(tmp_path / "pictures" / name) for name in ODD_NAMES]
    assert {line["image"]: line["caption"][0] for line in lines(run, "multicaption.jsonl")} == dict(
        zip(paths, THINGS, strict=True)
    )
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "shard-000.tar", "w") as tar:
        for number, thing in enumerate(THINGS):
            data = io.BytesIO()
            draw_scene([thing], seed=2).save(data, "PNG")
            member = tarfile.TarInfo(f"{number:04}.png")
            member.size = len(data.getvalue())
            tar.addfile(member, io.BytesIO(data.getvalue()))
    run = do(
        start_run(tmp_path / "tar", NewRun(input=tmp_path / "tars" / "shard-000.tar", pipeline="recaption", settings=settings))
    )
    build_datasets(run)
    made = lines(run, "multicaption.jsonl")
    assert [line["caption"][0] for line in made] == THINGS and made[3]["image"].endswith("shard-000.tar::0003.png")


def test_any_photo_has_plain_properties(tmp_path: Path) -> None:
    Image.new("RGB", (300, 100), (200, 40, 40)).save(tmp_path / "red.png")
    run = do(
        start_run(tmp_path / "run", NewRun(input=tmp_path, pipeline="recaption", settings=["merge_captions.texts=[detail]"]))
    )
    build_datasets(run)
    (line,) = lines(run, "multicaption.jsonl")
    assert "wide" in line["caption"][0] and "red" in line["caption"][0]


def test_padding_is_counted_in_the_header(tmp_path: Path) -> None:
    paint_all(tmp_path / "pictures")
    settings = ["merge_captions.texts=[noun, brief]", "merge_captions.missing=pad", "check_captions.near_duplicate=0.2"]
    run = do(start_run(tmp_path / "run", NewRun(input=tmp_path / "pictures", pipeline="recaption", settings=settings)))
    build_datasets(run)
    header = read_header(run.path / "datasets" / "multicaption.jsonl")
    assert header is not None and header.missing == "pad"
    assert len(lines(run, "multicaption.jsonl")) == header.counts.lines
    assert sum(header.counts.padded.values()) > 0


def test_a_perspective_added_later_is_in_the_next_files(tmp_path: Path) -> None:
    paint_all(tmp_path / "pictures")
    settings = ["caption_images.perspectives=[noun]", "merge_captions.texts=[noun]"]
    run = do(start_run(tmp_path / "run", NewRun(input=tmp_path / "pictures", pipeline="recaption", settings=settings)))
    build_datasets(run)
    run = redo(run, "caption_images", ["caption_images.perspectives=[noun, style]", "merge_captions.texts=[style, noun]"])
    build_datasets(do(run))
    made = lines(run, "multicaption.jsonl")
    names = [str(Path(line["image"]).relative_to(tmp_path / "pictures")) for line in made]
    assert [
        line["caption"][1] for _, line in sorted(zip(names, made, strict=True), key=lambda pair: ODD_NAMES.index(pair[0]))
    ] == THINGS
