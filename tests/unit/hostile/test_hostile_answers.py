"""Answers, prompts, captions and instructions of hostile texts: read, refused or shown as they are, and never in runaway time."""

from __future__ import annotations

import pytest

from fuzz.answers import TARGETS, Caption, Choice, Objects
from fuzz.guard import guarded
from fuzz.target import Target
from shardmill.core.answers import MAX_ANSWER, Malformed, parse_answer


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_text_breaks_what_reads_it(target: Target) -> None:
    assert target.taken(examples=40), "all cases were refused: what comes behind that is not tried"


@pytest.mark.parametrize(
    "mark", ["\n", " ", "\t", "\r\n", "<think>", "<think> ", "```\n", "~~~", "</s>", "<|x|> ", ", ", "[ ", "{ "]
)
def test_of_a_model_that_says_one_thing_for_ever_only_what_came_before_is_used_and_at_once(mark: str) -> None:
    text = mark * (MAX_ANSWER // len(mark))

    def read(said: str, model: type[Objects | Caption | Choice]) -> object:
        try:
            return parse_answer(said[:MAX_ANSWER], model)
        except Malformed:
            return None

    with guarded(seconds=10):
        for model in (Objects, Caption, Choice):
            assert read(f"```{text}", model) is None
            assert read(f'{{"objects": ["a"]}}{text}', model) == (Objects(objects=["a"]) if model is Objects else None)
        assert read(text, Objects) is read(text, Choice) is read(f"x{text}x", Choice) is None


@pytest.mark.parametrize(
    "said",
    [
        "<think>a dog? {}</think><Thinking>or a cat</THINKING>dog, cat",
        "<think>one</think>\n<|im_start|> <s>\ndog, cat</s><s>more",
        "well, thoughts that another program opened</think> dog, cat <|im_end|>\n\n",
        "```\n\n\ndog, cat\n```<end_of_turn>",
    ],
)
def test_thoughts_and_marks_around_an_answer_are_left_out(said: str) -> None:
    if said.startswith("```"):
        said = said.replace("dog, cat", '["dog", "cat"]')
    assert parse_answer(said, Objects).objects == ["dog", "cat"]


@pytest.mark.parametrize("depth", [200, 320, 350, 900, 990, 1_000, 30_000])
def test_brackets_within_brackets_are_malformed_and_break_no_worker(depth: int) -> None:
    for said in ('{"objects": %s}' % ("[" * depth + "]" * depth), '{"a": ' * depth + "1" + "}" * depth):
        for model in (Objects, Caption, Choice):
            with pytest.raises(Malformed):
                parse_answer(said, model)
