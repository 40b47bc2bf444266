"""A joined file feeds multi-text training: JSON lines become token ids [batch, M, 77], one place for each perspective."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shardmill.export.multi_text_format import read_header
from shardmill.export.multi_text_reader import read_multitext
from shardmill.recaption.clip_tokens import END, LIMIT, START, ClipTokens, clip_tokens
from shardmill.recaption.join import join_captions
from shardmill.recaption.validate import check_multitext

M, ROWS, BATCH = 3, 10, 4


def batches(path: Path, size: int, encode: ClipTokens) -> Iterator[tuple[list[str], np.ndarray[Any, np.dtype[np.int64]]]]:
    """What a training loader does: images, and the ids of their texts as [batch, M, 77]; the last batch is left out if short."""
    lines = read_multitext(path)
    while len(batch := list(islice(lines, size))) == size:
        yield [line.image for line in batch], np.stack([encode.batch(line.captions) for line in batch])


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    images = [f"/d/{number}.jpg" for number in range(ROWS)]
    rows = [{"image": image, "caption": f"photo number {image}"} for image in images]
    (tmp_path / "original.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "detail.json").write_text(json.dumps(dict.fromkeys(images, "A white ferry " + "passes a pier " * 40)))
    (tmp_path / "noun.json").write_text(json.dumps(dict.fromkeys(images, "ferry, pier")))
    indexes = {name: [tmp_path / f"{name}.json"] for name in ("detail", "noun")}
    join_captions(tmp_path / "original.jsonl", indexes, tmp_path / "multi.jsonl")
    return tmp_path / "multi.jsonl"


def test_a_joined_file_becomes_batches_of_token_ids(joined: Path) -> None:
    tokens = clip_tokens()
    assert check_multitext(joined).fit
    header = read_header(joined)
    assert header is not None
    place = [text.name for text in header.texts].index("noun")
    found = list(batches(joined, BATCH, tokens))
    assert [ids.shape for _, ids in found] == [(BATCH, M, LIMIT)] * (ROWS // BATCH)
    for images, ids in found:
        assert len(images) == BATCH
        assert (ids[:, :, 0] == START).all()
        assert (ids.max(axis=2) == END).all()  # the text encoder reads its result where the largest id stands: at the end
        assert (ids[:, place] == tokens.batch(["ferry, pier"])).all()
        assert (np.count_nonzero(ids[:, 1], axis=1) == LIMIT).all()  # a detailed caption is cut, and still ends


def test_each_image_stays_with_its_own_texts(joined: Path) -> None:
    stand_in = ClipTokens(lambda word: [int(char) for char in word if char.isdigit()])
    for images, ids in batches(joined, BATCH, stand_in):
        assert ids[:, 0, 1].tolist() == [int(Path(image).stem) for image in images]
