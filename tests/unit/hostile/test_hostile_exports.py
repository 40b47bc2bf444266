"""Exports and datasets of hostile cells, names and pictures: each row is in or named as left out, and nothing lies elsewhere."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from exported import SAMPLES, export, finish, sample_rows, write_table
from fuzz.exports import ONLY_SELECT, TARGETS
from fuzz.target import Target
from shardmill.core.planning import NewRun, start_run
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError


def carrying(folder: Path, name: str, kind: str = "csv", cell: str = "own", lists: Sequence[str] = ()) -> RunFolder:
    """A finished run of three rows whose input has a column of this name."""
    (folder / "mine.yaml").write_text(ONLY_SELECT)
    rows = [[*row, cell] for row in sample_rows(3)]
    path = write_table(folder / "t.csv", ["image", "caption", name], rows)
    if kind != "csv":
        frame = pl.read_csv(path, has_header=False, skip_rows=1, new_columns=["image", "caption", name])
        path = folder / f"t.{kind}"
        frame.write_parquet(path) if kind == "parquet" else frame.write_ndjson(path)
    new = NewRun(input=path, pipeline=str(folder / "mine.yaml"), image_root=SAMPLES, list_columns=lists)
    return finish(start_run(folder / "run", new))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_whatever_a_run_holds_is_exported_or_named_as_left_out(target: Target) -> None:
    assert target.taken(examples=25, shrinks=False) > 6, "three quarters of the cases were refused"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", ["*", "^.*$", "^image$", "^$"])
def test_a_column_whose_name_stands_for_others_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(UserError, match="cannot name a column"):
        carrying(tmp_path, name, kind)


@pytest.mark.parametrize("name", ['"', 'a"b', '""', 'a,"b', "^x", "x$", "exported image", "exported texts"])
def test_a_column_of_any_other_name_comes_through_a_run(tmp_path: Path, name: str) -> None:
    run = carrying(tmp_path, name)
    export(run, "parquet", tmp_path / "out")
    assert pl.read_parquet(tmp_path / "out" / "captions-00000.parquet").get_column(name).to_list() == ["own"] * 3


@pytest.mark.parametrize(("name", "every_text", "aside"), [("texts", False, "input_input_texts"), ("text", True, "input_text")])
@pytest.mark.parametrize("lists", [(), ("own",)])
def test_a_column_of_the_input_that_a_sample_has_itself_is_kept_beside_it(
    tmp_path: Path, name: str, every_text: bool, aside: str, lists: tuple[str, ...]
) -> None:
    run = carrying(tmp_path, name, cell=json.dumps(lists) if lists else "own", lists=[name] if lists else [])
    done = export(run, "webdataset", tmp_path / "out", every_text=every_text)
    with tarfile.open(done.path / "captions-000000.tar") as tar:
        files = [tar.extractfile(member) for member in tar if member.name.endswith(".json")]
        samples = [json.loads(file.read()) for file in files if file]
    assert [sample[aside] for sample in samples] == [json.dumps(lists) if lists else "own"] * 3
    assert not any(sample[name] == sample[aside] for sample in samples)
