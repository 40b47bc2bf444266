"""Foreign tables of hostile bytes: each record comes in or is set aside, whatever blocks it is read in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from fuzz.guard import guarded
from fuzz.tables import TARGETS
from fuzz.target import Target
from shardmill.anyedit.concepts.sources import read_source
from shardmill.models.archives import MemberNotFound, read_member
from shardmill.models.images import UnreadableImage, open_image
from shardmill.tables import open_table
from shardmill.tables.columns import map_columns
from shardmill.util.errors import UserError


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_record_of_a_table_is_accounted_for(target: Target) -> None:
    assert target.taken(examples=40), "all cases were refused: what comes behind that is not tried"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_file_that_lacks_the_mark_of_its_encoding_is_refused_in_plain_words(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("caption\na dog\n".encode(f"{encoding}-be"))
    with pytest.raises(UserError, match="does not have the encoding"):
        open_table(path, encoding)


@pytest.mark.parametrize("name", ["damaged_page", "damaged_schema"])
def test_a_damaged_parquet_file_is_refused_and_never_read_in_part(name: str, tmp_path: Path) -> None:
    path = tmp_path / "names.parquet"
    path.write_bytes((Path(__file__).parents[2] / "data" / f"{name}.parquet").read_bytes())
    with pytest.raises(UserError, match=r"names\.parquet (is damaged|cannot be read)"):
        list(open_table(path).batches())
    with pytest.raises(UserError, match=r"names\.parquet"):
        read_source(path)
    with pytest.raises(MemberNotFound, match=r"names\.parquet"):
        read_member(f"{path}::caption::0", 1 << 20)


def test_a_parquet_file_at_which_polars_aborts_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "aborts.parquet"
    pl.DataFrame({"caption": ["a dog", None] * 20}).write_parquet(path, compression="uncompressed", statistics=False)
    values, fewer_than_none = b"\x15\x50\x15", b"\x15\x51\x15"  # of the page's header: 40 values, and -41
    path.write_bytes(path.read_bytes().replace(values, fewer_than_none, 1))
    command = [sys.executable, "-m", "shardmill", "shard", str(path), "--run", str(tmp_path / "run")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 2 and told.stderr.count("\n") == 1 and "aborts.parquet is damaged" in told.stderr
    assert not (tmp_path / "run").exists() and not list(tmp_path.glob("core*"))
    with pytest.raises(UserError, match="SIGABRT"):
        read_source(path)
    with pytest.raises(UnreadableImage, match=r"aborts\.parquet is damaged"):
        open_image(f"{path}::caption::0")


@pytest.mark.parametrize("header", [",".join(f"c{place}" for place in range(30_000)), "x" * 500_000, ",".join(["a"] * 30_000)])
def test_the_columns_of_a_table_are_named_in_a_message_that_can_be_read(tmp_path: Path, header: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{header}\n")
    with guarded(seconds=10), pytest.raises(UserError) as refused:
        map_columns(open_table(path).columns, None, None)
    assert len(str(refused.value)) < 3_000
