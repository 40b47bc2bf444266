"""Exports and datasets of runs with hostile cells, names and pictures: each row is in or named as left out, and comes back."""

from __future__ import annotations

import csv
import json
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from exported import finish, write_table
from fuzz.hostile import LITTLE, pick, texts
from fuzz.runs import PIPELINES, REFERENCE, TEXTS, hostile_run, lay_pictures, tree
from fuzz.target import Target, settled
from shardmill.core.planning import NewRun, start_run
from shardmill.export.folder import LEFT_OUT, RECORD
from shardmill.export.formats import BUILT_IN
from shardmill.export.make import Exported, export
from shardmill.export.multi_text_reader import read_multitext
from shardmill.export.options import ExportOptions
from shardmill.export.rows import decode_rows, open_rows
from shardmill.export.tables import ExportTable, export_tables
from shardmill.store.run_folder import RunFolder
from shardmill.tables import open_table
from shardmill.util.errors import UserError

ONLY_SELECT = (
    "pipeline: anyedit\nstages:\n  - stage: select_captions\n    options: {captions: caption, images: '', max_words: 99999}\n"
)
NAMES = ["../x", "/x", "__key__", "__url__", "jpg", "png", "json", "txt", "texts", "text", "exported texts", "exported image"]
NAMES += ["row_id", "sub_id", "line", "input", "input_objects", "width", "Image", "IMAGE", "filepath", "title", "image_path"]
NAMES += ["*", "^.*$", "^image$", "^$", '"', 'a"b', '""', "'", "\\", "a.b", "a,b", "=1+1", "@x", "{}", "null", "true", "e\u0301"]
NAMES += ["\t", " ", "", "x" * 10_000, "{{ 7 * 7 }}", "---", "- a: b", "\u2028", "\u202e", "\ufeff", "\0", "\r", "a\nb", "犬"]
Key = tuple[int, int | None]
Row = dict[str, Any]
csv.field_size_limit(sys.maxsize)


def columns(case: tuple[list[str], list[tuple[str, str, list[str]]], str, str, ExportOptions], folder: Path) -> None:
    """A table whose pictures, captions and other columns are anything, through a run and out of it, in a format."""
    names, rows, kind, format, options = case
    (folder / "mine.yaml").write_text(ONLY_SELECT)
    cells = [[image, f"A dog sleeps {caption}", *(more * len(names))[: len(names)]] for image, caption, more in rows]
    path = _table(folder / f"t.{kind}", ["image", "caption", *names], cells)
    new = NewRun(
        input=path, pipeline=str(folder / "mine.yaml"), num_shards=min(2, len(rows)), part_format=kind,
        image_root=lay_pictures(folder), encoding="utf-8",
    )  # fmt: skip
    run = finish(start_run(folder / "run", new))
    ingested = {row["row_id"]: row for row in run.rows("ingest", [*range(run.num_shards)])}
    known = open_table(path, "utf-8").columns
    for row_id, row in ingested.items():
        given = [cell or None for cell in cells[row_id]]
        found = [row[run.plan.input.mapping[name]] for name in known]
        assert found == given, (found, given)
    _exported(run, export_tables(run)[0], format, folder, options)


def _table(path: Path, names: list[str], rows: list[list[str]]) -> Path:
    if path.suffix == ".csv":
        return write_table(path, names, rows)
    if len(set(names)) < len(names):
        raise UserError("no table can have these names")
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows), encoding="utf-8")
    else:
        pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String()), orient="row").write_parquet(path)
    return path


