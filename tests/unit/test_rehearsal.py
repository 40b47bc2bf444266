"""`shardmill paint`: a picture for every caption that has something to paint, and nothing of a table lost without a word."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from conftest import CAPTIONS
from shardmill.cli import cli
from shardmill.errors import UserError
from shardmill.rehearsal import paint_captions


def painted(table: Path, out: Path, *options: str) -> Result:
    """`shardmill paint` of a table."""
    return CliRunner().invoke(cli, ["paint", str(table), "--out", str(out), *options])


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_row_is_painted_if_nothing_else_is_asked(captions_csv: Path, tmp_path: Path) -> None:
    done = painted(captions_csv, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "captions.csv: 45 pictures, 15 captions without a known object\n" in done.output
    assert "only" not in done.output
    assert [row["caption"] for row in rows_of(tmp_path / "out" / "captions.csv")] == CAPTIONS * 5
    assert len(list((tmp_path / "out" / "images").iterdir())) == 45


def test_rows_beyond_those_asked_for_are_told(captions_csv: Path, tmp_path: Path) -> None:
    done = painted(captions_csv, tmp_path / "out", "--rows", "12")
    assert f"only the first 12 rows; {captions_csv} has more, all of them without --rows\n" in done.output
    assert len(rows_of(tmp_path / "out" / "captions.csv")) == 12


@pytest.mark.parametrize("rows", [60, 61])
def test_nothing_is_told_of_more_where_the_table_ends(captions_csv: Path, tmp_path: Path, rows: int) -> None:
    assert not paint_captions(captions_csv, tmp_path / "out", rows=rows).more


def test_unreadable_rows_are_counted_with_their_reason(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("caption,source\nA dog.,web\nA cat, on a mat,web\nA boat.,web\nonly one\nA tree.,web,\n")
    done = painted(table, tmp_path / "out")
    assert "3 unreadable rows left out (wrong number of cells 3)\n" in done.output
    assert [row["caption"] for row in rows_of(tmp_path / "out" / "captions.csv")] == ["A dog.", "A boat."]
    within = paint_captions(table, tmp_path / "few", rows=3)
    assert within.unreadable == {"wrong number of cells": 1} and within.more, "only those of the rows asked for"


def test_progress_ends_where_the_table_does(captions_csv: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    paint_captions(captions_csv, tmp_path / "out", rows=1_000, report=lambda done, total: told.append((done, total)))
    assert told[0] == (1, 1_000) and told[-1] == (60, 60)


def test_the_table_itself_is_never_replaced(captions_csv: Path) -> None:
    before = captions_csv.read_bytes()
    with pytest.raises(UserError, match="give --out another folder"):
        paint_captions(captions_csv, captions_csv.parent)
    assert captions_csv.read_bytes() == before
