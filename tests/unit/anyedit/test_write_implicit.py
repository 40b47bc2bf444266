"""Implicit edits: what one must be, the examples that ship, and how a row is asked until it has enough."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shardmill.anyedit import implicit_edits
from shardmill.anyedit.implicit_edits import ImplicitEdit, ImplicitEdits, keys_of, plain, sample_problem, seeds, tidied
from shardmill.anyedit.write_implicit import WriteImplicit
from shardmill.core.model_stages import prompt_value
from shardmill.core.planning import NewRun, start_run
from shardmill.core.seeding import rng_of, seed_of
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.core.stage import Answer, Context, FollowUp, ModelCall
from shardmill.embedded.rules.engine import RulesModel
from shardmill.language.lexicon import lexicon
from shardmill.util.errors import UserError

GOOD = {
    "original_caption": "An ice cube lies on a stove.",
    "instruction": "What if the stove is lit?",
    "target_caption": "A puddle of water covers a stove.",
    "key_words": ["ice", "puddle"],
}


def sample(**changes: Any) -> dict[str, Any]:
    return tidied(ImplicitEdit(**{**GOOD, **changes}))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"instruction": "Somebody turns the stove on."}, None),
        ({"key_words": ["Ice", "puddle", "ICE"]}, None),
        ({"target_caption": "an ice cube lies on the stove"}, "nothing changes"),
        ({"target_caption": "A puddle"}, "caption too short or too long"),
        ({"original_caption": "An ice cube lies on a stove " + "and waits " * 10}, "caption too short or too long"),
        ({"original_caption": "An ice cube lies on a stove. It is cold."}, "caption is not one sentence"),
        ({"original_caption": "Does an ice cube lie on a stove?"}, "caption is not one sentence"),
        ({"original_caption": "Here is an ice cube on a stove"}, "preamble or refusal"),
        ({"target_caption": "The image shows a puddle of water"}, "preamble or refusal"),
        ({"target_caption": "I cannot describe the stove after that"}, "preamble or refusal"),
        ({"target_caption": "A puddle {water} on a stove"}, "stray marks"),
        ({"target_caption": "Лужа воды на плите"}, "stray marks"),
        ({"instruction": "Replace the ice cube with a puddle."}, "no question or event"),
        ({"instruction": "Melt?"}, "no question or event"),
        ({"instruction": "Is the stove hot now?"}, "no question or event"),
        ({"instruction": "What if it is lit? Think of the heat."}, "no question or event"),
        ({"instruction": "The following happens to it:"}, "no question or event"),
        ({"instruction": "An ice cube lies on the stove."}, "instruction is a caption"),
        ({"original_caption": "A snowflake lies on a stove."}, "not about its topic"),
        ({"key_words": []}, "no key words, or too many"),
        ({"key_words": ["ice cube"]}, "key word is not one word"),
        ({"key_words": ["steam"]}, "key word is not in the captions"),
        ({"key_words": list("abcdef")}, "no key words, or too many"),
    ],
)
def test_what_a_sample_must_be(changes: dict[str, Any], problem: str | None) -> None:
    assert sample_problem(sample(**changes), "ice cube", whole=False) == problem


def test_a_caption_as_topic_is_kept_to_by_one_of_its_things() -> None:
    assert sample_problem(sample(), "A kitchen with a stove and a sink", whole=True) is None
    assert sample_problem(sample(), "A kitchen with a sink", whole=True) == "not about its topic"


def test_samples_are_tidied() -> None:
    found = tidied(
        ImplicitEdit(**{**GOOD, "original_caption": ' "An ice  cube lies on a stove" ', "key_words": [" Ice.", "ice", ""]})
    )
    assert found["original_caption"] == "An ice cube lies on a stove." and found["key_words"] == ["ice"]


def test_there_are_many_examples_and_all_keep_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(seeds()) >= 64
    for field in ("original_caption", "target_caption", "instruction"):
        texts = Counter(plain(seed[field]) for seed in seeds())
        assert max(texts.values()) <= 1, texts.most_common(3)
    for seed in seeds():
        assert seed.keys() == GOOD.keys()
        assert sample_problem(tidied(ImplicitEdit(**seed)), seed["original_caption"], True) == "repeats an example"
    monkeypatch.setattr(implicit_edits, "_seed_keys", frozenset)
    for seed in seeds():
        assert sample_problem(tidied(ImplicitEdit(**seed)), seed["original_caption"], True) is None, seed
    first_words = Counter(word for seed in seeds() for word in {plain(word) for word in seed["key_words"]})
    assert len(first_words) > 1.5 * len(seeds()) and max(first_words.values()) <= 4


@pytest.mark.parametrize("answer", [{}, {"samples": []}, {"samples": [{**GOOD, "instruction": None}]}, {"samples": [{}]}])
def test_the_schema_is_strict(answer: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImplicitEdits.model_validate(answer)


def numbered(count: int, start: int = 0) -> ImplicitEdits:
    """Samples about a lamp that differ in what happens to it."""
    fates = ["dusty", "broken", "burnt", "frozen", "rusty", "wet", "dented", "bent", "cracked", "scratched", "muddy", "painted"]
    samples = [
        {
            "original_caption": "A lamp stands in a hall.",
            "instruction": f"What makes the lamp look {fate}?",
            "target_caption": f"A {fate} lamp stands in a hall.",
            "key_words": ["lamp", fate],
        }
        for fate in fates[start : start + count]
    ]
    return ImplicitEdits.model_validate({"samples": samples})


Script = Callable[[int, ModelCall], ImplicitEdits | str]


def played(script: Script, row: dict[str, Any] | None = None, **options: Any) -> tuple[list[dict[str, Any]], list[ModelCall]]:
    """The row's implicit edits and all that was asked; the script says what is answered in a round, or what is wrong."""
    stage = WriteImplicit({"share": 1.0, **options}, Context(seed=3))
    row = row or {"row_id": 5, "concept": "lamp", "caption": "A lamp in a hall"}
    asks = stage.ask(row, rng_of(0))
    answers: list[Answer] = []
    while True:
        for ask in asks[len(answers) :]:
            said = script(len(answers), ask)
            problem = said if isinstance(said, str) else ask.check(said)
            answers.append(Answer(ask, None if problem else said, problem))
        outcome = stage.accept(row, answers)
        if not isinstance(outcome, FollowUp):
            return outcome["implicit"], asks
        asks += outcome.calls


