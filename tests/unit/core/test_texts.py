"""The prompts and other texts of a run are kept in its plan: an edit of a file counts for the next run, and for a redo."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.antidote.ask_descriptions import AskDescriptions
from shardmill.anyedit.by_template.words import words
from shardmill.core.changed_texts import changed_texts, notes_on_texts
from shardmill.core.plan_changes import redo
from shardmill.core.shard_runner import open_stage, run_shard
from shardmill.core.stage import Context
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError
from shardmill.util.resources import REPOSITORY
from shardmill.util.texts import recorded_texts, use_texts

MakeRun = Callable[..., RunFolder]
TEMPLATE = "templates/negbench/extract_objects.md"


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's folder of templates, to be edited."""
    use_texts({})
    shutil.copytree(REPOSITORY / "templates", tmp_path / "checkout" / "templates")
    monkeypatch.setattr("shardmill.util.resources.REPOSITORY", tmp_path / "checkout")
    return tmp_path / "checkout" / "templates"


def edit(templates: Path, name: str = "negbench/extract_objects.md") -> None:
    path = templates / name
    path.write_text(path.read_text() + "\nAnswer in one line.\n")


def test_a_run_goes_on_with_the_prompts_that_it_was_planned_with(make_run: MakeRun, templates: Path) -> None:
    run = make_run()
    run_shard(run, "extract_objects", 0)
    edit(templates)
    use_texts({})  # as in a process that has only just started
    assert "one line" not in open_stage(run, "extract_objects").template.text  # type: ignore[attr-defined]
    made = run_shard(run, "extract_objects", 1)
    assert made.fingerprint == run.fingerprint("extract_objects")
    assert changed_texts(run) == {TEMPLATE: "extract_objects"}
    assert "shardmill run" in notes_on_texts(run)[0]


def test_the_same_command_again_resumes_a_run_whose_prompt_was_edited(make_run: MakeRun, templates: Path) -> None:
    run = make_run()
    run_shard(run, "extract_objects", 0)
    edit(templates)
    assert make_run().plan == run.plan


def test_redo_takes_the_prompt_as_it_is_now_for_this_stage_and_those_after_it(make_run: MakeRun, templates: Path) -> None:
    run = make_run()
    edit(templates)
    edit(templates, "negbench/propose_negatives.md")
    again = redo(run, "propose_negatives")
    assert again.fingerprint("extract_objects") == run.fingerprint("extract_objects")
    assert again.fingerprint("propose_negatives")["template"] != run.fingerprint("propose_negatives")["template"]
    assert changed_texts(again) == {TEMPLATE: "extract_objects"}
    assert changed_texts(redo(again, "extract_objects")) == {}


def test_a_text_that_an_earlier_stage_shares_is_redone_from_there(make_run: MakeRun, templates: Path) -> None:
    run = make_run()
    with (templates / "rules" / "swaps.yaml").open("a") as file:
        file.write("# a comment\n")
    with pytest.raises(UserError, match=r"extract_objects.*do it again first"):
        redo(run, "propose_negatives")


def test_a_kept_text_that_was_altered_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    run.plan.texts[TEMPLATE] += "More."
    with pytest.raises(UserError, match="template of stage extract_objects changed"):
        run_shard(run, "extract_objects", 0)


def test_lists_of_words_and_wordings_are_kept_too(templates: Path) -> None:
    with recorded_texts() as read:
        words()
        AskDescriptions({}, Context()).fingerprint({})
    assert {*read} == {"templates/anyedit/words.yaml", "templates/antidote/descriptions.yaml"}
    use_texts({"templates/anyedit/words.yaml": "mine: [1]\n"})
    assert words() == {"mine": [1]}
    use_texts({})
    assert words() != {"mine": [1]}


def test_a_plan_that_names_a_device_as_a_text_does_not_have_it_read(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    plan = run.plan
    first = plan.stages[0].model_copy(update={"texts": ["/dev/zero"]})
    hostile = plan.model_copy(update={"stages": [first], "texts": {"/dev/zero": "x"}})
    run.path.joinpath("plan.json").write_text(hostile.model_dump_json(), encoding="utf-8")
    assert changed_texts(RunFolder(run.path)) == {"/dev/zero": "extract_objects"}