def cells(case: tuple[str, list[str], list[str | None], str, ExportOptions], folder: Path) -> None:
    """What models said and what a run found, whatever it is: in one format every table that it fits, and as datasets."""
    pipeline, words, references, format, options = case
    run = hostile_run(folder, pipeline, words, references)
    fitting = [table for table in export_tables(run) if BUILT_IN[format].fits(table)]
    tried = [settled(lambda table=table: _exported(run, table, format, folder, options)) for table in fitting]  # type: ignore[misc]
    before = tree(folder)
    import_module(f"shardmill.{pipeline}.build").build(run, folder / "datasets")
    _nothing_else(before, folder, folder / "datasets")
    for path in (folder / "datasets").rglob("*.*"):
        if path.suffix == ".jsonl":
            for line in path.read_bytes().split(b"\n")[:-1]:
                json.loads(line)
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".parquet":
            pl.read_parquet_schema(path)
        else:
            separator = "\t" if path.suffix == ".tsv" else ","
            with open(path, newline="", encoding="utf-8") as file:
                lines = list(csv.reader(file, delimiter=separator, strict=True))
            assert {len(line) for line in lines} == {len(lines[0])}, path
    if tried and all(kind == "refused" for kind, _ in tried):
        raise UserError(tried[0][1])


def _exported(run: RunFolder, table: ExportTable, format: str, folder: Path, options: ExportOptions) -> None:
    before, out = tree(folder), folder / "out" / table.name
    images = None if format == "webdataset" else options.images
    done = export(run, format, out, what=[table.name], images=images, options=options)
    _nothing_else(before, folder, out)
    files = {name for name, (kind, _) in tree(out).items() if kind != "folder" and not name.startswith("images/")}
    assert files - {RECORD, LEFT_OUT} == done.record["files"].keys()
    assert all(kind != "link" for kind, _ in tree(out).values())
    rows = {_key(row): row for row in _rows(run, table)}
    left = [json.loads(line) for line in done.left_out.read_bytes().splitlines()] if done.left_out else []
    reasons = Counter(line["reason"] for line in left)
    assert reasons == done.record["left_out"]
    READ[format](done, table, options, rows, {_key(line) for line in left})
    again = export(run, format, out, what=[table.name], images=images, options=options)
    assert again.already and again.record == done.record


def _nothing_else(before: dict[str, tuple[str, int]], folder: Path, out: Path) -> None:
    inside = str(out.relative_to(folder))
    new = {name: kind for name, kind in tree(folder).items() if f"{name}/".startswith(f"{inside}/") is False and name != "out"}
    assert new == {name: kind for name, kind in before.items() if name != "out"}


def _rows(run: RunFolder, table: ExportTable) -> Iterator[Row]:
    """The rows of a table as its parts have them, near duplicates too."""
    source = open_rows(run, table)
    if table.join is None:
        yield from run.rows(table.stages[0], source.shards)
        return
    for shard in source.shards:
        yield from decode_rows(table.join({stage: run.read_part(stage, shard)[0] for stage in table.stages}), source.kinds)


def _key(row: Row) -> Key:
    return row["row_id"], row.get("sub_id")


def _webdataset(done: Exported, table: ExportTable, options: ExportOptions, rows: dict[Key, Row], left: set[Key]) -> None:
    """Members are plain files with plain names, and each sample has its picture, its text and its row."""
    found = set()
    for name in (name for name in done.record["files"] if name.endswith(".tar")):
        with tarfile.open(done.path / name, "r:") as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar if member.isreg()}  # type: ignore[union-attr]
            assert len(members) == len(tar.getmembers()), "two members of a name, or one that is no file"
        assert all(set(member) <= set("0123456789-_.jpgwebtifmxn") | set("json") for member in members), list(members)
        for member, data in members.items():
            if member.endswith(".json"):
                sample = json.loads(data)
                row = rows[_key(sample)]
                own = set() if table.texts is None else {"text" if options.every_text else "texts"}
                assert all(_same(sample[column], value) for column, value in row.items() if column not in own), (sample, row)
                stem = member.removesuffix(".json")
                assert any(other.startswith(f"{stem}.") and not other.endswith((".json", ".txt")) for other in members)
                found.add(_key(sample))
    assert found | left == rows.keys() and not found & left


