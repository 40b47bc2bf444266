"""Parquet as a table of text."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from shardmill.models.images import UnreadableImage, open_image
from shardmill.tables import UNDECODABLE, BadRecord, open_table
from shardmill.tables.parquet import ParquetTable
from shardmill.util.errors import UserError


def test_every_type_becomes_text_and_missing_values_null(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "text": ["007", "", None],
            "whole": [1, None, 2**60],
            "real": [1.5, float("nan"), None],
            "flag": [True, False, None],
            "day": [date(2020, 1, 2), None, None],
            "kind": pl.Series(["x", "y", None], dtype=pl.Categorical),
            "list": [["é", 'q"'], [], None],
            "object": [{"a": 1, "b": None}, None, {"a": 2, "b": [1.5]}],
            "bytes": [b"abc", "é".encode(), None],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")

    table = open_table(tmp_path / "t.parquet")
    (batch,) = table.batches()

    assert table.format == "parquet"
    assert table.columns == frame.columns
    assert batch.bad == []
    assert batch.frame.rows() == [
        (0, 1, "007", "1", "1.5", "true", "2020-01-02", "x", '["é","q\\""]', '{"a":1,"b":null}', "abc"),
        (1, 2, None, None, None, "false", None, "y", "[]", None, "é"),
        (2, 3, None, str(2**60), None, None, None, None, None, '{"a":2,"b":[1.5]}', None),
    ]
    assert batch.frame.schema == {"row_id": pl.Int64, "line": pl.Int64} | dict.fromkeys(table.columns, pl.String)


def test_row_groups_are_streamed_in_order(tmp_path: Path) -> None:
    pl.DataFrame({"a": range(10_000)}).write_parquet(tmp_path / "t.parquet", row_group_size=700)
    batches = list(ParquetTable(tmp_path / "t.parquet", batch_rows=1000).batches())
    frame = pl.concat([batch.frame for batch in batches])
    assert len(batches) >= 10
    assert frame["row_id"].to_list() == list(range(10_000))
    assert frame["a"].to_list() == [str(i) for i in range(10_000)]


def test_columns_of_other_bytes_are_left_out_and_named(tmp_path: Path) -> None:
    frame = pl.DataFrame({"vector": [b"\xff\xd8"], "image": [{"bytes": b"\xff", "path": "x"}], "caption": ["a dog"]})
    frame.write_parquet(tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    assert table.columns == ["caption"]
    assert table.ignored_keys == {"vector", "image"}
    assert next(iter(table.batches())).frame.rows() == [(0, 1, "a dog")]


def test_undecodable_bytes_in_a_text_column_are_set_aside(tmp_path: Path) -> None:
    pl.DataFrame({"a": [b"x"] * 1500 + [b"caf\xe9", b"y"]}).write_parquet(tmp_path / "t.parquet")
    (batch,) = open_table(tmp_path / "t.parquet").batches()
    assert batch.bad == [BadRecord(1500, 1501, UNDECODABLE, "column a is not UTF-8", "caf\\xe9")]
    assert batch.frame.rows()[-1] == (1501, 1502, "y")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pl.DataFrame({"a": range(1000)}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        open_table(path)


@pytest.mark.parametrize("boxed", [False, True])
def test_pictures_become_references_that_lead_to_their_bytes(tmp_path: Path, boxed: bool) -> None:
    files = []
    for number in range(150):
        stream = io.BytesIO()
        Image.new("RGB", (8 + number, 8)).save(stream, "PNG")
        files.append(stream.getvalue() if number != 3 else None)
    cells = [{"bytes": data, "path": f"{number}.png"} for number, data in enumerate(files)] if boxed else files
    pl.DataFrame({"caption": ["a dog"] * 150, "image": cells}).write_parquet(tmp_path / "t.parquet", row_group_size=40)
    table = ParquetTable(tmp_path / "t.parquet", batch_rows=64)
    found = pl.concat([batch.frame for batch in table.batches()])["image"].to_list()
    assert found[3] == ("3.png" if boxed else None)
    assert [open_image(found[number]).width for number in (0, 41, 149)] == [8, 49, 157]
    with pytest.raises(UnreadableImage, match="is not an image"):
        open_image(f"{tmp_path}/t.parquet::image::3")


def test_a_table_is_read_in_memory_that_does_not_grow_with_its_pictures(tmp_path: Path) -> None:
    """120 MB of pictures in groups of 1 MB: how they are referred to, and whether they can be read, is told by a few groups."""
    path = tmp_path / "pictures.parquet"
    pictures = [b"\xff\xd8\xff" + os.urandom(50_000) for _ in range(2_400)]
    pl.DataFrame({"caption": ["a dog"] * len(pictures), "image": pictures}).write_parquet(path, row_group_size=20)
    code = (
        "import resource, sys; from shardmill.tables import open_table\n"
        "peak = lambda: int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]) // 1024\n"
        "before = peak()\n"
        "rows = [row for batch in open_table(sys.argv[1]).batches() for row in batch.frame['image']]\n"
        "print(len(rows), rows[-1].rpartition('::')[2], peak() - before)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )
    told = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout.split()
    assert told[:2] == ["2400", "2399"]
    assert int(told[2]) < 80 and int(told[3]) < 140, told


def test_spans_of_time_are_read_and_maps_of_bytes_left_out(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    bytes_by_name = pa.array([[("a", b"\xff")], None], pa.map_(pa.string(), pa.binary()))
    columns = {"span": pa.array([90, None], pa.duration("s")), "spans": pa.array([[1], None], pa.list_(pa.duration("s")))}
    pq.write_table(pa.table({**columns, "map": bytes_by_name}), tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    (batch,) = table.batches()
    assert batch.frame.rows() == [(0, 1, "PT1M30S", '["PT1S"]'), (1, 2, None, None)]
    assert table.notes() == ["columns that are not read: map"]
