"""CSV as data sets are published: without a header, with other separators, blanks and Excel's first line."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.tables import open_table
from shardmill.util.errors import UserError

KAGGLE = 'image_name| comment_number| comment\n1.jpg| 0| Two men , outside .\n1.jpg| 1| A "big" yard .\n'
FLICKR8K = "1000.jpg#0\tA child in a pink dress .\n1000.jpg#1\tA girl going in .\n"

CASES = [
    (
        "cc12m.tsv",
        "https://x.org/1.jpg\ta red bus\nhttps://x.org/2.jpg\tdogs\n",
        ["url", "caption"],
        ("https://x.org/1.jpg", "a red bus"),
    ),
    ("cc3m.tsv", "a very long caption here , with words\thttp://x.org/1\nb c d\thttp://x.org/2\n", ["caption", "url"], None),
    ("Flickr8k.token", FLICKR8K, ["image", "caption"], ("1000.jpg#0", "A child in a pink dress .")),
    ("results.csv", KAGGLE, ["image_name", "comment_number", "comment"], ("1.jpg", "0", "Two men , outside .")),
    ("excel.csv", "sep=;\r\nimage;caption\r\n1.jpg;a dog, asleep\r\n", ["image", "caption"], ("1.jpg", "a dog, asleep")),
    ("hand.csv", 'image, caption\n1.jpg, "A dog, asleep"\n2.jpg, x\n', ["image", "caption"], ("1.jpg", "A dog, asleep")),
    ("semi.csv", "image;caption\n1.jpg;a dog\n", ["image", "caption"], ("1.jpg", "a dog")),
    (
        "lines.txt",
        "A dog, a cat and a man in a park.\nA bus.\nTwo, three, four.\n",
        ["caption"],
        ("A dog, a cat and a man in a park.",),
    ),
    ("plain.csv", " image ,caption \n1.jpg,a dog\n", ["image", "caption"], ("1.jpg", "a dog")),
]


@pytest.mark.parametrize(("name", "content", "columns", "first"), CASES, ids=[case[0] for case in CASES])
def test_no_record_is_taken_for_a_header(
    tmp_path: Path, name: str, content: str, columns: list[str], first: tuple[str, ...] | None
) -> None:
    (tmp_path / name).write_text(content, newline="")
    table = open_table(tmp_path / name)
    (batch,) = table.batches()
    assert table.columns == columns
    assert not batch.bad and first in (None, batch.frame.select(columns).row(0))
    assert bool(table.notes()) == (name in ("cc12m.tsv", "cc3m.tsv", "Flickr8k.token", "lines.txt"))
    assert all("its columns are taken as" in note for note in table.notes())


def test_what_is_said_of_a_file_goes_before_what_it_looks_like(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a:b\nc:d\n")
    assert open_table(path, delimiter=":", header=False).columns == ["caption", "column_2"]
    table = open_table(path, delimiter=":", header=False, columns=["x", "y"])
    (batch,) = table.batches()
    assert batch.frame.rows() == [(0, 1, "a", "b"), (1, 2, "c", "d")]
    assert open_table(path, delimiter=":", columns=["x", "y"]).columns == ["x", "y"]
    path.write_text("https://x.org/1.jpg,a\nu,b\n")
    assert open_table(path, header=True).columns == ["https://x.org/1.jpg", "a"]
    with pytest.raises(UserError, match="has 2 cells, but --columns names 3: a, b, c"):
        open_table(path, columns=["a", "b", "c"])
    (tmp_path / "t.jsonl").write_text('{"a": 1}')
    with pytest.raises(UserError, match="is not a CSV file"):
        open_table(tmp_path / "t.jsonl", header=False)


def test_a_run_keeps_how_its_input_is_read(tmp_path: Path) -> None:
    (tmp_path / "cc.txt").write_text("u1:a red bus\nu2:a dog\n")
    new = NewRun(input=tmp_path / "cc.txt", separator=":", header=False, columns=("url", "caption"), num_shards=2)
    run = start_run(tmp_path / "run", new)
    assert [run.read_part("ingest", shard)[0]["caption"].to_list() for shard in (0, 1)] == [["a red bus"], ["a dog"]]
    run_shard(run, "extract_objects", 0)
    with pytest.raises(UserError, match="how the input is read"):
        start_run(
            tmp_path / "run",
            NewRun(input=tmp_path / "cc.txt", separator=":", header=False, columns=("link", "caption"), num_shards=2),
        )
