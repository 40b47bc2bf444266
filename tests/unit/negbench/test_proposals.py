"""Objects and things that are missing, asked for in one request: what is kept of it, and what is asked again."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from conftest import CAPTIONS, write_captions
from shardmill.core.planning import NewRun, start_run
from shardmill.core.prompts import load_template
from shardmill.core.shard_runner import run_shard
from shardmill.embedded.rules.engine import RulesModel
from shardmill.language.object_names import is_named, negative_problem
from shardmill.models import registry
from shardmill.models.contract import Model, Reply, TextRequest
from shardmill.negbench.answers import NamedAndMissing
from shardmill.store.run_folder import RunFolder

BOTH, ALONE, PROPOSE = "extract_and_propose", "extract_objects", "propose_negatives"


class Scripted(Model):
    """Answers as the rules do; what becomes of objects and missing things asked for together is up to `both`."""

    both: ClassVar[Callable[[dict[str, Any]], Any]]
    asked: ClassVar[Counter[str]]

    @classmethod
    def identity(cls) -> dict[str, str]:
        return {"version": "1"}

    def stream(self, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        for request in requests:
            type(self).asked[request.chat.task] += 1
            (reply,) = RulesModel().stream([request])
            if request.chat.task == BOTH:
                said = type(self).both(json.loads(reply.result))
                reply = Reply(request.key, said if isinstance(said, str) else json.dumps(said))
            yield reply


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    Scripted.both, Scripted.asked = staticmethod(lambda answer: answer), Counter()  # type: ignore[assignment]
    monkeypatch.setitem(registry.MODELS, ("text", "scripted"), "test_proposals:Scripted")
    monkeypatch.setitem(sys.modules, "test_proposals", sys.modules[__name__])
    return Scripted


def finish(tmp_path: Path, name: str, *settings: str) -> RunFolder:
    """A run of both stages, by a model whose file says that it can."""
    (tmp_path / "able.yaml").write_text("{role: text, kind: scripted, requests: {proposals: true}}")
    table = write_captions(tmp_path / "captions.csv", CAPTIONS[:7])
    model = str(tmp_path / "able.yaml")
    chosen = [f"{stage}.model={model}" for stage in (ALONE, PROPOSE)]
    run = start_run(tmp_path / name, NewRun(input=table, num_shards=1, settings=[*chosen, *settings]))
    for stage in (ALONE, PROPOSE):
        run_shard(run, stage, 0)
    return run


def lists(run: RunFolder, stage: str, column: str) -> list[list[str]]:
    return [json.loads(cell) for cell in run.read_part(stage, 0)[0][column]]


def test_a_model_that_can_is_asked_once_for_objects_and_proposals(tmp_path: Path, scripted: type[Scripted]) -> None:
    run = finish(tmp_path, "run")
    assert scripted.asked == {BOTH: 7}
    assert lists(run, ALONE, "objects")[0] == ["dog", "beach", "ball"]
    assert all(len(names) == 5 for names in lists(run, PROPOSE, "negatives"))
    scripted.asked = Counter()
    apart = finish(tmp_path, "apart", "extract_objects.proposals=false")
    assert scripted.asked == {ALONE: 7, PROPOSE: 7}
    assert lists(apart, ALONE, "objects") == lists(run, ALONE, "objects")
    assert "proposals" not in apart.read_part(PROPOSE, 0)[0].columns


@pytest.mark.parametrize("said", ["{oops", "I am sorry, but I cannot do that.", {"objects": ["zebra"], "missing": ["lamp"]}])
def test_captions_without_a_usable_answer_are_asked_about_again_for_each_alone(
    tmp_path: Path, scripted: type[Scripted], said: Any
) -> None:
    scripted.both = staticmethod(lambda answer: said)  # type: ignore[assignment]
    run = finish(tmp_path, "run")
    assert scripted.asked == {BOTH: 7, ALONE: 7, PROPOSE: 7}
    assert lists(run, ALONE, "objects")[0] == ["dog", "beach", "ball"]
    assert all(len(names) >= 2 for names in lists(run, PROPOSE, "negatives"))


def test_proposals_that_break_the_rules_are_asked_for_again_alone(tmp_path: Path, scripted: type[Scripted]) -> None:
    scripted.both = staticmethod(lambda answer: {**answer, "missing": answer["objects"]})  # type: ignore[assignment]
    run = finish(tmp_path, "run")
    assert scripted.asked == {BOTH: 7, PROPOSE: 7}
    assert all(len(names) == 5 for names in lists(run, PROPOSE, "negatives"))


def test_a_prompt_of_the_users_asks_for_objects_alone(tmp_path: Path, scripted: type[Scripted]) -> None:
    (tmp_path / "mine.md").write_text("---\ntask: extract_objects\n---\nWhat is in {{ caption }}?")
    run = finish(tmp_path, "run", f"extract_objects.prompt={tmp_path / 'mine.md'}")
    assert scripted.asked == {ALONE: 7, PROPOSE: 7}
    assert lists(run, ALONE, "proposals") == [[]] * 7


def test_the_examples_of_the_prompt_keep_the_rules() -> None:
    for example in (each for bundle in load_template(f"negbench/{BOTH}").header.bundles for each in bundle):
        caption, answer = example.values["caption"], NamedAndMissing(**example.answer)
        assert len(answer.missing) == example.values["count"]
        assert all(is_named(name, caption) or "<PERSON>" in caption for name in answer.objects)
        assert [name for name in answer.missing if negative_problem(name, answer.objects, caption)] == []
