"""Paraphrased options: what a paraphrase must keep, what happens when none is good, and that equal sentences are asked once."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from shardmill.core.model_stages import prompt_value
from shardmill.core.prompts import load_template
from shardmill.core.seeding import rng_of
from shardmill.core.stage import Answer, ModelCall
from shardmill.embedded.rules.rephrase import paraphrase
from shardmill.language.polarity import check_polarity
from shardmill.negbench.answers import NewCaption
from shardmill.negbench.paraphrase_mcq import ParaphraseMcq

TRUTHS = [
    {"dog": True, "cat": True},
    {"dog": True, "cat": False},
    {"cat": True, "dog": False},
    {"dog": False, "cat": False},
]
SENTENCES = [
    "This image features a dog and a cat.",
    "This image features a dog, but not a cat.",
    "This image features a cat, but not a dog.",
    "This image features neither a dog nor a cat.",
]
GOOD = [
    "A dog can be seen next to a cat.",
    "A dog is here while there is no cat.",
    "There is a cat and no dog.",
    "No dog and no cat can be found.",
]
ALONE = {"together": False}
"""Options of a stage that asks for each paraphrase alone."""


def row(row_id: int = 0, order: tuple[int, ...] = (0, 1, 2, 3)) -> dict[str, Any]:
    texts = {f"caption_{place}": SENTENCES[index] for place, index in enumerate(order)}
    return {"row_id": row_id, "sub_id": 0, **texts, "option_truths": [TRUTHS[index] for index in order]}


def ask(stage: ParaphraseMcq, question: dict[str, Any]) -> list[ModelCall]:
    return stage.ask(question, rng_of(0, stage.name, question["row_id"]))


def accept(stage: ParaphraseMcq, captions: list[str | None], question: dict[str, Any] | None = None) -> dict[str, Any]:
    """What comes out when the options are paraphrased like that; None is an ask without a good answer."""
    question = question or row()
    answers = [
        Answer(one, problem="wrong polarity") if caption is None else Answer(one, NewCaption(caption=caption))
        for one, caption in zip(ask(stage, question), captions, strict=True)
    ]
    result = stage.accept(question, answers)
    assert isinstance(result, dict)
    return result


def texts(result: dict[str, Any]) -> list[str]:
    return [result[f"paraphrase_{index}"] for index in range(4)]


def test_each_option_is_asked_about_with_what_it_claims() -> None:
    asks = ask(ParaphraseMcq(ALONE), row())
    assert [prompt_value(Answer(one), "sentence") for one in asks] == SENTENCES
    assert [prompt_value(Answer(one), "objects") for one in asks] == TRUTHS
    assert {prompt_value(Answer(one), "order") for one in asks} == {"free"}


@pytest.mark.parametrize(
    ("index", "caption", "problem"),
    [
        *((index, caption, None) for index, caption in enumerate(GOOD)),
        (1, "A dog is here with a cat.", "wrong polarity"),
        (1, "A cat is here while there is no dog.", "wrong polarity"),
        (1, "A dog is here.", "wrong polarity"),
        (3, "No dog is here.", "wrong polarity"),
        (1, "A dog is here beside a bench, without a cat.", "names another object"),
        (1, "THIS IMAGE features a dog but not a cat", "copy of the sentence"),
        (1, "A dog is here while there is no cat" + " at all" * 12 + ".", "paraphrase too long"),
    ],
)
def test_a_paraphrase_keeps_every_polarity_and_adds_nothing(index: int, caption: str, problem: str | None) -> None:
    check = ask(ParaphraseMcq(ALONE), row())[index].check
    assert check is not None
    assert check(NewCaption(caption=caption)) == problem


def test_a_paraphrase_may_have_as_many_words_as_the_option_says() -> None:
    caption = "A dog is here while there is no cat anywhere to be seen."
    for most, problem in ((13, None), (12, "paraphrase too long")):
        check = ask(ParaphraseMcq({**ALONE, "max_words": most}), row())[1].check
        assert check is not None
        assert check(NewCaption(caption=caption)) == problem


def test_good_paraphrases_replace_the_sentences() -> None:
    result = accept(ParaphraseMcq(ALONE), list(GOOD))
    assert texts(result) == GOOD
    assert result["paraphrased"] == [True] * 4


def test_an_option_without_a_good_paraphrase_keeps_the_sentence_of_the_template() -> None:
    result = accept(ParaphraseMcq(ALONE), [GOOD[0], None, GOOD[2], None])
    assert texts(result) == [GOOD[0], SENTENCES[1], GOOD[2], SENTENCES[3]]
    assert result["paraphrased"] == [True, False, True, False]


def test_a_row_without_any_good_paraphrase_is_not_lost() -> None:
    assert ParaphraseMcq.tolerant
    result = accept(ParaphraseMcq(ALONE), [None] * 4)
    assert texts(result) == SENTENCES
    assert result["paraphrased"] == [False] * 4


def test_paraphrases_that_look_the_same_fall_back_until_all_four_differ() -> None:
    result = accept(ParaphraseMcq(ALONE), [GOOD[0], "Dogs: no cat!", "dogs, no cat", GOOD[3]])
    assert texts(result) == [GOOD[0], SENTENCES[1], "dogs, no cat", GOOD[3]]
    result = accept(ParaphraseMcq(ALONE), [GOOD[0], SENTENCES[3].upper(), GOOD[2], None])
    assert texts(result) == [GOOD[0], SENTENCES[1], GOOD[2], SENTENCES[3]]
    result = accept(ParaphraseMcq(ALONE), ["The same."] * 4)
    assert texts(result) == [*SENTENCES[:3], "The same."]


def test_a_fall_back_that_meets_another_paraphrase_makes_that_one_fall_back_too() -> None:
    result = accept(ParaphraseMcq(ALONE), [SENTENCES[1], "Twice.", "twice", GOOD[3]])
    assert texts(result) == [SENTENCES[0], SENTENCES[1], "twice", GOOD[3]]


def test_sentences_that_cannot_be_told_apart_end_the_falling_back() -> None:
    question = {**row(), "caption_1": "A zorb ball.", "caption_2": "A zorbball."}
    result = accept(ParaphraseMcq(ALONE), [GOOD[0], None, None, GOOD[3]], question)
    assert texts(result) == [GOOD[0], "A zorb ball.", "A zorbball.", GOOD[3]]


def test_equal_sentences_share_few_asks_wherever_they_stand() -> None:
    stage = ParaphraseMcq({**ALONE, "variants": 3})
    shares: dict[str, set[str]] = {}
    for row_id in range(200):
        order = tuple(Random(row_id).sample(range(4), 4))
        for place, one in enumerate(ask(stage, row(row_id, order))):
            assert one.share is not None
            shares.setdefault(SENTENCES[order[place]], set()).add(one.share)
    assert {sentence: len(found) for sentence, found in shares.items()} == dict.fromkeys(SENTENCES, 3)
    assert len(set.union(*shares.values())) == 12


def test_the_variant_of_a_row_comes_from_its_seed_alone() -> None:
    stage = ParaphraseMcq(ALONE)
    first = [[one.share for one in ask(stage, row(row_id))] for row_id in range(50)]
    again = [[one.share for one in ask(ParaphraseMcq(ALONE), row(row_id))] for row_id in reversed(range(50))]
    assert first == again[::-1]
    assert len({share for shares in first for share in shares}) > 4


def test_the_examples_of_the_prompt_are_paraphrases_by_our_own_rules() -> None:
    bundles = load_template(ParaphraseMcq.prompt.removesuffix(".md")).header.bundles
    assert [len(bundle) for bundle in bundles] == [4, 4, 4]
    for bundle in bundles:
        claims = [tuple(example.values["objects"].values()) for example in bundle]
        assert sorted(claims) == [(False, False), (False, True), (True, False), (True, True)]
        for example in bundle:
            problem = ParaphraseMcq(ALONE).problem(
                example.answer["caption"], example.values["sentence"], example.values["objects"]
            )
            assert problem is None, example


def by_rules(sentence: str, truth: dict[str, bool], rng: Random) -> str:
    return str(paraphrase({"sentence": sentence, "objects": truth, "order": "free"}, rng)["caption"])


def forgetful(sentence: str, truth: dict[str, bool], rng: Random) -> str:
    """A model that forgets to negate, as real ones do."""
    return by_rules(sentence, dict.fromkeys(truth, True), rng)


@pytest.mark.parametrize(("model", "kept"), [(by_rules, 4), (forgetful, 1)])
def test_whatever_the_model_answers_the_options_say_what_they_claim(
    model: Callable[[str, dict[str, bool], Random], str], kept: int
) -> None:
    stage = ParaphraseMcq(ALONE)
    rng = Random(1)
    for row_id in range(40):
        question = row(row_id, tuple(rng.sample(range(4), 4)))
        answers = []
        for index, one in enumerate(ask(stage, question)):
            said = NewCaption(caption=model(question[f"caption_{index}"], question["option_truths"][index], rng))
            assert one.check is not None
            problem = one.check(said)
            answers.append(Answer(one, problem=problem) if problem else Answer(one, said))
        result = stage.accept(question, answers)
        assert isinstance(result, dict)
        assert sum(result["paraphrased"]) == kept
        assert len({text.casefold() for text in texts(result)}) == 4
        for text, truth in zip(texts(result), question["option_truths"], strict=True):
            assert check_polarity(text, truth) is None, json.dumps([text, truth])