def _same(found: Any, value: Any) -> bool:
    """Whether a field of a sample is a value: lists and dictionaries are JSON text, and a missing text is empty."""
    if isinstance(value, (list, dict)):
        return bool(json.loads(found) == value)
    return found == value or (value is None and found == "")


def _parquet(done: Exported, table: ExportTable, options: ExportOptions, rows: dict[Key, Row], left: set[Key]) -> None:
    found = {}
    for name in done.record["files"]:
        if name.endswith(".parquet"):
            for row in pl.read_parquet(done.path / name, glob=False, hive_partitioning=False).iter_rows(named=True):
                assert _key(row) not in found
                found[_key(row)] = row
    assert found.keys() | left == rows.keys() and not found.keys() & left
    embedded = table.image_column if options.images == "copy" else None
    for key, row in found.items():
        assert list(row) == list(rows[key])
        for column, value in row.items():
            given = rows[key][column]
            if column == embedded:
                assert value["bytes"][:4] and "/" not in value["path"]
            elif column == "image" or column.endswith("_image"):
                assert (value is None) == (given is None)  # an absolute path
            elif isinstance(given, (dict, list)) and isinstance(value, str):
                assert json.loads(value) == given
            else:
                assert value == given, (column, value, given)


def _hf(done: Exported, table: ExportTable, options: ExportOptions, rows: dict[Key, Row], left: set[Key]) -> None:
    import yaml

    _parquet(done, table, options, rows, left)
    text = (done.path / "README.md").read_text(encoding="utf-8")
    _, header, body = text.split("---\n", 2)
    known = yaml.safe_load(header)["dataset_info"][0]
    assert [feature["name"] for feature in known["features"]] == list(next(iter(rows.values())))
    assert "<" not in body


def _lines(done: Exported, table: ExportTable, options: ExportOptions, rows: dict[Key, Row], left: set[Key]) -> None:
    """filepath and title, of which each is of a row, and each picture lies where it says."""
    (name,) = done.record["files"]
    with open(done.path / name, newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file, delimiter="\t" if name.endswith(".tsv") else ",", strict=True)
    assert head == ["filepath", "title"] and len(lines) == done.record["files"][name]["rows"]
    assert len(pl.read_csv(done.path / name, separator="\t" if name.endswith(".tsv") else ",", infer_schema=False)) == len(lines)
    for place, title in lines:
        assert title.strip() and not set(title) & set("\n\r\t\0")
        _at(done, place, options)
    if options.images == "copy":
        found = {int(Path(place).stem) for place, _ in lines}
        assert found | {row_id for row_id, _ in left} == {row_id for row_id, _ in rows}


def _at(done: Exported, place: str, options: ExportOptions) -> None:
    if options.images == "copy":
        target = (done.path / place).resolve()
        assert target.is_file() and target.is_relative_to(done.path / "images")
    else:
        assert place.startswith("/")


def _multi_text(done: Exported, table: ExportTable, options: ExportOptions, rows: dict[Key, Row], left: set[Key]) -> None:
    name = next(name for name in done.record["files"] if name.endswith(".jsonl"))
    lines = list(read_multitext(done.path / name))
    for line in lines:
        _at(done, line.image, options)
    assert len(lines) + len(left) == len(rows)


def _conversations(done: Exported, table: ExportTable, options: ExportOptions, rows: dict[Key, Row], left: set[Key]) -> None:
    """One image token in each conversation, at its beginning; no row twice and none lost."""
    name = f"{table.name}.json"
    found = set()
    for talk in json.loads((done.path / name).read_bytes()):
        row_id, _, sub_id = talk["id"].partition("-")
        said = [turn["value"] for turn in talk["conversations"]]
        assert said[0].startswith("<image>\n") and sum(text.count("<image>") for text in said) == 1
        _at(done, talk["image"], options)
        found.add((int(row_id), int(sub_id) if sub_id else None))
    assert found | left == rows.keys() and not found & left


