"""A blind reader is no better than chance on balanced questions, and always right on the published format."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import polars as pl
import pytest

from shardmill.core.stage import Context
from shardmill.embedded.rules.rephrase import paraphrase
from shardmill.language.lexicon import lexicon
from shardmill.negbench.blind import KNOW_OBJECTS, blind_baselines, claims_of, odd_one_out, read_questions
from shardmill.negbench.blind_knowledge import BlindQuestion
from shardmill.negbench.create_mcq import CreateMcq
from shardmill.quality.caption_knowledge import CaptionKnowledge
from shardmill.quality.significance import wilson_interval
from shardmill.quality.text_patterns import masked
from shardmill.util.errors import UserError

ROWS = 3_000


def questions(style: str, *, rephrased: bool = False) -> list[BlindQuestion]:
    """Questions about objects of which each is more often a positive or more often a negative, as in real data."""
    rng = Random(0)
    names = list(lexicon().entries)[:300]

    def lists(common: list[str], rare: list[str]) -> list[str]:
        drawn = [rng.choice(common) if rng.random() < 0.7 else rng.choice(rare) for _ in range(4)]
        return list(dict.fromkeys(drawn))

    positives = [lists(names[:150], names[150:]) for _ in range(ROWS)]
    negatives = [[name for name in lists(names[150:], names[:150]) if name not in taken] for taken in positives]
    drawn = [json.dumps([drawn_question(rng, *lists)]) for lists in zip(positives, negatives, strict=True)]
    lists_of = {"positive_objects": map(json.dumps, positives), "negative_objects": map(json.dumps, negatives)}
    table = pl.DataFrame({"row_id": range(ROWS), **lists_of, "valid_questions": drawn})
    stage = CreateMcq({"style": style, "balance": 0}, Context(seed=3))
    stage.fitted = stage.fit(table)
    made = stage.transform(table).filter(pl.col("reject_reason").is_null())
    found = []
    for row in made.iter_rows(named=True):
        truths = tuple(json.loads(row["option_truths"]))
        texts = tuple(row[f"caption_{index}"] for index in range(4))
        if rephrased:
            texts = tuple(
                paraphrase({"sentence": text, "objects": truth, "order": "free"}, rng)["caption"]
                for text, truth in zip(texts, truths, strict=True)
            )
        found.append(BlindQuestion(texts, truths, row["correct_answer"], row["row_id"] % 2))
    return found


def drawn_question(rng: Random, positives: list[str], negatives: list[str]) -> dict[str, object]:
    """A question about two objects of the lists, or of the other list where one of them is short."""
    present = [rng.random() < 0.5, rng.random() < 0.5]
    pools = {True: rng.sample(positives, len(positives)), False: rng.sample(negatives, len(negatives))}
    present = [each if pools[each] else not each for each in present]
    names = []
    for place, each in enumerate(present):
        present[place] = each if pools[each] else not each
        names.append(pools[present[place]].pop())
    return {"objects": names, "present": present, "counts": [9, 5, 2]}


@pytest.mark.parametrize("rephrased", [False, True])
def test_balanced_questions_give_nothing_away(rephrased: bool) -> None:
    asked = questions("balanced", rephrased=rephrased)
    assert len(asked) >= 2_000
    for baseline in blind_baselines(asked):
        if baseline.name not in KNOW_OBJECTS:
            spread = (baseline.right.high - baseline.right.low) / 2
            assert abs(baseline.right.value - 0.25) <= max(0.03, spread), baseline


def test_the_published_format_is_answered_blindly() -> None:
    results = {baseline.name: baseline for baseline in blind_baselines(questions("original"))}
    assert results["odd one out"].right.value > 0.95
    assert results["bag of words"].beats_chance
    assert results["odd one out"].beats_chance


def test_the_object_prior_tells_where_objects_have_sides() -> None:
    results = {baseline.name: baseline for baseline in blind_baselines(questions("balanced"))}
    assert results["object prior"].right.value > 0.3


def test_wilson_is_wide_for_few_and_narrow_for_many() -> None:
    low, high = wilson_interval(0.25, 20)
    assert low < 0.25 < high
    assert high - low > 0.3
    low, high = wilson_interval(0.25, 20_000)
    assert high - low < 0.013


def table_of(path: Path, rows: list[dict[str, object]]) -> Path:
    pl.DataFrame(rows).write_csv(path)
    return path


def test_a_published_table_is_read_from_its_texts_alone(tmp_path: Path) -> None:
    false = ("This image features crane, but not ferry.", "This image features crane.", "This image does not feature ferry.")
    texts = {f"caption_{index}": text for index, text in enumerate([*false, "This image features ferry, but not crane."])}
    path = table_of(tmp_path / "published.csv", [{"image_path": "7.jpg", "correct_answer": 3, **texts}] * 8)
    question = read_questions(path)[0]
    assert question.truths == (
        {"crane": True, "ferry": False},
        {"crane": True},
        {"ferry": False},
        {"crane": False, "ferry": True},
    )
    assert odd_one_out(question) == 3


def test_the_claims_read_from_texts_are_those_that_were_stored() -> None:
    for rephrased in (False, True):
        asked = questions("balanced", rephrased=rephrased)[:400]
        names = [{lexicon().find(name) for name in question.truths[0]} for question in asked]
        sound = [question for question, entries in zip(asked, names, strict=True) if None not in entries]
        assert sum(claims_of(question.texts) == question.truths for question in sound) > 0.97 * len(sound)


def test_the_questions_of_an_image_are_in_one_half(tmp_path: Path) -> None:
    texts = {f"caption_{index}": f"There is a {name}." for index, name in enumerate(["dog", "cat", "cup", "car"])}
    for key in ("row_id", "image_path"):
        rows = [{key: f"{number // 3}", "correct_answer": 0, **texts} for number in range(300)]
        halves = [question.half for question in read_questions(table_of(tmp_path / f"{key}.csv", rows))]
        assert 60 < sum(halves) < 240
        assert all(len(set(halves[start : start + 3])) == 1 for start in range(0, 300, 3))


def test_the_bag_of_words_learns_from_word_order_but_not_from_objects() -> None:
    rng = Random(4)

    def asked(pattern: str, other: str) -> list[BlindQuestion]:
        made = []
        for number in range(800):
            x, y = rng.sample(["dog", "cat", "cup", "car"], 2)
            answer = rng.randrange(4)
            texts = tuple((pattern if index == answer else other).format(x=x, y=y) for index in range(4))
            made.append(BlindQuestion(texts, ({x: True, y: False},) * 4, answer, number % 2))
        return made

    def accuracy(made: list[BlindQuestion]) -> float:
        return {baseline.name: baseline for baseline in blind_baselines(made)}["bag of words"].right.value

    assert accuracy(asked("Here only {x} is, and {y} is not.", "Here is only {x}, and {y} is not.")) > 0.95
    assert masked("A dog, but no dogs or hot dogs.", ["dog"]) == "A _, but no _ or hot dogs."


def test_a_table_that_holds_no_questions_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"x\.csv, question 0"):
        read_questions(path)


def test_readers_that_know_objects_find_that_common_ones_are_always_there() -> None:
    rng = Random(1)
    common, rare = ["dog", "cat", "car", "tree", "boat"], ["anvil", "sextant", "zeppelin", "harp", "loom"]
    asked = []
    for number in range(800):
        names = rng.sample(common + rare, 2)
        cells = [dict(zip(names, claims, strict=True)) for claims in ((True, True), (True, False), (False, True), (False, False))]
        rng.shuffle(cells)
        texts = tuple(", ".join(f"{'a' if there else 'no'} {name}" for name, there in cell.items()) for cell in cells)
        answer = cells.index({name: name in common for name in names})
        asked.append(BlindQuestion(texts, tuple(cells), answer, number % 2))
    known = CaptionKnowledge([[name] for name in common] * 50 + [[name] for name in rare])
    right = {each.name: each.right.value for each in blind_baselines(asked, known)}
    assert right.keys() >= KNOW_OBJECTS
    assert all(right[name] > 0.9 for name in KNOW_OBJECTS)
