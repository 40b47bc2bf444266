import csv
import io
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardmill.store.cells import csv_line, dump_cell, encode, parse_list


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]))))
def test_lists_come_back_from_json_and_from_python_literals(items: list[str]) -> None:
    assert parse_list(dump_cell(items)) == items
    assert parse_list(json.dumps(items)) == items
    assert parse_list(repr(items)) == items


@pytest.mark.parametrize("cell", [None, "", "  "])
def test_an_empty_cell_is_an_empty_list(cell: str | None) -> None:
    assert parse_list(cell) == []


@pytest.mark.parametrize(
    "cell",
    ["dog", "__import__('os').system('true')", "[1, 2]", "{'a': 1}", "[" * 5000, "[x for x in 'ab']", "(" * 100, "['a'" * 50_000],
)
def test_anything_else_is_refused_and_nothing_is_run(cell: str) -> None:
    with pytest.raises(ValueError):
        parse_list(cell)


@pytest.mark.parametrize(
    ("value", "kind"), [("a", "int"), (True, "int"), (1, "text"), (["a", 1], "list"), ("a", "list"), (1, "bool")]
)
def test_a_value_of_the_wrong_kind_is_refused(value: object, kind: str) -> None:
    with pytest.raises(TypeError):
        encode(value, kind)  # type: ignore[arg-type]


def test_lone_surrogates_become_storable() -> None:
    assert encode("a\ud800b", "text") == "a?b"
    assert encode(["\udfff"], "list") == '["?"]'


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=4))
def test_a_line_of_csv_is_read_as_it_was_by_pandas_and_python(cells: list[str]) -> None:
    line = csv_line(cells)
    assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [cells]
    table = pd.read_csv(io.BytesIO(line.encode()), header=None, dtype=str, keep_default_na=False)
    assert table.values.tolist() == [cells]


def test_a_carriage_return_is_quoted_and_nothing_is_empty() -> None:
    assert csv_line(["a\rb", None, 1]) == '"a\rb",,1\n'
    assert csv_line([None]) == '""\n'
    assert csv_line(["a\0b", "c"]) == "a\ufffdb,c\n"


@pytest.mark.parametrize("blank", ["", " ", "\t", " \t "])
def test_a_blank_that_stands_alone_is_a_record_for_pandas(blank: str) -> None:
    line = csv_line([blank])
    assert pd.read_csv(io.StringIO(line), header=None, dtype=str, keep_default_na=False).values.tolist() == [[blank]]
    assert list(csv.reader([line])) == [[blank]]