def test_a_row_is_asked_until_it_has_enough() -> None:
    found, asks = played(lambda number, ask: numbered(2, 2 * number), wanted=5, rounds=9)
    assert len(found) == 5 and len(asks) == 3
    assert [prompt_value(Answer(ask), "count") for ask in asks] == [5, 3, 1]
    assert prompt_value(Answer(asks[1]), "found") == [entry["instruction"] for entry in found[:2]]
    shown = [[example["original_caption"] for example in prompt_value(Answer(ask), "examples")] for ask in asks]
    assert all(len(each) in (2, 3) for each in shown) and len({tuple(each) for each in shown}) == 3


def test_rounds_are_limited() -> None:
    found, asks = played(lambda number, ask: numbered(1), wanted=3, rounds=4)
    assert len(found) == 1 and len(asks) == 4


def test_failed_rounds_take_nothing_from_the_others() -> None:
    found, asks = played(lambda number, ask: "malformed answer" if number < 2 else numbered(3), wanted=3, rounds=3)
    assert len(found) == 3 and len(asks) == 3
    assert played(lambda number, ask: "malformed answer", rounds=2)[0] == []


def test_bad_samples_of_an_answer_do_not_spoil_the_good_ones() -> None:
    mixed = ImplicitEdits.model_validate({"samples": [{**GOOD}, *numbered(2).model_dump()["samples"], {**GOOD, "key_words": []}]})
    found, _ = played(lambda number, ask: mixed, wanted=3, rounds=1)
    assert [entry["key_words"][0] for entry in found] == ["lamp", "lamp"]
    stage = WriteImplicit({"share": 1.0})
    (ask,) = stage.ask({"row_id": 0, "concept": "lamp"}, rng_of(0))
    assert ask.check(mixed) is None
    assert ask.check(ImplicitEdits.model_validate({"samples": [GOOD]})) == "not about its topic"


def test_the_same_edit_in_other_words_of_form_counts_once() -> None:
    first = numbered(1).model_dump()["samples"][0]
    again = {
        **first,
        "original_caption": "a LAMP stands in the hall",
        "instruction": "What makes lamps look dusty",
        "key_words": ["lamp"],
    }
    assert set(keys_of(tidied(ImplicitEdit(**first)))) & set(keys_of(tidied(ImplicitEdit(**again))))
    found, _ = played(lambda number, ask: ImplicitEdits.model_validate({"samples": [first, again]}), rounds=1)
    assert len(found) == 1


