"""Cutting an input into shards: the same parts from any format, every record accounted for, columns mapped with care."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from conftest import CAPTIONS, write_captions
from shardmill.core.planning import NewRun, start_run
from shardmill.store.combine import combine
from shardmill.store.layout import INGEST_REJECTS
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.verify import check_stage
from shardmill.tables import ingest as ingesting
from shardmill.tables.columns import map_columns
from shardmill.tables.ingest import ingest
from shardmill.util.errors import UserError

MakeRun = Callable[..., RunFolder]


def run_of(source: Path, name: str = "run", **options: Any) -> RunFolder:
    return start_run(source.parent / name, NewRun(input=source, **{"num_shards": 3, **options}))


def table(data: str | bytes, folder: Path, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def rows(run: RunFolder) -> list[dict[str, Any]]:
    return [row for shard in range(run.num_shards) for row in run.read_part(INGEST, shard)[0].to_dicts()]


def rejects(run: RunFolder) -> list[dict[str, Any]]:
    frames = [pl.read_csv(run.files(INGEST, shard).rejects, infer_schema=False) for shard in range(run.num_shards)]
    return [row for frame in frames for row in frame.to_dicts()]


def write_as(format: str, folder: Path) -> Path:
    """The captions of the fixtures as a table of a format."""
    names = ["filepath", "caption", "source"]
    records = [dict(zip(names, (f"{index}.png", caption, "test"), strict=True)) for index, caption in enumerate(CAPTIONS * 5)]
    path = folder / f"captions.{format}"
    if format == "parquet":
        pl.DataFrame(records).write_parquet(path)
    elif format == "json":
        path.write_text(json.dumps(records, indent=1))
    elif format == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, names, delimiter="\t" if format == "tsv" else ",", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        path.write_text(text.getvalue())
    return path


@pytest.mark.parametrize("format", ["tsv", "jsonl", "json", "parquet"])
def test_every_input_format_gives_the_same_parts(make_run: MakeRun, tmp_path: Path, format: str) -> None:
    reference, run = make_run(), run_of(write_as(format, tmp_path), format, num_shards=4)
    for shard in range(4):
        assert run.files(INGEST, shard).part.read_bytes() == reference.files(INGEST, shard).part.read_bytes()
    told = ("row_id", "reason", "detail", "raw", "attempts")
    assert [[row[name] for name in told] for row in rejects(run)] == [[row[name] for name in told] for row in rejects(reference)]


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_every_part_format_holds_the_same_rows(make_run: MakeRun, tmp_path: Path, format: str) -> None:
    runs = [make_run(), make_run(format, part_format=format)]
    first, second = (combine(run, INGEST, tmp_path / f"{run.path.name}.csv").path.read_bytes() for run in runs)
    assert first == second


def test_bad_records_are_rejected_with_their_line_and_text(tmp_path: Path) -> None:
    text = 'filepath,caption\na.png,"two\nlines"\nb.png,one,too many\nc.png,   \nd.png,fine\ne.png\n'
    run = run_of(table(text, tmp_path), num_shards=2)
    assert [(row["row_id"], row["caption"]) for row in rows(run)] == [(0, "two\nlines"), (3, "fine")]
    told = [(row["row_id"], row["line"], row["reason"], row["raw"]) for row in rejects(run)]
    assert told == [
        ("1", "4", "wrong number of cells", "b.png,one,too many"),
        ("2", "5", "empty caption", ""),
        ("4", "7", "wrong number of cells", "e.png"),
    ]
    manifests = check_stage(run, INGEST).manifests.values()
    assert sum(manifest.rows_in for manifest in manifests) == 5 and all(manifest.conserved() for manifest in manifests)


def test_a_broken_json_line_is_rejected_and_the_rest_comes_in(tmp_path: Path) -> None:
    run = run_of(
        table('{"caption": "a dog"}\n{"caption": \n[1]\n{"caption": "a cat", "more": 1}\n', tmp_path, "t.jsonl"), num_shards=1
    )
    assert [row["caption"] for row in rows(run)] == ["a dog", "a cat"]
    assert [row["line"] for row in rejects(run)] == ["2", "3"]


def test_words_for_nothing_are_captions_like_others(tmp_path: Path) -> None:
    words = ["None", "NA", "null", "nan", "NaN", "-", "0", "true"]
    run = run_of(write_captions(tmp_path / "c.csv", words))
    assert [row["caption"] for row in rows(run)] == words


def test_columns_are_found_renamed_and_carried_and_none_is_lost(tmp_path: Path) -> None:
    run = run_of(
        table("URL,Title,File_Name,caption,sub_id,image\nu,a dog,x.png,old,7,y\n", tmp_path), num_shards=1, caption_column="Title"
    )
    assert rows(run) == [
        {
            "row_id": 0,
            "image": "y",
            "caption": "a dog",
            "URL": "u",
            "File_Name": "x.png",
            "input_caption": "old",
            "input_sub_id": "7",
        }
    ]
    assert run.plan.input.mapping == {
        "URL": "URL",
        "Title": "caption",
        "File_Name": "File_Name",
        "caption": "input_caption",
        "sub_id": "input_sub_id",
        "image": "image",
    }


def test_columns_called_like_those_of_the_run_are_kept_under_other_names(tmp_path: Path) -> None:
    run = run_of(table("row_id,line,caption\n41,9,a dog\n", tmp_path), num_shards=1)
    assert rows(run) == [{"row_id": 0, "image": None, "caption": "a dog", "input_row_id": "41", "input_line": "9"}]


def test_carried_columns_reach_the_last_part(make_run: MakeRun) -> None:
    from shardmill.core.shard_runner import run_shard

    run = make_run(num_shards=1)
    run_shard(run, "extract_objects", 0)
    part, _ = run.read_part("extract_objects", 0)
    assert set(part["source"]) == {"test"}
    assert part.columns == ["row_id", "image", "caption", "source", "objects"]


@pytest.mark.parametrize(
    ("columns", "caption", "image", "expected"),
    [
        (["filepath", "title"], None, None, {"title": "caption", "filepath": "image"}),
        (["TEXT", "path"], None, None, {"TEXT": "caption", "path": "image"}),
        (["text", "caption"], None, None, {"caption": "caption", "text": "text"}),
        (["text", "caption"], "text", None, {"text": "caption", "caption": "input_caption"}),
        (["caption", "photo"], None, "photo", {"caption": "caption", "photo": "image"}),
        (["caption", "image", "photo"], None, "photo", {"caption": "caption", "photo": "image", "image": "input_image"}),
        (["caption"], None, None, {"caption": "caption"}),
    ],
)
def test_columns_are_mapped(columns: list[str], caption: str | None, image: str | None, expected: dict[str, str]) -> None:
    mapping, kinds = map_columns(columns, caption, image)
    assert mapping == expected
    assert list(kinds)[:3] == ["row_id", "image", "caption"]
    assert set(kinds) == {"row_id", "image", *expected.values()}


@pytest.mark.parametrize(
    ("columns", "caption", "image", "fault"),
    [
        (["a", "b"], None, None, "looks like captions.*a, b.*--caption-column"),
        (["a", "caption"], "captoin", None, "no column 'captoin'.*did you mean 'caption'"),
        (["pic", "caption"], None, "pci", "no column 'pci'.*did you mean 'pic'"),
        (["caption", "a"], "a", "a", "cannot be both"),
        (["text", "caption", "input_caption"], "text", None, "two columns of the input would get one name"),
        (["caption", "a\nb"], None, None, "has a line break"),
    ],
)
def test_columns_that_cannot_be_mapped_are_named(columns: list[str], caption: str | None, image: str | None, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        map_columns(columns, caption, image)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "is empty"),
        (b"filepath,caption\n", "has no rows below its header"),
        (b"caption,caption\na,b\n", "more than one column is called 'caption'"),
        ("filepath,caption\na.png,caf\xe9\n".encode("latin-1"), "is not UTF-8 .* Pass --encoding"),
        ("filepath,caption\na.png,x\n".encode("utf-16"), "is UTF-16 text. Pass --encoding utf-16"),
        (b"\x1f\x8b\x08\x00" + b"\0" * 40, r"cut off or damaged \(gzip"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused_before_anything_is_written(tmp_path: Path, data: bytes, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        run_of(table(data, tmp_path))
    assert not (tmp_path / "run").exists()


def test_other_encodings_come_in_when_they_are_named(tmp_path: Path) -> None:
    for encoding in ("latin-1", "utf-16", "cp1252"):
        source = table("filepath,caption\na.png,a café\n".encode(encoding), tmp_path, f"{encoding}.csv")
        assert [row["caption"] for row in rows(run_of(source, encoding, encoding=encoding))] == ["a café"]


def test_an_ingest_that_was_cut_off_goes_on_with_the_shards_that_are_missing(
    captions_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_of(captions_csv, "whole", num_shards=5)
    write = ingesting._write_shard
    with monkeypatch.context() as patch:
        patch.setattr(ingesting, "_write_shard", lambda run, shard, *rest: write(run, shard, *rest) if shard < 2 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_of(captions_csv, "cut", num_shards=5)
    first = (tmp_path / "cut" / INGEST / "part-00001-of-00005.json").read_bytes()
    run = run_of(captions_csv, "cut", num_shards=5)
    assert run.files(INGEST, 1).manifest.read_bytes() == first
    for shard in range(5):
        assert run.files(INGEST, shard).part.read_bytes() == whole.files(INGEST, shard).part.read_bytes()
        assert run.files(INGEST, shard).rejects.read_bytes() == whole.files(INGEST, shard).rejects.read_bytes()


def test_an_ingest_killed_inside_a_shard_leaves_nothing_of_it(captions_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ingesting, "seal", lambda *words, **named: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_of(captions_csv)
    run = run_of(captions_csv)
    assert check_stage(run, INGEST).missing == []
    assert [path for shard in range(3) for path in run.files(INGEST, shard).temporaries()] == []


def test_an_input_that_changed_since_planning_is_not_ingested(make_run: MakeRun, captions_csv: Path) -> None:
    run = make_run()
    for path in run.folder(INGEST).glob("part-00002*"):
        path.unlink()
    data = captions_csv.read_bytes()
    captions_csv.write_bytes(data.replace(b"dog", b"fox"))
    with pytest.raises(UserError, match=r"changed since .* was planned; restore it, or start a new run"):
        ingest(run)
    captions_csv.write_bytes(data)
    assert len(ingest(run)) == 4


def test_the_input_is_not_needed_once_all_shards_stand(make_run: MakeRun, captions_csv: Path) -> None:
    run = make_run()
    captions_csv.unlink()
    assert [manifest.shard for manifest in ingest(run)] == [0, 1, 2, 3]


def test_a_shard_of_nothing_but_empty_captions_is_complete(tmp_path: Path) -> None:
    run = run_of(write_captions(tmp_path / "c.csv", ["", " ", "a dog", ""]), num_shards=4)
    assert [run.read_part(INGEST, shard)[0].height for shard in range(4)] == [0, 0, 1, 0]
    assert list(pl.read_csv(run.files(INGEST, 0).rejects).columns) == list(INGEST_REJECTS)


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "json", "parquet"])
@pytest.mark.parametrize("before", [2, 3_000])
def test_a_record_with_a_nul_is_rejected_wherever_it_is(tmp_path: Path, format: str, before: int) -> None:
    frame = pl.DataFrame({"caption": ["a dog on a grey sofa"] * before + ["a \0cat", "a horse"]})
    path = tmp_path / f"t.{format}"
    if format in ("csv", "tsv"):
        frame.write_csv(path, separator="," if format == "csv" else "\t")
    elif format == "parquet":
        frame.write_parquet(path)
    else:
        records = [json.dumps(record) for record in frame.to_dicts()]
        path.write_text("\n".join(records) if format == "jsonl" else f"[{','.join(records)}]")
    run = run_of(path)
    (reject,) = rejects(run)
    assert (reject["row_id"], reject["reason"], reject["detail"][:14]) == (str(before), "NUL byte", "column caption")
    assert len(rows(run)) == before + 1
    assert not any(b"\0" in run.files(INGEST, shard).part.read_bytes() for shard in range(3))


def test_a_list_as_numpy_prints_it_is_an_unreadable_cell(tmp_path: Path) -> None:
    cells = ["['dog' 'sofa']", "['dog'\n 'sofa']", "['dog', 'sofa']", "(\"dog\" 'sofa',)", '["dog" "sofa"]']
    pl.DataFrame({"caption": "x", "names": cells}).write_csv(tmp_path / "t.csv")
    run = run_of(tmp_path / "t.csv", list_columns=["names"])
    assert [row["names"] for row in rows(run)] == ['["dog","sofa"]']
    assert [(reject["row_id"], reject["reason"]) for reject in rejects(run)] == [(at, "unreadable cell") for at in "0134"]
    assert "numpy" in rejects(run)[0]["detail"]
