"""JSON lines for multi-text training: as many texts in each line, each place with one meaning."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from exported import antidote, export, json_lines, negbench, parts, recaption
from shardmill.export.multi_text_format import read_header
from shardmill.export.multi_text_reader import read_multitext
from shardmill.store.frames import LIST
from shardmill.util.errors import UserError


def test_recaption_lines_are_the_merged_texts_and_the_header_says_who_wrote_them(tmp_path: Path) -> None:
    done = export(recaption(), "jsonl", tmp_path / "out")
    merged = parts(recaption(), "merge_captions")
    lines = list(read_multitext(done.path / "texts.jsonl"))
    assert [line.captions for line in lines] == merged["texts"].str.json_decode(LIST).to_list()
    assert all(Path(line.image).is_file() for line in lines)
    header = read_header(done.path / "texts.jsonl")
    assert header is not None and header.m == 6
    assert [source.name for source in header.texts] == ["original", "detail", "noun", "background", "main", "style"]
    assert all(source.prompt_id and source.model for source in header.texts[1:])


def test_negbench_lines_begin_with_a_confirmed_original_and_short_rows_are_listed(tmp_path: Path) -> None:
    done = export(negbench(), "jsonl", tmp_path / "out")
    captions = {row["image"]: row for row in parts(negbench(), "caption_negated").iter_rows(named=True)}
    lines = list(read_multitext(done.path / "captions.jsonl", m=4))
    assert 0 < len(lines) < len(captions)
    for line in lines:
        row = captions[f"images/{Path(line.image).name}"]
        assert line.captions == [row["caption"], *pl.Series([row["negative_captions"]]).str.json_decode(LIST)[0]]
        assert len(json.loads(row["objects"])) == len(json.loads(row["seen_objects"]))
    assert len(lines) + len(json_lines(done.path / "left_out.jsonl")) == len(captions)


def test_fewer_texts_or_padding_keep_more_pictures(tmp_path: Path) -> None:
    dropped = export(negbench(), "jsonl", tmp_path / "dropped").record["files"]["captions.jsonl"]["rows"]
    done = export(negbench(), "jsonl", tmp_path / "padded", missing="pad")
    assert done.record["files"]["captions.jsonl"]["rows"] > dropped
    header = read_header(done.path / "captions.jsonl")
    assert header is not None and header.counts.padded["original"] > 0
    two = export(negbench(), "jsonl", tmp_path / "two", texts=2)
    assert {len(line.captions) for line in read_multitext(two.path / "captions.jsonl")} == {2}


def test_a_pipeline_without_a_fixed_number_of_texts_is_refused_with_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"jsonl needs a fixed number of texts.*it has pairs \(webdataset"):
        export(antidote(), "jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()
