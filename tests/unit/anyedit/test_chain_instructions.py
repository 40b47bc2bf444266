"""Chains: each turn goes on from what the last one left, types do not repeat, and a failure shortens the chain."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from edit_rows import outcome, row_of, rules
from shardmill.anyedit.chain_instructions import TRIES, ChainInstructions
from shardmill.anyedit.edit_types import CHAINED, TYPES
from shardmill.core.stage import Context
from shardmill.models.contract import TextRequest
from shardmill.util.errors import UserError

SAMPLES = Path(__file__).parents[3] / "data" / "samples" / "captions.csv"
CAPTION = "A dog rides downhill on a sled beside a fence."


def chained(row: dict[str, Any], model: Any = rules, **options: Any) -> dict[str, Any]:
    found = outcome(ChainInstructions({"share": 1, **options}), row, model)
    assert isinstance(found, dict) and set(found) == {"chain", "chain_note"}
    return found


@pytest.fixture(scope="module")
def chains() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    with SAMPLES.open(encoding="utf-8") as file:
        captions = [row["caption"] for row in csv.DictReader(file) if row["source"] == "human" and len(row["caption"]) < 160]
    rows = [row_of(caption, row_id) for row_id, caption in list(enumerate(captions))[::4]]
    return [(row, chained(row)) for row in rows]


def test_each_turn_starts_from_what_the_last_one_left(chains: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    for row, found in chains:
        caption = row["input"]
        for number, turn in enumerate(found["chain"], 1):
            assert turn["turn"] == number
            assert turn["input"] == caption != turn["output"]
            caption = turn["output"]


def test_types_do_not_repeat_and_the_tone_changes_last(chains: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    for _, found in chains:
        kinds = [turn["edit_type"] for turn in found["chain"]]
        assert len(set(kinds)) == len(kinds) and set(kinds) <= set(CHAINED)
        assert "tune_transfer" not in kinds[:2]


def test_most_captions_get_a_whole_chain_of_many_kinds(chains: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    lengths = [len(found["chain"]) for _, found in chains]
    assert set(lengths) <= {0, 2, 3}
    assert lengths.count(3) > 0.9 * len(lengths)
    assert {turn["edit_type"] for _, found in chains for turn in found["chain"]} == set(CHAINED)
    for _, found in chains:
        if len(found["chain"]) == 3:
            assert found["chain_note"] == "3 turns"


def test_a_turn_has_all_that_an_instruction_has(chains: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    for _, found in chains:
        for turn in found["chain"]:
            assert list(turn) == ["turn", "edit_type", "input", "edit", "edited_object", "output", "details"]
            assert (turn["edited_object"] is not None) == TYPES[turn["edit_type"]].is_local
            assert turn["details"]["verb"]


def test_an_object_that_one_turn_removed_is_not_edited_by_the_next() -> None:
    for row_id in range(60):
        row = row_of(CAPTION, row_id)
        chain = chained(row, types=["remove", "color_alter", "replace"])["chain"]
        gone: set[str] = set()
        for turn in chain:
            assert turn["edited_object"] not in gone
            if turn["edit_type"] in ("remove", "replace"):
                gone.add(turn["edited_object"])


def failing(*kinds: str) -> Any:
    """The rules, which have nothing to say to some tasks."""

    def model(request: TextRequest) -> str:
        return "no" if request.chat.task.removeprefix("edit_") in kinds else rules(request)

    return model


def test_a_turn_that_fails_is_tried_with_another_type() -> None:
    for row_id in range(20):
        found = chained(row_of(CAPTION, row_id), failing("color_alter", "replace"))
        assert len(found["chain"]) == 3
        assert {"color_alter", "replace"}.isdisjoint(turn["edit_type"] for turn in found["chain"])


def test_a_chain_whose_turn_fails_for_good_is_kept_shorter() -> None:
    asked: list[str] = []

    def model(request: TextRequest) -> str:
        asked.append(request.chat.task)
        return rules(request) if len(set(asked)) <= 2 else "no"

    found = chained(row_of(CAPTION), model, turns=4)
    assert len(found["chain"]) == 2
    assert found["chain_note"].startswith("2 turns; ") and found["chain_note"].endswith(": malformed answer")
    assert len(set(asked)) == 2 + TRIES


def test_one_turn_is_no_chain() -> None:
    found = chained(row_of(CAPTION), types=["add"])
    assert found == {"chain": [], "chain_note": "1 turn; no other type applies"}


def test_a_model_without_answers_ends_the_chain_after_bounded_tries() -> None:
    asked: list[str] = []

    def model(request: TextRequest) -> str:
        asked.append(request.chat.task)
        return json.dumps({"edit": "Add a cat", "output": 5})

    found = chained(row_of(CAPTION), model)
    assert found["chain"] == [] and found["chain_note"].startswith("0 turns; ")
    assert len(asked) == TRIES * 3  # three attempts at each type


def test_the_share_of_captions_with_a_chain() -> None:
    stage = ChainInstructions({"share": 0.25})
    drawn = [bool(stage.ask(row_of(CAPTION, row_id), None)) for row_id in range(2_000)]  # type: ignore[arg-type]
    assert 0.22 < sum(drawn) / len(drawn) < 0.28
    left_out = next(row_id for row_id, each in enumerate(drawn) if not each)
    assert outcome(stage, row_of(CAPTION, left_out)) == {"chain": [], "chain_note": "not drawn"}


def test_chains_are_the_same_again_and_other_with_another_seed() -> None:
    rows = [row_of(CAPTION, row_id) for row_id in range(10)]
    first = [chained(row) for row in rows]
    assert [chained(row) for row in reversed(rows)] == first[::-1]
    other = ChainInstructions({"share": 1}, Context(seed=7))
    assert [outcome(other, row) for row in rows] != first
    assert len({json.dumps(found) for found in first}) == 10


def test_options_are_checked() -> None:
    for options in ({"turns": 1}, {"share": 2}, {"types": ["textual_change"]}, {"types": ["counting"]}, {"types": []}):
        with pytest.raises(UserError):
            ChainInstructions(options)
    assert ChainInstructions({"types": ["tone_transfer", "add"]}).options.types == ("tune_transfer", "add")
