"""Lengths in CLIP tokens are open_clip's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shardmill.recaption import clip_tokens as module
from shardmill.recaption.clip_tokens import END, LIMIT, START, clip_tokens

GOLD = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "clip_token_ids.jsonl").read_text("utf-8").split("\n")
    if line
]
"""Texts and their ids by open_clip 3.3.0 `SimpleTokenizer().encode`, with start and end: captions, and what is hard to encode."""


def test_ids_and_lengths_are_those_of_open_clip() -> None:
    tokens = clip_tokens()
    assert len(GOLD) > 250
    assert [row["text"] for row in GOLD if tokens.ids(row["text"]) != row["ids"]] == []
    assert [row["text"] for row in GOLD if tokens.length(row["text"]) != len(row["ids"])] == []


@settings(deadline=None)
@given(st.text())
def test_a_text_has_the_tokens_of_its_words_one_after_the_other(text: str) -> None:
    """Given any text, encoding it word by word, as is done for speed, gives what the tokenizer gives for all of it."""
    whole = module._tokenizer().encode(module.clean(text), add_special_tokens=False).ids if text else []
    assert clip_tokens().ids(text) == [START, *whole, END]


def test_a_text_without_words_is_a_start_and_an_end() -> None:
    assert clip_tokens().ids(" \n") == [START, END]


def test_a_batch_is_what_the_text_encoder_takes() -> None:
    tokens = clip_tokens()
    batch = tokens.batch(["a ferry", "word " * 200])
    assert (batch.shape, batch.dtype) == ((2, LIMIT), np.int64)
    assert batch[0].tolist()[:5] == [START, 320, 10278, END, 0]
    assert (batch[1, 0], batch[1, -1], np.count_nonzero(batch[1])) == (START, END, LIMIT)
