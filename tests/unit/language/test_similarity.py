"""Likeness of short texts: the same on every machine, exact, and dependent on nothing but the order of the texts."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random
from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardmill.language import similarity
from shardmill.language.lexicon import lexicon
from shardmill.language.similarity import DIMENSIONS, cosine, vectors

TEXTS = st.lists(
    st.sampled_from(["what is the cat on", "what is the dog on", "What is the cat on?", "how big", "", "a cat"]), max_size=12
)


def questions(count: int, seed: int = 1) -> list[str]:
    rng = Random(seed)
    names = list(lexicon().entries)
    starts = [
        "What colour is the",
        "Who is using the",
        "What is right behind the",
        "How worn does the",
        "What has been put on the",
    ]
    ends = ["", " and the {}", " in front of the {}", " that the {} is next to"]
    return [f"{rng.choice(starts)} {rng.choice(names)}{rng.choice(ends).format(rng.choice(names))}?" for _ in range(count)]


def near_duplicates(*arguments: Any, **options: Any) -> list[bool]:
    """Which texts repeat an earlier one."""
    return [each is not None for each in similarity.near_duplicates(*arguments, **options)]


def near_duplicates_of(*arguments: Any, **options: Any) -> list[bool]:
    """The same for dense vectors."""
    return [each is not None for each in similarity.near_duplicates_of(*arguments, **options)]


def test_a_near_duplicate_names_the_text_that_it_repeats_and_how_similar_they_are() -> None:
    texts = ["How big is the dog?", "What is the cat on?", "What is the cat on now?", "What is the cat on ?"]
    for found in (
        similarity.near_duplicates(texts, threshold=0.6, top_k=1),
        similarity.near_duplicates_of(np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 1]]), [0] * 4, threshold=0.7, top_k=1),
    ):
        assert found[:2] == [None, None]
        assert [each and each.earlier for each in found[2:]] == [1, 1]
        assert found[2] and found[3] and 0.6 < found[2].cosine < found[3].cosine <= 1.0001


def plainly(texts: list[str], groups: list[int] | None, threshold: float, top_k: int) -> list[bool]:
    """What near duplicates are, compared one by one."""
    found = vectors(texts)
    kept: list[int] = []
    repeated = []
    for at, vector in enumerate(found):
        alike = [
            1 for other in kept if (groups is None or groups[other] == groups[at]) and cosine(vector, found[other]) > threshold
        ]
        repeated.append(len(alike) >= top_k)
        if not repeated[-1]:
            kept.append(at)
    return repeated


def test_a_text_is_like_itself_and_unlike_another() -> None:
    same, case, near, far, empty = vectors(
        ["What colour is the dog?", "what COLOUR is the dog", "What colour is the dogs' bed?", "Who rides up there", ""]
    )
    assert cosine(same, same) == pytest.approx(1)
    assert cosine(same, case) == pytest.approx(1)
    assert 0.5 < cosine(same, near) < 0.95
    assert cosine(same, far) < 0.1
    assert cosine(same, empty) == cosine(empty, empty) == 0


def test_vectors_are_small_and_of_length_one() -> None:
    for features, weights in vectors(questions(200)):
        assert weights.dtype == np.float32 and features.dtype == np.int32
        assert np.linalg.norm(weights) == pytest.approx(1, abs=1e-5)
        assert (np.diff(features) > 0).all() and features.min() >= 0 and features.max() < DIMENSIONS


def test_the_hash_is_not_pythons() -> None:
    code = "from shardmill.language.similarity import vectors; print(vectors(['the mirror'])[0].features.tolist())"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] == f"{vectors(['the mirror'])[0].features.tolist()}\n"


def test_so_many_may_be_alike_and_no_more() -> None:
    assert near_duplicates(["What is the cat on?"] * 6, top_k=3) == [False] * 3 + [True] * 3
    assert near_duplicates(["What is the cat on?"] * 3, top_k=1) == [False, True, True]


def test_what_is_dropped_makes_nothing_else_a_duplicate() -> None:
    chain = ["a b c d e f g h", "a b c d e f g x", "a b c d e f y x"]
    first, second, third = vectors(chain)
    threshold = 0.75
    assert cosine(first, second) > threshold and cosine(second, third) > threshold > cosine(first, third)
    assert near_duplicates(chain, threshold=threshold, top_k=1) == [False, True, False]


def test_groups_are_compared_within_themselves() -> None:
    texts = ["What is the cat on?"] * 4
    assert near_duplicates(texts, ["cpq", "tpq", "cpq", "tpq"], top_k=1) == [False, False, True, True]
    assert near_duplicates(texts, top_k=1) == [False, True, True, True]


@pytest.mark.parametrize(("threshold", "top_k"), [(0.8, 3), (0.8, 1), (0.5, 2), (0.3, 3), (0.95, 1)])
def test_the_index_finds_what_comparing_one_by_one_finds(threshold: float, top_k: int) -> None:
    texts = questions(700, seed=top_k)
    groups = [Random(seed).randrange(2) for seed in range(700)]
    for some in (None, groups):
        expected = plainly(texts, some, threshold, top_k)
        assert near_duplicates(texts, some, threshold, top_k) == expected
    assert 5 < sum(expected) < 695 or threshold == 0.95


@given(TEXTS, st.sampled_from([0.2, 0.6, 0.8]), st.integers(1, 3))
def test_any_texts_are_handled(texts: list[str], threshold: float, top_k: int) -> None:
    assert near_duplicates(texts, None, threshold, top_k) == plainly(texts, None, threshold, top_k)


def test_what_comes_later_changes_nothing() -> None:
    texts = questions(600)
    whole = near_duplicates(texts, top_k=1)
    assert whole == near_duplicates(texts, top_k=1)
    assert near_duplicates(texts[:300], top_k=1) == whole[:300]
    assert any(whole)


def test_wrong_settings_are_refused() -> None:
    for threshold, top_k in ((0.0, 3), (1.0, 3), (0.8, 0)):
        with pytest.raises(ValueError, match="threshold"):
            near_duplicates(["x"], threshold=threshold, top_k=top_k)
    with pytest.raises(ValueError):
        near_duplicates(["x", "y"], ["one group"])


def test_ten_thousand_questions_take_seconds() -> None:
    texts = questions(10_000)
    start = process_time()
    repeated = near_duplicates(texts)
    assert process_time() - start < 20
    assert 0 < sum(repeated) < 10_000


def test_dense_vectors_are_judged_as_texts_are() -> None:
    texts = ["What colour is the dog?", "What colour is the dog ?", "Which colour has the dog?", "How big is the dog?"] * 3
    things = ["dog", "cat"] * 6
    found = vectors(texts)
    dense = np.zeros((len(texts), len(texts)), dtype=np.float32)
    for one in range(len(texts)):
        for other in range(len(texts)):
            dense[one, other] = cosine(*vectors([texts[one], texts[other]]))
    root = np.linalg.cholesky(dense.astype(np.float64) + 1e-6 * np.eye(len(texts))).astype(np.float32)
    for top_k in (1, 2, 3):
        assert near_duplicates_of(root, things, 0.8, top_k) == near_duplicates(texts, things, 0.8, top_k)
    assert len(found) == len(texts) and near_duplicates_of(np.empty((0, 4), dtype=np.float32), []) == []
