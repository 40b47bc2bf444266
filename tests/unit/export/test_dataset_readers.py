"""The datasets of a run are read from any folder, by readers that are given nothing but the file."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from exported import SAMPLES, antidote, anyedit, export, finish, json_lines, negbench, recaption, sample_rows, write_table
from shardmill.core.planning import NewRun, start_run
from shardmill.launch.finish import build_datasets
from shardmill.store.default_datasets import build_default
from shardmill.store.image_columns import path_columns, with_absolute_paths
from shardmill.store.json_lines import SeenKinds, schema_path, settle_json_lines
from shardmill.store.run_folder import RunFolder

RUNS = (negbench, antidote, recaption, anyedit)
IMAGE_FIELDS = ("image", "image_file", "filepath", "image_path", "generated_image")


@pytest.fixture(params=RUNS, ids=lambda make: make.__name__)
def built(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The datasets of a run, and another working folder than any of its own."""
    make: Callable[[], RunFolder] = request.param
    run = make()
    build_datasets(run, tmp_path / "datasets")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "datasets"


def named_images(path: Path) -> list[str]:
    """The images that a file names."""
    if path.suffix == ".jsonl":
        rows = json_lines(path)
    else:
        rows = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",").to_dict("records")
    fields = [value for row in rows for name, value in row.items() if name in IMAGE_FIELDS and value]
    return [*fields, *(image for row in rows for image in row.get("images", ()))]


def test_each_file_names_images_that_open_from_any_folder(built: Path) -> None:
    root = Path(json.loads((built / "dataset.json").read_text(encoding="utf-8"))["image_root"])
    seen = 0
    for path in [*built.rglob("*.jsonl"), *built.rglob("*.tsv"), *built.rglob("*.csv")]:
        for name in set(named_images(path)):
            with Image.open(name) as image:
                assert image.size == (320, 240)
            assert root / name == Path(name)
            seen += 1
    assert seen > 10


def test_polars_reads_each_file_of_lines_and_loses_no_field(built: Path) -> None:
    found = list(built.rglob("*.jsonl"))
    assert found
    for path in found:
        records = json_lines(path)
        assert records, f"{path.name} is empty"
        schema = schema_path(path)
        table = pl.read_ndjson(path, schema=pl.read_parquet_schema(schema)) if schema.exists() else pl.read_ndjson(path)
        assert table.height == len(records)
        for name in {name for record in records for name in record}:
            wanted = [record.get(name) for record in records]
            read = table[name].to_list()
            assert [as_read(value, got) for value, got in zip(wanted, read, strict=True)] == read, (path.name, name)


def test_pandas_and_duckdb_read_each_file(built: Path) -> None:
    for path in [*built.rglob("*.jsonl"), *built.rglob("*.tsv"), *built.rglob("*.csv")]:
        if path.suffix == ".jsonl":
            frame, table = pd.read_json(path, lines=True), duckdb.read_json(str(path))
        else:
            frame = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")
            table = duckdb.read_csv(str(path))
        assert table.columns == list(frame.columns)
        assert len(table.fetchall()) == len(frame) > 0


def as_read(value: object, got: object) -> object:
    """A value of JSON as a column of text or of structs has it."""
    if isinstance(got, str) and not isinstance(value, str):
        return got if json.loads(got) == value else value
    return got if isinstance(got, (list, dict)) and isinstance(value, (list, dict)) else value


def test_a_column_that_begins_with_a_hundred_missing_values_is_read(tmp_path: Path) -> None:
    path, seen = tmp_path / "lines.jsonl", SeenKinds()
    records = [{"n": number, "text": None, "names": [], "boxes": {}} for number in range(150)]
    records += [{"n": 0.5, "text": "late", "names": ["a"], "boxes": {"dog": [1]}, "new": 7}]
    for record in records:
        seen.see(record)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    settle_json_lines({path: len(records)}, {path: seen.all()})
    last = pl.read_ndjson(path, schema=pl.read_parquet_schema(schema_path(path))).row(-1, named=True)
    assert last == {"n": 0.5, "text": "late", "names": ["a"], "boxes": '{"dog": [1]}', "new": 7}


def test_a_file_without_lines_is_not_left(tmp_path: Path) -> None:
    empty, table = tmp_path / "empty.jsonl", tmp_path / "empty.csv"
    for path in (empty, schema_path(empty), table):
        path.write_bytes(b"")
    assert settle_json_lines({empty: 0, table: 0}, {empty: {"row_id": "int"}}) == {table: 0}
    assert [path.name for path in tmp_path.iterdir()] == ["empty.csv"]


def test_rows_of_any_stage_name_images_by_absolute_paths(tmp_path: Path) -> None:
    build_default(antidote(), tmp_path / "out")
    for path in (tmp_path / "out").glob("*.parquet"):
        for name in pl.read_parquet(path)["generated_image"].drop_nulls():
            assert Path(name).is_absolute() and Path(name).is_file()


@pytest.mark.parametrize("format", ["table", "parquet"])
def test_tables_that_only_name_images_name_them_by_absolute_paths(tmp_path: Path, format: str) -> None:
    done = export(negbench(), format, tmp_path / "out", images="reference" if format == "parquet" else None)
    (name,) = done.record["files"]
    frame = pl.read_csv(done.path / name) if format == "table" else pl.read_parquet(done.path / name)
    assert all(Path(image).is_absolute() and Path(image).is_file() for image in frame["image"])


def test_a_column_of_the_input_that_only_sounds_like_images_stays(tmp_path: Path) -> None:
    table = write_table(tmp_path / "captions.csv", ["caption", "has_image"], [["A dog on a lawn beside a red ball.", "yes"]])
    run = finish(start_run(tmp_path / "run", NewRun(input=table, pipeline="antidote")), ["parse_captions"])
    assert "has_image" in run.kinds("parse_captions") and "has_image" not in path_columns(run, "parse_captions")


def test_images_inside_tars_come_with_the_export_that_gets_them_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "00000.tar", "w") as tar:
        for number, (image, caption) in enumerate(sample_rows(4)):
            text = tmp_path / "caption.txt"
            text.write_text(caption, encoding="utf-8")
            tar.add(SAMPLES / image, f"{number:09d}.png")
            tar.add(text, f"{number:09d}.txt")
    run = finish(start_run(tmp_path / "run", NewRun(input=tmp_path / "tars", pipeline="recaption")))
    build_datasets(run)
    said = capsys.readouterr().out
    assert f"shardmill export {run.path} --format webdataset" in said and "--format csv --images copy" in said


def test_where_the_images_are_is_said_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_datasets(negbench(), tmp_path / "out")
    assert f"absolute paths below {negbench().plan.input.image_root}" in capsys.readouterr().out


def test_urls_and_missing_images_stay_as_they_are(tmp_path: Path) -> None:
    rows = [["https://example.org/a.jpg", "A dog on a lawn beside a red ball."], ["", "A cat sleeps on a chair by the window."]]
    table = write_table(tmp_path / "captions.csv", ["image", "caption"], rows)
    new = NewRun(input=table, settings=("filter_objects.unverified=keep",))
    run = finish(start_run(tmp_path / "run", new), ["extract_objects"])
    frame = with_absolute_paths(run, run.read_part("extract_objects", 0)[0], ["image"])
    assert frame["image"].to_list() == ["https://example.org/a.jpg", None]
