"""Joining captions from files: each row gets the texts of its image, whatever its path looks like; what is torn is told."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreign_entries import entries_of
from shardmill.cli.main import cli
from shardmill.export.multi_text_format import read_header
from shardmill.export.multi_text_reader import read_multitext
from shardmill.recaption import foreign, join_matching, json_salvage, partitions
from shardmill.recaption.foreign import ForeignCaptions, InputWarning
from shardmill.recaption.join import JoinResult, join_captions
from shardmill.tables import json_stream
from shardmill.util.errors import UserError

Entries = dict[str, str]


def original(path: Path, images: list[str]) -> Path:
    path.write_text("".join(json.dumps({"image": i, "caption": f"own {i}"}, ensure_ascii=False) + "\n" for i in images), "utf-8")
    return path


def index(path: Path, entries: Entries) -> Path:
    path.write_text(json.dumps(entries), "utf-8")
    return path


def texts_of(result: JoinResult) -> dict[str, list[str]]:
    return {line.image: line.captions for line in read_multitext(result.path)}


@pytest.fixture
def join(tmp_path: Path) -> Callable[..., JoinResult]:
    """Joins indexes {name: {path: text}} to images, in tmp_path."""

    def run(images: list[str], indexes: dict[str, Entries], **options: Any) -> JoinResult:
        files = {name: [index(tmp_path / f"{name}.json", entries)] for name, entries in indexes.items()}
        return join_captions(original(tmp_path / "original.jsonl", images), files, tmp_path / "multi.jsonl", **options)

    return run


def test_a_line_has_the_texts_in_the_order_asked_for_and_the_rows_their_own(join: Callable[..., JoinResult]) -> None:
    result = join(
        ["b.jpg", "a.jpg"],
        {"noun": {"a.jpg": "ferry", "b.jpg": "tram"}, "detail": {"a.jpg": "A ferry.", "b.jpg": "A tram."}},
        texts=["detail", "original", "noun"],
    )
    lines = result.path.read_text().splitlines()
    assert lines == [
        '{"image": "b.jpg", "caption": ["A tram.", "own b.jpg", "tram"]}',
        '{"image": "a.jpg", "caption": ["A ferry.", "own a.jpg", "ferry"]}',
    ]
    header = read_header(result.path)
    assert header is not None
    assert [text.name for text in header.texts] == ["detail", "original", "noun"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("a b c.jpg", "a b c.jpg"),
        ("/d/./x/../a.jpg", "//d//a.jpg"),
        ("./a.png", "a.png"),
        ("/d/jpg files/x.jpg/pic.webp", "/d/jpg files/x.jpg/pic.webp"),
        ("/data/a.JPG", "a.JPG"),
        ("sub/a.jpeg", "/data/sub/a.jpeg"),
        (unicodedata.normalize("NFD", "Fähre/é.png"), unicodedata.normalize("NFC", "Fähre/é.png")),
        ("..jpg", "..jpg"),
        ("../a.jpg", "../a.jpg"),
        ('q"uo\\te\n.jpg', 'q"uo\\te\n.jpg'),
        ("🚢.jpg", "🚢.jpg"),
        ("s3://bucket/a.jpg", "s3://bucket/a.jpg"),
    ],
)
def test_forms_of_one_path_are_one_image(join: Callable[..., JoinResult], ours: str, theirs: str) -> None:
    result = join([ours], {"detail": {theirs: "found"}}, image_root=Path("/data"))
    assert texts_of(result) == {ours: [f"own {ours}", "found"]}


@pytest.mark.parametrize(("ours", "theirs"), [("a.jpg", "a.JPG"), ("x/a.jpg", "a.jpg"), ("a.jpg", "a.jpg "), ("/data2/a", "a")])
def test_different_paths_are_different_images(join: Callable[..., JoinResult], ours: str, theirs: str) -> None:
    with pytest.raises(UserError, match="rows without a text: detail 1 of 1"):
        join([ours], {"detail": {theirs: "other"}}, image_root=Path("/data"))


def test_an_index_without_any_image_of_the_table_has_the_remedy_told(join: Callable[..., JoinResult]) -> None:
    result = join(["a.jpg"], {"detail": {"/d/a.jpg": "x"}}, missing="pad", fallback=["original"])
    assert "'/d/a.jpg'" in result.hints[0]
    assert "--image-root" in result.hints[0]


def test_missing_texts_drop_pad_or_fail_and_are_counted_by_text(join: Callable[..., JoinResult]) -> None:
    indexes: dict[str, Entries] = {"detail": {"a": "A.", "b": " "}, "noun": {"a": "n", "b": "n"}}
    dropped = join(["a", "b", "c"], indexes, missing="drop").header.counts
    assert (dropped.lines, dropped.dropped_lines, dropped.dropped) == (1, 2, {"original": 0, "detail": 2, "noun": 1})
    padded = join(["a", "b", "c"], indexes, missing="pad", fallback=["original"])
    assert padded.header.counts.padded == {"original": 0, "detail": 2, "noun": 1}
    assert texts_of(padded)["c"] == ["own c"] * 3
    assert padded.tally.indexes["detail"].blank == 1
    before = padded.path.read_bytes()
    with pytest.raises(UserError, match="detail 2, noun 1 of 3; the first without detail is b"):
        join(["a", "b", "c"], indexes)
    assert padded.path.read_bytes() == before


def test_rows_that_repeat_an_image_are_all_kept_with_the_same_texts(join: Callable[..., JoinResult]) -> None:
    result = join(["a", "b", "./a"], {"detail": {"a": "A", "b": "B"}})
    assert [line.captions[1] for line in read_multitext(result.path)] == ["A", "B", "A"]
    assert result.tally.repeated_images == 1


def test_of_two_entries_the_later_counts_and_a_conflict_is_written_down(tmp_path: Path) -> None:
    first, second = index(tmp_path / "1.json", {"a": "old", "b": "same", "x": "gone"}), tmp_path / "2.json"
    second.write_text('[{"image": "a", "caption": "new"}, {"image": "./b", "caption": "same"}, {"image": "a", "caption": ""}]')
    result = join_captions(original(tmp_path / "o.jsonl", ["a", "b"]), {"detail": [first, second]}, tmp_path / "multi.jsonl")
    counts = result.tally.indexes["detail"]
    assert (counts.repeated, counts.conflicts, counts.unknown, counts.blank, counts.used) == (2, 1, 1, 1, 2)
    assert texts_of(result)["a"] == ["own a", "new"]
    assert result.report is not None
    notes = [json.loads(line) for line in result.report.read_text().splitlines()]
    assert {"kind": "conflict", "text": "detail", "image": "a", "kept": "new", "left_out": "old"} in notes
    assert {"kind": "image not in the table", "text": "detail", "image": "x"} in notes


def test_a_join_without_oddities_leaves_no_report_not_even_an_earlier_one(
    join: Callable[..., JoinResult], tmp_path: Path
) -> None:
    assert join(["a"], {"detail": {"a": "A", "z": "Z"}}).report == tmp_path / "multi.join-report.jsonl"
    assert join(["a"], {"detail": {"a": "A"}}).report is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "detail.json",
        "multi.header.json",
        "multi.jsonl",
        "original.jsonl",
    ]


def test_the_result_does_not_depend_on_how_many_parts_there_are(
    join: Callable[..., JoinResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(1)
    images = [f"d{rng.randrange(50)}/img {number}.jpg" for number in range(500)]
    images += rng.sample(images, 50)
    indexes = {name: {image: f"{name} of {image}" for image in rng.sample(images, 400)} for name in ("detail", "noun")}
    whole = join(images, indexes, missing="pad", fallback=["original"])
    expected, counts = whole.path.read_bytes(), whole.tally.indexes
    assert [line.image for line in read_multitext(whole.path)] == images
    monkeypatch.setattr(join_matching, "PART_BYTES", 5_000)
    monkeypatch.setattr(join_matching, "LINES_AT_ONCE", 7)
    monkeypatch.setattr(partitions, "MAX_IN_MEMORY", 2_000)
    parted = join(images, indexes, missing="pad", fallback=["original"])
    assert (parted.path.read_bytes(), parted.tally.indexes) == (expected, counts)


GOOD = '{"image": "/d/a.jpg", "caption": "A [ferry], {white}"}'
ALSO = '{"image": "/d/b.png", "caption": "B says \\"{\\\\"}'


def read(path: Path, text: str | bytes) -> tuple[list[tuple[str, str | None]], list[InputWarning]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = list(entries_of(ForeignCaptions(path)))
    return [each for each in found if not isinstance(each, InputWarning)], [
        each for each in found if isinstance(each, InputWarning)
    ]


A, B = ("/d/a.jpg", "A [ferry], {white}"), ("/d/b.png", 'B says "{\\')


@pytest.mark.parametrize(
    ("text", "entries", "told"),
    [
        (f"[{GOOD}, {ALSO}]", [A, B], []),
        (f"[\n{GOOD}\n,\n{ALSO}\n]\n", [A, B], []),
        ("[]", [], []),
        ("", [], ["the file is empty"]),
        ("[", [], ["'[' instead of '[]'"]),
        (f"[[{GOOD},{ALSO}]", [A, B], ["'[[' instead of '['"]),
        (f"[{GOOD},[{ALSO}]", [A, B], ["',[' instead of ','"]),
        (f"[{GOOD},{ALSO}", [A, B], ["']' is missing after 2 entries: cut off?"]),
        (f"[{GOOD},", [A], ["',' instead of ']'"]),
        (f"[{GOOD}][{ALSO}]", [A, B], ["'][' instead of ','"]),
        (f'[{GOOD},{{"image": "/d/c.jpg", "capt', [A], ["Unterminated string"]),
        (f'[{GOOD},{{"image": "/d/c.jpg", "capt{ALSO}]', [A, B], ["malformed JSON"]),
        (f'[{{"image": "/d/c.jpg", "caption": "cut,{GOOD},{ALSO}]', [A, B], ["malformed JSON"]),
        (f"[{GOOD}, 7, {ALSO}]", [A, B], ["not an object but a JSON int"]),
        (f'[{GOOD}, {{"image": "c", "caption": ["x"]}}, {ALSO}]', [A, B], ["is not a text but a JSON list"]),
        (f'[{GOOD}, {{"path": "c"}}, {ALSO}]', [A, B], ["no key 'image'; there are: path"]),
        (f'[{GOOD}, {{"image": "c", "caption": "\\ud83d"}}]', [A], ["half of a surrogate pair"]),
    ],
)
def test_a_torn_list_gives_all_of_its_whole_entries_and_is_told(
    tmp_path: Path, text: str, entries: list[Any], told: list[str]
) -> None:
    found, odd = read(tmp_path / "pool_internvl_cc12m_0.json", text)
    assert found == entries
    assert len(odd) == len(told)
    assert all(part in each.detail for part, each in zip(told, odd, strict=True))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_however_a_job_was_killed_and_resumed_no_text_goes_to_another_image(tmp_path: Path, data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.text('ab {}[]"\\,:é\n', max_size=12).filter(str.strip), min_size=2, max_size=8))
    pairs = [(f"/jpg {number}/ü{number}.jpg", text) for number, text in enumerate(texts)]
    parts = [json.dumps({"image": image, "caption": text}, ensure_ascii=data.draw(st.booleans())) for image, text in pairs]
    written = "[" + ",".join(parts)
    kept = written[: data.draw(st.integers(1, len(written)))]
    again = data.draw(st.integers(0, len(parts) - 1))
    resumed = kept + data.draw(st.sampled_from(["", "[", ","])) + ",".join(parts[again:]) + data.draw(st.sampled_from(["]", ""]))
    found, odd = read(tmp_path / "pool.json", resumed)
    whole = [pair for place, pair in enumerate(pairs) if len(kept) >= len("[" + ",".join(parts[: place + 1]))]
    assert found == whole + pairs[again:]
    assert odd or json.loads(resumed)


INSERTED = [
    "",
    ",",
    "[",
    "]",
    "{",
    "}",
    '"',
    "\\",
    "\n",
    " 7 ",
    "null",
    '{"image": 1, "caption": 2}',
    ',"k": [{}]',
    "NaN",
    "[NaN,",
]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_where_blocks_end_makes_no_difference_in_healthy_and_corrupt_files(tmp_path: Path, data: st.DataObject) -> None:
    values = st.lists(st.tuples(st.text('a /.é"\\', min_size=1, max_size=6), st.none() | st.text('ab {}[]"\\,:é\n', max_size=9)))
    pairs = data.draw(values)
    name = data.draw(st.sampled_from(["list.json", "index.json", "lines.jsonl"]))
    if name == "index.json":
        text = json.dumps(dict(pairs), ensure_ascii=False)
    else:
        parts = [json.dumps({"image": image, "caption": caption}, ensure_ascii=False) for image, caption in pairs]
        text = "[" + data.draw(st.sampled_from([",", ", ", "\n,"])).join(parts) + "]" if name == "list.json" else "\n".join(parts)
    if data.draw(st.booleans()):
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        text = text[:start] + data.draw(st.sampled_from(INSERTED)) + text[end if data.draw(st.booleans()) else start :]
    found = []
    for block in (data.draw(st.integers(1, 90)), 2**16):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(foreign, "SLICE", block)
            patch.setattr(json_salvage, "BLOCK", block)
            patch.setattr(json_stream.json_blocks, "__defaults__", (None, None, block, lambda size: None))
            try:
                found.append(repr(read(tmp_path / name, text)))
            except UserError as error:
                found.append(re.sub(", near .*", "", str(error)))
    assert found[0] == found[1]


def test_a_file_that_begins_with_much_white_space_is_not_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "a.json", "\n" * 10_000 + f"[{GOOD}]") == ([A], [])


def test_bytes_that_are_no_text_lose_one_entry(tmp_path: Path) -> None:
    found, odd = read(tmp_path / "a.json", b'[{"image": "a\xff", "caption": "x"}, {"image": "b", "caption": "y"}]')
    assert found == [("b", "y")]
    assert "not UTF-8" in odd[0].detail


def test_an_index_that_was_cut_off_gives_what_stands_before(tmp_path: Path) -> None:
    for text in ('{"a": "x", "b": "y', '{"a": "x", "b"', '{"a": "x", ', '{"a": "x"'):
        found, odd = read(tmp_path / "i.json", text)
        assert found == [("a", "x")]
        assert "cut off after 1 entry" in odd[0].detail


@pytest.mark.parametrize(
    "text", ['{"a": "x" "b": "y", "c": "z"}', '{"a": "x, "b": "y"}', '{"a": "x"} {"b": "y"}', '{"a": "x",\n7: 8}']
)
def test_an_index_that_is_damaged_inside_is_refused_with_the_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"i\.json is corrupt on line \d+, after \d entr"):
        read(tmp_path / "i.json", text)


def test_other_shapes_of_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"image": "a", "caption": "x"}\nnot json\n\n{"image": "b", "caption": null}\n')
    found = list(entries_of(ForeignCaptions(tmp_path / "a.jsonl")))
    assert found[0] == ("a", "x")
    assert isinstance(found[1], InputWarning)
    assert found[1].line == 2
    assert found[2] == ("b", None)
    (tmp_path / "b.csv").write_text('filepath,title\n"a, b.jpg","x ""y"""\n')
    assert list(entries_of(ForeignCaptions(tmp_path / "b.csv"))) == [("a, b.jpg", 'x "y"')]
    (tmp_path / "index").write_text('{"a": "x"}')
    assert list(entries_of(ForeignCaptions(tmp_path / "index"))) == [("a", "x")]
    (tmp_path / "keys.jsonl").write_text('{"file": "a", "alt": "x"}\n')
    assert list(entries_of(ForeignCaptions(tmp_path / "keys.jsonl", "file", "alt"))) == [("a", "x")]


