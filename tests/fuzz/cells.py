"""Cells, parts and journals: what a run writes it reads again, and what is damaged is left out, never changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fuzz.hostile import LITTLE, pick, texts, values
from fuzz.target import Target
from shardmill.store.cells import Kind, decode, dump_cell, encode, parse_json_cell, parse_list
from shardmill.store.frames import FORMATS, frame_of, read_frame, write_frame
from shardmill.store.journal import Journal, JournalHeader, JournalReader, JournalRecord, read_header, read_kept, read_records

KINDS: dict[str, Kind] = {"row_id": "int", "caption": "text", "x": "float", "is": "bool", "names": "list", "more": "json"}
LITERALS = ["[", "]", "(", ")", "{", "}", "'a'", '"b"', ",", ":", "1", "1j", "b'x'", "...", "None", "True", "-", "+", "~"]
LITERALS += ["not ", "lambda: 0", "f'{x}'"]
LITERALS += ["*", "**", "__import__('os')", "set()", "\n", "\\", "#", "1e999", "'" * 3, "[" * 150, "-" * 40_000, "(" * 90]
LITERALS += ["[[" * 20_000, "{1:" * 90, "1+" * 20_000]
FINGERPRINT = "f" * 16


def list_cell(case: str, folder: Path) -> None:
    """A cell is a list of texts, or ValueError says that it is none."""
    for read in (parse_list, parse_json_cell):
        try:
            value = read(case)
        except ValueError:
            continue
        if read is parse_list:
            assert isinstance(value, list) and all(isinstance(item, str) for item in value)
            assert parse_list(encode(value, "list")) == [item.encode("utf-8", "replace").decode() for item in value]
        else:
            dump_cell(value)


def parts(case: list[dict[str, Any]], folder: Path) -> None:
    """A part holds what was put in, in each format; numbers that JSON does not have are refused."""
    try:
        frame = frame_of(case, KINDS)
    except TypeError:
        assert not _holdable(case)
        return
    assert _holdable(case)
    for format in FORMATS:
        path = folder / f"part.{format}"
        write_frame(frame, KINDS, path, format)
        found = read_frame(path, KINDS, format)
        assert found.columns == list(KINDS) and found.height == len(case)
        for row, given in zip(found.to_dicts(), case, strict=True):
            for name, kind in KINDS.items():
                expected = decode(encode(given[name], kind), kind)
                got = decode(row[name], kind)
                assert dump_cell(got) == dump_cell(expected), (format, name, got, expected)


def _holdable(rows: list[dict[str, Any]]) -> bool:
    try:
        json.dumps(rows, allow_nan=False)
    except ValueError:
        return False
    return all(-(2**63) <= row["row_id"] < 2**63 for row in rows)


def journals(case: tuple[list[list[Any]], Any, list[float]], folder: Path) -> None:
    """Of a damaged journal some rows are lost, and none is another than was written. Torn anywhere, it reads on as it grows."""
    rows, damage, tears = case
    records = [_record(place, what) for place, what in enumerate(rows)]
    path = folder / "part-00000-of-00001.0000000000000-h-1-a.journal"
    journal = Journal(path, JournalHeader(FINGERPRINT))
    for record in records:
        journal.append(record)
    journal.close()
    whole = path.read_bytes()
    written = {record.key: json.dumps([record.rows, record.reject]) for record in records if record.kept is None}
    assert {record.key for record in read_records([path], {FINGERPRINT})} == set(written)
    reader, seen = JournalReader({FINGERPRINT}), set[tuple[int, ...]]()
    for share in sorted(tears):
        path.write_bytes(whole[: int(share * len(whole))])
        seen |= set(reader.new_keys([path]))
    path.write_bytes(whole)
    assert seen | set(reader.new_keys([path])) == set(written)
    path.write_bytes(damage(whole, whole))
    read_header(path)
    kept = read_kept([path], {FINGERPRINT})
    assert kept.keys() <= {record.key for record in records if record.kept is not None}
    for record in read_records([path], {FINGERPRINT}):
        assert written[record.key] == json.dumps([record.rows, record.reject])
    assert set(JournalReader({FINGERPRINT}).new_keys([path])) <= set(written)


def _record(place: int, what: Any) -> JournalRecord:
    if what[0] == "kept":
        return JournalRecord((place,), kept={"value": what[1]})
    if what[0] == "reject":
        return JournalRecord((place, 1), reject={"reason": "r", "detail": json.dumps(what[1])})
    return JournalRecord((place,), rows=[{"value": what[1]}])


def _bytes_of(edits: Sequence[tuple[str, float, float, int]]) -> Any:
    """Damage of a journal: bits flipped, ends torn, two journals' lines interleaved."""

    def damage(data: bytes, other: bytes) -> bytes:
        for kind, first, second, bit in edits:
            at, to = sorted((int(first * len(data)), int(second * len(data))))
            if kind == "flip" and at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            elif kind == "tear":
                data = data[:to]
            elif kind == "zero":
                data = data[:at] + bytes(to - at) + data[to:]
            elif kind == "interleave":
                data = data[:at] + other[to:] + data[at:]
        return data

    return damage


_RECORDS = st.lists(st.tuples(st.sampled_from(["rows", "rows", "reject", "kept"]), values(halves=True)).map(list), max_size=6)
_DAMAGE = st.lists(
    st.tuples(st.sampled_from(["flip", "tear", "zero", "interleave"]), st.floats(0, 1), st.floats(0, 1), st.integers(0, 7)),
    max_size=4,
)
_ROW = st.fixed_dictionaries(
    {
        "row_id": st.integers(0, 2**62) | st.integers(),
        "caption": st.none() | texts(4, halves=True),
        "x": st.none() | st.floats(),
        "is": st.none() | st.booleans(),
        "names": st.none() | st.lists(texts(2, halves=True), max_size=3),
        "more": st.none() | values(halves=True),
    }
)
_CELL = st.one_of(
    st.lists(st.one_of(pick(LITERALS), pick(LITERALS), LITTLE), max_size=12).map("".join),
    st.lists(texts(3, halves=True), max_size=3).map(repr),
    values().map(json.dumps),
)

TARGETS = [Target("list-cell", _CELL, list_cell), Target("parts", st.lists(_ROW, max_size=4), parts)]
TARGETS += [Target("journal", st.tuples(_RECORDS, _DAMAGE.map(_bytes_of), st.lists(st.floats(0, 1), max_size=4)), journals)]
