"""CSV and TSV are read as open_clip reads them: pandas with a separator and nothing else, two columns as lists."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exported import antidote, export, json_lines, negbench, parts, recaption
from shardmill.export.folder import LeftOutRows
from shardmill.export.image_paths import IMAGE_PATH
from shardmill.export.open_clip import READ_AS_MISSING, title_lines
from shardmill.models.images import open_image
from shardmill.store.frames import LIST


def read_by_open_clip(path: Path, separator: str) -> tuple[list[str], list[str]]:
    """What `open_clip_train.data.CsvDataset.__init__` does with its default keys."""
    frame = pd.read_csv(path, sep=separator)
    return frame["filepath"].tolist(), frame["title"].tolist()


@pytest.mark.parametrize(("kind", "separator"), [("csv", ","), ("tsv", "\t")])
def test_each_negated_caption_is_a_line_with_a_picture_that_opens(tmp_path: Path, kind: str, separator: str) -> None:
    done = export(negbench(), kind, tmp_path / "out")
    images, titles = read_by_open_clip(done.path / f"captions.{kind}", separator)
    captions = parts(negbench(), "caption_negated")
    assert titles == captions["negative_captions"].str.json_decode(LIST).explode().to_list()
    assert done.record["files"][f"captions.{kind}"]["rows"] == len(titles)
    assert {open_image(image).size for image in images} == {(320, 240)}


def test_copied_pictures_are_named_by_row_ids_and_equal_the_originals(tmp_path: Path) -> None:
    done = export(negbench(), "tsv", tmp_path / "out", images="copy")
    images, _ = read_by_open_clip(done.path / "captions.tsv", "\t")
    captions = parts(negbench(), "caption_negated")
    assert list(dict.fromkeys(images)) == [f"images/00000/{row_id:012d}.png" for row_id in captions["row_id"]]
    root = Path(negbench().plan.input.image_root)
    for copied, original in zip(dict.fromkeys(images), captions["image"], strict=True):
        assert (done.path / copied).read_bytes() == (root / original).read_bytes()


def test_full_holds_every_text_that_is_true_of_a_picture_and_no_other(tmp_path: Path) -> None:
    done = export(negbench(), "tsv", tmp_path / "out", what=["full"])
    images, titles = read_by_open_clip(done.path / "full.tsv", "\t")
    found = set(zip((Path(image).name for image in images), titles, strict=True))
    wanted = set()
    for row in parts(negbench(), "caption_negated").iter_rows(named=True):
        name = Path(row["image"]).name
        wanted |= {(name, text) for text in pl.Series([row["negative_captions"]]).str.json_decode(LIST)[0]}
        if len(list_of(row["objects"])) == len(list_of(row["seen_objects"])):
            wanted.add((name, row["caption"]))
    questions = parts(negbench(), "paraphrase_mcq")
    wanted |= {(Path(row["image"]).name, row[f"paraphrase_{row['correct_answer']}"]) for row in questions.iter_rows(named=True)}
    assert found == wanted


def list_of(cell: str) -> list[str]:
    return list(pl.Series([cell]).str.json_decode(LIST)[0])


def test_painted_pictures_come_with_the_caption_of_what_was_verified(tmp_path: Path) -> None:
    done = export(antidote(), "csv", tmp_path / "out")
    images, titles = read_by_open_clip(done.path / "pictures.csv", ",")
    assert titles == parts(antidote(), "check_facts")["verified_caption"].to_list()
    assert all(open_image(image).size == (320, 240) for image in images)


def test_captions_that_pandas_takes_for_missing_are_left_out_and_listed_not_read_as_nan(tmp_path: Path) -> None:
    done = export(recaption(), "tsv", tmp_path / "out")
    _, titles = read_by_open_clip(done.path / "texts.tsv", "\t")
    assert all(isinstance(title, str) for title in titles)
    assert 'A "quoted" dog, with a tab and a line' in titles
    assert [line for line in json_lines(done.path / "left_out.jsonl") if line["row_id"] == 0] == [
        {"row_id": 0, "reason": "pandas would not read it", "detail": "'NA'"}
    ]


texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(READ_AS_MISSING), min_size=1, max_size=5)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda name: name.strip() == name)


@settings(max_examples=300, deadline=None)
@given(texts=texts, image=NAMES.map(lambda name: f"/d/{name}.jpg"), separator=st.sampled_from([",", "\t"]))
def test_whatever_a_model_wrote_pandas_reads_it_as_that_text(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], image: str, separator: str
) -> None:
    folder = tmp_path_factory.mktemp("lines")
    left_out = LeftOutRows(folder / "left_out")
    table = pl.DataFrame({"row_id": [7], IMAGE_PATH: [image], "texts": [["first", *texts]]})
    lines = title_lines(table, pl.col("texts"), left_out)
    lines.write_csv(folder / "lines.csv", separator=separator)
    assert lines.height + left_out.counts.total() == 1 + len(texts)
    if lines.height:
        images, titles = read_by_open_clip(folder / "lines.csv", separator)
        assert images == lines["filepath"].to_list()
        assert titles == lines["title"].to_list()
    left_out.close()
