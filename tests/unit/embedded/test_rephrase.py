"""Paraphrases by rule: the same objects with the same polarity in other words, alike in every truth cell."""

from __future__ import annotations

import itertools
import random
from statistics import mean

import pytest

from shardmill.embedded.rules.phrases import patterns
from shardmill.embedded.rules.rephrase import paraphrase
from shardmill.language.polarity import check_polarity, form, new_objects

PAIRS = [("dog", "cat"), ("dogs", "umbrella"), ("water", "bench"), ("people", "traffic light"), ("apple", "scissors")]
SEEDS = range(100)
CELLS = list(itertools.product((True, False), repeat=2))


def template(objects: dict[str, bool], medium: str = "image") -> str:
    """The sentence that the multiple-choice questions are made of."""
    yes = [name for name, there in objects.items() if there]
    no = [name for name, there in objects.items() if not there]
    if not no:
        return f"This {medium} features {' and '.join(yes)}."
    if yes:
        return f"This {medium} features {' and '.join(yes)}, but not {' or '.join(no)}."
    if len(no) == 1:
        return f"This {medium} does not feature {no[0]}."
    return f"This {medium} features neither {' nor '.join(no)}."


def rephrased(sentence: str, objects: dict[str, bool], seed: int, order: str = "free") -> str:
    return str(paraphrase({"sentence": sentence, "objects": objects, "order": order}, random.Random(seed))["caption"])


def problems(text: str, sentence: str, objects: dict[str, bool]) -> list[str]:
    found = [check_polarity(text, objects) or "", *new_objects(text, objects, sentence)]
    if text.casefold() == sentence.casefold():
        found.append("unchanged")
    if not text[0].isupper() or not text.endswith("."):
        found.append("no sentence")
    return [problem for problem in found if problem]


@pytest.mark.parametrize("order", ["free", "keep"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pair", PAIRS)
def test_two_objects_keep_their_polarity(pair: tuple[str, str], cell: tuple[bool, bool], order: str) -> None:
    objects = dict(zip(pair, cell, strict=True))
    for medium in ("image", "video"):
        sentence = template(objects, medium)
        for seed in SEEDS:
            text = rephrased(sentence, objects, seed, order)
            assert problems(text, sentence, objects) == [], text


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", [name for pair in PAIRS for name in pair])
def test_one_object_keeps_its_polarity(name: str, there: bool) -> None:
    objects = {name: there}
    for seed in SEEDS:
        text = rephrased(template(objects), objects, seed)
        assert problems(text, template(objects), objects) == [], text


@pytest.mark.parametrize("cell", list(itertools.product((True, False), repeat=4)))
def test_longer_lists_keep_their_polarity(cell: tuple[bool, ...]) -> None:
    objects = dict(zip(("dog", "bicycles", "water", "umbrella"), cell, strict=True))
    for seed in SEEDS:
        text = rephrased(template(objects), objects, seed)
        assert problems(text, template(objects), objects) == [], text


@pytest.mark.parametrize(
    "sentence",
    [
        "Two dogs run on a beach. There is no cat in the image.",
        "There is no cat in the image. Two dogs run on a beach.",
        "Two dogs run on a beach. There is no cat in the video.",
    ],
)
def test_a_caption_with_a_negation_keeps_its_caption_and_changes_the_negation(sentence: str) -> None:
    objects = {"dog": True, "cat": False}
    for order in ("free", "keep"):
        for seed in SEEDS:
            text = rephrased(sentence, objects, seed, order)
            assert problems(text, sentence, objects) == [], text
            assert "Two dogs run on a beach." in text
            assert "There is no cat in the" not in text
            if order == "keep":
                assert form(text, ["dog"], ["cat"]) == form(sentence, ["dog"], ["cat"])


def test_a_bare_negation_is_rephrased() -> None:
    for seed in SEEDS:
        text = rephrased("There is no cat in the video.", {"cat": False}, seed)
        assert problems(text, "There is no cat in the video.", {"cat": False}) == []


def test_order_keep_leaves_what_comes_first() -> None:
    for sentence, wanted in (
        ("This image features a dog, but not a cat.", "affirmation_first"),
        ("There is no cat, but this image features a dog.", "negation_first"),
    ):
        found = {form(rephrased(sentence, {"dog": True, "cat": False}, seed, "keep"), ["dog"], ["cat"]) for seed in SEEDS}
        assert found == {wanted}
    for seed in SEEDS:
        text = rephrased("This image features a dog and a cat.", {"cat": True, "dog": True}, seed, "keep")
        assert text.lower().index("dog") < text.lower().index("cat")


def test_order_free_uses_both_orders() -> None:
    objects = {"dog": True, "cat": False}
    found = {form(rephrased("This image features a dog, but not a cat.", objects, seed), ["dog"], ["cat"]) for seed in SEEDS}
    assert found == {"affirmation_first", "negation_first"}


def test_the_medium_is_the_one_of_the_sentence() -> None:
    texts = [rephrased("This video features a dog and a cat.", {"dog": True, "cat": True}, seed) for seed in SEEDS]
    assert all("video" in text or "image" not in text for text in texts)
    assert sum("video" in text for text in texts) > 50


def test_cells_of_two_objects_are_alike_in_length() -> None:
    lengths = {}
    for cell in CELLS:
        texts = []
        for pair in (*PAIRS, *(pair[::-1] for pair in PAIRS)):
            objects = dict(zip(pair, cell, strict=True))
            texts += [rephrased(template(objects), objects, seed) for seed in range(150)]
        lengths[cell] = mean(map(len, texts))
    assert max(lengths.values()) <= 1.1 * min(lengths.values()), lengths


def test_every_cell_has_at_least_twelve_patterns() -> None:
    table = patterns("paraphrases")
    for cell in ("affirmed_one", "negated_one", "affirmed_list", "negated_list", "mixed_affirmed_first", "mixed_negated_first"):
        assert len(set(table[cell])) >= 12
    assert len(table["affirmed_two"]) == len(table["negated_two"])


def test_the_same_seed_gives_the_same_sentence() -> None:
    objects = {"dog": True, "cat": False}
    first = [rephrased(template(objects), objects, seed) for seed in range(30)]
    assert first == [rephrased(template(objects), objects, seed) for seed in range(30)]
    assert len(set(first)) > 12
