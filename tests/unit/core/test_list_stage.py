"""Texts of a row that are asked for together: what becomes of each item of a list, and of lists that are none."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from shardmill.api import REJECTED_ROWS
from shardmill.core.list_stage import MAX_ITEMS
from shardmill.core.plan_changes import plan_of_today
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.embedded.rules.engine import RulesModel
from shardmill.models import registry
from shardmill.models.contract import Model, Reply, TextRequest
from shardmill.store.run_folder import RunFolder

LIST, ALONE = "caption_negated_list", "caption_negated"
NEGATIVES = ["ladder", "umbrella", "horse", "pizza", "clock", "kite", "vase", "boat", "guitar", "bench", "cat", "apple"]


class Scripted(Model):
    """Writes as the rules do; what lists become is up to `lists`, what single captions become to `alone`."""

    lists: ClassVar[Callable[[list[str]], Any]]
    alone: ClassVar[Callable[[str], str]]
    finish: ClassVar[Any]
    asked: ClassVar[Counter[str]]

    @classmethod
    def identity(cls) -> dict[str, str]:
        return {"version": "1"}

    def stream(self, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        for request in requests:
            type(self).asked[request.chat.task] += 1
            (reply,) = RulesModel().stream([request])
            answer = json.loads(reply.result)
            if request.chat.task == LIST:
                said = type(self).lists(answer["captions"])
                yield Reply(request.key, said if isinstance(said, str) else json.dumps({"captions": said}), type(self).finish)
            else:
                yield Reply(request.key, json.dumps({"caption": type(self).alone(answer["caption"])}))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    Scripted.lists = staticmethod(lambda captions: captions)  # type: ignore[assignment]
    Scripted.alone = staticmethod(lambda caption: caption)  # type: ignore[assignment]
    Scripted.finish, Scripted.asked = "stop", Counter()
    monkeypatch.setitem(registry.MODELS, ("text", "scripted"), "test_list_stage:Scripted")
    monkeypatch.setitem(sys.modules, "test_list_stage", sys.modules[__name__])
    return Scripted


def make_run(tmp_path: Path, *settings: str, rows: int = 6, shards: int = 1, negatives: int = 3) -> RunFolder:
    """A run of the one stage about dogs on sofas."""
    table = {
        "caption": [f"A dog sleeps on a sofa next to lamp number {row}." for row in range(rows)],
        **{name: [json.dumps(["dog", "sofa", "lamp"])] * rows for name in ("objects", "seen_objects", "positive_objects")},
        "negative_objects": [json.dumps(NEGATIVES[:negatives])] * rows,
    }
    pl.DataFrame(table).write_csv(tmp_path / "rows.csv")
    (tmp_path / "one.yaml").write_text("{pipeline: negbench, stages: [{stage: caption_negated, model: scripted, stop_after: 0}]}")
    lists = ["objects", "seen_objects", "positive_objects", "negative_objects"]
    new = NewRun(tmp_path / "rows.csv", str(tmp_path / "one.yaml"), settings, list_columns=lists, num_shards=shards)
    return start_run(tmp_path / f"run{shards}", new)


def written(run: RunFolder) -> pl.DataFrame:
    parts = []
    for shard in range(run.num_shards):
        run_shard(run, "caption_negated", shard)
        parts.append(run.read_part("caption_negated", shard)[0])
    return pl.concat(parts)


def captions_of(run: RunFolder) -> list[list[str]]:
    return [json.loads(cell) for cell in written(run)["negative_captions"]]


def test_all_captions_of_a_row_are_asked_for_in_one_request(tmp_path: Path, scripted: type[Scripted]) -> None:
    found = captions_of(make_run(tmp_path))
    assert [len(captions) for captions in found] == [3] * 6
    assert scripted.asked == {LIST: 6}


@pytest.mark.parametrize("together", ["caption_negated.together=false", "caption_negated.prompt={prompt}"])
def test_captions_are_asked_for_one_by_one_where_the_option_or_a_prompt_of_the_users_says_so(
    tmp_path: Path, scripted: type[Scripted], together: str
) -> None:
    (tmp_path / "mine.md").write_text("---\ntask: caption_negated\n---\nWithout {{ negative }}, {{ form }}: {{ caption }}")
    run = make_run(tmp_path, together.format(prompt=tmp_path / "mine.md"))
    assert [len(captions) for captions in captions_of(run)] == [3] * 6
    assert scripted.asked == {ALONE: 18}
    assert "list template" not in run.stage("caption_negated").fingerprint


def test_only_the_items_that_fail_are_asked_for_again_alone(tmp_path: Path, scripted: type[Scripted]) -> None:
    scripted.lists = staticmethod(lambda captions: [captions[0], "A dog sleeps.", captions[2]])  # type: ignore[assignment]
    assert [len(captions) for captions in captions_of(make_run(tmp_path))] == [3] * 6
    assert scripted.asked == {LIST: 6, ALONE: 6}


@pytest.mark.parametrize(
    ("lists", "alone"),
    [
        (lambda captions: captions[::-1], 0),
        (lambda captions: captions[1:], 6),
        (lambda captions: [captions[0]] * 3, 12),
        (lambda captions: [*captions, "One more."], 0),
    ],
)
def test_an_item_at_another_position_counts_for_what_it_answers_once(
    tmp_path: Path, scripted: type[Scripted], lists: Callable[[list[str]], list[str]], alone: int
) -> None:
    scripted.lists = staticmethod(lists)  # type: ignore[assignment]
    found = captions_of(make_run(tmp_path))
    assert [len({*captions}) for captions in found] == [3] * 6
    assert scripted.asked[ALONE] == alone


@pytest.mark.parametrize("said", ["I am sorry, but I cannot do that.", "{oops", "", '{"captions": [{"text": 1}]}'])
def test_an_answer_that_is_no_list_costs_no_second_list(tmp_path: Path, scripted: type[Scripted], said: str) -> None:
    scripted.lists = staticmethod(lambda captions: said)  # type: ignore[assignment]
    assert [len(captions) for captions in captions_of(make_run(tmp_path))] == [3] * 6
    assert scripted.asked == {LIST: 6, ALONE: 18}


def test_of_a_list_that_the_token_limit_has_cut_the_whole_items_count(tmp_path: Path, scripted: type[Scripted]) -> None:
    scripted.finish = "length"
    scripted.lists = staticmethod(lambda captions: json.dumps({"captions": captions})[:-12])  # type: ignore[assignment]
    assert [len(captions) for captions in captions_of(make_run(tmp_path))] == [3] * 6
    assert scripted.asked == {LIST: 6, ALONE: 6}


def test_a_row_without_any_good_caption_is_rejected_for_what_was_wrong_with_those_asked_for_alone(
    tmp_path: Path, scripted: type[Scripted]
) -> None:
    scripted.lists = staticmethod(lambda captions: ["A dog."] * 3)  # type: ignore[assignment]
    scripted.alone = staticmethod(lambda caption: "A dog sleeps on a sofa.")  # type: ignore[assignment]
    run = make_run(tmp_path, rows=2)
    manifest = run_shard(run, "caption_negated", 0)
    assert (manifest.rows_out, manifest.rejected) == (0, 2)
    rejects = run.read_rejects("caption_negated", 0, manifest, REJECTED_ROWS)
    assert set(rejects["reason"]) == {"wrong polarity"}
    assert all("A dog sleeps on a sofa." in raw for raw in rejects["raw"])


def test_lists_with_faults_give_the_same_rows_for_any_number_of_shards(tmp_path: Path, scripted: type[Scripted]) -> None:
    def faulty(captions: Sequence[str]) -> list[str]:
        return [caption for caption in captions if sum(map(ord, caption)) % 3]

    scripted.lists = staticmethod(faulty)  # type: ignore[assignment]
    whole, cut = (written(make_run(tmp_path, rows=12, shards=shards)) for shards in (1, 5))
    assert scripted.asked[ALONE] > 4
    assert whole.equals(cut)


def test_long_lists_are_asked_for_in_pieces(tmp_path: Path, scripted: type[Scripted]) -> None:
    run = make_run(tmp_path, "caption_negated.per_image=12", rows=2, negatives=12)
    assert [len(captions) for captions in captions_of(run)] == [12, 12]
    assert MAX_ITEMS < 12 and scripted.asked == {LIST: 4}


def test_a_model_file_says_that_its_model_cannot_write_lists_and_another_model_has_its_own_say(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("{role: text, kind: rules, requests: {together: false}}")
    run = make_run(tmp_path, f"caption_negated.model={tmp_path / 'small.yaml'}", rows=2)
    assert run.stage("caption_negated").options["together"] is False
    same = plan_of_today(run, "caption_negated", ())
    assert same.stages[0].options == run.stage("caption_negated").options
    larger = plan_of_today(run, "caption_negated", ["caption_negated.model=rules"])
    assert larger.stages[0].options["together"] is True
    chosen = plan_of_today(run, "caption_negated", ["caption_negated.together=true"])
    assert chosen.stages[0].options["together"] is True
