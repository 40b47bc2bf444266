"""Which reader a file gets, and what is said of files that are no tables."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
from pathlib import Path

import polars as pl
import pytest
import zstandard

from shardmill.tables import open_table
from shardmill.util.errors import UserError


@pytest.mark.parametrize(
    ("name", "content", "kind", "columns"),
    [
        ("t.csv", "a;b,c\n", "csv", ["a;b", "c"]),
        ("t.tsv", "a,b\tc\n", "tsv", ["a,b", "c"]),
        ("t.txt", "a,b\tc\n", "tsv", ["a,b", "c"]),
        ("t.txt", "a;b;c,d\n", "csv", ["a", "b", "c,d"]),
        ("t", "a|b\n", "csv", ["a", "b"]),
        ("t.txt", "caption\nx\n", "csv", ["caption"]),
        ("t.CSV", "a,b\n", "csv", ["a", "b"]),
        ("t.ndjson", '{"a": 1}\n', "jsonl", ["a"]),
        ("t.json", '{"a": 1}\n{"a": 2}\n', "jsonl", ["a"]),
        ("t.json", '{"a": "x"}\n', "json", ["id", "caption"]),
        ("t.json", '{\n"a": "x"}', "json", ["id", "caption"]),
        ("t.json", '[{"a": 1}]', "json", ["a"]),
        ("t.data", '{"a": 1}\n', "jsonl", ["a"]),
        ("t.data", '[{"a": 1}]', "json", ["a"]),
    ],
)
def test_the_format_follows_the_name_and_then_the_content(
    tmp_path: Path, name: str, content: str, kind: str, columns: list[str]
) -> None:
    (tmp_path / name).write_text(content)
    table = open_table(tmp_path / name)
    assert (table.format, table.columns) == (kind, columns)


def test_a_given_delimiter_goes_before_the_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b\n1;2\n")
    assert open_table(tmp_path / "t.csv", delimiter=";").columns == ["a", "b"]


def test_parquet_is_known_by_its_content(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "t.csv")
    assert open_table(tmp_path / "t.csv").format == "parquet"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\xef\xbb\xbf\n\r\n", "is empty"),
        ("t.jsonl", b"\n \n", "is empty"),
        ("t.csv", "a,b\n".encode("utf-16"), "--encoding utf-16"),
        ("t.csv", "a,b\n".encode("utf-32"), "--encoding utf-32"),
        ("t.csv", "a,b\n".encode("utf-16-le"), "NUL bytes"),
        ("t.csv", "标题,图片\n一只狗在跑,a\n".encode("utf-16-le"), "pass --encoding, for example utf-16-le"),
        ("t.csv", b"title,sou\0rce\nA dog.,web\n", r"has a NUL byte\. Rename it"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\0\0\0", "NUL bytes"),
        ("t.csv.gz", gzip.compress(b"a,b\n" * 9_999, mtime=0)[:-20], r"cut off or damaged \(gzip"),
        ("t.csv.zst", zstandard.compress(b"a,b\n" * 9)[:-3], r"cut off or damaged \(zstd"),
        ("t.csv.xz", lzma.compress(b"a,b\n" * 9)[:-3], r"cut off or damaged \(xz"),
        ("t.csv.bz2", bz2.compress(b"a,b\n" * 9)[:-3], r"cut off or damaged \(bzip2"),
        ("t.tar.gz", gzip.compress(bytes(257) + b"ustar" + bytes(300), mtime=0), "is a tar file that is compressed"),
        ("t.data", bytes(257) + b"ustar" + bytes(300), r"Name it \*\.tar"),
        ("t.parquet.gz", gzip.compress(b"PAR1" + bytes(300), mtime=0), r"Parquet file that is compressed"),
        ("t.csv", b"PK\x03\x04rest", r"compressed \(zip\)"),
        ("t.xlsx", b"PK\x03\x04rest", r"is a spreadsheet\. Save it as CSV"),
        ("t.arrow", b"ARROW1\0\0rest", r"Save the table as Parquet"),
        ("t.parquet", b"a,b\n", "not a Parquet file"),
        ("t.csv", b'"a,b\n1,2\n', "header line cannot be read"),
    ],
)
def test_files_that_are_no_tables_are_refused_in_words(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(open_table(tmp_path / name).batches())


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        open_table(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is a folder"):
        open_table(tmp_path)


@pytest.mark.parametrize(
    "options", [{"encoding": "klingon"}, {"encoding": "base64"}, {"quoting": "some"}, {"delimiter": '"'}, {"delimiter": "::"}]
)
def test_options_without_meaning_are_refused(tmp_path: Path, options: dict[str, str]) -> None:
    (tmp_path / "t.csv").write_text("a,b\n")
    with pytest.raises(UserError, match=next(iter(options.values()))):
        open_table(tmp_path / "t.csv", **options)


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfa,b\r\n" * 300_000
    (tmp_path / "t.tsv").write_bytes(content)
    assert open_table(tmp_path / "t.tsv").digest() == (hashlib.sha256(content).hexdigest(), len(content))


PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_compressed_tables_are_read_as_what_they_hold(tmp_path: Path, name: str, suffix: str) -> None:
    content = {"t.csv": b"a\n7\n", "t.jsonl": b'{"a": 7}\n', "t.json": b'[{"a": 7}]'}[name]
    (tmp_path / f"{name}{suffix}").write_bytes(PACKED[suffix](content[:3]) + PACKED[suffix](content[3:]))
    table = open_table(tmp_path / f"{name}{suffix}")
    assert [batch.frame["a"].to_list() for batch in table.batches()] == [["7"]]
