"""What each pipeline's rows claim, in sentences that a person can tick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shardmill.audit.statements import audit_outputs, require_outputs
from shardmill.core.planning import NewRun, start_run
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

EDITS = """
pipeline: anyedit
stages:
  - {stage: select_captions, options: {captions: caption, images: image}}
  - {stage: ground_objects, model: scene, options: {images: image}}
  - {stage: draw_edits}
  - {stage: write_instructions, model: rules}
  - {stage: judge_instructions, model: rules}
  - {stage: chain_instructions, model: rules, after: ground_objects}
  - {stage: write_implicit, model: rules, after: ingest, options: {topic: caption}}
"""


def planned(tmp_path: Path, pipeline: str, text: str = "image,caption\na.png,A dog runs.\n") -> RunFolder:
    table = tmp_path / "input.csv"
    table.write_text(text, encoding="utf-8")
    return start_run(tmp_path / "run", NewRun(input=table, pipeline=pipeline, num_shards=1))


def statements_of(run: RunFolder, kind: str, row: dict[str, Any]) -> list[tuple[str, str]]:
    output = next(each for each in audit_outputs(run) if each.kind == kind)
    return [(each.kind, each.text) for each in output.show(row).statements]


def test_antidote_claims_presence_absence_presupposition_and_the_better_answer(tmp_path: Path) -> None:
    run = planned(tmp_path, "antidote")
    row = {
        "scene_caption": "A dog runs.",
        "verified_present": ["dog"],
        "verified_absent": ["glasses"],
        "detections": {"dog": {"score": 0.9, "boxes": [[0, 0, 5, 5]]}, "glasses": {"score": 0.1, "boxes": [[1, 1, 2, 2]]}},
        "questions": [
            {"kind": "cpq", "object": "glasses", "question": "Which colour are the glasses?", "verdict": "pass"},
            {"kind": "tpq", "object": "dog", "question": "Is there a dog?", "verdict": "asks whether it is there"},
        ],
        "pope": [{"object": "dog", "question": "Is there a dog in the image?", "answer": "yes"}],
        "query": "Which colour are the glasses?", "response": "There are none.", "rejected_response": "Black.",
    }  # fmt: skip
    there, absent = ("object present", "There is a dog in this image."), "There are no glasses in this image."
    assert statements_of(run, "facts", row) == [there, ("object absent", absent)]
    presupposed, gone = statements_of(run, "questions", row)
    assert presupposed[0] == "cpq presupposes" and "Which colour are the glasses?" in presupposed[1]
    assert gone == ("cpq object absent", absent)
    assert statements_of(run, "existence", row) == [("existence answer", "Is there a dog in the image? Yes.")]
    assert [kind for kind, _ in statements_of(run, "preferences", row)] == ["preferred answer", "rejected answer"]
    shown = next(each for each in audit_outputs(run) if each.kind == "facts").show(row)
    assert [(box.name, box.kind) for box in shown.boxes] == [("dog", "kept"), ("glasses", "absent")]


def test_recaption_claims_that_good_texts_fit_and_that_some_name_no_object(tmp_path: Path) -> None:
    run = planned(tmp_path, "recaption")
    row = {
        "caption": "A dog.",
        "checked": [
            {"captioner": "", "perspective": "main", "text": "A dog.", "fault": None},
            {"captioner": "", "perspective": "style", "text": "Calm.", "fault": None},
            {"captioner": "", "perspective": "brief", "text": "I cannot.", "fault": "refusal"},
        ],
    }
    assert statements_of(run, "captions", row) == [
        ("main fits", "This fits the image: A dog."),
        ("style fits", "This fits the image: Calm."),
        ("style names no object", "This does not name an object of the image: Calm."),
    ]
    stratum = next(iter(audit_outputs(run))).stratum
    cells = [json.dumps(row["checked"]), json.dumps(row["checked"][2:]), "[]"]
    assert pl.DataFrame({"checked": cells}).select(s=stratum)["s"].to_list() == ["captions", None, None]


def test_anyedit_claims_that_an_instruction_fits_and_makes_its_output_caption(tmp_path: Path) -> None:
    file = tmp_path / "edits.yaml"
    file.write_text(EDITS, encoding="utf-8")
    run = planned(tmp_path, str(file))
    row = {"edit_type": "remove", "edit_input": "A dog on a sled.", "edit": "Remove the dog.", "output": "A sled."}
    fits, makes = statements_of(run, "instructions", row)
    assert fits[0] == "instruction fits" and "Remove the dog." in fits[1] and "A dog on a sled." in fits[1]
    assert makes[0] == "output caption" and makes[1].endswith("A sled.")
    assert [kind for kind, _ in statements_of(run, "instructions", {**row, "output": None})] == ["instruction fits"]
    turn = {"turn": 1, "edit_type": "remove", "input": "A dog on a sled.", "edit": "Remove the dog.", "output": "A sled."}
    turns = [
        turn,
        {**turn, "turn": 2, "input": "A sled.", "edit": "Add a cat.", "edit_type": "add", "output": "A cat on a sled."},
    ]
    assert [kind for kind, _ in statements_of(run, "chains", {"input": "A dog on a sled.", "chain": turns})] == [
        "instruction fits",
        "output caption",
    ] * 2
    event = {"original_caption": "A full glass.", "instruction": "What if it tips over?", "target_caption": "An empty glass."}
    (told,) = statements_of(run, "implicit edits", {"implicit": [event]})
    assert told[0] == "implicit edit" and all(text in told[1] for text in event.values())


def test_a_row_that_puts_nothing_out_is_in_no_stratum(tmp_path: Path) -> None:
    file = tmp_path / "edits.yaml"
    file.write_text(EDITS, encoding="utf-8")
    strata = {each.kind: each.stratum for each in audit_outputs(planned(tmp_path, str(file)))}
    table = pl.DataFrame({"chain": ["[]", '[{"turn":1}]'], "implicit": ["[]", "[{}]"], "edit_type": ["add", "remove"]})
    assert table.select(s=strata["chains"])["s"].to_list() == [None, "chains"]
    assert table.select(s=strata["implicit edits"])["s"].to_list() == [None, "implicit edits"]
    assert table.select(s=strata["instructions"])["s"].to_list() == ["add", "remove"]


def test_without_a_list_of_its_own_each_value_of_the_last_stage_is_a_statement(tmp_path: Path) -> None:
    file = tmp_path / "bare.yaml"
    file.write_text("pipeline: negbench\nstages:\n  - {stage: extract_objects, model: rules}\n", encoding="utf-8")
    run = planned(tmp_path, str(file))
    row = {"image": "a.png", "caption": "A dog runs.", "objects": ["dog", "beach"]}
    assert statements_of(run, "extract_objects", row) == [("objects", "This fits the image. objects: dog, beach")]
    (output,) = audit_outputs(run)
    assert output.image_column == "image"
    shown = output.show({**row, "image": None, "objects": []})
    assert [each.text for each in shown.statements] == ["This fits the caption. objects: none"]
    assert [(each.label, each.text) for each in shown.texts] == [("caption", "A dog runs.")]


def test_a_run_without_anything_to_tick_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bare.yaml"
    file.write_text("pipeline: negbench\nstages:\n  - {stage: extract_objects, model: rules}\n", encoding="utf-8")
    run = planned(tmp_path, str(file))
    stage = run.plan.stages[0].model_copy(update={"adds": {"score": "float"}})
    object.__setattr__(run, "plan", run.plan.model_copy(update={"stages": [stage]}))
    with pytest.raises(UserError, match="anything that a person can tick"):
        require_outputs(run)
