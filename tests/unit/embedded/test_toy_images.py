"""`shardmill make-toy-images`: an image for every caption that names something to draw, and no row lost without a word."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conftest import CAPTIONS
from shardmill.cli.main import cli
from shardmill.embedded.toy_images import make_toy_images
from shardmill.tables import open_table
from shardmill.tables.columns import map_columns
from shardmill.util.errors import UserError


def make(table: Path, out: Path, *options: str) -> Result:
    """`shardmill make-toy-images` of a table."""
    return CliRunner().invoke(cli, ["make-toy-images", str(table), "--out", str(out), *options])


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_row_gets_an_image_if_nothing_else_is_wanted(captions_csv: Path, tmp_path: Path) -> None:
    done = make(captions_csv, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "45 images" in done.output and "15" in done.output and "more rows" not in done.output
    assert [row["caption"] for row in rows_of(tmp_path / "out" / "captions.csv")] == CAPTIONS * 5
    assert len(list((tmp_path / "out" / "images").iterdir())) == 45


def test_rows_after_those_wanted_are_mentioned(captions_csv: Path, tmp_path: Path) -> None:
    done = make(captions_csv, tmp_path / "out", "--rows", "12")
    assert f"{captions_csv} has more rows" in done.output and "--rows" in done.output
    assert len(rows_of(tmp_path / "out" / "captions.csv")) == 12


@pytest.mark.parametrize("rows", [60, 61])
def test_no_more_rows_are_mentioned_where_the_table_ends(captions_csv: Path, tmp_path: Path, rows: int) -> None:
    assert not make_toy_images(captions_csv, tmp_path / "out", rows=rows).more


def test_unreadable_rows_are_counted_with_their_reason(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("caption,source\nA dog.,web\nA cat, on a mat,web\nA boat.,web\nonly one\nA tree.,web,\n")
    done = make(table, tmp_path / "out")
    assert "3 unreadable rows left out (wrong number of cells 3)\n" in done.output
    assert [row["caption"] for row in rows_of(tmp_path / "out" / "captions.csv")] == ["A dog.", "A boat."]
    within = make_toy_images(table, tmp_path / "few", rows=3)
    assert within.unreadable == {"wrong number of cells": 1} and within.more, "only those of the rows asked for"


def test_a_table_in_another_encoding_is_read_when_that_is_said(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes("caption\nA dog in a café.\n".encode("latin-1"))
    assert "--encoding" in str(make(table, tmp_path / "out").exception)
    assert make(table, tmp_path / "out", "--encoding", "latin-1").exit_code == 0
    assert rows_of(tmp_path / "out" / "captions.csv")[0]["caption"] == "A dog in a café."


def test_progress_ends_where_the_table_does(captions_csv: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    make_toy_images(captions_csv, tmp_path / "out", rows=1_000, report=lambda done, total: told.append((done, total)))
    assert told[0] == (1, 1_000) and told[-1] == (60, 60)


def test_the_table_itself_is_never_replaced(captions_csv: Path) -> None:
    before = captions_csv.read_bytes()
    with pytest.raises(UserError, match="give --out another folder"):
        make_toy_images(captions_csv, captions_csv.parent)
    assert captions_csv.read_bytes() == before


def test_other_columns_are_carried_along(tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    table.write_text(
        '{"title": "A dog.", "tags": ["a", "b"], "note": "one, \\"two\\"\\r\\nthree", "sub_id": 7}\n'
        '{"title": "A boat.", "note": "a\\u0000b"}\n{"title": "A bus.", "note": "x"}\n'
    )
    made = make_toy_images(table, tmp_path / "out").table
    assert rows_of(made) == [
        {
            "image": "images/00000000.png",
            "caption": "A dog.",
            "tags": '["a","b"]',
            "note": 'one, "two"\r\nthree',
            "input_sub_id": "7",
        },
        {"image": "images/00000002.png", "caption": "A bus.", "tags": "", "note": "x", "input_sub_id": ""},
    ]
    mapping, _ = map_columns(open_table(made).columns, None, None)
    assert all(column == name for column, name in mapping.items()), "a run takes every column of it as it is"


@pytest.mark.parametrize(
    ("header", "caption", "expected"),
    [
        ("filepath,title", None, ["image", "caption", "filepath"]),
        ("image,caption", None, ["image", "caption", "input_image"]),
        ("caption,image", "image", ["image", "caption", "input_caption"]),
        ("Image,Caption,text", "text", ["image", "caption", "Image", "Caption"]),
    ],
)
def test_columns_that_clash_with_the_new_ones_get_another_name(
    tmp_path: Path, header: str, caption: str | None, expected: list[str]
) -> None:
    columns = header.split(",")
    (tmp_path / "t.csv").write_text(header + "\n" + ",".join(f"A dog and {column}." for column in columns) + "\n")
    made = make_toy_images(tmp_path / "t.csv", tmp_path / "out", caption_column=caption).table
    (row,) = rows_of(made)
    assert list(row) == expected
    assert row["image"] == "images/00000000.png"
    assert row["caption"] == f"A dog and {caption or columns[-1]}."
    mapping, _ = map_columns(list(row), None, None)
    assert mapping["image"] == "image" and mapping["caption"] == "caption"


def test_two_columns_that_would_get_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,caption,input_image\na.png,A dog.,b.png\n")
    with pytest.raises(UserError, match="two columns of the input would get one name"):
        make_toy_images(tmp_path / "t.csv", tmp_path / "out")
