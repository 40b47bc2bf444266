"""Lengths in CLIP tokens are open_clip's own; without a vocabulary a bound is given, and never more than the truth."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shardmill.recaption import clip_tokens as module
from shardmill.recaption.clip_bpe import ClipBpe, byte_letters, find_vocabulary
from shardmill.recaption.clip_tokens import END, LIMIT, START, ClipTokens, clip_tokens
from shardmill.util.errors import UserError

GOLD = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "data" / "clip_token_ids.jsonl").read_text("utf-8").split("\n")
    if line
]
"""Texts and their ids by open_clip 3.3.0 `SimpleTokenizer().encode`, with start and end: captions, and what is hard to encode."""


def tokenizers() -> Iterator[ClipTokens]:
    """Each exact tokenizer that can be had here."""
    pytest.importorskip("ftfy")
    if clip_tokens().exact:
        yield clip_tokens()
    vocabulary = find_vocabulary()
    if vocabulary:
        yield ClipTokens(ClipBpe(vocabulary).encode, "own")


def test_ids_are_those_of_open_clip() -> None:
    found = list(tokenizers())
    if not found:
        pytest.skip("no CLIP vocabulary is installed")
    assert len(GOLD) > 250
    for tokens in found:
        wrong = [row["text"] for row in GOLD if tokens.ids(row["text"]) != row["ids"]]
        assert wrong == [], tokens.source
        assert all(tokens.length(row["text"]) == len(row["ids"]) for row in GOLD)


def test_the_bound_is_never_more_than_the_truth_and_near_it_for_plain_captions() -> None:
    bound = ClipTokens(None, "a bound")
    assert not bound.exact
    assert [row["text"] for row in GOLD if bound.length(row["text"]) > len(row["ids"])] == []
    plain = [row for row in GOLD if row["text"].isascii() and 5 < len(row["text"].split()) < 40]
    assert sum(bound.length(row["text"]) for row in plain) > 0.9 * sum(len(row["ids"]) for row in plain)


def test_without_ftfy_or_a_vocabulary_there_are_no_exact_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for absent in (("ftfy",), ("instant_clip_tokenizer", "open_clip", "clip")):
        with monkeypatch.context() as patch:
            patch.setattr(module, "find_spec", lambda name, gone=absent: None if name in gone else object())
            patch.setattr(module, "find_vocabulary", lambda: None)
            tokens = clip_tokens.__wrapped__()
        assert not tokens.exact
        assert "shardmill[clip]" in tokens.source
        with pytest.raises(UserError, match=r"shardmill\[clip\]"):
            tokens.ids("a ferry")


def test_a_batch_is_what_the_text_encoder_takes() -> None:
    tokens = clip_tokens()
    if not tokens.exact:
        pytest.skip("no CLIP vocabulary is installed")
    batch = tokens.batch(["a ferry", "word " * 200])
    assert (batch.shape, batch.dtype) == ((2, LIMIT), np.int64)
    assert batch[0].tolist()[:5] == [START, 320, 10278, END, 0]
    assert (batch[1, 0], batch[1, -1], np.count_nonzero(batch[1])) == (START, END, LIMIT)


def test_pairs_are_merged_by_rank_and_ids_follow_the_file(tmp_path: Path) -> None:
    vocabulary = tmp_path / "merges.gz"
    vocabulary.write_bytes(gzip.compress(b"#version\na b\na b</w>\nab ab</w>\n"))
    bpe = ClipBpe(vocabulary)
    letter_a, last_b, merged = 64, 256 + 65, 512
    assert bpe.encode("b") == [last_b]
    assert bpe.encode("aab") == [letter_a, merged + 1]
    assert bpe.encode("abab") == [merged + 2]
    assert bpe.encode("abab aab") == [merged + 2, letter_a, merged + 1]


def test_every_byte_has_a_letter_of_its_own() -> None:
    letters = byte_letters()
    assert len(set(letters)) == 256
    assert letters[ord("a")] == "a"
    assert not any(letter.isspace() for letter in letters)
