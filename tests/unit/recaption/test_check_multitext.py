"""Checking a multi-text file before training: what would stop training, or teach it the wrong thing, is told by its line."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shardmill.cli.main import cli
from shardmill.export.multi_text_format import MultiTextWriter, TextSlot, header_path
from shardmill.recaption.clip_tokens import ClipTokens
from shardmill.recaption.validate import (
    CONTROL,
    EMPTY,
    LONG,
    OTHER_DATA,
    REPEATED_IMAGE,
    REPEATED_TEXT,
    UNKNOWN,
    UNREADABLE,
    WRONG_NUMBER,
    check_multitext,
)
from shardmill.util.errors import UserError

WORDS = ClipTokens(lambda word: [1] if word else [])
"""One token for each word: the numbers of a test are easy to see."""


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def line(image: str, *captions: Any) -> dict[str, Any]:
    return {"image": image, "caption": list(captions)}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["check-multitext", *map(str, arguments)])


def test_a_file_of_our_own_is_fit_and_its_places_have_their_names(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with MultiTextWriter(path, [TextSlot(name="original"), TextSlot(name="noun")]) as writer:
        writer.write("a.jpg", ["A ferry leaves the pier", "ferry, pier"])
    verdict = check_multitext(path, tokens=WORDS)
    assert verdict.fit
    assert (verdict.lines, verdict.m, verdict.m_from, verdict.names) == (1, 2, "the header", ["original", "noun"])
    assert [dict(counts) for counts in verdict.lengths] == [{7: 1}, {4: 1}]
    told = run(path)
    assert told.exit_code == 0
    assert told.output.splitlines()[0] == f"{path}: fit for training"


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ('{"image": "b"', UNREADABLE),
        ('{"image": "b", "caption": "x"}', UNREADABLE),
        (line("b", "x", None), UNREADABLE),
        ("", UNREADABLE),
        (line("b", "x"), WRONG_NUMBER),
        (line("b", "x", "y", "z"), WRONG_NUMBER),
        (line("b", "x", "\u3000\t"), EMPTY),
    ],
)
def test_an_unfit_line_is_named_and_the_exit_code_is_1(tmp_path: Path, bad: Any, kind: str) -> None:
    path = write(tmp_path / "m.jsonl", [line("a", "x", "y"), bad, line("c", "x", "y")])
    verdict = check_multitext(path)
    assert not verdict.fit
    assert {name: (each.count, each.lines) for name, each in verdict.findings.items()} == {kind: (1, [2])}
    told = run(path)
    assert told.exit_code == 1
    assert "NOT fit for training" in told.output.splitlines()[0]
    assert f"{kind} 1: lines 2" in told.output


@pytest.mark.parametrize(
    ("rows", "kind", "lines"),
    [
        ([line("a", "x", "y"), line("b", "x", "y"), line("./a", "z", "y")], REPEATED_IMAGE, [3]),
        ([line("a", "A ferry", "a ferry "), line("b", "x", "y")], REPEATED_TEXT, [1]),
        ([line("a", "x", "y " * 75), line("b", "x", "y " * 76)], LONG, [2]),
    ],
)
def test_what_is_only_worth_knowing_does_not_make_a_file_unfit(
    tmp_path: Path, rows: list[Any], kind: str, lines: list[int]
) -> None:
    verdict = check_multitext(write(tmp_path / "m.jsonl", rows), tokens=WORDS)
    assert verdict.fit
    assert {name: each.lines for name, each in verdict.findings.items()} == {kind: lines}


@pytest.mark.parametrize("odd", [line("b", "x\x07", "y"), line("b\x1b[2J", "x", "y"), line("b", "x", "y\x9b1m")])
def test_control_characters_are_told(tmp_path: Path, odd: dict[str, Any]) -> None:
    path = write(tmp_path / "m.jsonl", [line("a", "x\n", "y"), odd])
    verdict = check_multitext(path)
    assert verdict.fit
    assert {name: each.lines for name, each in verdict.findings.items()} == {CONTROL: [2]}
    assert not set("\x07\x1b\x9b") & set(run(path).output)


def test_lengths_are_told_for_each_place(tmp_path: Path) -> None:
    rows = [line(f"{number}", "w " * (number + 1), "w " * 80) for number in range(100)]
    verdict = check_multitext(write(tmp_path / "m.jsonl", rows), tokens=WORDS)
    first, second = verdict.to_dict()["texts"]
    assert (first["median"], first["p95"], first["longest"], first["share_over_77"]) == (52, 97, 102, 0.25)
    assert (second["median"], second["share_over_77"]) == (82, 1.0)


def test_only_the_first_lines_of_a_fault_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    rows = [line(f"{number}", "x" if number % 2 else "") for number in range(100)]
    finding = check_multitext(write(tmp_path / "m.jsonl", rows)).findings[EMPTY]
    assert (finding.count, finding.lines) == (50, [1, 3, 5, 7, 9])


def test_images_are_looked_for_in_a_folder_and_in_its_tar_files(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a b.jpg").write_bytes(b"x")
    with tarfile.open(folder / "0.tar", "w") as tar:
        tar.add(folder / "sub" / "a b.jpg", "c.jpg")
    images = ["sub/a b.jpg", str(folder / "sub" / "a b.jpg"), "sub/b.jpg", "0.tar::c.jpg", "0.tar::d.jpg", "1.tar::c.jpg", "sub"]
    verdict = check_multitext(write(tmp_path / "m.jsonl", [line(image, "x") for image in images]), images=folder)
    assert verdict.findings[UNKNOWN].lines == [3, 5, 6, 7]
    assert verdict.findings[REPEATED_IMAGE].lines == [2]
    assert run(tmp_path / "m.jsonl", "--images", folder).exit_code == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [("table.csv", 'filepath,caption\n"a, b.jpg",x\nc.jpg,y\n'), ("index.json", '{"a, b.jpg": "x", "./c.jpg": "y"}')],
)
def test_images_are_looked_for_in_a_table(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    path = write(tmp_path / "m.jsonl", [line("c.jpg", "x"), line("./a, b.jpg", "x"), line("d.jpg", "x")])
    assert check_multitext(path, images=tmp_path / name).findings[UNKNOWN].lines == [3]


def test_absolute_paths_are_the_images_that_a_table_names_from_its_folder_or_from_the_image_root(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("image,caption\nc.jpg,y\n")
    path = write(tmp_path / "m.jsonl", [line(str(tmp_path / "c.jpg"), "x"), line(str(tmp_path / "d.jpg"), "x")])
    assert check_multitext(path, images=tmp_path / "table.csv").findings[UNKNOWN].lines == [2]
    with MultiTextWriter(path, [TextSlot(name="one")], details={"image_root": "/photos"}) as writer:
        writer.write("/photos/c.jpg", ["x"])
        writer.write("/other/c.jpg", ["x"])
    assert check_multitext(path, images=tmp_path / "table.csv").findings[UNKNOWN].lines == [2]


def test_m_comes_from_the_option_the_header_or_the_first_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", [line("a", "x", "y"), line("b", "x", "y")])
    assert check_multitext(path).m_from == "the first line"
    assert check_multitext(path, m=3).findings[WRONG_NUMBER].count == 2
    with MultiTextWriter(path, [TextSlot(name="one")]) as writer:
        writer.write("a", ["x"])
    assert isinstance(run(path, "--m", "2").exception, UserError)


@pytest.mark.parametrize("change", [b'{"image": "a", "caption": ["Y"]}\n', b'{"image": "a", "caption": ["xx"]}\n'])
def test_a_file_that_is_not_the_one_of_its_header_is_unfit(tmp_path: Path, change: bytes) -> None:
    path = tmp_path / "m.jsonl"
    with MultiTextWriter(path, [TextSlot(name="one")]) as writer:
        writer.write("a", ["x"])
    path.write_bytes(change)
    verdict = check_multitext(path)
    assert not verdict.fit
    assert list(verdict.findings) == [OTHER_DATA]


def test_what_cannot_be_read_is_a_user_error_and_an_empty_file_is_unfit(tmp_path: Path) -> None:
    missing = run(tmp_path / "none.jsonl").exception
    assert isinstance(missing, UserError) and "none.jsonl was not found" in str(missing)
    (tmp_path / "empty.jsonl").touch()
    assert run(tmp_path / "empty.jsonl").exit_code == 1
    assert not header_path(tmp_path / "empty.jsonl").exists()


def test_json_output_is_for_scripts(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", [line("a", "x"), line("b", "")])
    told = run(path, "--json")
    content = json.loads(told.stdout)
    assert (told.exit_code, content["fit"], content["m"]) == (1, False, 1)
    assert content["findings"][EMPTY] == {"count": 1, "first_lines": [2], "unfit": True, "first": "text 1"}
