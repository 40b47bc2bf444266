"""What providers and clusters do to a client for long: limits that stay, engines that die behind a live front, keys that leak."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from test_openai import SCHEMA, ask, client, good, in_turn, replies

from faulty_server import FaultyServer, completion, cut, fails, slow
from shardmill.models.contract import TextRequest
from shardmill.models.servers import Announcement, Server
from shardmill.models.text import openai, openai_endpoints
from shardmill.models.text.openai import OpenAIModel
from shardmill.models.text.openai_replies import read_reply
from shardmill.util.errors import UserError


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


STRICT = {**SCHEMA, "required": ["objects"]}


def captions(count: int, **options: Any) -> list[TextRequest]:
    return [ask(str(number), f"a dog and kite number {number}", **options) for number in range(count)]


def test_many_requests_that_lack_schemas_at_the_same_time_weaken_a_server_step_by_step(server: FaultyServer) -> None:
    async def only_objects(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        strict = body.get("response_format", {}).get("type") == "json_schema"
        return await (fails(400, "response_format json_schema is not supported") if strict else good)(request, body)

    server.handler = only_objects
    found = replies(client(server), *captions(60))
    assert {reply.finish for reply in found.values()} == {"stop"}
    assert server.bodies[-1]["response_format"] == {"type": "json_object"}


def test_many_requests_to_a_server_without_any_format_lose_no_row(server: FaultyServer) -> None:
    async def old(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return await (fails(400, "response_format is not supported") if "response_format" in body else good)(request, body)

    server.handler = old
    found = replies(client(server), *captions(60))
    assert {reply.finish for reply in found.values()} == {"stop"}


def test_a_schema_that_is_refused_by_itself_leaves_others_as_they_were(server: FaultyServer) -> None:
    async def no_choices(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {"type": "object"})
        return await (good if schema.get("type") == "object" else fails(400, "schema must be of type object"))(request, body)

    server.handler = no_choices
    model = client(server)
    assert replies(model, ask("a", schema={"enum": ["yes", "no"]}))["a"].finish == "stop"
    assert server.bodies[-1]["response_format"] == {"type": "json_object"}
    replies(model, ask("a"))
    assert server.bodies[-1]["response_format"]["type"] == "json_schema"


def test_a_server_that_hangs_does_not_keep_others_from_being_asked() -> None:
    hung, well = FaultyServer(good), FaultyServer(good)
    hung.handler = slow
    model = client(hung, well, max_in_flight=4, timeout_seconds=20)
    stream = model.stream(captions(10))
    started = time.monotonic()
    first = next(stream)
    stream.close()
    assert first.finish == "stop" and time.monotonic() - started < 5
    hung.end()
    well.end()


def test_a_day_of_being_too_busy_is_the_users_to_know_and_no_row_is_rejected(server: FaultyServer) -> None:
    server.handler = in_turn(*[fails(429, **{"Retry-After": "86400"})] * 1000)
    started = time.monotonic()
    with pytest.raises(UserError, match="429"):
        replies(client(server, wait_minutes=0.02), *captions(5))
    assert time.monotonic() - started < 10


def test_a_quota_that_is_used_up_is_told_at_once(server: FaultyServer) -> None:
    async def poor(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}, status=429)

    server.handler = poor
    with pytest.raises(UserError, match="quota"):
        replies(client(server), ask("a", schema=None))


def test_an_engine_that_died_behind_a_live_front_is_waited_for(server: FaultyServer) -> None:
    model = client(server, tries=3, max_in_flight=4)
    assert replies(model, ask("first"))["first"].finish == "stop"
    server.handler = fails(500, "the engine is dead")

    def mend() -> None:
        server.handler = good

    threading.Timer(2.5, mend).start()
    found = replies(model, *captions(10))
    assert {reply.finish for reply in found.values()} == {"stop"}


def test_a_server_that_refuses_everything_ends_the_work_instead_of_rejecting_every_row(server: FaultyServer) -> None:
    server.handler = fails(400, "This model takes no requests of this kind.")
    taken = 0

    def source() -> Iterator[TextRequest]:
        nonlocal taken
        for taken in range(1, 1001):
            yield ask(str(taken), schema=None)

    with pytest.raises(UserError, match="of this kind"):
        list(client(server, max_in_flight=4).stream(source()))
    assert taken < 200


def test_newer_models_are_told_the_limit_by_its_newer_name(server: FaultyServer) -> None:
    async def newer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        return await (fails(400, said) if "max_tokens" in body else good)(request, body)

    server.handler = newer
    found = replies(client(server), *captions(20, max_tokens=77))
    assert {reply.finish for reply in found.values()} == {"stop"}
    assert server.bodies[-1]["max_completion_tokens"] == 77


def test_a_key_that_a_server_says_back_is_told_to_nobody(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-3")
    model = client(server, tries=2)
    for status in (400, 500, 200):
        server.handler = fails(status, "what is sk-secret-3 to me?")
        assert "secret" not in str(replies(model, ask("a", schema=None)))
    for status in (401, 404):
        server.handler = fails(status, "Incorrect key: sk-secret-3")
        with pytest.raises(UserError) as told:
            replies(model, ask("a", schema=None))
        assert "secret" not in str(told.value)
    assert "secret" not in caplog.text


def test_a_key_of_a_provider_is_not_sent_to_servers_that_announce_themselves(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-4")
    Announcement(tmp_path, Server(url=server.url, model="m", node="n1", pid=1)).beat()
    for settings in ({}, {"key_variable": "OPENAI_API_KEY"}):
        replies(OpenAIModel(model="m", servers=str(tmp_path), **settings), ask("a"))
        assert "Authorization" not in server.headers[-1]
    monkeypatch.setenv("SHARDMILL_KEY_HOSTS", "127.0.0.1=OPENAI_API_KEY")
    replies(OpenAIModel(model="m", servers=str(tmp_path)), ask("a"))
    assert server.headers[-1]["Authorization"] == "Bearer sk-secret-4"


def test_servers_of_other_models_and_those_whose_key_cannot_be_read_are_left_alone(tmp_path: Path) -> None:
    mine, other, locked = FaultyServer(good), FaultyServer(good), FaultyServer(good)
    Announcement(tmp_path, Server(url=other.url, model="other", node="n2", pid=2, started="1")).beat()
    card = Announcement(tmp_path, Server(url=locked.url, model="m", node="n3", pid=3, started="2"), "hush-hush")
    card.beat()
    card.key_path.chmod(0o644)
    Announcement(tmp_path, Server(url=mine.url, model="m", node="n1", pid=1, started="3")).beat()
    found = replies(OpenAIModel(model="m", servers=str(tmp_path)), *captions(10))
    assert len(found) == 10 and len(mine.bodies) >= 10 and not other.bodies and not locked.bodies
    for each in (mine, other, locked):
        each.end()


def test_strict_schemas_are_closed_and_those_with_optional_fields_are_not_strict(server: FaultyServer) -> None:
    model = client(server)
    replies(model, ask("a", schema=STRICT))
    sent = server.bodies[-1]["response_format"]["json_schema"]
    assert sent["strict"] is True and sent["schema"] == {**STRICT, "additionalProperties": False}
    replies(model, ask("a", schema=SCHEMA))
    sent = server.bodies[-1]["response_format"]["json_schema"]
    assert sent.get("strict", False) is False and sent["schema"] == SCHEMA


def test_streams_of_several_threads_share_the_places(server: FaultyServer) -> None:
    async def steady(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return await good(request, body)

    server.handler = steady
    model = client(server, max_in_flight=4)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(replies(model, *captions(20))))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20] * 3 and server.most_at_once <= 4


def test_an_answer_without_text_is_no_fault_of_the_server(server: FaultyServer) -> None:
    assert read_reply("k", json.dumps(completion(None, "length")).encode(), 1.0).finish == "length"
    empty = read_reply("k", json.dumps(completion(None)).encode(), 1.0)
    assert (empty.finish, empty.problem) == ("error", "no text in the answer")
    parts = {"choices": [{"message": {"content": [{"type": "text", "text": "a "}, {"type": "text", "text": "dog"}]}}]}
    assert read_reply("k", json.dumps(parts).encode(), 1.0).result == "a dog"


def test_an_answer_that_never_ends_is_not_kept_in_memory(server: FaultyServer) -> None:
    async def endless(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    server.handler = in_turn(endless)
    assert replies(client(server), ask("a"))["a"].finish == "stop"


def test_a_filter_that_stops_a_prompt_is_told_as_such(server: FaultyServer) -> None:
    server.handler = in_turn(fails(400, "The response was filtered due to the prompt triggering content management policy"))
    found = replies(client(server), ask("a", schema=None))["a"]
    assert (found.finish, found.problem) == ("unusable", "content filter")


@pytest.mark.parametrize("schema_mode", ["json_schema", "json_object"])
def test_a_schema_mode_that_is_insisted_on_is_not_weakened(server: FaultyServer, schema_mode: str) -> None:
    server.handler = fails(400, "response_format is not supported")
    with pytest.raises(UserError, match="schema_mode"):
        replies(client(server, schema_mode=schema_mode), ask("a"))


def test_a_server_that_ignores_a_schema_that_is_insisted_on_is_refused(server: FaultyServer) -> None:
    async def deaf(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion("Sure! A dog."))

    server.handler = deaf
    with pytest.raises(UserError, match="ignores JSON schemas"):
        replies(client(server, schema_mode="json_schema"), ask("a"))


def test_a_key_in_an_address_is_refused() -> None:
    with pytest.raises(UserError, match="OPENAI_API_KEY") as told:
        OpenAIModel(model="m", base_urls=["https://me:sk-secret@host/v1"])
    assert "secret" not in str(told.value)


def test_a_failed_stream_does_not_shorten_the_patience_of_the_next(server: FaultyServer) -> None:
    model = client(server, wait_minutes=0.03)
    server.stop()
    with pytest.raises(UserError):
        replies(model, ask("a"))
    threading.Timer(0.8, server.start).start()
    assert replies(model, ask("a"))["a"].finish == "stop"


def test_a_process_that_ends_with_a_model_in_use_says_nothing(server: FaultyServer) -> None:
    code = (
        "from shardmill.models.text.openai import OpenAIModel; from test_openai import ask\n"
        f"model = OpenAIModel(model='m', base_urls=['{server.url}'])\n"
        "stream = model.stream(ask(str(n)) for n in range(20)); next(stream)\n"
    )
    path = [str(Path(__file__).parent), str(Path(__file__).parents[2]), *sys.path]
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=60, env={"PYTHONPATH": ":".join(path)}
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_shapes_answers_is_known_without_addresses_and_limits() -> None:
    one = OpenAIModel.identity(model="m", base_urls=["http://a/v1"], max_in_flight=3)
    assert one == OpenAIModel.identity(model="m", servers="x", timeout_seconds=5)
    assert one["model"] == "m" and "base_urls" not in one and "http" not in str(one)
    assert OpenAIModel.identity(model="m", schema_mode="none")["schema_mode"] == "none"
    assert openai.OpenAISettings.model_fields["wait_minutes"].default == 30


def test_a_cut_connection_of_a_server_that_is_gone_costs_no_row(server: FaultyServer) -> None:
    server.handler = in_turn(*[cut] * 6)
    found = replies(client(server, tries=3, max_in_flight=8), *captions(30))
    assert {reply.finish for reply in found.values()} == {"stop"}


def test_the_environments_proxy_is_for_providers_not_for_the_clusters_own_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inner.example")
    assert openai_endpoints.proxy_of("https://api.example/v1") == "http://proxy:3128"
    assert openai_endpoints.proxy_of("https://inner.example:8443/v1") is None
    assert openai_endpoints.proxy_of("http://node01:8000/v1") is None
