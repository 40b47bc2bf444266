"""What NegBench asks for together: the four paraphrases of a question, and the examples of both prompts for lists."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from shardmill.core.list_stage import TextList
from shardmill.core.model_stages import prompt_value
from shardmill.core.prompts import load_template
from shardmill.core.seeding import rng_of
from shardmill.core.stage import Answer, FollowUp, ModelCall
from shardmill.embedded.rules.engine import RulesModel
from shardmill.language.polarity import check_polarity
from shardmill.negbench.answers import NewCaption
from shardmill.negbench.caption_negated import CaptionNegated
from shardmill.negbench.mcq_forms import CELLS, TRUTHS
from shardmill.negbench.paraphrase_mcq import ParaphraseMcq

SENTENCES = {
    "both": "This image features a dog and a cat.",
    "first_only": "This image features a dog, but not a cat.",
    "second_only": "This image features a cat, but not a dog.",
    "neither": "This image features neither a dog nor a cat.",
}
GOOD = {
    "both": "A dog can be seen next to a cat.",
    "first_only": "A dog is here while there is no cat.",
    "second_only": "There is a cat and no dog.",
    "neither": "No dog and no cat can be found.",
}


def row(row_id: int, cells: tuple[str, ...] = CELLS) -> dict[str, Any]:
    texts = {f"caption_{place}": SENTENCES[cell] for place, cell in enumerate(cells)}
    truths = [dict(zip(("dog", "cat"), TRUTHS[cell], strict=True)) for cell in cells]
    return {"row_id": row_id, "sub_id": 0, **texts, "option_truths": truths}


def ask(question: dict[str, Any], **options: Any) -> list[ModelCall]:
    stage = ParaphraseMcq(options)
    return stage.ask(question, rng_of(0, stage.name, question["row_id"]))


def texts_for(call: ModelCall, texts: dict[str, str]) -> Answer:
    """An answer of these texts, in the order that the call wants."""
    cell_of = {sentence: cell for cell, sentence in SENTENCES.items()}
    return Answer(call, [texts[cell_of[prompt_value(Answer(part), "sentence")]] for part in call.parts])


def test_all_four_options_are_asked_about_in_one_request_and_put_in_their_places() -> None:
    for row_id in range(8):
        cells = tuple(Random(row_id).sample(CELLS, 4))
        (call,) = ask(row(row_id, cells))
        result = ParaphraseMcq().accept(row(row_id, cells), [texts_for(call, GOOD)])
        assert result == {**{f"paraphrase_{place}": GOOD[cell] for place, cell in enumerate(cells)}, "paraphrased": [True] * 4}


def test_rows_with_the_same_question_share_a_request_in_any_order_of_its_options() -> None:
    calls = [ask(row(row_id, tuple(Random(row_id).sample(CELLS, 4))), variants=3)[0] for row_id in range(100)]
    assert len({call.share for call in calls}) == 3
    for call in calls:
        twin = next(each for each in calls if each.share == call.share)
        assert [part.share for part in twin.parts] == [part.share for part in call.parts]
    firsts = {call.request.chat.values["things"][0] for call in calls}  # type: ignore[union-attr]
    assert firsts == {"dog", "cat"}


def test_a_paraphrase_that_fails_is_asked_for_alone_and_falls_back_if_that_fails_too() -> None:
    stage, question = ParaphraseMcq(), row(0)
    (call,) = ask(question)
    answer = texts_for(call, {**GOOD, "neither": "A dog and a cat."})
    more = stage.accept(question, [answer])
    assert isinstance(more, FollowUp) and [prompt_value(Answer(each), "sentence") for each in more.calls] == [
        SENTENCES["neither"]
    ]
    again = Answer(more.calls[0], NewCaption(caption="There is neither a cat nor a dog."))
    good, bad = (stage.accept(question, [answer, each]) for each in (again, Answer(more.calls[0], problem="wrong polarity")))
    assert good["paraphrase_3"] == "There is neither a cat nor a dog." and good["paraphrased"] == [True] * 4
    assert bad["paraphrase_3"] == SENTENCES["neither"] and bad["paraphrased"] == [True, True, True, False]


def test_options_that_are_not_the_four_cells_over_two_objects_are_asked_about_one_by_one() -> None:
    published = {
        **row(0),
        "option_truths": [{"dog": True, "cat": True}, {"cat": False}, {"dog": True, "cat": False}, {"dog": True}],
    }
    assert [len(call.parts) for call in ask(published)] == [0] * 4


def test_the_rules_answer_lists_that_pass_every_check() -> None:
    for row_id in range(20):
        (call,) = ask(row(row_id))
        (reply,) = RulesModel().stream([call.request])  # type: ignore[list-item]
        assert call.parse is not None
        answers = ParaphraseMcq().single_answers([Answer(call, call.parse(reply))])
        assert not isinstance(answers, FollowUp)
        for answer in answers:
            assert check_polarity(answer.value.caption, prompt_value(answer, "objects")) is None


def test_the_examples_of_the_prompts_for_lists_pass_every_check() -> None:
    stage = CaptionNegated()
    for example in (each for bundle in load_template("negbench/caption_negated_list").header.bundles for each in bundle):
        values = example.values
        objects = dict.fromkeys(("positive_objects", "seen_objects"), values["objects"])
        original = {"caption": values["caption"], "objects": [*values["objects"], *values["unconfirmed"]], **objects}
        wanted = [(name, "affirmation_first") for name in values["last"]] + [(name, "negation_first") for name in values["first"]]
        for text, (negative, form) in zip(TextList(**example.answer).captions, wanted, strict=True):
            assert stage.problem(original, text, negative, form) is None, text
    for example in (each for bundle in load_template("negbench/paraphrase_mcq_list").header.bundles for each in bundle):
        claims = [dict(zip(example.values["things"], TRUTHS[cell], strict=True)) for cell in CELLS]
        for text, sentence, claim in zip(example.answer["captions"], example.values["sentences"], claims, strict=True):
            assert ParaphraseMcq().problem(text, sentence, claim) is None, text
            assert check_polarity(sentence, claim) is None, json.dumps([sentence, claim])