def test_a_file_none_of_whose_entries_can_be_read_is_refused(join: Callable[..., JoinResult], tmp_path: Path) -> None:
    index(tmp_path / "lists.json", {"a": ["x"]})  # type: ignore[dict-item]
    with pytest.raises(UserError, match=r"no entry of .*lists\.json can be read; line 1"):
        join_captions(original(tmp_path / "o.jsonl", ["a"]), {"detail": [tmp_path / "lists.json"]}, tmp_path / "m.jsonl")


@pytest.mark.parametrize(
    ("texts", "indexes", "message"),
    [
        (["original", "detial"], {"detail": {}}, "did you mean 'detail'"),
        (["original"], {"detail": {}}, "none of the texts"),
        (None, {"original": {}}, "caption of the table itself"),
        (["detail", "detail"], {"detail": {}}, "named twice"),
    ],
)
def test_texts_and_indexes_must_fit(
    join: Callable[..., JoinResult], texts: list[str] | None, indexes: dict[str, Entries], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        join(["a"], indexes, texts=texts)


def test_too_little_room_for_sorting_is_told_before_anything_is_read(
    join: Callable[..., JoinResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(UserError, match="--scratch"):
        join(["a"], {"detail": {"a": "A"}})
    assert not (tmp_path / "multi.jsonl").exists()


def test_the_command_takes_rank_files_by_a_glob_and_tells_what_it_found(tmp_path: Path) -> None:
    for rank, text in enumerate((f"[{GOOD}]", f"[[{ALSO}", "")):
        (tmp_path / f"pool_internvl_cc12m_{rank}.json").write_text(text)
    source = original(tmp_path / "o.jsonl", ["/d/a.jpg", "/d/b.png", "/d/c.jpg"])
    out = tmp_path / "multi.jsonl"
    arguments = [
        "join-captions",
        str(source),
        "--index",
        f"detail={tmp_path}/pool_*.json",
        "--out",
        str(out),
        "--missing",
        "drop",
    ]
    told = CliRunner().invoke(cli, arguments)
    assert told.exit_code == 0, told.output
    assert "2 lines from 3 rows, 2 texts each: original, detail" in told.output
    assert "rows left out, by missing text: detail 1" in told.output
    assert "pool_internvl_cc12m_1.json, line 1: '[[' instead of '['" in told.output
    result = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert (result["lines"], result["dropped"]["detail"], result["indexes"]["detail"]["entries"]) == (2, 1, 2)
    assert not list(tmp_path.glob("*joining*"))


def test_what_a_killed_join_left_goes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / "o.jsonl").write_text('{"image": "a.jpg", "caption": "x"}\n')
    (tmp_path / "d.json").write_text('{"a.jpg": "y"}')
    code = (
        "import os, sys; from pathlib import Path; from shardmill.recaption import join, join_matching\n"
        "join_matching.Matching.match = lambda self, tally: os.kill(os.getpid(), 9)\n"
        "here = Path(sys.argv[1]); join.join_captions(here / 'o.jsonl', {'d': [here / 'd.json']}, here / 'm.jsonl')\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    assert [path.name for path in tmp_path.glob(".m.jsonl.joining.*.tmp")]
    join_captions(tmp_path / "o.jsonl", {"d": [tmp_path / "d.json"]}, tmp_path / "m.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.json", "m.header.json", "m.jsonl", "o.jsonl"]
