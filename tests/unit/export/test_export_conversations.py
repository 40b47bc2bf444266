"""Conversations and preference pairs have the structure that LLaVA, TRL and ms-swift look for."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import datasets
import pytest

from exported import alike, antidote, export, json_lines, negbench, parts, recaption
from shardmill.antidote.build import build
from shardmill.export.llava import without_image_token
from shardmill.models.images import open_image
from shardmill.recaption.exports import prompt_of
from shardmill.recaption.perspectives import perspectives
from shardmill.util.errors import UserError

IMAGE_TOKEN = "<image>"


def check_llava(entry: dict[str, object], image_folder: Path) -> None:
    """What LLaVA's `LazySupervisedDataset` and `preprocess_multimodal` rely on."""
    turns = entry["conversations"]
    assert isinstance(turns, list) and len(turns) % 2 == 0 and turns
    assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
    assert turns[0]["value"].startswith(f"{IMAGE_TOKEN}\n")
    assert sum(turn["value"].count(IMAGE_TOKEN) for turn in turns) == 1
    assert all(turn["value"].strip() for turn in turns)
    assert open_image(str(image_folder / str(entry["image"]))).size == (320, 240)


def test_questions_are_asked_with_four_options_and_answered_by_the_letter_of_the_true_one(tmp_path: Path) -> None:
    done = export(negbench(), "llava", tmp_path / "out", images="copy")
    entries = json.loads((done.path / "questions.json").read_text(encoding="utf-8"))
    rows = parts(negbench(), "paraphrase_mcq")
    assert [entry["id"] for entry in entries] == [
        f"{row_id}-{sub_id}" for row_id, sub_id in rows.select("row_id", "sub_id").iter_rows()
    ]
    for entry, row in zip(entries, rows.iter_rows(named=True), strict=True):
        check_llava(entry, done.path)
        question, answer = (turn["value"] for turn in entry["conversations"])
        right = "ABCD"[row["correct_answer"]]
        assert answer == right
        assert row["paraphrase_" + str(row["correct_answer"])] in question.split(f"\n{right}. ")[1]


def test_an_image_has_one_conversation_with_all_prompts_of_its_captions(tmp_path: Path) -> None:
    done = export(recaption(), "llava", tmp_path / "out")
    entries = json.loads((done.path / "texts.json").read_text(encoding="utf-8"))
    assert len(entries) == parts(recaption(), "merge_captions").height
    for entry in entries:
        check_llava(entry, done.path)
    asked = [turn["value"].removeprefix(f"{IMAGE_TOKEN}\n") for turn in entries[5]["conversations"][::2]]
    assert asked == [perspectives()[name].prompt for name in ("detail", "noun", "background", "main", "style")]
    assert prompt_of(recaption(), "noun") == asked[1]


def test_the_image_token_in_data_is_taken_out(tmp_path: Path) -> None:
    assert without_image_token("<image>a<ima<image>ge>b") == "ab"
    done = export(recaption(), "llava", tmp_path / "out", what=["captions"])
    for entry in json.loads((done.path / "captions.json").read_text(encoding="utf-8")):
        check_llava(entry, done.path)


def test_the_better_answers_make_conversations_too(tmp_path: Path) -> None:
    done = export(antidote(), "llava", tmp_path / "out")
    entries = json.loads((done.path / "pairs.json").read_text(encoding="utf-8"))
    assert [entry["conversations"][1]["value"] for entry in entries] == parts(antidote(), "pair_preferences")[
        "response"
    ].to_list()
    for entry in entries:
        check_llava(entry, done.path)


def test_trl_rows_are_conversational_preferences_that_datasets_reads(tmp_path: Path) -> None:
    done = export(antidote(), "dpo", tmp_path / "out", images="copy")
    path = done.path / "pairs.trl.jsonl"
    for row in json_lines(path):
        assert row.keys() == {"images", "prompt", "chosen", "rejected"}
        assert [message["role"] for message in (*row["prompt"], *row["chosen"], *row["rejected"])] == [
            "user",
            "assistant",
            "assistant",
        ]
        kinds = [part["type"] for part in row["prompt"][0]["content"]]
        assert Counter(kinds)["image"] == len(row["images"]) == 1
        assert row["chosen"] != row["rejected"]
        assert open_image(str(done.path / row["images"][0])).size == (320, 240)
    data = datasets.Dataset.from_json(str(path), cache_dir=str(tmp_path / "cache"))
    assert data.num_rows == parts(antidote(), "pair_preferences").height


def test_swift_and_llamafactory_pairs_say_the_same(tmp_path: Path) -> None:
    swift = json_lines(export(antidote(), "dpo", tmp_path / "swift", form="swift").path / "pairs.swift.jsonl")
    ranked = json_lines(export(antidote(), "dpo", tmp_path / "ranked", form="llamafactory").path / "pairs.llamafactory.jsonl")
    assert len(swift) == len(ranked) > 10
    for one, other in zip(swift, ranked, strict=True):
        assert one["query"] == other["conversations"][0]["value"]
        assert one["response"] == other["chosen"]["value"]
        assert one["rejected_response"] == other["rejected"]["value"]
        assert one["images"] == other["images"] and Path(other["images"][0]).is_file()


def test_pairs_are_those_of_the_build_without_near_duplicates(tmp_path: Path) -> None:
    build(alike(), tmp_path / "built")
    built = json_lines(tmp_path / "built" / "preferences.swift.jsonl")
    done = export(alike(), "dpo", tmp_path / "out", form="swift")
    exported = json_lines(done.path / "pairs.swift.jsonl")
    assert [{**row, "images": []} for row in exported] == [{**row, "images": []} for row in built]
    doubles = done.record["left_out"]["near duplicate of an earlier one"]
    assert doubles == parts(alike(), "pair_preferences").height - len(built) > 0


def test_runs_without_pairs_or_questions_are_refused_with_what_they_have(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dpo needs preference pairs, which .* does not have; it has captions \(csv"):
        export(negbench(), "dpo", tmp_path / "out")
    with pytest.raises(UserError, match=r"captions of a negbench run cannot be llava, which needs questions with answers"):
        export(negbench(), "llava", tmp_path / "out", what=["captions"])
