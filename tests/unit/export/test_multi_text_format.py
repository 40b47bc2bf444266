"""The multi-text file: what is written is read, both files appear together, and what is missing is never silent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardmill.export.multi_text_format import MultiTextWriter, TextSlot, header_path, read_header
from shardmill.export.multi_text_reader import MultiTextLine, UnreadableLine, read_multitext, scan_multitext
from shardmill.util.errors import UserError

TEXTS = [
    TextSlot(name="original"),
    TextSlot(name="detail", captioner="internvl", perspective="detail", model="m-8b", prompt_id="0a1b"),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


def write(path: Path, rows: list[tuple[str, list[str | None]]], **options: object) -> MultiTextWriter:
    with MultiTextWriter(path, TEXTS, **options) as writer:  # type: ignore[arg-type]
        for image, captions in rows:
            writer.write(image, captions)
    return writer


def test_a_line_is_image_then_caption_in_plain_unicode(tmp_path: Path) -> None:
    with MultiTextWriter(tmp_path / "m.jsonl", TEXTS) as writer:
        assert writer.write("/d/fähre 1.jpg", ["Fähre 渡し船", 'a "white" ferry\n'], {"row_id": 7})
    line = (tmp_path / "m.jsonl").read_text(encoding="utf-8")
    assert line == '{"image": "/d/fähre 1.jpg", "caption": ["Fähre 渡し船", "a \\"white\\" ferry\\n"], "row_id": 7}\n'


def test_the_header_says_what_each_place_is_and_which_file_it_describes(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write(path, [("a.jpg", ["x", "y"])], details={"made_by": "a test"})
    header = json.loads((tmp_path / "m.header.json").read_text())
    assert header["texts"][1] == {
        "name": "detail", "captioner": "internvl", "perspective": "detail", "model": "m-8b", "prompt_id": "0a1b",
    }  # fmt: skip
    assert (header["m"], header["missing"], header["counts"]["lines"]) == (2, "fail", 1)
    assert header["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert header["details"] == {"made_by": "a test"}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "m.jsonl", [("a.jpg", ["x", "y"]), ("b.jpg", ["x\u2028z", "y"])])
    assert list(read_multitext(tmp_path / "m.jsonl")) == [
        MultiTextLine(1, "a.jpg", ["x", "y"]),
        MultiTextLine(2, "b.jpg", ["x\u2028z", "y"]),
    ]


def test_drop_leaves_the_line_out_and_counts_it_for_each_text_it_lacks(tmp_path: Path) -> None:
    rows: list[tuple[str, list[str | None]]] = [("a", ["x", None]), ("b", ["x", "y"]), ("c", [" ", ""])]
    counts = write(tmp_path / "m.jsonl", rows, missing="drop").counts
    assert [line.image for line in read_multitext(tmp_path / "m.jsonl")] == ["b"]
    assert (counts.lines, counts.dropped_lines, counts.dropped) == (1, 2, {"original": 1, "detail": 2})


def test_pad_fills_in_the_fallback_and_drops_what_has_none(tmp_path: Path) -> None:
    rows: list[tuple[str, list[str | None]]] = [("a", ["x", "\t"]), ("b", [None, "y"])]
    counts = write(tmp_path / "m.jsonl", rows, missing="pad", fallback=["original"]).counts
    assert [line.captions for line in read_multitext(tmp_path / "m.jsonl")] == [["x", "x"]]
    assert counts.padded == {"original": 0, "detail": 1}
    assert counts.dropped == {"original": 1, "detail": 0}


def test_pad_goes_through_the_fallbacks_in_order(tmp_path: Path) -> None:
    texts = [TextSlot(name=name) for name in "abc"]
    with MultiTextWriter(tmp_path / "m.jsonl", texts, "pad", ["b", "a"]) as writer:
        writer.write("1", ["x", "y", None])
        writer.write("2", ["x", None, None])
    assert [line.captions for line in read_multitext(tmp_path / "m.jsonl")] == [["x", "y", "y"], ["x", "x", "x"]]


def test_fail_names_image_and_text_and_leaves_the_old_files_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write(path, [("a.jpg", ["x", "y"])])
    before = path.read_bytes(), header_path(path).read_bytes()
    with pytest.raises(UserError, match=r"b\.jpg has no text for detail"):
        write(path, [("b.jpg", ["x", None])])
    assert (path.read_bytes(), header_path(path).read_bytes()) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.header.json", "m.jsonl"]


@pytest.mark.parametrize(
    ("texts", "missing", "fallback", "message"),
    [
        (["a", "a"], "fail", [], "named twice"),
        ([], "fail", [], "at least one"),
        (["a b"], "fail", [], "cannot name"),
        (["a"], "pad", [], "stands in"),
        (["a"], "pad", ["z"], "no text is called 'z'"),
    ],
)
def test_texts_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, texts: list[str], missing: str, fallback: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        MultiTextWriter(tmp_path / "m.jsonl", [TextSlot(name=name) for name in texts], missing, fallback)  # type: ignore[arg-type]


def test_a_header_of_other_data_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write(path, [("a.jpg", ["x", "y"])])
    with open(path, "ab") as file:
        file.write(b"{}\n")
    with pytest.raises(UserError, match="cut or changed"):
        read_header(path)
    header_path(path).write_text('{"m": 3}')
    with pytest.raises(UserError, match="not a header of a multi-text file"):
        read_header(path)
    header_path(path).unlink()
    assert read_header(path) is None


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b'{"image": "a", "caption": ["x"', "malformed JSON"),
        (b"\n", "an empty line"),
        (b"[1]", "not an object but a JSON list"),
        (b'{"caption": ["x"]}', "no image"),
        (b'{"image": "", "caption": ["x"]}', "no image"),
        (b'{"image": "a", "caption": "x"}', "caption is not a list but str"),
        (b'{"image": "a", "caption": ["x", null]}', "text 2 is not a string but NoneType"),
        (b'{"image": "a", "caption": ["\\ud83d"]}', "half of a surrogate pair"),
        (b'{"image": "a\xff", "caption": ["x"]}', "byte 0xff is not UTF-8"),
        (b'{"image": "a", "caption": ' + b"[" * 200_000, "malformed JSON"),
    ],
)
def test_a_line_that_cannot_be_read_is_told_by_its_number(tmp_path: Path, line: bytes, detail: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"image": "a", "caption": ["x"]}\n' + line + b'\n{"image": "b", "caption": ["x"]}\n'[line == b"\n" :])
    good, bad, after = scan_multitext(path)
    assert isinstance(bad, UnreadableLine)
    assert (bad.number, good, after) == (2, MultiTextLine(1, "a", ["x"]), MultiTextLine(3, "b", ["x"]))
    assert detail in bad.detail
    with pytest.raises(UserError, match="line 2"):
        list(read_multitext(path))


def test_a_reader_for_training_refuses_a_line_of_another_length_or_with_an_empty_text(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"image": "a", "caption": ["x", "y"]}\n{"image": "b", "caption": ["x"]}\n')
    with pytest.raises(UserError, match="line 2: 1 text instead of 2"):
        list(read_multitext(path))
    path.write_text('{"image": "a", "caption": ["x", " "]}\n')
    with pytest.raises(UserError, match="line 1: text 2 is empty"):
        list(read_multitext(path))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(TEXT, st.lists(st.none() | TEXT, min_size=2, max_size=2)), max_size=9),
    options=st.sampled_from([{"missing": "drop"}, {"missing": "fail"}, {"missing": "pad", "fallback": ["detail", "original"]}]),
)
def test_columns_give_the_same_file_as_line_by_line(
    tmp_path: Path, rows: list[tuple[str, list[str | None]]], options: dict[str, Any]
) -> None:
    """Given any texts, a file that is written many lines at a time has the bytes, counts and errors of one by one."""
    results = []
    for name in ("lines", "columns"):
        path = tmp_path / f"{name}.jsonl"
        try:
            with MultiTextWriter(path, TEXTS, **options) as writer:
                if name == "lines":
                    for image, captions in rows:
                        writer.write(image, captions)
                else:
                    columns = [pl.Series([captions[at] for _, captions in rows], dtype=pl.String) for at in range(len(TEXTS))]
                    writer.write_columns(pl.Series([image for image, _ in rows], dtype=pl.String), columns)
            results.append((path.read_bytes(), writer.header()))
        except UserError as error:
            results.append(str(error))
    assert results[0] == results[1]
