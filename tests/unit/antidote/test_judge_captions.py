"""The verdict on a parsed caption: what code decides, what the model is asked, and what becomes of the row."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from shardmill.antidote.answers import CaptionVerdict
from shardmill.antidote.judge_captions import JudgeCaptions, fault
from shardmill.core.answers import Malformed, parse_answer
from shardmill.core.prompts import load_template
from shardmill.core.stage import Answer, Reject
from shardmill.embedded.rules.scenes import judge_caption
from shardmill.models.contract import TextRequest

VERDICTS = ("pass", "abstract", "not visible", "same thing", "implausible")


def row(**changes: Any) -> dict[str, Any]:
    caption = "A cat sleeps on a sofa in the living room"
    return {
        "row_id": 0,
        "caption": caption,
        "scene_caption": caption,
        "present": ["cat", "sofa"],
        "absent": ["lamp", "clock"],
        **changes,
    }


def judged(given: dict[str, Any], verdict: str | None = None) -> dict[str, Any] | Reject:
    """What becomes of the row when the model says so, or without asking it."""
    stage = JudgeCaptions()
    asked = stage.ask(given, Random(0))
    assert len(asked) == (0 if verdict is None else 1)
    result = stage.accept(given, [Answer(one, CaptionVerdict.model_validate({"verdict": verdict})) for one in asked])
    assert not isinstance(result, list)
    return result


def test_a_row_that_passes_comes_out_with_its_verdict() -> None:
    assert judged(row(), "pass") == {"caption_verdict": "pass"}


@pytest.mark.parametrize("verdict", VERDICTS[1:])
def test_any_other_verdict_rejects_the_row(verdict: str) -> None:
    assert judged(row(), verdict) == Reject(f"caption judged: {verdict}", "by the model")


@pytest.mark.parametrize(
    ("changes", "verdict", "detail"),
    [
        ({"present": []}, "abstract", "nothing present"),
        ({"caption": "A sofa without a cat in the living room"}, "not visible", "cat is negated"),
        ({"scene_caption": "There is no cat on the sofa"}, "not visible", "cat is negated"),
        ({"scene_caption": "A cat on a sofa, and no cat on the floor"}, "not visible", "cat is mixed"),
        ({"absent": ["lamp", "couch"]}, "same thing", "couch is synonym of sofa"),
        ({"absent": ["kitten"]}, "same thing", "kitten is hypernym of cat"),
        ({"absent": ["whisker"]}, "same thing", "whisker is part of cat"),
        ({"absent": ["living room"]}, "same thing", "living room is named in the caption"),
    ],
)
def test_what_code_can_see_is_not_asked(changes: dict[str, Any], verdict: str, detail: str) -> None:
    assert judged(row(**changes)) == Reject(f"caption judged: {verdict}", detail)


def test_the_model_sees_both_captions_and_both_lists() -> None:
    request = JudgeCaptions().ask(row(caption="Minka sleeps on a sofa"), Random(0))[0].request

    assert isinstance(request, TextRequest)
    told = request.chat.messages(0)[-1]["content"]
    assert "Minka sleeps" in told
    assert "living room" in told
    assert '["cat","sofa"]' in told.replace(", ", ",")
    assert '["lamp","clock"]' in told.replace(", ", ",")


@pytest.mark.parametrize("text", ['{"verdict": "Not visible."}', '```JSON\n{"verdict": "not visible"}\n```'])
def test_a_verdict_is_read_in_any_case(text: str) -> None:
    assert parse_answer(text, CaptionVerdict).verdict == "not visible"


@pytest.mark.parametrize("text", ['{"verdict": "does not pass"}', '{"verdict": ""}', "it passes", '{"verdict": "reject"}'])
def test_no_verdict_is_read_out_of_other_words(text: str) -> None:
    with pytest.raises(Malformed):
        parse_answer(text, CaptionVerdict)


def test_the_examples_of_the_template_agree_with_the_code() -> None:
    seen = set()
    for bundle in load_template("antidote/judge_captions").header.bundles:
        for example in bundle:
            found = fault(example.values)
            assert found is None or found[0] == example.answer["verdict"], example
            seen.add(example.answer["verdict"])
        assert seen == set(VERDICTS)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "pass"),
        ({"present": ["trash can", "cat"]}, "pass"),
        ({"caption": "Hope", "scene_caption": "Hope is a long wait", "present": ["hope", "wait"]}, "abstract"),
        ({"present": ["cat", "silence"]}, "not visible"),
        ({"scene_caption": "A sofa without a cat"}, "not visible"),
        ({"absent": ["couch"]}, "same thing"),
        ({"absent": ["lamp", "shark"]}, "implausible"),
        ({"absent": ["unheard-of thing"]}, "pass"),
    ],
)
def test_rules_judge(changes: dict[str, Any], verdict: str) -> None:
    assert judge_caption(row(**changes), Random(0)) == {"verdict": verdict}
