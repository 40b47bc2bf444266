"""Parquet and the Hugging Face folder are read by pyarrow and by `datasets` in one line, typed, and with the pictures."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from exported import SAMPLES, antidote, export, finish, json_lines, negbench, parts, recaption, sample_rows, write_table
from shardmill.core.planning import NewRun, start_run
from shardmill.export import hf_card
from shardmill.models.images import open_image
from shardmill.store.frames import LIST
from shardmill.store.manifest import totals
from shardmill.store.run_folder import RunFolder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` keeps what it reads in a cache of its own, without asking the hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def load(folder: Path, *name: str) -> Any:
    return datasets.load_dataset(str(folder), *name)["train"]


def front_matter(folder: Path) -> dict[str, Any]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    header: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return header


def lines_out(run: RunFolder, stage: str) -> int:
    found = [run.manifest(stage, shard) for shard in range(run.num_shards)]
    return int(totals(manifest for manifest in found if manifest)["lines_out"])


def test_parquet_has_real_lists_and_the_types_of_the_columns(tmp_path: Path) -> None:
    done = export(negbench(), "parquet", tmp_path / "out")
    table = pq.read_table(done.path / "captions-00000.parquet")
    rows = parts(negbench(), "caption_negated")
    assert table.num_rows == rows.height == lines_out(negbench(), "caption_negated")
    assert table["negative_captions"].to_pylist() == rows["negative_captions"].str.json_decode(LIST).to_list()
    assert str(table.schema.field("row_id").type) == "int64"
    assert str(table.schema.field("image_checked").type) == "bool"
    assert [json.loads(cell) for cell in table["detections"].to_pylist()] == [json.loads(cell) for cell in rows["detections"]]


def test_a_size_limit_makes_several_files_that_hold_all_rows_in_order(tmp_path: Path) -> None:
    done = export(negbench(), "parquet", tmp_path / "out", images="copy", max_size=25_000)
    files = sorted(done.path.glob("*.parquet"))
    assert len(files) >= 3
    tables = [pq.read_table(file) for file in files]
    row_ids = [row_id for table in tables for row_id in table["row_id"].to_pylist()]
    assert row_ids == parts(negbench(), "caption_negated")["row_id"].to_list()
    assert [file["rows"] for file in done.record["files"].values()] == [table.num_rows for table in tables]


def test_embedded_pictures_are_the_bytes_of_the_files_and_shardmill_itself_can_read_them(tmp_path: Path) -> None:
    done = export(negbench(), "parquet", tmp_path / "out", images="copy")
    file = done.path / "captions-00000.parquet"
    cells = pq.read_table(file)["image"].to_pylist()
    rows = parts(negbench(), "caption_negated")
    assert [cell["bytes"] for cell in cells] == [(SAMPLES / image).read_bytes() for image in rows["image"]]
    assert [cell["path"] for cell in cells] == [f"{row_id:012d}.png" for row_id in rows["row_id"]]
    assert open_image(f"{file}::image::3").size == (320, 240)


def test_a_run_without_a_row_makes_a_file_without_a_row(tmp_path: Path) -> None:
    table = write_table(tmp_path / "captions.csv", ["image", "caption"], [["images/nowhere.png", "A dog on a sofa."]])
    run = finish(start_run(tmp_path / "run", NewRun(input=table, num_shards=1)))
    for format in ("parquet", "tsv", "coco", "jsonl", "webdataset", "hf"):
        export(run, format, tmp_path / format)
    assert pq.read_table(tmp_path / "parquet" / "captions-00000.parquet").num_rows == 0
    assert (tmp_path / "tsv" / "captions.tsv").read_text() == "filepath\ttitle\n"
    assert json.loads((tmp_path / "coco" / "captions.json").read_text())["images"] == []


def test_load_dataset_reads_the_folder_in_one_line_with_pictures_and_lists(tmp_path: Path) -> None:
    done = export(negbench(), "hf", tmp_path / "out")
    data = load(done.path)
    rows = parts(negbench(), "caption_negated")
    assert data.num_rows == rows.height
    assert isinstance(data[0]["image"], Image.Image) and data[0]["image"].size == (320, 240)
    assert data["negative_captions"][:] == rows["negative_captions"].str.json_decode(LIST).to_list()
    assert isinstance(data.features["image"], datasets.Image)
    original = Image.open(io.BytesIO((SAMPLES / rows["image"][4]).read_bytes()))
    assert data[4]["image"].tobytes() == original.tobytes()


def test_several_tables_are_configurations_of_which_the_first_is_the_default(tmp_path: Path) -> None:
    done = export(negbench(), "hf", tmp_path / "out", what=["questions", "captions", "full"])
    assert datasets.get_dataset_config_names(str(done.path)) == ["questions", "captions", "full"]
    assert "paraphrase_0" in load(done.path).column_names
    assert load(done.path, "captions").num_rows == lines_out(negbench(), "caption_negated")
    assert load(done.path, "full")["true_options"][0]


def test_pictures_that_are_only_named_are_text(tmp_path: Path) -> None:
    data = load(export(antidote(), "hf", tmp_path / "out", images="reference").path)
    names = parts(antidote(), "pair_preferences")["generated_image"]
    assert data["generated_image"][:] == [str(antidote().path / name) for name in names]


def test_the_card_counts_what_the_manifests_count(tmp_path: Path) -> None:
    done = export(negbench(), "hf", tmp_path / "out", what=["captions"])
    text = (done.path / "README.md").read_text(encoding="utf-8")
    info = front_matter(done.path)["dataset_info"][0]
    assert info["splits"][0]["num_examples"] == lines_out(negbench(), "caption_negated")
    for stage in ("extract_objects", "filter_objects", "caption_negated"):
        found = [negbench().manifest(stage, shard) for shard in range(3)]
        sums = totals(manifest for manifest in found if manifest)
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(sums["reasons"].items()))
        name = stage.replace("_", "\\_")
        assert f"| {name} | {sums['rows_in']} | {sums['rows_out']} |" in text
        assert f"| {reasons} |" in text
    assert "| paraphrase" not in text, "the captions did not go through it"
    assert negbench().plan.input.sha256 in text and "seed 0" in text


def test_the_card_names_models_and_prompts_with_their_texts(tmp_path: Path) -> None:
    done = export(negbench(), "hf", tmp_path / "out")
    text = (done.path / "README.md").read_text(encoding="utf-8")
    assert "| caption\\_negated | rules | rules |" in text
    digest = negbench().stage("caption_negated").fingerprint["template"]
    assert f"| `{digest}` | [caption\\_negated.md](prompts/caption_negated.md) |" in text
    prompts = Path(__file__).parents[3] / "templates" / "negbench"
    assert (done.path / "prompts" / "caption_negated.md").read_bytes() == (prompts / "caption_negated.md").read_bytes()
    assert (done.path / "prompts" / "caption_negated_list.md").is_file()
    recaptioned = export(recaption(), "hf", tmp_path / "re")
    assert (recaptioned.path / "prompts" / "perspectives.yaml").is_file()


def test_a_prompt_that_was_changed_since_is_not_passed_off_as_the_one_that_was_used(tmp_path: Path) -> None:
    shutil.copytree(negbench().path, tmp_path / "run")
    digest = negbench().stage("caption_negated").fingerprint["template"]
    for path in (tmp_path / "run").rglob("*.json"):
        path.write_text(path.read_text(encoding="utf-8").replace(digest, "0" * 64), encoding="utf-8")
    done = export(RunFolder(tmp_path / "run"), "hf", tmp_path / "out")
    assert f"`{'0' * 64}` | changed since |" in (done.path / "README.md").read_text(encoding="utf-8")
    assert not (done.path / "prompts" / "caption_negated.md").exists()


def test_the_card_has_a_licence_to_fill_in_tags_and_a_size(tmp_path: Path) -> None:
    header = front_matter(export(negbench(), "hf", tmp_path / "out").path)
    assert header["license"] == "unknown"
    assert {"shardmill", "negbench"} <= set(header["tags"])
    assert header["size_categories"] == ["n<1K"]


def test_names_that_come_with_the_data_are_no_markup_in_the_card(tmp_path: Path) -> None:
    rows = [[*row, "x"] for row in sample_rows(3)]
    table = write_table(tmp_path / "a|b<script>`.csv", ["image", "caption", "evil | <img src=x> # Title: {{ 7*7 }}"], rows)
    run = finish(start_run(tmp_path / "run", NewRun(input=table, pipeline="recaption", num_shards=1, image_root=SAMPLES)))
    done = export(run, "hf", tmp_path / "out")
    text = (done.path / "README.md").read_text(encoding="utf-8")
    body = text.split("---\n", 2)[2]
    assert "<img" not in body and "<script" not in body and "{{ 7" not in body
    assert "| evil \\| &lt;img src=x&gt; \\# Title: \\{\\{ 7\\*7 \\}\\} | text |" in body
    assert load(done.path).num_rows == 3


def test_left_out_pictures_are_counted_in_the_card_and_the_folder_still_loads(tmp_path: Path) -> None:
    rows = sample_rows(6)
    (tmp_path / "images").mkdir()
    for image, _ in rows:
        shutil.copy(SAMPLES / image, tmp_path / image)
    table = write_table(tmp_path / "captions.csv", ["image", "caption"], rows)
    run = finish(start_run(tmp_path / "run", NewRun(input=table, pipeline="recaption", num_shards=2)))
    (tmp_path / rows[2][0]).write_text("gone")
    done = export(run, "hf", tmp_path / "out")
    assert load(done.path)["row_id"][:] == [0, 1, 3, 4, 5]
    assert [line["row_id"] for line in json_lines(done.path / "left_out.jsonl")] == [2]
    assert "1 (no readable image)" in (done.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("rows", "name"), [(999, "n<1K"), (1_000, "1K<n<10K"), (10**7, "10M<n<100M"), (10**9, "n>100M")])
def test_the_size_category_is_the_hubs(rows: int, name: str, tmp_path: Path) -> None:
    from shardmill.export.formats import choose_tables
    from shardmill.export.rows import open_rows

    table = hf_card.CardTable(open_rows(negbench(), choose_tables(negbench(), "hf")[0]), 0, 0, None)
    assert hf_card.metadata([replace(table, rows=rows)])["size_categories"] == [name]
