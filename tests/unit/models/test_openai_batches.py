"""Requests in a provider's batches: nothing is paid for twice, whenever the worker is killed, and each row has an outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from batch_server import BatchServer
from faulty_server import completion
from shardmill.core.prompts import Prompt, load_template
from shardmill.core.shard_runner import run_shard
from shardmill.models.contract import Reply, Sampling, TextRequest
from shardmill.models.text import openai_batch_api, openai_batches
from shardmill.models.text.openai import OpenAIModel
from shardmill.models.text.openai_batch_api import BatchApi
from shardmill.store.plan import Price
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import Stopped, UserError
from shardmill.util.signals import stopping_when

SCHEMA = {"type": "object", "properties": {"objects": {"type": "array", "items": {"type": "string"}}}}
OBJECTS = '{"objects": ["dog"]}'


async def directly(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    if "code" in schema.get("properties", {}):
        return web.json_response(completion(json.dumps({"code": schema["properties"]["code"]["enum"][0]})))
    return web.json_response(completion(OBJECTS))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchServer]:
    for module, name in (
        (openai_batches, "POLL_SECONDS"),
        (openai_batches, "MAX_POLL_SECONDS"),
        (openai_batch_api, "POLL_SECONDS"),
        (openai_batch_api, "CHECK_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.01)
    server = BatchServer(directly, lambda body: (200, completion(OBJECTS)))
    yield server
    server.end()


def client(server: BatchServer, folder: Path, **settings: Any) -> OpenAIModel:
    model = OpenAIModel(model="m", base_urls=[server.url], **{"batch": True, "batch_min": 2, "wait_minutes": 1, **settings})
    model.work_folder = folder
    return model


def requests(*keys: str, schema: Any = SCHEMA) -> list[TextRequest]:
    template = load_template("negbench/extract_objects")
    return [TextRequest(Prompt(template, {"caption": f"a dog {key}"}), Sampling(max_tokens=30), schema, key, 7) for key in keys]


def replies(model: OpenAIModel, *keys: str, **options: Any) -> dict[str, Reply]:
    found = [*model.stream(requests(*keys, **options))]
    assert len({reply.key for reply in found}) == len(found)
    return {reply.key: reply for reply in found}


def paid(server: BatchServer) -> list[str]:
    """The requests that were answered in batches."""
    return sorted(json.dumps(line["body"], sort_keys=True) for lines in server.made.values() for line in lines)


def about(server: BatchServer, key: str) -> list[dict[str, Any]]:
    lines = [line for lines in server.made.values() for line in lines]
    return [line for line in lines if f"a dog {key}" in line["body"]["messages"][-1]["content"]]


def test_an_answer_that_comes_just_when_the_wait_for_it_ends_counts(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, early = Future.result, set[int]()

    def too_early(self: Future[Any], timeout: float | None = None) -> Any:
        found = result(self, None)
        if timeout is not None and id(self) not in early:
            early.add(id(self))
            raise FutureTimeout
        return found

    monkeypatch.setattr(Future, "result", too_early)
    assert set(replies(client(server, tmp_path), "a", "b")) == {*"ab"}


def test_a_stream_is_one_batch_and_its_answers_are_marked_as_such(server: BatchServer, tmp_path: Path) -> None:
    server.polls = 3
    found = replies(client(server, tmp_path), "a", "b", "c")
    assert {(reply.result, reply.finish, reply.usage.batched) for reply in found.values()} == {(OBJECTS, "stop", True)}
    (lines,) = server.made.values()
    body = lines[0]["body"]
    assert body["max_tokens"] == 30 and body["seed"] == 7 and body["response_format"]["type"] == "json_schema"
    assert server.looks == 3 and server.bodies == []


def test_few_requests_are_sent_one_by_one(server: BatchServer, tmp_path: Path) -> None:
    found = replies(client(server, tmp_path, batch_min=3), "a", "b")
    assert {reply.usage.batched for reply in found.values()} == {False} and server.batches == {}


def test_a_worker_that_is_killed_while_it_waits_pays_for_nothing_again(server: BatchServer, tmp_path: Path) -> None:
    server.polls = 10**9
    stopped: list[bool] = []
    with stopping_when(lambda: server.looks > 2 or bool(stopped.append(True))):
        assert replies(client(server, tmp_path), "a", "b", "c") == {}
    server.polls = 1
    assert set(replies(client(server, tmp_path), "a", "b", "c", "d", "e")) == {*"abcde"}
    assert [len(lines) for lines in server.made.values()] == [3, 2] and len(paid(server)) == 5


def test_a_worker_that_forgot_what_the_server_refuses_pays_for_nothing_again(server: BatchServer, tmp_path: Path) -> None:
    server.answer = lambda body: (
        (400, {"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}})
        if "seed" in body
        else (200, completion(OBJECTS))
    )
    model = client(server, tmp_path)
    replies(model, "a", "b")
    server.polls = 10**9
    until = server.looks + 2
    with stopping_when(lambda: server.looks > until):
        assert replies(model, "c", "d") == {}
    server.polls = 1
    assert set(replies(client(server, tmp_path), "c", "d")) == {*"cd"}
    assert [len(about(server, key)) for key in "cd"] == [1, 1]


def test_results_that_were_fetched_are_not_fetched_again_and_some_of_their_rows_may_be_done(
    server: BatchServer, tmp_path: Path
) -> None:
    replies(client(server, tmp_path), "a", "b", "c")
    looks = server.looks
    assert set(replies(client(server, tmp_path), "c", "b")) == {"b", "c"}
    assert server.looks == looks and len(server.made) == 1


def test_two_workers_that_fetch_the_same_results_both_have_them(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download, other = BatchApi.download, dict[str, Reply]()

    async def beside_another(self: BatchApi, *arguments: Any) -> None:
        await download(self, *arguments)
        monkeypatch.setattr(BatchApi, "download", download)
        other.update(replies(client(server, tmp_path), "a", "b"))

    monkeypatch.setattr(BatchApi, "download", beside_another)
    found = replies(client(server, tmp_path), "a", "b")
    assert {reply.finish for reply in [*found.values(), *other.values()]} == {"stop"}
    assert len(other) == len(found) == len(paid(server)) == 2


@pytest.mark.parametrize("moment", ["before the batch", "after the batch"])
def test_a_kill_while_a_batch_is_made_is_cleared_up_by_the_providers_list(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    for number in range(5):  # of others
        server.batches[f"other_{number}"] = {"id": f"other_{number}", "status": "completed", "metadata": None, "looks": 0}
    call = BatchApi.call

    async def killed(self: BatchApi, form: Any, method: str, path: str, **options: Any) -> Any:
        if (method, path) == ("POST", "/batches"):
            if moment == "after the batch":
                await call(self, form, method, path, **options)
            raise KeyboardInterrupt("killed")
        return await call(self, form, method, path, **options)

    class Killed(Exception):
        pass

    def in_loop(self: BatchApi, work: Any) -> Any:
        import asyncio

        async def done() -> Any:
            try:
                return await work
            except KeyboardInterrupt:
                raise Killed from None

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result()

    with monkeypatch.context() as patch:
        patch.setattr(BatchApi, "call", killed)
        patch.setattr(BatchApi, "in_loop", in_loop)
        with pytest.raises(Killed):
            replies(client(server, tmp_path), "a", "b", "c")
    assert set(replies(client(server, tmp_path), "a", "b", "c")) == {*"abc"}
    assert len(paid(server)) == 3


def test_a_batch_that_another_worker_is_making_is_left_to_it(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, other = BatchApi.call, dict[str, Reply]()

    async def beside_another(self: BatchApi, form: Any, method: str, path: str, **options: Any) -> Any:
        monkeypatch.setattr(BatchApi, "call", call)
        other.update(replies(client(server, tmp_path), "a", "b"))
        return await call(self, form, method, path, **options)

    monkeypatch.setattr(BatchApi, "call", beside_another)
    found = replies(client(server, tmp_path, wait_minutes=0), "a", "b", "c")
    assert set(found) == {*"abc"} and set(other) == {*"ab"}
    assert {reply.finish for reply in [*found.values(), *other.values()]} == {"stop"}


def test_a_batch_whose_making_was_not_confirmed_is_found_instead_of_made_again(server: BatchServer, tmp_path: Path) -> None:
    server.forget_answer = True
    assert set(replies(client(server, tmp_path), "a", "b")) == {*"ab"}
    assert len(server.batches) == 1


def test_rows_fail_each_by_itself(server: BatchServer, tmp_path: Path) -> None:
    fresh = {"c": True}

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        caption = body["messages"][-1]["content"]
        if "a dog b" in caption:
            return 400, {"error": {"message": "This model's maximum context length is 8 tokens"}}
        if "a dog c" in caption and fresh.pop("c", False):
            return 500, {"error": {"message": "oops"}}
        if "a dog d" in caption:
            return 200, {"choices": []}
        return 200, completion(OBJECTS)

    server.answer = answer
    found = replies(client(server, tmp_path, tries=3, batch_min=1), "a", "b", "c", "d")
    assert found["a"].finish == "stop" and found["c"].finish == "stop"
    assert (found["b"].finish, found["b"].problem) == ("unusable", "prompt too long")
    assert (found["d"].finish, found["d"].problem) == ("error", "server error")
    assert [len(about(server, key)) for key in "abcd"] == [1, 1, 2, 3]


def test_what_an_expired_batch_did_not_answer_goes_into_another(server: BatchServer, tmp_path: Path) -> None:
    model = client(server, tmp_path, batch_min=1)
    finish = server._finish

    def expire(batch: dict[str, Any]) -> None:
        server.lost = {line["custom_id"] for line in server.made[batch["id"]][1:]} if batch["id"] == "batch_0" else set()
        finish(batch)

    server._finish = expire  # type: ignore[method-assign]
    assert {reply.finish for reply in replies(model, "a", "b", "c").values()} == {"stop"}
    assert [len(lines) for lines in server.made.values()] == [3, 2]


def test_a_parameter_that_is_refused_is_left_out_of_the_next_batch(server: BatchServer, tmp_path: Path) -> None:
    server.answer = lambda body: (
        (400, {"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}})
        if "seed" in body
        else (200, completion(OBJECTS))
    )
    found = replies(client(server, tmp_path), "a", "b")
    assert {(reply.finish, reply.usage.notes) for reply in found.values()} == {("stop", ("without seed",))}
    assert len(server.made) == 2 and server.bodies == []


def test_a_batch_of_which_all_is_refused_for_the_schema_asks_for_one_step_less_and_loses_no_row(
    server: BatchServer, tmp_path: Path
) -> None:
    def form(body: dict[str, Any]) -> str:
        return str(body.get("response_format", {}).get("type"))

    server.answer = lambda body: (
        (400, {"error": {"message": "response_format json_schema is not supported"}})
        if form(body) == "json_schema"
        else (200, completion(OBJECTS))
    )
    assert {reply.finish for reply in replies(client(server, tmp_path), *"abcd").values()} == {"stop"}
    assert [{form(line["body"]) for line in lines} for lines in server.made.values()] == [{"json_schema"}, {"json_object"}]


def test_a_batch_that_is_refused_as_a_whole_is_the_users_to_fix_unless_it_only_waits_for_room(
    server: BatchServer, tmp_path: Path
) -> None:
    server.fail = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]
    assert {reply.finish for reply in replies(client(server, tmp_path), "a", "b").values()} == {"stop"}
    server.fail = [{"code": "invalid_model", "message": "there is no model m"}]
    with pytest.raises(UserError, match="refused batch batch_2: there is no model m"):
        replies(client(server, tmp_path), "x", "y")
    assert set(replies(client(server, tmp_path), "x", "y")) == {*"xy"}


def test_a_batch_that_never_has_room_is_not_made_again_for_ever(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_batches, "MAX_ROOM_SECONDS", -1.0)
    server.fail = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]
    with pytest.raises(UserError, match=r"had no room for 2 requests for a day: Enqueued token.*more shards"):
        replies(client(server, tmp_path), "a", "b")


def test_a_batch_that_the_provider_no_longer_has_says_how_to_go_on(server: BatchServer, tmp_path: Path) -> None:
    server.polls = 10**9
    with stopping_when(lambda: server.looks > 0):
        replies(client(server, tmp_path), "a", "b")
    server.batches.clear()
    with pytest.raises(UserError, match=r"no such batch.*remove .*/batches/\w+\.json"):
        replies(client(server, tmp_path), "a", "b")
    (record,) = (tmp_path / "batches").glob("*.json")
    record.unlink()
    server.polls = 1
    assert set(replies(client(server, tmp_path), "a", "b")) == {*"ab"}


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe", b"[" * 100_000, b'{"custom_id": 7}', b'{"custom_id": "unknown", "response": {}}', b'{"custom_id": ["a"]}'],
)
def test_results_that_nobody_asked_for_are_left_out(server: BatchServer, tmp_path: Path, line: bytes) -> None:
    finish = server._finish

    def spoil(batch: dict[str, Any]) -> None:
        finish(batch)
        name = batch["output_file_id"]
        server.files[name] = line + b"\n" + server.files[name] + b"\n" + server.files[name]

    server._finish = spoil  # type: ignore[method-assign]
    assert {reply.finish for reply in replies(client(server, tmp_path), "a", "b").values()} == {"stop"}


def test_an_id_that_leads_elsewhere_is_not_followed(server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = server._finish

    def lead(batch: dict[str, Any]) -> None:
        finish(batch)
        batch["output_file_id"] = "../../v1/models"

    server._finish = lead  # type: ignore[method-assign]
    with pytest.raises(UserError, match="something else than batches"):
        replies(client(server, tmp_path, wait_minutes=0), "a", "b")


def test_batches_need_a_provider_of_their_own(server: BatchServer) -> None:
    with pytest.raises(UserError, match="one address"):
        OpenAIModel(model="m", base_urls=[server.url, "http://b/v1"], batch=True)


def test_batched_tokens_cost_their_share() -> None:
    usage = {"prompt_tokens": 3e6, "completion_tokens": 2e6, "batched_prompt_tokens": 2e6, "batched_completion_tokens": 1e6}
    assert Price(prompt=1, completion=10).of(usage) == pytest.approx(23 - 6)
    assert Price(prompt=1, completion=10, batch=1).of(usage) == pytest.approx(23)


def test_a_shard_in_batches_has_the_rows_of_one_without_also_after_a_stop(
    server: BatchServer, make_run: Callable[..., RunFolder]
) -> None:
    spec = {"kind": "openai", "model": "m", "base_urls": [server.url], "batch_min": 2}

    def settings(batch: bool) -> list[str]:
        model = json.dumps({**spec, "batch": batch})
        return [f"extract_objects.model={model}", "extract_objects.attempts=1", "extract_objects.stop_after=0"]

    runs = {name: make_run(name, num_shards=1, settings=settings(name == "batched")) for name in ("plain", "batched")}
    run_shard(runs["plain"], "extract_objects", 0)
    server.polls = 10**9
    with pytest.raises(Stopped):
        run_shard(runs["batched"], "extract_objects", 0, should_stop=lambda: server.looks > 1)
    server.polls = 1
    made = run_shard(runs["batched"], "extract_objects", 0)
    files = [run.files("extract_objects", 0) for run in runs.values()]
    assert files[0].part.read_bytes() == files[1].part.read_bytes() and made.conserved()
    assert len(paid(server)) == len(set(paid(server))) and made.usage["batched_prompt_tokens"] >= 100 * len(paid(server)) > 0
