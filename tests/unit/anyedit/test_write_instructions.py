"""Instructions of all types: by the embedded rules, by templates, around a pair; and what becomes of bad answers."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edit_rows import outcome, row_of, rules
from shardmill.anyedit.draw_edits import DrawEdits
from shardmill.anyedit.edit_targets import targets
from shardmill.anyedit.edit_types import DRAWN, TYPES
from shardmill.anyedit.instruction_answers import AnyInstruction, read_answer
from shardmill.anyedit.instruction_checks import EditRequest, instruction_problem
from shardmill.anyedit.instruction_form import VERBS, quoted
from shardmill.anyedit.write_instructions import WriteInstructions, written_type
from shardmill.core.seeding import rng_of
from shardmill.core.stage import Reject
from shardmill.language.relations import mentions

SAMPLES = Path(__file__).parents[3] / "data" / "samples" / "captions.csv"
BOXES = {
    "dog": {"score": 0.9, "boxes": [[10.0, 10.0, 60.0, 60.0]]},
    "sled": {"score": 0.8, "boxes": [[200.0, 200.0, 400.0, 400.0]]},
}
DOG = row_of("A dog rides downhill on a sled.", sub_id=0, detections=BOXES, width=512, height=512)
COLUMNS = set(WriteInstructions.adds)


def drawn(row: dict[str, Any], kind: str, target: dict[str, Any]) -> dict[str, Any]:
    return {**row, "edit_type": kind, "target": target}


def written(kind: str, target: dict[str, Any], row: dict[str, Any] = DOG) -> dict[str, Any]:
    found = outcome(WriteInstructions(), drawn(row, kind, target))
    assert isinstance(found, dict), found
    assert set(found) == COLUMNS
    return found


def test_a_model_writes_and_every_field_is_kept() -> None:
    found = written("replace", {"object": "sled"})
    assert found["edit_input"] == DOG["input"]
    assert found["edited_object"] == "sled"
    assert found["visual_input"] is None
    details = found["details"]
    assert details["object"] == details["edited_object"] == "sled"
    assert details["verb"] in VERBS["replace"] and found["edit"].lower().startswith(details["verb"])
    assert mentions(found["output"], details["new_object"]) and not mentions(found["output"], "sled")


def test_only_local_edits_have_an_edited_object_and_details_have_all() -> None:
    for kind in DRAWN:
        possible = targets(DOG, kind)
        if not possible or TYPES[kind].writer == "model":
            continue
        found = written(kind, possible[0])
        assert found["edited_object"] is None
        if kind not in ("style_change", "outpaint"):
            assert found["details"]["edited_object"]


def test_a_background_keeps_its_foreground_and_its_old_place() -> None:
    row = row_of("A crab and a bucket on a beach.", sub_id=0)
    details = written("background_change", {}, row)["details"]
    assert details["foreground"] == ["crab", "bucket"]
    assert details["original_background"] == "a beach"
    assert details["new_background"]


def test_a_given_text_is_put_into_the_input_and_changed() -> None:
    row = row_of("the front of a small bakery", sub_id=0, input_texts=["FRESH ROLLS"])
    found = written("textual_change", {"text": "FRESH ROLLS"}, row)
    assert quoted(found["edit_input"]) == ["FRESH ROLLS"] and found["edit_input"] != row["input"]
    assert quoted(found["output"]) == [found["details"]["new_text"]]
    assert found["details"]["old_text"] == "FRESH ROLLS"
    assert len(found["details"]["new_text"].split()) == 2


def test_templates_ask_no_model() -> None:
    stage = WriteInstructions()
    chair = row_of("A dog beside a chair.", sub_id=0, detections=BOXES, width=512, height=512)
    for kind in ("movement", "resize", "style_change", "rotation_change"):
        assert targets(chair, kind)
        row = drawn(chair, kind, targets(chair, kind)[0])
        assert stage.ask(row, rng_of(0)) == []
        assert stage.accept(row, []) == stage.accept(row, [])


def test_counting_changes_the_number_in_the_caption() -> None:
    row = row_of("Four kayaks float on a lake.", sub_id=0)
    found = written("counting", targets(row, "counting")[0], row)
    assert found["output"] != row["input"]
    assert found["details"]["remove_number"] == 4 - found["details"]["number_after"]


@pytest.mark.parametrize("kind", [name for name, each in TYPES.items() if each.writer == "pair"])
def test_a_pair_is_asked_for_and_wrapped(kind: str) -> None:
    chair = row_of("A dog beside a chair.", sub_id=0)
    target = targets(chair, kind)[-1]
    row = drawn(chair, kind, target)
    asks = WriteInstructions().ask(row, rng_of(0))
    assert [ask.request.chat.task for ask in asks] == [f"edit_{target['base']}"]
    found = outcome(WriteInstructions(), row)
    assert isinstance(found, dict)
    assert found["details"]["base"] == target["base"]
    assert found["details"]["base_edit"] != found["edit"]
    assert found["details"]["condition"]
    assert found["visual_input"] is None


def test_malformed_and_wrong_answers_are_asked_again_and_then_rejected_with_the_last_reason() -> None:
    row = drawn(DOG, "color_alter", {"object": "sled", "color": "blue"})
    good = json.dumps(
        {"edit": "Make the sled blue", "edited_object": "sled", "color": "blue", "output": "A dog rides on a blue sled."}
    )
    answers = iter(["no idea", json.dumps({"edit": "Make the sled blue", "output": "A blue sled"}), good])
    found = outcome(WriteInstructions(), row, lambda request: next(answers))
    assert isinstance(found, dict) and found["output"] == "A dog rides on a blue sled."
    assert outcome(WriteInstructions(), row, lambda request: "no idea") == Reject("malformed answer")
    wrong = good.replace("blue sled", "covered sled")
    assert outcome(WriteInstructions(), row, lambda request: wrong) == Reject("colour not in the output")


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", "__import__('os').system('touch pwned')", "{'edit': 1, 'output': 2}", '{"edit": {}, "output": []}',
     '{"edit":"Add a cat"', "[" * 5_000, '{"edit": "Add a \\ud800 cat", "edited_object": "cat", "output": "A dog"}'],
)  # fmt: skip
def test_hostile_answers_reject_the_row_and_nothing_else(text: str) -> None:
    assert isinstance(outcome(WriteInstructions(), drawn(DOG, "add", {}), lambda request: text), Reject)


def test_implicit_changes_belong_to_another_stage() -> None:
    found = outcome(WriteInstructions(), drawn(DOG, "implicit_change", {}))
    assert isinstance(found, Reject) and found.reason == "edit type of another stage"


def test_verbs_vary() -> None:
    stage = WriteInstructions()
    rows = [{**drawn(DOG, "remove", {"object": "dog"}), "row_id": row_id} for row_id in range(60)]
    firsts = {outcome(stage, row)["edit"].split()[0] for row in rows}  # type: ignore[index]
    assert len(firsts) >= 4


def test_the_fingerprint_covers_every_template_and_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    from shardmill.anyedit import instruction_prompts, write_instructions

    before = WriteInstructions().fingerprint({"kind": "rules"})
    monkeypatch.setattr(write_instructions, "words_digest", lambda: "other words")
    assert WriteInstructions().fingerprint({"kind": "rules"}) != before
    monkeypatch.undo()
    whole = instruction_prompts.prompts_digest.__wrapped__()
    for kind in instruction_prompts.ANSWERS:
        load = instruction_prompts.load_template
        other = instruction_prompts.template_name("add" if kind == "remove" else "remove")
        names = {instruction_prompts.template_name(kind): other}
        monkeypatch.setattr(
            instruction_prompts, "load_template", lambda name, load=load, names=names: load(names.get(name, name))
        )
        assert instruction_prompts.prompts_digest.__wrapped__()["template"] != whole["template"], kind
        monkeypatch.undo()
    less = dict(list(instruction_prompts.ANSWERS.items())[:-1])
    monkeypatch.setattr(instruction_prompts, "ANSWERS", less)
    assert instruction_prompts.prompts_digest.__wrapped__()["answer schema"] != whole["answer schema"]


@pytest.fixture(scope="module")
def samples() -> list[tuple[dict[str, Any], Any]]:
    """Each third human caption of the sample with its drawn edits and what becomes of them."""
    with SAMPLES.open(encoding="utf-8") as file:
        captions = [row["caption"] for row in csv.DictReader(file) if row["source"] == "human" and len(row["caption"]) < 160]
    found = []
    for row_id, caption in list(enumerate(captions))[::3]:
        edits = DrawEdits().accept(row_of(caption, row_id), [])
        for edit in [] if isinstance(edits, Reject) else edits:
            row = {**row_of(caption, row_id), **edit}
            found.append((row, outcome(WriteInstructions(), row)))
    return found


def test_the_rules_write_nearly_every_drawn_edit(samples: list[tuple[dict[str, Any], Any]]) -> None:
    by_type = Counter(row["edit_type"] for row, _ in samples)
    made = Counter(row["edit_type"] for row, found in samples if isinstance(found, dict))
    assert len(samples) > 300
    assert made.total() > 0.8 * len(samples), [(row["edit_type"], found) for row, found in samples if isinstance(found, Reject)]
    assert len(made) >= 18
    for kind, count in by_type.items():
        # A pair needs a thing that can stand for the other, and the rules know no such thing for many.
        least = 0.35 if TYPES[kind].writer == "pair" else 0.5 if kind == "replace" else 0.6
        assert count < 20 or made[kind] >= least * count, kind


def test_no_instruction_breaks_a_rule_of_its_type(samples: list[tuple[dict[str, Any], Any]]) -> None:
    for row, found in samples:
        if not isinstance(found, dict) or TYPES[row["edit_type"]].writer != "model":
            continue
        named = {name: value for name, value in found["details"].items() if name in row_fields(row["edit_type"])}
        texts = {"edit": found["edit"], "output": found["output"]}
        if row["edit_type"] == "textual_change":
            texts["input"] = found["edit_input"]
        answer = read_answer(row["edit_type"], AnyInstruction.model_validate({**named, **texts}))
        assert answer is not None
        assert (
            instruction_problem(row["edit_type"], answer, EditRequest(row["input"], row["input_objects"], row["target"])) is None
        )


def row_fields(kind: str) -> set[str]:
    from shardmill.anyedit.instruction_answers import ANSWERS

    return set(ANSWERS[kind].model_fields)


def test_instructions_are_varied(samples: list[tuple[dict[str, Any], Any]]) -> None:
    edits = [found["edit"] for _, found in samples if isinstance(found, dict)]
    assert len(set(edits)) > 0.95 * len(edits)
    assert Counter(edit.split()[0] for edit in edits).most_common(1)[0][1] < 0.3 * len(edits)


def test_the_same_rows_come_out_in_any_order(samples: list[tuple[dict[str, Any], Any]]) -> None:
    stage = WriteInstructions()
    for row, found in samples[:120:-1][:40]:
        assert outcome(stage, row, rules) == found


def test_the_type_that_a_model_writes_is_that_of_the_pair() -> None:
    assert written_type(drawn(DOG, "visual_depth", {"base": "remove", "object": "dog"})) == "remove"
    assert written_type(drawn(DOG, "tone_transfer", {"aspect": "season"})) == "tune_transfer"
    assert written_type(drawn(DOG, "style_change", {})) is None
