"""Tables in several files: one input, in order, with nothing missing and nothing mixed."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from shardmill.core.planning import NewRun, start_run
from shardmill.models.images import open_image
from shardmill.store.run_folder import RunFolder
from shardmill.tables import open_table
from shardmill.tables.parquet_images import check_embedded
from shardmill.util.errors import UserError


def png(width: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, 8)).save(stream, "PNG")
    return stream.getvalue()


def shards(folder: Path, count: int = 12, name: str = "train-{0:05}-of-{1:05}.parquet") -> Path:
    for index in range(count):
        pictures = [{"bytes": png(index + 1), "path": None}] * 2
        frame = pl.DataFrame({"image": pictures, "caption": [f"a dog {index}", f"a cat {index}"]})
        frame.write_parquet(folder / name.format(index, count))
    return folder


def ingested(run: RunFolder) -> list[dict[str, Any]]:
    return [row for shard in range(run.num_shards) for row in run.read_part("ingest", shard)[0].to_dicts()]


@pytest.mark.parametrize("pattern", ["", "train-0000?-of-*.parquet", "*"])
def test_shards_are_one_input_and_their_pictures_are_found(tmp_path: Path, pattern: str) -> None:
    source = shards(tmp_path, 3) / pattern
    run = start_run(tmp_path.with_name(f"{tmp_path.name}-run"), NewRun(input=source, pipeline="recaption", num_shards=4))
    rows = ingested(run)
    assert [row["row_id"] for row in rows] == list(range(6))
    assert [row["caption"] for row in rows] == [f"a {animal} {index}" for index in range(3) for animal in ("dog", "cat")]
    assert [open_image(row["image"]).width for row in rows] == [1, 1, 2, 2, 3, 3]
    assert run.plan.input.notes[0].startswith("3 files as one table: train-00000-of-00003.parquet")
    check_embedded(run.plan, [row["image"] for row in rows])
    shards(tmp_path, 3, "train-{0:05}-of-{1:05}.parquet")
    (tmp_path / "train-00001-of-00003.parquet").write_bytes((tmp_path / "train-00000-of-00003.parquet").read_bytes())
    with pytest.raises(UserError, match=r"train-00001-of-00003\.parquet was changed"):
        check_embedded(run.plan, [row["image"] for row in rows])


def test_numbers_in_names_count_as_numbers(tmp_path: Path) -> None:
    for index in range(12):
        (tmp_path / f"part-{index}.csv.gz").write_bytes(gzip.compress(f"caption\nnumber {index}\n".encode()))
    (batches) = list(open_table(tmp_path).batches())
    assert [batch.frame.row(0) for batch in batches] == [(index, 2, f"number {index}") for index in range(12)]


def test_a_missing_shard_is_missed(tmp_path: Path) -> None:
    shards(tmp_path, 3)
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(UserError, match=r"lacks train-00001-of-00003\.parquet"):
        open_table(tmp_path / "*.parquet")


def test_other_tables_in_a_folder_are_not_mixed_in(tmp_path: Path) -> None:
    (tmp_path / "train-0.csv").write_text("caption\na\n")
    (tmp_path / "test-0.csv").write_text("caption\nb\n")
    with pytest.raises(UserError, match=r"has several tables: test-\*\.csv, train-\*\.csv.*--input '.*test-\*\.csv'"):
        open_table(tmp_path)
    (tmp_path / "train-1.csv").write_text("text\na\n")
    with pytest.raises(UserError, match=r"train-1\.csv and .*train-0\.csv are not of one table.*caption, text"):
        list(open_table(tmp_path / "train-*.csv").batches())
    with pytest.raises(UserError, match="no file matches"):
        open_table(tmp_path / "val-*.csv")
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UserError, match="is a run folder"):
        open_table(tmp_path)


def test_a_bad_record_names_its_file_and_keys_of_later_files_are_noted(tmp_path: Path) -> None:
    (tmp_path / "0.jsonl").write_text('{"caption": "a"}\n')
    (tmp_path / "1.jsonl").write_text('{"caption": "b", "more": 1}\n{\n')
    table = open_table(tmp_path)
    first, second = table.batches()
    assert [first.frame.row(0), second.frame.row(0)] == [(0, 1, "a"), (1, 1, "b")]
    assert (second.bad[0].row_id, second.bad[0].line, second.bad[0].detail[:9]) == (2, 2, "1.jsonl: ")
    assert "columns that are not read: more" in table.notes()


def test_tars_by_a_pattern_are_one_input(tmp_path: Path) -> None:
    for index in range(2):
        with tarfile.open(tmp_path / f"{index}.tar", "w") as tar:
            info = tarfile.TarInfo("1.png")
            info.size = len(png(3))
            tar.addfile(info, io.BytesIO(png(3)))
    images = [batch.frame["image"].to_list() for batch in open_table(tmp_path / "*.tar").batches()]
    assert images == [["0.tar::1.png"], ["1.tar::1.png"]]
