"""The loop that runs a stage on a shard, with a text model that does what real ones do wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import polars as pl
import pytest

from conftest import CAPTIONS, write_captions
from shardmill.core import model_shard
from shardmill.core.shard_runner import run_shard
from shardmill.embedded.rules.extract import extract_objects
from shardmill.models import registry
from shardmill.models.contract import Model, Reply, TextRequest, Usage
from shardmill.negbench.answers import NewCaption
from shardmill.negbench.create_mcq import CreateMcq
from shardmill.negbench.extract_objects import ExtractObjects
from shardmill.store.combine import combine
from shardmill.store.finish import ConservationError, check_conservation
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import Stopped, UserError

MakeRun = Callable[..., RunFolder]


class Scripted(Model):
    """Answers like the rules, but as `behave` says, ten requests in flight, replies in any order."""

    behave: ClassVar[Callable[[TextRequest, str], Reply]] = lambda request, answer: Reply(request.key, answer)
    asked: ClassVar[Counter[str]] = Counter()
    seeds: ClassVar[dict[str, list[int]]] = {}

    @classmethod
    def identity(cls) -> dict[str, str]:
        return {"version": "1"}

    def stream(self, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        rng = Random(0)
        flight: list[Reply] = []
        for request in requests:
            type(self).asked[request.chat.values["caption"]] += 1
            type(self).seeds.setdefault(request.key, []).append(request.seed)
            objects = extract_objects(request.chat.values, Random(request.seed))["objects"]
            answer = json.dumps({"objects": objects or ["not in the caption"]})
            flight.append(type(self).behave(request, answer))
            if len(flight) >= 10:
                yield flight.pop(rng.randrange(len(flight)))
        rng.shuffle(flight)
        yield from flight


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    class Fresh(Scripted):
        asked: ClassVar[Counter[str]] = Counter()
        seeds: ClassVar[dict[str, list[int]]] = {}

    monkeypatch.setitem(registry.MODELS, ("text", "scripted"), "test_worker:Current")
    monkeypatch.setitem(globals(), "Current", Fresh)
    monkeypatch.setitem(__import__("sys").modules, "test_worker", __import__("sys").modules[__name__])
    return Fresh


@pytest.fixture
def run(make_run: MakeRun, scripted: type[Scripted]) -> RunFolder:
    return make_run(settings=["extract_objects.model=scripted"])


def rejects(run: RunFolder, shard: int) -> list[dict[str, Any]]:
    return pl.read_csv(run.files("extract_objects", shard).rejects).to_dicts()


def behave(scripted: type[Scripted], how: Callable[[TextRequest, str], Reply]) -> None:
    scripted.behave = staticmethod(how)  # type: ignore[assignment]


def test_replies_in_any_order_give_the_rows_in_the_order_of_the_input(run: RunFolder) -> None:
    run_shard(run, "extract_objects", 1)
    part, _ = run.read_part("extract_objects", 1)
    assert part["row_id"].is_sorted()


def test_the_result_is_the_same_for_any_number_of_shards(make_run: MakeRun, scripted: type[Scripted], tmp_path: Path) -> None:
    files = []
    for shards in (1, 3, 7):
        run = make_run(f"run-{shards}", num_shards=shards, settings=["extract_objects.model=scripted"])
        for shard in range(shards):
            run_shard(run, "extract_objects", shard)
        files.append(combine(run, "extract_objects", tmp_path / f"{shards}.csv").path.read_bytes())
    assert files[0] == files[1] == files[2]


def test_an_answer_of_no_objects_is_asked_again_once_with_other_examples(
    run: RunFolder, scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(scripted, lambda request, answer: Reply(request.key, '{"objects": []}'))
    manifest = run_shard(run, "extract_objects", 0)
    assert manifest.reasons == {"the model named none": manifest.rows_in}
    assert manifest.usage["requests"] == 2 * manifest.rows_in and rejects(run, 0)[0]["raw"] == '{"objects": []}'
    bundles = {key: [seed % 3 for seed in seeds] for key, seeds in scripted.seeds.items()}
    assert all(first != second for first, second in bundles.values())


def test_the_attempts_of_a_row_go_through_all_sets_of_examples(run: RunFolder, scripted: type[Scripted]) -> None:
    behave(scripted, lambda request, answer: Reply(request.key, "{oops"))
    run_shard(run, "extract_objects", 0)
    assert scripted.seeds and all({seed % 3 for seed in seeds} == {0, 1, 2} for seeds in scripted.seeds.values())


def test_a_malformed_answer_is_asked_again_with_another_seed(run: RunFolder, scripted: type[Scripted]) -> None:
    def once_wrong(request: TextRequest, answer: str) -> Reply:
        return Reply(request.key, answer if len(scripted.seeds[request.key]) > 1 else "{oops")

    behave(scripted, once_wrong)
    manifest = run_shard(run, "extract_objects", 0)
    assert "malformed answer" not in manifest.reasons
    assert manifest.usage["retries"] == manifest.rows_in
    assert all(len(seeds) == len(set(seeds)) == 2 for seeds in scripted.seeds.values())


@pytest.mark.parametrize(
    ("reply", "reason", "attempts"),
    [
        (lambda request, answer: Reply(request.key, "I cannot help with that, I am a model. " * 9), "malformed answer", 3),
        (lambda request, answer: Reply(request.key, '{"objects": ["a do', "length"), "cut by the token limit", 3),
        (lambda request, answer: Reply(request.key, None, "error", "engine failed", "no memory"), "engine failed", 3),
        (lambda request, answer: Reply(request.key, None, "unusable", "too long", "9,000 tokens"), "too long", 1),
    ],
)
def test_what_stays_wrong_is_rejected_with_reason_raw_text_and_attempts(
    run: RunFolder, scripted: type[Scripted], reply: Callable[[TextRequest, str], Reply], reason: str, attempts: int
) -> None:
    behave(scripted, reply)
    manifest = run_shard(run, "extract_objects", 0)
    assert manifest.reasons == {reason: manifest.rows_in}
    row = rejects(run, 0)[0]
    assert row["attempts"] == attempts
    assert set(scripted.asked.values()) <= {attempts, 2 * attempts}
    if reason == "malformed answer":
        assert row["raw"].startswith("I cannot help")


def test_the_whole_items_of_a_list_that_was_cut_are_used(run: RunFolder, scripted: type[Scripted]) -> None:
    """A model that repeats itself until it is stopped has given its answer before."""
    behave(scripted, lambda request, answer: Reply(request.key, answer.removesuffix("]}") + ', "a do', "length"))
    manifest = run_shard(run, "extract_objects", 0)
    assert manifest.usage["requests"] == manifest.rows_in
    assert manifest.rows_out > 0 and set(manifest.reasons) <= {"no object"}


def test_a_killed_attempt_is_gone_on_with_from_its_journal(run: RunFolder, scripted: type[Scripted]) -> None:
    def fail_late(request: TextRequest, answer: str) -> Reply:
        if sum(scripted.asked.values()) > 12:
            raise KeyboardInterrupt
        return Reply(request.key, answer)

    behave(scripted, fail_late)
    with pytest.raises(KeyboardInterrupt):
        run_shard(run, "extract_objects", 0)
    before = sum(scripted.asked.values())
    assert run.files("extract_objects", 0).journals()
    behave(scripted, lambda request, answer: Reply(request.key, answer))
    manifest = run_shard(run, "extract_objects", 0)
    assert 0 < manifest.elsewhere < manifest.rows_in
    assert sum(scripted.asked.values()) - before == manifest.rows_in - manifest.elsewhere
    assert manifest.usage["requests"] == manifest.rows_in, "what the killed attempt paid for finished rows is counted too"
    assert not run.files("extract_objects", 0).temporaries()


def test_a_stop_flushes_and_the_bytes_are_the_same_afterwards(
    make_run: MakeRun, scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_shard, "DRAIN_SECONDS", 0.0)
    calm, stopped = (make_run(name, settings=["extract_objects.model=scripted"]) for name in ("calm", "stopped"))
    run_shard(calm, "extract_objects", 0)
    seen = iter(range(1000))
    with pytest.raises(Stopped, match="are in the journal"):
        run_shard(stopped, "extract_objects", 0, should_stop=lambda: next(seen) > 25)
    assert not stopped.is_complete("extract_objects", 0)
    run_shard(stopped, "extract_objects", 0)
    assert stopped.files("extract_objects", 0).part.read_bytes() == calm.files("extract_objects", 0).part.read_bytes()


def test_a_finished_shard_asks_nothing_and_changes_nothing(run: RunFolder, scripted: type[Scripted]) -> None:
    run_shard(run, "extract_objects", 0)
    asked = sum(scripted.asked.values())
    manifest = run.files("extract_objects", 0).manifest.read_bytes()
    run_shard(run, "extract_objects", 0)
    assert sum(scripted.asked.values()) == asked
    assert run.files("extract_objects", 0).manifest.read_bytes() == manifest


def test_a_model_that_swallows_a_request_is_found_out(
    run: RunFolder, scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scripted.stream
    monkeypatch.setattr(
        scripted, "stream", lambda self, requests: (reply for n, reply in enumerate(whole(self, requests)) if n != 3)
    )
    with pytest.raises(UserError, match="no reply"):
        run_shard(run, "extract_objects", 0)
    assert not run.is_complete("extract_objects", 0)


def test_a_row_that_breaks_the_stage_is_rejected_and_a_broken_stage_stops(
    make_run: MakeRun, scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    accept = ExtractObjects.accept

    def picky(self: ExtractObjects, row: Any, answers: Any) -> Any:
        if "dog" in row["caption"]:
            raise ZeroDivisionError("a fault of the stage")
        return accept(self, row, answers)

    run = make_run("picky", settings=["extract_objects.model=scripted"])
    monkeypatch.setattr(ExtractObjects, "accept", picky)
    manifest = run_shard(run, "extract_objects", 0)
    assert manifest.reasons["stage error"] == 2
    assert "a fault of the stage" in next(row["detail"] for row in rejects(run, 0) if row["reason"] == "stage error")

    source = write_captions(tmp_path / "dogs.csv", [CAPTIONS[0]] * 60)
    broken = make_run("broken", input=source, num_shards=1, settings=["extract_objects.model=scripted"])
    with pytest.raises(UserError, match="failed on each of the first 20 rows"):
        run_shard(broken, "extract_objects", 0)


def test_a_table_that_loses_or_doubles_rows_is_never_published() -> None:
    table = pl.DataFrame({"row_id": [1, 2, 3]})
    out, refused = pl.DataFrame({"row_id": [1, 1, 2], "sub_id": [0, 1, 0]}), pl.DataFrame({"row_id": [3]})
    check_conservation(table, out, refused, ["row_id"])
    for wrong_out, wrong_refused in (([1], [3]), ([1, 2, 3], [3]), ([1, 2], [3, 3]), ([1, 2, 9], [3]), ([1, 1, 2], [3])):
        with pytest.raises(ConservationError):
            check_conservation(table, pl.DataFrame({"row_id": wrong_out}), pl.DataFrame({"row_id": wrong_refused}), ["row_id"])


def test_the_manifest_sums_what_the_model_used(run: RunFolder, scripted: type[Scripted]) -> None:
    behave(scripted, lambda request, answer: Reply(request.key, answer, usage=Usage(100, 80, 7)))
    manifest = run_shard(run, "extract_objects", 0)
    assert manifest.usage["prompt_tokens"] == 100 * manifest.rows_in
    assert manifest.usage["cached_tokens"] == 80 * manifest.rows_in
    assert manifest.usage["completion_tokens"] == 7 * manifest.rows_in


@pytest.mark.parametrize(
    ("field", "value"), [("version", "0"), ("model version", "0"), ("options", "{}"), ("answer schema", "x")]
)
def test_another_fingerprint_than_planned_is_refused_by_name(run: RunFolder, field: str, value: str) -> None:
    plan = json.loads((run.path / "plan.json").read_text())
    plan["stages"][0]["fingerprint"][field] = "something else"
    (run.path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(UserError, match=f"{field} of stage extract_objects changed"):
        run_shard(RunFolder(run.path), "extract_objects", 0)


def test_equal_questions_of_a_shard_are_asked_once(make_run: MakeRun, tmp_path: Path) -> None:
    source = write_captions(tmp_path / "same.csv", ["A dog and a cat sit on a sofa next to a lamp."] * 40)
    run = make_run("same", input=source, num_shards=1)
    for stage in ("extract_objects", "propose_negatives", "draw_questions", "filter_objects", "validate_objects", "create_mcq"):
        run_shard(run, stage, 0)
    manifest = run_shard(run, "paraphrase_mcq", 0)
    assert manifest.rows_in > 15
    part, _ = run.read_part("paraphrase_mcq", 0)
    sentences = {part[f"caption_{index}"][row] for index in range(4) for row in range(part.height)}
    assert manifest.usage["requests"] <= 4 * len(sentences)


def test_a_broken_stage_stops_each_time_and_leaves_no_trace_when_it_is_mended(
    make_run: MakeRun, scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = write_captions(tmp_path / "dogs.csv", [CAPTIONS[0]] * 60)
    run = make_run("broken", input=source, num_shards=1, settings=["extract_objects.model=scripted"])
    monkeypatch.setattr(ExtractObjects, "accept", lambda self, row, answers: 1 / 0)
    for _ in range(3):
        with pytest.raises(UserError, match="failed on each of the first 20 rows: ZeroDivisionError"):
            run_shard(run, "extract_objects", 0)
    monkeypatch.undo()
    monkeypatch.setitem(registry.MODELS, ("text", "scripted"), "test_worker:Scripted")
    monkeypatch.setitem(__import__("sys").modules, "test_worker", __import__("sys").modules[__name__])
    assert run_shard(run, "extract_objects", 0).reasons == {}


@pytest.mark.parametrize(
    ("outcome", "detail"),
    [
        ({"objects": "dog"}, "not a list of texts"),
        ({"objects": [1]}, "not a list of texts"),
        ({"object": ["dog"]}, "column object is not one of objects"),
        ("dog", "AttributeError"),
        ([], "neither a row nor a Reject"),
    ],
)
def test_a_row_whose_outcome_fits_no_column_is_rejected_and_the_others_come_out(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, outcome: Any, detail: str
) -> None:
    accept = ExtractObjects.accept
    monkeypatch.setattr(
        ExtractObjects, "accept", lambda self, row, answers: outcome if "boat" in row["caption"] else accept(self, row, answers)
    )
    manifest = run_shard(run, "extract_objects", 0)
    assert manifest.reasons["stage error"] == 1 and manifest.rows_out > 5
    assert detail in next(row["detail"] for row in rejects(run, 0) if row["reason"] == "stage error")


def test_a_check_that_raises_costs_only_its_row(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = ExtractObjects.ask

    def checked(self: ExtractObjects, row: Any, rng: Random) -> list[Any]:
        def check(answer: Any) -> str | None:
            return answer.missing if "boat" in row["caption"] else None

        return [replace(ask(self, row, rng)[0], check=check)]

    monkeypatch.setattr(ExtractObjects, "ask", checked)
    manifest = run_shard(run, "extract_objects", 0)
    rejected = {row["row_id"]: row["reason"] for row in rejects(run, 0)}
    assert rejected[5] == "stage error"
    assert manifest.rows_out > 5


def test_a_reply_that_holds_no_text_is_a_malformed_answer(run: RunFolder, scripted: type[Scripted]) -> None:
    behave(scripted, lambda request, answer: Reply(request.key, None))
    manifest = run_shard(run, "extract_objects", 0)
    assert manifest.reasons == {"malformed answer": manifest.rows_in}


@pytest.mark.parametrize("stray", ["twice", "unknown"])
def test_a_reply_to_nothing_that_was_asked_is_found_out(
    run: RunFolder, scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch, stray: str
) -> None:
    whole = scripted.stream

    def talkative(self: Scripted, requests: Iterable[TextRequest]) -> Iterator[Reply]:
        for reply in whole(self, requests):
            yield reply
            yield reply if stray == "twice" else replace(reply, key="999/0")

    monkeypatch.setattr(scripted, "stream", talkative)
    with pytest.raises(UserError, match="answered already or never sent"):
        run_shard(run, "extract_objects", 0)
    assert not run.is_complete("extract_objects", 0)


def test_one_odd_shard_loses_nothing_when_most_replies_fail_in_turn(run: RunFolder, scripted: type[Scripted]) -> None:
    """Every second reply is bad in its own way; a row is either out or rejected for the reason of its last answer."""
    kinds = [
        lambda request, answer: Reply(request.key, "```json\n" + answer + "\n```"),
        lambda request, answer: Reply(request.key, answer[: len(answer) // 2]),
        lambda request, answer: Reply(request.key, answer + answer),
        lambda request, answer: Reply(request.key, answer, "length"),
        lambda request, answer: Reply(request.key, None, "error", "engine failed"),
    ]
    behave(scripted, lambda request, answer: kinds[request.seed % len(kinds)](request, answer))
    manifest = run_shard(run, "extract_objects", 2)
    assert manifest.conserved() and manifest.rows_out > manifest.rejected
    assert set(manifest.reasons) <= {
        "no object",
        "the model named none",
        "malformed answer",
        "cut by the token limit",
        "engine failed",
    }


def test_a_bad_table_stage_publishes_nothing(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    for stage in ("extract_objects", "propose_negatives", "draw_questions", "filter_objects", "validate_objects"):
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)
    transform = CreateMcq.transform
    monkeypatch.setattr(CreateMcq, "transform", lambda self, table: transform(self, table).slice(1))
    with pytest.raises(ConservationError, match=r"neither out nor rejected.*row_id.*nothing was published"):
        run_shard(run, "create_mcq", 0)
    assert [path.name for path in run.folder("create_mcq").iterdir()] == ["fits"]
    monkeypatch.undo()
    assert run_shard(run, "create_mcq", 0).conserved()


def test_a_change_of_template_option_or_model_after_planning_is_refused_by_name(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()

    def refusal(stage: str) -> str:
        with pytest.raises(UserError) as error:
            run_shard(run, stage, 0)
        assert f"shardmill run {run.path} {stage} --redo" in str(error.value)
        return str(error.value)

    with monkeypatch.context() as patch:
        patch.setattr(ExtractObjects, "prompt", "negbench/validate_objects.md")
        assert refusal("extract_objects").startswith("template of stage extract_objects changed")
    with monkeypatch.context() as patch:
        patch.setattr(ExtractObjects, "answer", NewCaption)
        assert refusal("extract_objects").startswith("answer schema of stage extract_objects changed")
    with monkeypatch.context() as patch:
        patch.setattr("shardmill.embedded.rules.engine.PATTERNS", ())
        assert refusal("extract_objects").startswith("model patterns of stage extract_objects changed")
    run.stage("filter_objects").model["miss_rate"] = 0.5
    assert refusal("filter_objects").startswith("model error rates of stage filter_objects changed")
    run.stage("create_mcq").options["style"] = "original"
    assert refusal("create_mcq").startswith("options of stage create_mcq changed")


@pytest.mark.parametrize("moment", [1, 5, 12])
def test_a_worker_that_another_one_overtakes_ends_with_the_part_of_the_other(
    run: RunFolder, scripted: type[Scripted], moment: int
) -> None:
    def overtaken(request: TextRequest, answer: str) -> Reply:
        if sum(scripted.asked.values()) == moment:
            run_shard(run, "extract_objects", 0)
        return Reply(request.key, answer)

    behave(scripted, overtaken)
    manifest = run_shard(run, "extract_objects", 0)
    assert manifest == run.manifest("extract_objects", 0)
    assert manifest.conserved() and manifest.rows_out > 5
    assert not run.files("extract_objects", 0).temporaries()


@pytest.mark.parametrize("looks", [1, 2, 12, 13, 14, 29])
def test_stopped_again_and_again_it_comes_to_the_same_end(make_run: MakeRun, scripted: type[Scripted], looks: int) -> None:
    calm, hasty = (make_run(name, num_shards=1, settings=["extract_objects.model=scripted"]) for name in ("calm", "hasty"))
    behave(scripted, lambda request, answer: Reply(request.key, answer if request.seed % 3 else answer[:-2]))
    run_shard(calm, "extract_objects", 0)
    stops = 0
    while not hasty.is_complete("extract_objects", 0):
        patience = iter(range(looks + stops))
        try:
            run_shard(hasty, "extract_objects", 0, should_stop=lambda patience=patience: next(patience, None) is None)
        except Stopped:
            stops += 1
        assert stops < 100
    assert stops > 1
    for name in ("part", "rejects"):
        paths = [getattr(run.files("extract_objects", 0), name) for run in (calm, hasty)]
        assert paths[0].read_bytes() == paths[1].read_bytes()
