"""Files of others, whatever they hold: every entry is read, set aside with its place, or the file is refused in plain words."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from foreign_entries import entries_of
from fuzz.files import TARGETS
from fuzz.guard import guarded
from fuzz.target import Target
from shardmill.anyedit.concepts.clean import clean, form_problem
from shardmill.anyedit.concepts.label_names import label_names
from shardmill.anyedit.concepts.sources import read_source
from shardmill.core.model_files import load_model_file
from shardmill.core.pipeline_file import load_pipeline
from shardmill.recaption.foreign import ForeignCaptions, InputWarning
from shardmill.recaption.perspectives import perspectives
from shardmill.tables import open_table
from shardmill.tables.ranges import merge_ranges
from shardmill.util.errors import UserError

NO_YAML = ["2001-99-99", "9" * 5_000, "!!timestamp x", "!!int ''", "!!float x", "[" * 600, "{[]: 1}", "!!python/name:os.system"]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_file_breaks_what_reads_it(target: Target) -> None:
    assert target.taken(examples=30), "all cases were refused: what comes behind that is not tried"


@pytest.mark.parametrize("text", NO_YAML, ids=range(len(NO_YAML)))
def test_yaml_that_no_program_can_hold_is_refused_by_all_that_read_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"- {text}\n")
    for read in (perspectives, load_pipeline, load_model_file):
        with pytest.raises(UserError):
            read(str(path))


def test_a_card_that_names_a_value_within_itself_is_read_once_and_quickly(tmp_path: Path) -> None:
    bomb = "".join(f"x{level}: &x{level} [{', '.join([f'*x{level - 1}'] * 9)}]\n" for level in range(1, 20))
    loop = "loop: &loop [*loop, {class_label: {names: {'0': tench, '1': kite}}}]\n"
    (tmp_path / "README.md").write_text(f"---\nx0: &x0 [a]\n{bomb}{loop}---\n# A data set\n")
    with guarded(seconds=5):
        assert label_names(tmp_path) == ["tench", "kite"]


def test_an_empty_cell_of_a_one_column_table_is_no_blank_line_after_a_merge(tmp_path: Path) -> None:
    paths = [tmp_path / "p_0_3.csv", tmp_path / "p_3_4.csv"]
    for path, rows in zip(paths, ([["a dog"], [""], ["a cat"]], [[""]]), strict=True):
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([["caption"], *rows])
    merged = merge_ranges(paths, tmp_path / "all.csv")
    captions = [caption for batch in open_table(merged.path).batches() for caption in batch.frame["caption"]]
    assert captions == ["a dog", None, "a cat", None]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 9, b"not a table"])
def test_concepts_in_a_broken_parquet_file_are_refused_with_its_name(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "names.parquet"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"names\.parquet cannot be read as Parquet"):
        read_source(path)


@pytest.mark.parametrize("depth", [300, 985, 990, 995, 1_000, 1_005, 5_000])
def test_brackets_within_brackets_are_an_entry_that_cannot_be_read(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "index.json"
    for text in ('{"image": %s}', '[{"image": %s, "caption": "x"}]', '{"image": %s}\n{"image": "a.jpg", "caption": "x"}'):
        path.write_text(text % ("[" * depth + "]" * depth))
        try:
            assert any(isinstance(entry, InputWarning) for entry in entries_of(ForeignCaptions(path)))
        except UserError as error:
            assert str(path) in str(error)


def test_a_long_line_of_digits_is_no_name_and_takes_no_time() -> None:
    with guarded(seconds=5):
        for text in ("\r=1" * 100_000, "1" * 500_000, "(" * 500_000, " x 1" * 100_000):
            assert form_problem(clean(text)) is not None


def test_names_that_only_json_can_hold_reach_the_pool_readable(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(json.dumps(["\ud83d kite", "dog"]))
    assert [name.text for name in read_source(path)][1] == "dog"
