"""JSON lines and JSON documents as tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardmill.tables import MALFORMED_JSON, NOT_AN_OBJECT, UNDECODABLE, BadRecord, Table, open_table
from shardmill.tables.json_table import JsonTable
from shardmill.tables.jsonl import JsonlTable
from shardmill.util.errors import UserError

NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5)
VALUES = st.one_of(NUMBERS, TEXTS, st.booleans(), st.none(), st.lists(st.integers(), max_size=3))
RECORDS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "é\n"]), VALUES), max_size=8)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(table: Table) -> tuple[list[dict[str, Any]], list[BadRecord]]:
    batches = list(table.batches())
    return [row for batch in batches for row in batch.frame.to_dicts()], [record for batch in batches for record in batch.bad]


def text(value: object) -> str | None:
    if isinstance(value, str):
        return value or None
    return None if value is None else json.dumps(value, separators=(",", ":"))


@settings(deadline=None, max_examples=150)
@given(
    records=RECORDS,
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    block=st.sampled_from([1, 5, 64]),
)
def test_a_document_is_read_back_with_its_lines_wherever_blocks_end(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], indent: int | None, ascii_only: bool, block: int
) -> None:
    content = json.dumps(records, indent=indent, ensure_ascii=ascii_only)
    table = JsonTable(write(tmp_path_factory.mktemp("json") / "t.json", content), block_size=block)

    rows, bad = read(table)

    assert bad == []
    assert table.columns == list(dict.fromkeys(name for record in records for name in record))
    line = 1 if indent is None else 2
    for row_id, (row, record) in enumerate(zip(rows, records, strict=True)):
        assert row == {"row_id": row_id, "line": line, **{name: text(record.get(name)) for name in table.columns}}
        if indent is not None:
            line += json.dumps(record, indent=indent).count("\n") + 1


@settings(deadline=None, max_examples=100)
@given(records=RECORDS, block=st.sampled_from([1, 5, 64]), blank=st.sampled_from(["", "\n", " \r\n"]))
def test_json_lines_are_read_back_with_their_lines_wherever_blocks_end(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], block: int, blank: str
) -> None:
    content = "".join(json.dumps(record, ensure_ascii=False) + "\n" + blank for record in records)
    table = JsonlTable(write(tmp_path_factory.mktemp("json") / "t.jsonl", content), block_size=block)

    rows, bad = read(table)

    assert bad == []
    step = 2 if blank else 1
    for row_id, (row, record) in enumerate(zip(rows, records, strict=True)):
        assert row == {"row_id": row_id, "line": 1 + step * row_id, **{name: text(record.get(name)) for name in table.columns}}


def test_numbers_booleans_and_nested_values_become_text_and_nan_is_missing(tmp_path: Path) -> None:
    line = '{"a": 12345678901234567890, "b": 1.5, "c": true, "d": {"x": [1, "é"]}, "e": NaN, "f": ""}'
    rows, _ = read(open_table(write(tmp_path / "t.jsonl", line)))
    expected = {"a": "12345678901234567890", "b": "1.5", "c": "true", "d": '{"x":[1,"é"]}', "e": None, "f": None}
    assert rows == [{"row_id": 0, "line": 1, **expected}]


def test_bad_lines_are_set_aside_with_their_reason(tmp_path: Path) -> None:
    lines = [b'{"a": 1}', b'{"a": 1', b'"caption"', b'{"a": "\\ud800"}', b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"]
    lines += [b'{"a": "caf\xe9"}', *[b'{"a": 2}'] * 200]
    rows, bad = read(open_table(write(tmp_path / "t.jsonl", b"\n".join(lines))))
    assert [row["row_id"] for row in rows] == [0, *range(7, 207)]
    reasons = [MALFORMED_JSON, NOT_AN_OBJECT, MALFORMED_JSON, MALFORMED_JSON, MALFORMED_JSON, UNDECODABLE]
    assert [(record.row_id, record.line, record.reason) for record in bad] == [(i, i + 1, r) for i, r in enumerate(reasons, 1)]
    assert bad[0].raw == '{"a": 1'
    assert len(bad[3].raw) == 2000


def test_keys_seen_only_after_the_first_thousand_records_are_ignored_and_named(tmp_path: Path) -> None:
    lines = ['{"a": 1}'] * 999 + ['{"b": 1}', '{"a": 1, "late": 2}']
    table = open_table(write(tmp_path / "t.jsonl", "\n".join(lines)))
    rows, _ = read(table)
    assert table.columns == ["a", "b"]
    assert table.ignored_keys == {"late"}
    assert rows[-1] == {"row_id": 1000, "line": 1001, "a": "1", "b": None}


def test_json_lines_of_strings_are_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 1: not an object"):
        open_table(write(tmp_path / "t.jsonl", '"a"\n"b"\n'))


def test_json_lines_in_another_encoding_say_so(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", b'{"a": "caf\xe9"}\n' * 3)
    with pytest.raises(UserError, match=r"not UTF-8.*--encoding"):
        open_table(path)
    assert read(open_table(path, encoding="cp1252"))[0][2]["a"] == "café"


def test_an_object_of_captions_gives_id_and_caption_even_for_duplicate_ids(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "t.json", '{"x": "one",\n"y": ["two", "three"],\n\n "x": null}\n'))
    assert table.columns == ["id", "caption"]
    assert read(table)[0] == [
        {"row_id": 0, "line": 1, "id": "x", "caption": "one"},
        {"row_id": 1, "line": 2, "id": "y", "caption": '["two","three"]'},
        {"row_id": 2, "line": 4, "id": "x", "caption": None},
    ]


@settings(deadline=None, max_examples=100)
@given(
    captions=st.dictionaries(TEXTS, st.one_of(NUMBERS, TEXTS), min_size=1),
    block=st.integers(1, 9),
)
def test_an_object_is_read_back_wherever_blocks_end(
    tmp_path_factory: pytest.TempPathFactory, captions: dict[str, Any], block: int
) -> None:
    path = write(tmp_path_factory.mktemp("json") / "t.json", json.dumps(captions))
    rows, _ = read(JsonTable(path, block_size=block))
    assert [(row["id"], row["caption"]) for row in rows] == [(key or None, text(value)) for key, value in captions.items()]


@pytest.mark.parametrize("depth", range(900, 1010, 2))
def test_values_nested_too_deep_are_set_aside_at_any_depth(tmp_path: Path, depth: int) -> None:
    deep = '{"a": ' + "[" * depth + "]" * depth + "}"
    rows, bad = read(open_table(write(tmp_path / "t.jsonl", '{"a": 1}\n' + deep)))
    assert len(rows) + len(bad) == 2
    assert all(record.reason == MALFORMED_JSON for record in bad)


def test_an_object_of_objects_gives_id_and_their_keys(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "t.json", '{"x": {"c": "one", "id": 5}, "y": 7, "z": {"d": 1}}'))
    assert table.columns == ["id", "c", "d"]
    rows, bad = read(table)
    assert [(row["id"], row["c"], row["d"]) for row in rows] == [("x", "one", None), ("z", None, "1")]
    assert [(record.row_id, record.reason, record.raw) for record in bad] == [(1, NOT_AN_OBJECT, '"y": 7')]


def test_elements_that_are_no_objects_or_not_utf8_are_set_aside(tmp_path: Path) -> None:
    content = b'[{"a": 1}, "x", {"a": "\\udfff"}, {"a": "caf\xe9"}' + b', {"a": "\xc3\xa9"}' * 200 + b"]"
    rows, bad = read(open_table(write(tmp_path / "t.json", content)))
    assert [row["row_id"] for row in rows] == [0, *range(4, 204)]
    assert [(record.row_id, record.reason) for record in bad] == [(1, NOT_AN_OBJECT), (2, MALFORMED_JSON), (3, UNDECODABLE)]
    assert bad[2].raw == '{"a": "caf\\xe9"}'


@pytest.mark.parametrize("shape", ['[{"a": 1}, {"a": %s}, {"a": 2}]', '{"x": {"a": 1}, "y": {"a": %s}, "z": {"a": 2}}'])
def test_an_integer_that_python_does_not_read_loses_one_record(tmp_path: Path, shape: str) -> None:
    rows, bad = read(open_table(write(tmp_path / "t.json", shape % ("9" * 4_301))))
    assert [row["a"] for row in rows] == ["1", "2"]
    assert [(record.row_id, record.reason) for record in bad] == [(1, MALFORMED_JSON)]
    long = read(open_table(write(tmp_path / "t.json", shape % ("9" * 4_300))))[0]
    assert long[1]["a"] == "9" * 4_300


def test_numbers_that_only_python_writes_are_read_and_the_same_words_in_texts_kept(tmp_path: Path) -> None:
    content = '[{"a": NaN, "b": "NaN, \\" NaN"}, {"a": -Infinity, "b": "an \\\\"}, {"a": 1e400, "b": "9"}]'
    for block in (1, 9, 2**16):
        rows, bad = read(JsonTable(write(tmp_path / "t.json", content), block_size=block))
        assert bad == []
        assert [(row["a"], row["b"]) for row in rows] == [(None, 'NaN, " NaN'), ("-Infinity", "an \\"), ("Infinity", "9")]


def test_a_million_brackets_are_refused_and_take_no_memory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nested more than"):
        open_table(write(tmp_path / "t.json", "[" * 1_000_000))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('[\n{"a": 1},\n{"a": }]', 3),
        ('[{"a": 1}\n{"a": 2}]', 2),
        ('[{"a": 1},\n', 2),
        ('[{"a": 1}]\n\n[]', 3),
        ('{"a": "x",\n5: "y"}', 2),
        ('[{"a": 1}, {"a": "open\n', 1),
        ("text", 1),
    ],
)
def test_a_fault_in_a_document_names_its_line(tmp_path: Path, content: str, line: int) -> None:
    with pytest.raises(UserError, match=f"line {line}:"):
        read(open_table(write(tmp_path / "t.json", content)))


def test_a_fault_behind_the_first_records_ends_the_reading(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "t.json", "[" + '{"a": 1},\n' * 2000 + "oops]"))
    with pytest.raises(UserError, match="line 2001:"):
        read(table)


def test_records_in_the_one_list_of_an_object_are_read_and_those_in_two_refused(tmp_path: Path) -> None:
    document = {"info": {"year": 2014}, "data": [{"id": 1, "caption": "x"}, 7], "version": 2}
    rows, bad = read(open_table(write(tmp_path / "t.json", json.dumps(document))))
    assert [(row["row_id"], row["caption"]) for row in rows] == [(0, "x")] and [record.row_id for record in bad] == [1]
    document |= {"more": [{"id": 2}]}
    with pytest.raises(UserError, match="'data' and 'more'"):
        open_table(write(tmp_path / "t.json", json.dumps(document)))


COLUMNS = {
    "lists": {"image_urls": ["u1", "u2"], "captions": ["a dog", "a cat"]},
    "pandas": {"image_urls": {"0": "u1", "1": "u2"}, "captions": {"0": "a dog", "1": "a cat"}},
    "split": {"columns": ["image_urls", "captions"], "index": [0, 1], "data": [["u1", "a dog"], ["u2", "a cat"]]},
}


@pytest.mark.parametrize("shape", COLUMNS)
def test_an_object_of_columns_is_a_table(tmp_path: Path, shape: str) -> None:
    table = open_table(write(tmp_path / "t.json", json.dumps(COLUMNS[shape])))
    rows, bad = read(table)
    assert table.columns == ["image_urls", "captions"] and not bad
    assert [(row["row_id"], row["captions"]) for row in rows] == [(0, "a dog"), (1, "a cat")]


def test_lists_of_different_lengths_are_no_columns(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"different lengths \(concepts 2, backgrounds 3\)"):
        open_table(write(tmp_path / "t.json", '{"concepts": ["dog", "cat"], "backgrounds": ["in a", "on b", "at c"]}'))


def test_an_empty_list_has_no_columns_and_no_batches(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "t.json", "[ ]\n"))
    assert (table.columns, list(table.batches())) == ([], [])


def test_many_records_come_in_several_batches(tmp_path: Path) -> None:
    table = open_table(write(tmp_path / "t.jsonl", '{"a": "x"}\n' * 45_000))
    assert [batch.frame.height for batch in table.batches()] == [20_000, 20_000, 5_000]
