"""The client of OpenAI-compatible servers, over real sockets, with servers that fail in every way that servers do."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web

from faulty_server import FaultyServer, Handler, broken, completion, cut, fails, half, slow
from shardmill.core.prompts import Prompt, load_template
from shardmill.core.shard_runner import run_shard
from shardmill.embedded.rules.extract import extract_objects
from shardmill.models.contract import Reply, Sampling, TextRequest
from shardmill.models.servers import Announcement, Server
from shardmill.models.text import openai_endpoints
from shardmill.models.text.openai import OpenAIModel
from shardmill.models.text.openai_errors import retry_after
from shardmill.models.text.openai_replies import MalformedReply, read_reply
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

SCHEMA = {"type": "object", "properties": {"objects": {"type": "array", "items": {"type": "string"}}}}


def answer(body: dict[str, Any]) -> str:
    """What a good model says: to a probe the code that the schema demands, to a caption the objects by rule."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    if "code" in schema.get("properties", {}):
        return json.dumps({"code": schema["properties"]["code"]["enum"][0]})
    if body["messages"][-1]["content"] == "Hello":
        return "H"
    caption = json.loads(re.sub(r"^Caption: ", "", body["messages"][-1]["content"]))
    return json.dumps(extract_objects({"caption": caption}, Random(0)))


