"""The model's verdict on what a model wrote; what templates made passes by code."""

from __future__ import annotations

from typing import Any

import pytest

from edit_rows import outcome, row_of
from shardmill.anyedit.edit_targets import targets
from shardmill.anyedit.edit_types import DRAWN, TYPES
from shardmill.anyedit.judge_instructions import BY_CODE, InstructionVerdict, JudgeInstructions
from shardmill.anyedit.write_instructions import WriteInstructions
from shardmill.core.answers import Malformed, parse_answer
from shardmill.core.prompts import load_template
from shardmill.core.seeding import rng_of
from shardmill.core.stage import Reject
from shardmill.models.contract import TextRequest

ROW = {
    "row_id": 1,
    "sub_id": 0,
    "edit_type": "remove",
    "edit_input": "A dog rides downhill on a sled.",
    "edit": "Remove the sled",
    "output": "A dog rides downhill.",
    "details": {},
}


def verdict(row: dict[str, Any], text: str) -> Any:
    return outcome(JudgeInstructions(), row, lambda request: text)


def test_the_model_is_asked_with_the_name_of_the_type_that_people_use() -> None:
    asks = JudgeInstructions().ask({**ROW, "edit_type": "color_alter"}, rng_of(0))
    assert isinstance(asks[0].request, TextRequest)
    values = dict(asks[0].request.chat.values)
    assert values == {
        "type": "changing the colour of an object",
        "input": ROW["edit_input"],
        "edit": ROW["edit"],
        "output": ROW["output"],
    }


def test_a_pass_comes_out_and_all_else_is_rejected_by_its_name() -> None:
    assert verdict(ROW, '{"verdict": "pass"}') == {"instruction_verdict": "pass"}
    assert verdict(ROW, "Pass.") == Reject("malformed answer")
    for word in ("other type", "vague", "impossible", "output wrong", "bad English"):
        assert verdict(ROW, f'{{"verdict": "{word}"}}') == Reject(f"judged: {word}")


@pytest.mark.parametrize(
    "text", ["yes", "", '{"verdict": "yes, it would pass"}', '{"verdict": "not really"}', '{"verdict": null}', "[]"]
)
def test_nothing_but_a_listed_verdict_passes(text: str) -> None:
    assert verdict(ROW, text) == Reject("malformed answer")


def test_verdicts_are_read_in_small_variations() -> None:
    assert parse_answer('{"verdict": "other_type."}', InstructionVerdict).verdict == "other type"
    with pytest.raises(Malformed):
        parse_answer('{"verdict": "y"}', InstructionVerdict)


@pytest.mark.parametrize("kind", [name for name in DRAWN if TYPES[name].writer == "template"])
def test_what_templates_made_asks_no_model(kind: str) -> None:
    row = {**ROW, "edit_type": kind, "output": None}
    assert JudgeInstructions().ask(row, rng_of(0)) == []
    assert JudgeInstructions().accept(row, []) == {"instruction_verdict": BY_CODE}


def test_of_a_wrapped_pair_the_pair_is_judged() -> None:
    row = row_of("A dog rides downhill on a sled.", sub_id=0)
    drawn = {**row, "edit_type": "visual_reference", "target": targets(row, "visual_reference")[1]}
    made = outcome(WriteInstructions(), drawn)
    assert isinstance(made, dict)
    asks = JudgeInstructions().ask({**drawn, **made}, rng_of(0))
    assert isinstance(asks[0].request, TextRequest)
    values = asks[0].request.chat.values
    assert values["type"] == TYPES["replace"].human
    assert values["edit"] == made["details"]["base_edit"] != made["edit"]
    assert values["output"] == made["details"]["base_output"]


@pytest.mark.parametrize(
    ("kind", "edit", "output", "expected"),
    [
        ("remove", "Remove the sled", "A dog rides downhill.", "pass"),
        ("remove", "Remove the sled and put a ball there", "A dog with a ball.", "other type"),
        ("add", "Erase the dog", "A sled.", "other type"),
        ("appearance_alter", "Make the sled look better", "A dog rides on a better sled.", "vague"),
        ("remove", "Remove the sled", "A dog rides downhill on a.", "bad English"),
        ("replace", "Replace the dog with a owl", "A owl rides on a sled.", "bad English"),
    ],
)
def test_the_embedded_rules_judge(kind: str, edit: str, output: str, expected: str) -> None:
    found = outcome(JudgeInstructions(), {**ROW, "edit_type": kind, "edit": edit, "output": output})
    assert found == ({"instruction_verdict": "pass"} if expected == "pass" else Reject(f"judged: {expected}"))


def test_the_examples_of_the_template_have_known_types_and_verdicts() -> None:
    names = {each.human for each in TYPES.values() if each.writer == "model"}
    seen = set()
    for bundle in load_template("anyedit/judge_instructions").header.bundles:
        for example in bundle:
            assert example.values["type"] in names
            seen.add(InstructionVerdict.model_validate(example.answer).verdict)
    assert "pass" in seen and len(seen) >= 5
