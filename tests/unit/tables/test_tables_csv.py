"""CSV and TSV: what is read, where each record stands, and what becomes of records that are wrong."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardmill.tables import MALFORMED_CSV, UNDECODABLE, WRONG_CELLS, BadRecord, Table, open_table
from shardmill.tables.csv_blocks import parse_block
from shardmill.tables.csv_careful import CarefulParser, CsvPosition, Layout
from shardmill.tables.csv_table import CsvTable
from shardmill.util.errors import UserError

NASTY = st.text(st.sampled_from(['"', ",", "\n", "\r", "\t", "a", " ", "é", "😀", "\ufeff", "#"]), max_size=6)
CELLS = st.one_of(NASTY, st.sampled_from(["", "None", "NA", "null", "nan", "007", '""', '5" pipe']))


def tables(columns: int) -> st.SearchStrategy[list[list[str]]]:
    return st.lists(st.lists(CELLS, min_size=columns, max_size=columns), max_size=12)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(table: Table) -> tuple[pl.DataFrame, list[BadRecord]]:
    batches = list(table.batches())
    empty = pl.DataFrame(schema={name: pl.String() for name in table.columns})
    frame = pl.concat([batch.frame for batch in batches]) if batches else empty
    return frame, [record for batch in batches for record in batch.bad]


def rows(table: Table) -> list[tuple[str | int | None, ...]]:
    frame, bad = read(table)
    assert bad == []
    return frame.rows()


@settings(deadline=None, max_examples=200)
@given(
    cells=st.integers(1, 3).flatmap(tables),
    block=st.sampled_from([1, 7, 40, 1000]),
    dialect=st.sampled_from([("\n", csv.QUOTE_ALL), ("\n", csv.QUOTE_MINIMAL), ("\r\n", csv.QUOTE_MINIMAL)]),
    last_newline=st.booleans(),
    delimiter=st.sampled_from([",", "\t", ";"]),
)
def test_what_csv_writer_wrote_is_read_back_with_its_lines_wherever_blocks_end(
    tmp_path_factory: pytest.TempPathFactory,
    cells: list[list[str]],
    block: int,
    dialect: tuple[str, int],
    last_newline: bool,
    delimiter: str,
) -> None:
    newline, quoting = dialect
    if dialect == ("\n", csv.QUOTE_MINIMAL):  # the writer leaves a carriage return unquoted, where it cannot be told from CRLF
        cells = [[cell.replace("\r", "") for cell in row] for row in cells]
    columns = [f"c{i}" for i in range(len(cells[0]) if cells else 2)]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=newline, quoting=quoting)
    writer.writerow(columns)
    expected = []
    for row_id, row in enumerate(cells):
        expected.append((row_id, out.getvalue().count("\n") + 1, *(cell or None for cell in row)))
        writer.writerow(row)
    text = out.getvalue() if last_newline else out.getvalue().removesuffix(newline)
    path = write(tmp_path_factory.mktemp("csv") / "t.csv", text)

    table = CsvTable(path, "csv", delimiter, block_size=block)

    assert table.columns == columns
    assert rows(table) == expected


@settings(deadline=None, max_examples=200)
@given(cells=tables(2), blank=st.sampled_from(["\n", "\r\n", ""]))
def test_fast_and_careful_parser_agree_on_well_formed_blocks(cells: list[list[str]], blank: str) -> None:
    out = io.StringIO()
    for row in cells:
        csv.writer(out).writerow(row)
        out.write(blank)
    data = out.getvalue().encode()
    layout = Layout(("a", "b"), ord(","), True)

    careful = CarefulParser(layout).parse(data, True, CsvPosition(5, 9))
    fast = parse_block(data, layout, CsvPosition(5, 9))

    assert careful.batch.bad == []
    assert careful.size == len(data)
    if cells and not data.lstrip(b"\r\n").startswith(b"\xef\xbb\xbf"):
        assert fast is not None
        assert (fast.size, fast.lines) == (careful.size, careful.lines)
        assert fast.batch.frame.equals(careful.batch.frame)
        assert fast.batch.frame.schema == careful.batch.frame.schema


@settings(deadline=None, max_examples=300)
@given(lines=st.lists(st.text(st.sampled_from(['"', ",", "a", "\r"]), max_size=8), max_size=12), block=st.sampled_from([3, 50]))
def test_any_text_is_read_the_same_in_small_and_in_large_blocks(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], block: int
) -> None:
    path = write(tmp_path_factory.mktemp("csv") / "t.csv", "\n".join(["a,b", *lines]))

    small, small_bad = read(CsvTable(path, "csv", ",", block_size=block))
    large, large_bad = read(CsvTable(path, "csv", ","))

    assert small.rows() == large.rows()
    assert small_bad == large_bad
    ids = [row[0] for row in large.rows()] + [record.row_id for record in large_bad]
    assert sorted(ids) == list(range(len(ids)))


def test_byte_order_mark_crlf_blank_lines_and_missing_last_newline(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b'\xef\xbb\xbf"a",b\r\n\r\n1,x\r\n\r\n\r\n2,"y\r\nz"')
    table = open_table(path)
    assert table.columns == ["a", "b"]
    assert rows(table) == [(0, 3, "1", "x"), (1, 6, "2", "y\r\nz")]


def test_a_byte_order_mark_at_the_start_of_a_record_is_text(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b\n\n\ufeff1,x\n")
    assert rows(open_table(path)) == [(0, 3, "\ufeff1", "x")]


def test_words_for_nothing_and_leading_zeros_stay_text_and_empty_cells_are_null(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'a,b\nNone,NA\nnull,nan\n007,""\n, x \n')
    assert [row[2:] for row in rows(open_table(path))] == [("None", "NA"), ("null", "nan"), ("007", None), (None, " x ")]


def test_a_table_of_one_column_tells_blank_lines_from_empty_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'caption\n\n""\nx\n')
    assert rows(open_table(path)) == [(0, 3, None), (1, 4, "x")]


def test_a_table_without_rows_has_columns_and_no_batches(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "t.csv", "a,b"))
    assert (table.columns, list(table.batches())) == (["a", "b"], [])


def test_batches_can_be_read_twice(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "t.csv", "a,b\n1,2\n"))
    assert rows(table) == rows(table) == [(0, 2, "1", "2")]


def test_ragged_records_are_set_aside_and_the_others_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'a,b\n1,2\n3\n"4\n4",5,6\n7,8\n')
    frame, bad = read(open_table(path))
    assert frame.rows() == [(0, 2, "1", "2"), (3, 6, "7", "8")]
    assert bad == [
        BadRecord(1, 3, WRONG_CELLS, "1 cells where the header has 2", "3"),
        BadRecord(2, 4, WRONG_CELLS, "3 cells where the header has 2", '"4\n4",5,6'),
    ]


def test_short_and_long_records_whose_cells_add_up_are_still_found(tmp_path: Path) -> None:
    _, bad = read(open_table(write(tmp_path / "t.csv", "a,b\n1\n2,3,4\n")))
    assert [(record.row_id, record.reason) for record in bad] == [(0, WRONG_CELLS), (1, WRONG_CELLS)]


def test_an_unclosed_quote_costs_its_own_line_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'a,b\n1,"open\n2,x\n3,"closed, here"\n4,y\n')
    frame, bad = read(open_table(path))
    assert frame.rows() == [(1, 3, "2", "x"), (2, 4, "3", "closed, here"), (3, 5, "4", "y")]
    assert [(record.row_id, record.line, record.reason, record.raw) for record in bad] == [(0, 2, MALFORMED_CSV, '1,"open')]


def test_an_unclosed_quote_with_no_quote_after_it_does_not_swallow_the_file(tmp_path: Path) -> None:
    lines = ["a,b", *(f"{i},x" for i in range(5000))]
    lines[3] = '2,"x'
    frame, bad = read(open_table(write(tmp_path / "t.csv", "\n".join(lines))))
    assert frame.height == 4999
    assert [(record.row_id, record.line, record.reason) for record in bad] == [(2, 4, MALFORMED_CSV)]
    assert "1,000 lines" in bad[0].detail


def test_a_quoted_field_may_have_a_thousand_newlines_but_not_more(tmp_path: Path) -> None:
    fits = 'a,b\n1,"' + "x\n" * 1000 + '"\n2,y\n'
    assert rows(open_table(write(tmp_path / "t.csv", fits)))[1] == (1, 1003, "2", "y")
    _, bad = read(open_table(write(tmp_path / "t.csv", fits.replace('1,"', '1,"x\n'))))
    assert (bad[0].line, bad[0].reason) == (2, MALFORMED_CSV)


def test_the_rest_of_a_broken_record_is_not_taken_for_a_record(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'a,b\n1,"he said "hi"\nand, left"\n2,5" pipe\n')
    frame, bad = read(open_table(path))
    assert [record.line for record in bad] == [2, 3, 4]
    assert frame.height == 0


def test_a_quote_inside_an_unquoted_field_is_text(tmp_path: Path) -> None:
    assert rows(open_table(write(tmp_path / "t.csv", 'a,b\n5" pipe,x\n'))) == [(0, 2, '5" pipe', "x")]


def test_undecodable_records_are_set_aside_when_they_are_few(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b"a,b\n" + b"1,x\n" * 150 + b'2,"caf\xe9"\n' + b"3,\xc3\xa9\n")
    frame, bad = read(open_table(path))
    assert frame.rows()[-1] == (151, 153, "3", "é")
    assert bad == [BadRecord(150, 152, UNDECODABLE, "byte 0xe9 is not UTF-8", '2,"caf\\xe9"')]


def test_many_undecodable_records_mean_another_encoding(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", b"a,b\n" + b"1,x\n" * 50 + b"2,caf\xe9\n")
    with pytest.raises(UserError, match=r"not UTF-8.*line 52.*--encoding"):
        read(open_table(path))
    assert rows(open_table(path, encoding="latin-1"))[-1] == (50, 52, "2", "café")
    assert len(read(open_table(path, encoding="utf-8"))[1]) == 1


def test_a_header_in_another_encoding_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 1"):
        open_table(write(tmp_path / "t.csv", b"a,caf\xe9\n1,2\n"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1251", "shift_jis", "utf-8-sig"])
def test_a_given_encoding_is_decoded_across_blocks(tmp_path: Path, encoding: str) -> None:
    word = {"cp1251": "Кот", "shift_jis": "日本"}.get(encoding, "日本 😀")
    path = write(tmp_path / "t.csv", "".join(["a,b\r\n", *(f'{i},"{word}\n{i}"\r\n' for i in range(100))]).encode(encoding))
    table = CsvTable(path, "csv", ",", encoding=encoding, block_size=64)
    assert rows(table) == [(i, 2 + 2 * i, str(i), f"{word}\n{i}") for i in range(100)]


def test_text_that_a_given_encoding_cannot_decode_is_bad_even_if_it_is_utf8(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b\n1,é\n2,x\n")
    frame, bad = read(open_table(path, encoding="ascii"))
    assert frame.rows() == [(1, 3, "2", "x")]
    assert [(record.row_id, record.reason) for record in bad] == [(0, UNDECODABLE)]


def test_a_record_larger_than_a_block_is_read(tmp_path: Path) -> None:
    long = "x, " * 200_000
    path = write(tmp_path / "t.csv", f'a,b\n1,"{long}"\n2,y\n')
    assert rows(CsvTable(path, "csv", ",", block_size=1000)) == [(0, 2, "1", long), (1, 3, "2", "y")]


def test_a_record_over_the_limit_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardmill.tables.csv_table.MAX_RECORD", 2**20)
    path = write(tmp_path / "t.csv", 'a,b\n1,2\n3,"' + "x" * 2**21 + "\n")
    with pytest.raises(UserError, match=r"line 3 .*quote.*--quoting none"):
        read(CsvTable(path, "csv", ",", block_size=1000))


def test_tsv_with_quotes_as_plain_text_is_read_without_quoting(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", 'a\tb\n1\t5" pipe "new\n2\t"x" y\n')
    assert rows(open_table(path)) == [(0, 2, "1", '5" pipe "new'), (1, 3, "2", '"x" y')]


def test_tsv_whose_only_quote_opens_a_cell_is_read_without_quoting(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", 'a\tb\n1\t"new\n2\tx\n')
    assert rows(open_table(path)) == [(0, 2, "1", '"new'), (1, 3, "2", "x")]


def test_tsv_with_well_formed_quotes_is_read_with_quoting_unless_told_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", 'a\tb\n1\t"x\ny"\n')
    assert rows(open_table(path)) == [(0, 2, "1", "x\ny")]
    frame, bad = read(open_table(path, quoting="none"))
    assert frame.rows() == [(0, 2, "1", '"x')]
    assert [record.reason for record in bad] == [WRONG_CELLS]


def test_a_column_name_that_two_columns_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'a'"):
        open_table(write(tmp_path / "t.csv", "a,b,a\n1,2,3\n"))


def test_columns_without_a_name_and_those_that_a_run_needs_itself_get_another(tmp_path: Path) -> None:
    path = tmp_path / "pandas.csv"
    path.write_text(",row_id,line,caption\n0,7,8,a dog\n")
    table = open_table(path)
    assert table.columns == ["column_1", "input_row_id", "input_line", "caption"]
    frame = next(iter(table.batches())).frame
    assert frame.row(0, named=True) == {
        "row_id": 0,
        "line": 2,
        "column_1": "0",
        "input_row_id": "7",
        "input_line": "8",
        "caption": "a dog",
    }