def test_a_share_of_the_rows_is_drawn_whatever_the_other_options() -> None:
    def drawn(**options: Any) -> set[int]:
        stage = WriteImplicit(options, Context(seed=1))
        return {row_id for row_id in range(2_000) if stage.ask({"row_id": row_id, "concept": "lamp"}, rng_of(row_id))}

    some = drawn(share=0.2)
    assert 320 < len(some) < 480
    assert drawn(share=0.2, wanted=9) == some <= drawn(share=0.5)
    assert drawn(share=0) == set() and len(drawn(share=1)) == 2_000


@pytest.mark.parametrize("concept", [None, "", "   ", "a {b}", "x" * 50])
def test_without_a_usable_concept_nothing_is_asked(concept: str | None) -> None:
    stage = WriteImplicit({"share": 1.0})
    assert stage.ask({"row_id": 0, "concept": concept}, rng_of(0)) == []
    assert stage.accept({"row_id": 0, "concept": concept}, []) == {"implicit": []}


def test_captions_may_be_the_topic() -> None:
    stage = WriteImplicit({"share": 1.0, "topic": "caption"})
    assert stage.reads == ("caption",)
    assert stage.ask({"row_id": 0, "caption": "The meaning of true happiness"}, rng_of(0)) == []
    assert len(stage.ask({"row_id": 0, "caption": "A lamp in a hall"}, rng_of(0))) == 1


def test_options_are_checked() -> None:
    for options in ({"share": 2}, {"wanted": 0}, {"rounds": 0}, {"topic": "image"}):
        with pytest.raises(UserError):
            WriteImplicit(options)


def by_rules(ask: ModelCall, *parts: object) -> ImplicitEdits:
    request = replace(ask.request, seed=seed_of(*parts))
    return WriteImplicit().parse(next(iter(RulesModel().stream([request]))))


@pytest.mark.parametrize("topic", ["concept", "caption"])
def test_rules_write_implicit_edits_of_nearly_everything(topic: str) -> None:
    enough, instructions = 0, Counter[str]()
    names = list(lexicon().entries)[::5]
    for row_id, name in enumerate(names):
        row = {"row_id": row_id, "concept": name, "caption": f"A photo of {name} beside a red boat on the beach"}
        found, _ = played(lambda number, ask, row_id=row_id: by_rules(ask, row_id, number), row, topic=topic)
        enough += len(found) == 3
        instructions.update(entry["instruction"] for entry in found)
        for entry in found:
            assert entry.keys() == GOOD.keys()
            assert entry["original_caption"] != entry["target_caption"]
    assert enough > 0.97 * len(names)
    assert len(instructions) > 60 and max(instructions.values()) < 0.2 * instructions.total()


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    path = tmp_path / "implicit.yaml"
    stages = "  - {stage: write_captions, model: rules}\n  - {stage: write_implicit, model: rules, after: ingest}\n"
    path.write_text(f"pipeline: anyedit\nstages:\n{stages}")
    return path


def test_a_run_gives_the_same_rows_for_any_number_of_shards(tmp_path: Path, pipeline: Path) -> None:
    with open(tmp_path / "pairs.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["concept", "concept2", "background", "mode"])
        names = list(lexicon().entries)
        writer.writerows([names[7 * row], names[5 * row + 1], "in a garage", "cc2cap"] for row in range(30))

    def rows(shards: int) -> dict[str, tuple[str, str]]:
        settings = ["write_implicit.share=0.5"]
        new = NewRun(input=tmp_path / "pairs.csv", pipeline=str(pipeline), num_shards=shards, settings=settings)
        run, models = start_run(tmp_path / f"run{shards}", new), ModelPool()
        found: dict[str, Any] = {}
        for stage in run.stages:
            for shard in range(shards):
                run_shard(run, stage, shard, models=models)
            for part in sorted((run.path / stage.rpartition(".")[2]).glob("part-*.csv")):
                if "rejects" not in part.name:
                    with open(part, newline="") as file:
                        for row in csv.DictReader(file):
                            found[f"{stage} {row['row_id']}"] = row.get("implicit") or row["scene_caption"]
        return found

    one = rows(1)
    assert one == rows(4)
    written = [json.loads(value) for key, value in one.items() if "implicit" in key]
    assert len(written) == 30 and {len(each) for each in written} == {0, 3}
    assert sum("scene" not in key and "captions" in key for key in one) >= 28