def _pairs(done: Exported, table: ExportTable, options: ExportOptions, rows: dict[Key, Row], left: set[Key]) -> None:
    name = f"{table.name}.{options.form}.jsonl"
    found = [json.loads(line) for line in (done.path / name).read_bytes().split(b"\n")[:-1]]
    assert len(found) + len(left) == len(rows)
    for pair in found:
        _at(done, pair["images"][0], options)


def _messages(done: Exported, table: ExportTable, options: ExportOptions, rows: dict[Key, Row], left: set[Key]) -> None:
    """One image in each conversation, at its beginning; no row lost."""
    talks = [json.loads(line) for line in (done.path / f"{table.name}.jsonl").read_bytes().split(b"\n")[:-1]]
    assert len(talks) + len(left) == len(rows)
    for talk in talks:
        images = [part["path"] for message in talk["messages"] for part in message["content"] if part["type"] == "image"]
        assert [talk["messages"][0]["content"][0]["path"]] == images
        _at(done, images[0], options)


def _boxes(done: Exported, table: ExportTable, options: ExportOptions, rows: dict[Key, Row], left: set[Key]) -> None:
    (name,) = done.record["files"]
    made = json.loads((done.path / name).read_bytes())
    images = {image["id"]: image for image in made["images"]}
    names = {each["id"]: each["name"] for each in made["categories"]}
    assert len(images) == len(made["images"]) and len(set(names.values())) == len(names)
    assert images.keys() | {row_id for row_id, _ in left} == {row_id for row_id, _ in rows}
    for image in images.values():
        _at(done, image["file_name"], options)
    for one in made["annotations"]:
        left_edge, top, width, height = one["bbox"]
        image = images[one["image_id"]]
        assert 0 <= left_edge < left_edge + width <= image["width"] and 0 <= top < top + height <= image["height"]
        assert one["category_id"] in names


def _plain(done: Exported, table: ExportTable, options: ExportOptions, rows: dict[Key, Row], left: set[Key]) -> None:
    with open(done.path / f"{table.name}.csv", newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file, strict=True)
    keys = [
        (int(line[header.index("row_id")]), int(line[header.index("sub_id")]) if "sub_id" in header else None) for line in lines
    ]
    assert header == [*next(iter(rows.values()), header)]
    assert {*keys} | left == {*rows} and len(keys) + len(left) == len(rows)


READ = {
    "csv": _lines, "tsv": _lines, "jsonl": _multi_text, "webdataset": _webdataset, "table": _plain, "parquet": _parquet,
    "hf": _hf, "llava": _conversations, "axolotl": _messages, "dpo": _pairs, "coco": _boxes,
}  # fmt: skip
_OPTIONS = st.builds(
    ExportOptions,
    images=st.sampled_from(["copy", "reference"]),
    max_size=st.sampled_from([10_000, 10**9]),
    missing=st.sampled_from(["drop", "pad"]),
    every_text=st.booleans(),
    form=st.sampled_from(["trl", "swift", "llamafactory"]),
)
_FORMAT = st.sampled_from(list(READ))

TARGETS = [
    Target(
        "export-columns",
        st.tuples(
            st.lists(pick(NAMES) | pick(NAMES) | LITTLE, max_size=3),
            st.lists(st.tuples(REFERENCE, texts(3), st.lists(LITTLE, min_size=1, max_size=3)), min_size=1, max_size=3),
            st.sampled_from(["csv", "jsonl", "parquet"]),
            st.sampled_from(["csv", "tsv", "webdataset", "table", "parquet", "hf"]),
            _OPTIONS,
        ),
        columns,
    ),
    Target(
        "export-cells",
        st.tuples(st.sampled_from(PIPELINES), TEXTS, st.lists(st.none() | REFERENCE, min_size=1, max_size=3), _FORMAT, _OPTIONS),
        cells,
    ),
]