async def good(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(completion(answer(body)))


async def thoughtful(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(0.03)
    return await good(request, body)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    server = FaultyServer(good)
    yield server
    server.end()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of milliseconds."""
    monkeypatch.setattr(openai_endpoints, "MIN_BACKOFF", 0.01)
    monkeypatch.setattr(openai_endpoints, "MAX_BACKOFF", 0.05)
    monkeypatch.setattr(openai_endpoints, "REFRESH_SECONDS", 0.05)


def client(*servers: FaultyServer, **settings: Any) -> OpenAIModel:
    return OpenAIModel(model="m", base_urls=[server.url for server in servers], **settings)


def ask(key: str, caption: str = "a dog and a kite", schema: Any = SCHEMA, **sampling: Any) -> TextRequest:
    return TextRequest(Prompt(load_template("negbench/extract_objects"), {"caption": caption}), Sampling(**sampling), schema, key)


def replies(model: OpenAIModel, *requests: TextRequest) -> dict[str, Reply]:
    return {reply.key: reply for reply in model.stream(requests)}


def in_turn(*handlers: Handler) -> Handler:
    """Each handler once, then good ones; probes are always answered well."""
    left = list(handlers)

    async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        is_probe = "code" in json.dumps(body.get("response_format", {}))
        return await (left.pop(0) if left and not is_probe else good)(request, body)

    return handler


def test_a_request_is_a_chat_with_a_schema_and_its_answer_tells_what_it_cost(server: FaultyServer) -> None:
    reply = replies(client(server), ask("a", temperature=0.5, stop=("\n\n",), max_tokens=50))["a"]
    assert json.loads(reply.result) == {"objects": ["dog", "kite"]} and reply.finish == "stop"
    assert (reply.usage.prompt_tokens, reply.usage.cached_tokens, reply.usage.completion_tokens) == (100, 80, 10)
    assert reply.usage.seconds > 0
    sent = server.bodies[-1]
    assert [message["role"] for message in sent["messages"]][:: len(sent["messages"]) - 1] == ["system", "user"]
    assert (sent["model"], sent["temperature"], sent["stop"], sent["max_tokens"]) == ("m", 0.5, ["\n\n"], 50)
    assert sent["response_format"]["json_schema"]["schema"] == SCHEMA


def test_no_more_than_so_many_are_under_way_and_connections_are_kept(server: FaultyServer) -> None:
    taken = 0

    def source() -> Iterator[TextRequest]:
        nonlocal taken
        for taken in range(1, 101):
            yield ask(str(taken))

    stream = client(server, max_in_flight=5).stream(source())
    next(stream)
    assert taken <= 11, "five under way, and as many at hand for when these are answered"
    assert len(list(stream)) == 99
    assert server.most_at_once <= 5
    assert len(server.connections) <= 6


@pytest.mark.parametrize(
    "fault", [fails(500), fails(503), fails(408), cut, half, broken], ids=["500", "503", "408", "cut", "half", "broken"]
)
def test_what_may_go_better_is_asked_again(server: FaultyServer, fault: Handler) -> None:
    server.handler = in_turn(fault, fault)
    found = replies(client(server, max_in_flight=1), *(ask(str(number)) for number in range(5)))
    assert {reply.finish for reply in found.values()} == {"stop"} and len(found) == 5


def test_a_request_that_always_fails_is_given_up_and_the_others_are_answered(server: FaultyServer) -> None:
    async def picky(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await (fails(500, "poison") if "poison" in body["messages"][-1]["content"] else good)(request, body)

    server.handler = picky
    found = replies(client(server, tries=3), ask("bad", "poison"), *(ask(str(number)) for number in range(20)))
    assert (found["bad"].finish, found["bad"].problem) == ("error", "server error") and "500: poison" in found["bad"].detail
    assert sum(reply.finish == "stop" for reply in found.values()) == 20


def test_a_server_that_is_too_busy_is_left_alone_as_long_as_it_asks(server: FaultyServer) -> None:
    server.handler = in_turn(fails(429, **{"Retry-After": "1"}))
    started = time.monotonic()
    found = replies(client(server), ask("a"))
    assert found["a"].finish == "stop"
    assert 1.0 <= time.monotonic() - started < 5


def test_being_too_busy_costs_no_tries_and_is_waited_for_only_so_long(server: FaultyServer) -> None:
    server.handler = in_turn(*[fails(429)] * 10)
    assert replies(client(server, tries=1), ask("a"))["a"].finish == "stop"
    server.handler = in_turn(*[fails(429)] * 1000)
    with pytest.raises(UserError, match="answered 429"):
        replies(client(server, wait_minutes=0.01), ask("a"))


def test_a_request_that_takes_too_long_is_sent_again(server: FaultyServer) -> None:
    server.handler = in_turn(slow)
    assert replies(client(server, timeout_seconds=0.3), ask("a"))["a"].finish == "stop"


def test_a_server_that_is_restarted_is_waited_for_and_no_try_is_lost(server: FaultyServer) -> None:
    model = client(server, tries=2, max_in_flight=4)
    server.stop()
    threading.Timer(1.0, server.start).start()
    found = replies(model, *(ask(str(number)) for number in range(10)))
    assert {reply.finish for reply in found.values()} == {"stop"} and len(found) == 10


def test_a_server_that_never_comes_is_the_users_to_mend(server: FaultyServer) -> None:
    model = client(server, wait_minutes=0.01)
    server.stop()
    with pytest.raises(UserError, match=r"no server .* has answered"):
        replies(model, ask("a"))
    server.start()


def test_a_dead_server_leaves_the_rotation_and_returns() -> None:
    one, two = FaultyServer(thoughtful), FaultyServer(thoughtful)
    model = client(one, two, max_in_flight=4)
    replies(model, *(ask(str(number)) for number in range(20)))
    assert len(one.bodies) > 3 and len(two.bodies) > 3
    two.stop()
    before = len(one.bodies)
    assert len(replies(model, *(ask(str(number)) for number in range(20)))) == 20
    assert len(one.bodies) >= before + 20
    two.start()
    time.sleep(0.5)
    before = len(two.bodies)
    replies(model, *(ask(str(number)) for number in range(20)))
    assert len(two.bodies) > before
    one.end()
    two.end()


def test_announced_servers_are_found_and_those_that_go_are_forgotten(tmp_path: Path) -> None:
    one, two = FaultyServer(good), FaultyServer(good)
    cards = [
        Announcement(tmp_path, Server(url=one.url, model="m", node="n1", pid=1)),
        Announcement(tmp_path, Server(url=two.url, model="m", node="n2", pid=2), "hush"),
    ]
    model = OpenAIModel(model="m", servers=str(tmp_path))
    threading.Timer(0.3, cards[0].beat).start()
    assert replies(model, ask("a"))["a"].finish == "stop" and len(one.bodies) > 0
    cards[0].withdraw()
    cards[1].beat()
    time.sleep(0.1)
    assert replies(model, ask("a"))["a"].finish == "stop"
    assert two.headers[-1]["Authorization"] == "Bearer hush"
    one.end()
    two.end()


def test_a_server_that_lacks_schemas_is_asked_without(server: FaultyServer, caplog: pytest.LogCaptureFixture) -> None:
    async def old(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        kind = body.get("response_format", {}).get("type")
        return await (fails(400, f"response_format {kind} is not supported") if kind else good)(request, body)

    server.handler = old
    found = replies(client(server, max_in_flight=1), *(ask(str(number)) for number in range(5)))
    assert {reply.finish for reply in found.values()} == {"stop"}
    assert "response_format" not in server.bodies[-1]
    assert len(server.bodies) <= 5 + 4
    assert "asked with none from now on" in caplog.text


def test_a_server_that_ignores_schemas_is_named_once(server: FaultyServer, caplog: pytest.LogCaptureFixture) -> None:
    async def deaf(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion("Sure! A dog."))

    server.handler = deaf
    replies(client(server), *(ask(str(number)) for number in range(5)))
    assert caplog.text.count("ignores JSON schemas") == 1


@pytest.mark.parametrize(
    ("status", "said", "problem"),
    [
        (400, "This model's maximum context length is 4096 tokens", "prompt too long"),
        (422, "messages: field required", "refused by the server"),
        (413, "too large", "refused by the server"),
    ],
)
def test_what_will_never_be_answered_is_not_asked_again(server: FaultyServer, status: int, said: str, problem: str) -> None:
    server.handler = in_turn(fails(status, said))
    found = replies(client(server, max_in_flight=1), ask("a", schema=None), ask("b", schema=None))
    assert (found["a"].finish, found["a"].problem) == ("unusable", problem) and said in found["a"].detail
    assert found["b"].finish == "stop" and len(server.bodies) == 2


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "have the model 'm'"), (307, "/v1")]
)
def test_what_the_user_must_mend_ends_the_stream(server: FaultyServer, status: int, remedy: str) -> None:
    server.handler = fails(status, Location="http://127.0.0.1:1/elsewhere")
    with pytest.raises(UserError, match=remedy):
        replies(client(server), ask("a"))


def test_the_key_comes_from_the_environment_or_a_file_and_is_told_to_nobody_else(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret-1")
    replies(client(server, key_variable="MY_KEY"), ask("a"))
    assert server.headers[-1]["Authorization"] == "Bearer sk-secret-1"
    monkeypatch.delenv("MY_KEY")
    (tmp_path / "key").write_text("sk-secret-2\n")
    monkeypatch.setenv("MY_KEY_FILE", str(tmp_path / "key"))
    server.handler = in_turn(fails(500), fails(400, "bad"))
    found = replies(client(server, key_variable="MY_KEY"), ask("a", schema=None))
    assert server.headers[-1]["Authorization"] == "Bearer sk-secret-2"
    assert "secret" not in caplog.text + str(found) + str(client(server, key_variable="MY_KEY")._pool.endpoints)
    monkeypatch.setenv("MY_KEY_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"MY_KEY_FILE names .* cannot be read"):
        client(server, key_variable="MY_KEY")


def test_limits_hold_requests_back(server: FaultyServer) -> None:
    model = client(server, requests_per_minute=300)
    started = time.monotonic()
    assert len(replies(model, *(ask(str(number), schema=None) for number in range(60)))) == 60
    assert time.monotonic() - started > 1.5, "50 at once, then 5 a second"


def test_a_stream_that_is_closed_early_leaves_nothing_under_way(server: FaultyServer) -> None:
    server.handler = in_turn(good, *[slow] * 50)
    stream = client(server, max_in_flight=10).stream(ask(str(number), schema=None) for number in range(50))
    next(stream)
    stream.close()
    deadline = time.monotonic() + 5
    while server._now and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server._now == 0


@pytest.mark.parametrize(
    ("message", "finish", "expected"),
    [
        (completion("yes", "length"), "length", ""),
        (completion("", "content_filter"), "error", "content filter"),
        (completion(None, "tool_calls"), "error", "no answer in words"),
        (completion(None, refusal="I will not"), "error", "the model declined"),
        ({"choices": [{"message": {"content": "a"}}]}, "stop", ""),
    ],
)
def test_how_an_answer_ended_is_told(message: dict[str, Any], finish: str, expected: str) -> None:
    reply = read_reply("k", json.dumps(message).encode(), 1.0)
    assert (reply.finish, reply.problem) == (finish, expected)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": 3}}]}', b"\xff\xfe", b"null", b"[" * 100_000],
)
def test_a_body_that_is_no_answer_is_told_apart(body: bytes) -> None:
    with pytest.raises(MalformedReply):
        read_reply("k", body, 1.0)


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after({"Retry-After": "1.5"}) == 1.5 and retry_after({"Retry-After": "soon"}) is None and retry_after({}) is None
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=30), usegmt=True)
    assert 25 < (retry_after({"Retry-After": date}) or 0) <= 30


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({}, "base_urls, or servers"),
        ({"base_urls": ["http://a/v1"], "servers": "x"}, "one of the two"),
        ({"base_urls": ["a:8000"]}, "not an address"),
        ({"base_urls": ["http://a/v1"], "timeout": 3}, "no setting 'timeout'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        OpenAIModel(model="m", **settings)


def test_a_shard_behind_a_server_with_every_fault_gives_the_rows_of_one_without(
    server: FaultyServer, make_run: Callable[..., RunFolder]
) -> None:
    rng = Random(3)
    faults = [good, good, good, fails(429, **{"Retry-After": "0.02"}), fails(500), cut, half, broken]

    async def moody(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await rng.choice(faults)(request, body)

    spec = json.dumps({"kind": "openai", "model": "m", "base_urls": [server.url], "max_in_flight": 8, "tries": 30})
    calm, shaken = (make_run(name, num_shards=1, settings=[f"extract_objects.model={spec}"]) for name in ("calm", "shaken"))
    run_shard(calm, "extract_objects", 0)
    server.handler = moody
    made = run_shard(shaken, "extract_objects", 0)
    files = [run.files("extract_objects", 0) for run in (calm, shaken)]
    assert files[0].part.read_bytes() == files[1].part.read_bytes()
    assert files[0].rejects.read_bytes() == files[1].rejects.read_bytes()
    assert made.conserved() and made.usage["requests"] == calm.manifest("extract_objects", 0).usage["requests"]  # type: ignore[union-attr]
