"""Servers as they are: each speaks the protocol a little differently, and some lie."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import ssl
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from aiohttp import web
from test_openai import ask, client, good, in_turn, replies

from faulty_server import FaultyServer, Handler, completion
from shardmill.core.in_flight import usage_of
from shardmill.models.text import openai_endpoints
from shardmill.models.text.key_redaction import REPLACEMENT, redact
from shardmill.models.text.openai import OpenAIModel
from shardmill.models.text.openai_errors import MAX_RETRY_AFTER, ServerError, read_error, retry_after
from shardmill.models.text.openai_replies import read_reply
from shardmill.util.errors import UserError

SECRET = "sk-a8/Xk2-91&z"


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    server = FaultyServer(good)
    yield server
    server.end()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_endpoints, "MIN_BACKOFF", 0.01)
    monkeypatch.setattr(openai_endpoints, "MAX_BACKOFF", 0.05)


def plain(count: int) -> list[Any]:
    return [ask(str(number), f"a dog and kite number {number}", schema=None) for number in range(count)]


def says(status: int, body: Any, **headers: str) -> Handler:
    async def handler(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return handler


def refuses(parameter: str, message: str) -> Handler:
    """A good server that refuses requests with a parameter."""

    async def handler(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await (says(400, {"error": {"message": message}}) if parameter in body else good)(request, body)

    return handler


OPENAI_RATE = {
    "error": {
        "message": "Rate limit reached for gpt-x on requests per min (RPM): Limit 3. Please try again in 20ms. To raise it, add "
        "a payment method at https://platform.openai.com/account/billing.",
        "type": "requests",
        "code": "rate_limit_exceeded",
    }
}
GEMINI_RATE = [
    {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota, please check your plan and billing details.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.02s"}],
        }
    }
]
UNPAID = {"error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"}}


@pytest.mark.parametrize("body", [OPENAI_RATE, GEMINI_RATE], ids=["openai", "gemini"])
def test_a_rate_limit_that_speaks_of_billing_is_waited_for(server: FaultyServer, body: Any) -> None:
    server.handler = in_turn(*[says(429, body)] * 3)
    assert {reply.finish for reply in replies(client(server), *plain(5)).values()} == {"stop"}


def test_an_account_without_money_ends_the_run_unless_the_server_says_when_to_retry(server: FaultyServer) -> None:
    server.handler = in_turn(says(429, UNPAID, **{"Retry-After": "0"}))
    assert replies(client(server), *plain(1))["0"].finish == "stop"
    server.handler = says(429, UNPAID)
    with pytest.raises(UserError, match="check the account of the key"):
        replies(client(server), *plain(1))


@pytest.mark.parametrize("status", [401, 403, 404, 405, 307])
def test_a_refusal_of_one_prompt_is_not_one_of_the_key_or_the_address(server: FaultyServer, status: int) -> None:
    async def moderated(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        refused = "number 3" in body["messages"][-1]["content"]
        return await (says(status, {"error": {"message": "not this one"}}) if refused else good)(request, body)

    server.handler = moderated
    found = replies(client(server, max_in_flight=1), *reversed(plain(8)))
    assert [key for key, reply in found.items() if reply.finish != "stop"] == ["3"]
    assert (found["3"].finish, found["3"].problem) == ("unusable", "refused by the server")


def test_a_prompt_that_is_flagged_first_does_not_end_the_run(server: FaultyServer) -> None:
    server.handler = in_turn(says(403, {"error": {"message": "no"}}))
    found = replies(client(server, max_in_flight=1), *plain(3))
    assert [reply.finish for reply in found.values()] == ["unusable", "stop", "stop"]


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("seed", "Unsupported parameter: 'seed' is not supported with this model."),
        ("seed", "Unrecognized request argument supplied: seed"),
        ("seed", 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'),
        ("seed", "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted'}]"),
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) is supported.",
        ),
        ("top_p", "`temperature` and `top_p` cannot both be specified for this model. Please use only one."),
    ],
)
def test_a_parameter_that_is_refused_by_name_is_left_out(
    server: FaultyServer, parameter: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.handler = refuses(parameter, message)
    found = replies(client(server), *plain(20))
    assert {reply.finish for reply in found.values()} == {"stop"}
    assert parameter not in server.bodies[-1]
    assert f"without {parameter}" in found["19"].usage.notes
    assert usage_of(found["19"], 1)[f"without {parameter}"] == 1
    assert caplog.text.count(f"does not take {parameter}") <= 1


def test_a_lost_seed_is_told_as_a_loss_and_a_setting_leaves_it_out_from_the_start(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.handler = refuses("seed", "unknown field `seed`")
    replies(client(server), *plain(2))
    assert "cannot be reproduced" in caplog.text
    replies(client(server, omit=["seed", "top_p"]), *plain(1))
    assert not {"seed", "top_p"} & server.bodies[-1].keys()
    assert OpenAIModel.identity(model="m", omit=["seed"])["omit"] == '["seed"]'
    assert "omit" not in OpenAIModel.identity(model="m")


def test_an_error_that_names_a_parameter_but_does_not_refuse_it_leaves_it(server: FaultyServer) -> None:
    server.handler = in_turn(says(400, {"error": {"message": "the seed of the prompt is empty"}}))
    assert replies(client(server, max_in_flight=1), *plain(2))["0"].finish == "unusable"
    assert "seed" in server.bodies[-1]


@pytest.mark.parametrize(
    ("reason", "finish", "problem"),
    [
        ("eos_token", "stop", ""),
        ("STOP", "stop", ""),
        ("end_turn", "stop", ""),
        ("something new", "stop", ""),
        ([], "stop", ""),
        ({"a": 1}, "stop", ""),
        ("MAX_TOKENS", "length", ""),
        ("model_length", "length", ""),
        ("SAFETY", "error", "content filter"),
        ("abort", "error", "no complete answer"),
        ("tool_calls", "stop", ""),
    ],
)
def test_a_complete_text_is_used_whatever_the_server_calls_its_end(reason: Any, finish: str, problem: str) -> None:
    reply = read_reply("k", json.dumps(completion("a dog", reason)).encode(), 1.0)
    assert (reply.finish, reply.problem, reply.result) == (finish, problem, "a dog")


def test_unknown_ends_are_counted_and_each_is_shown_once(server: FaultyServer, caplog: pytest.LogCaptureFixture) -> None:
    async def odd(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        number = int(body["messages"][-1]["content"].rpartition(" ")[2].strip('"'))
        return web.json_response(completion("a dog", "done" if number < 10 else f"odd {number}\x1b]0;"))

    server.handler = odd
    found = replies(client(server, max_in_flight=1), *plain(40))
    assert caplog.text.count("unknown finish_reason 'done'") == 1 and "\x1b" not in caplog.text
    assert found["0"].usage.notes == ("finish done",) and found["39"].usage.notes == ("finish other",)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a dog"}], "a dog"),
        ([{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "a dog"}], "a dog"),
        ([{"type": "text", "text": {"value": "a dog"}}], "a dog"),
        (["a ", "dog"], "a dog"),
        ({"type": "text", "text": "a dog"}, "a dog"),
        ("a \ud83d dog", "a \ufffd dog"),
    ],
)
def test_contents_in_parts_are_their_text_without_thoughts(content: Any, text: str) -> None:
    assert read_reply("k", json.dumps(completion(content)).encode(), 1.0).result == text


def test_thoughts_alone_are_no_answer() -> None:
    for message in ({"content": ""}, {"content": None}, {"content": [{"type": "thinking", "thinking": "x"}]}):
        body = json.dumps({"choices": [{"message": {**message, "reasoning_content": "hm"}, "finish_reason": "stop"}]})
        reply = read_reply("k", body.encode(), 1.0)
        assert (reply.finish, reply.problem) == ("error", "thoughts without an answer")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_body_with_a_byte_order_mark_is_read(encoding: str) -> None:
    assert read_reply("k", json.dumps(completion("a dog")).encode(encoding), 1.0).result == "a dog"


def test_an_error_with_status_200_is_an_error(server: FaultyServer) -> None:
    server.handler = in_turn(says(200, {"error": {"code": 503, "message": "overloaded"}}), says(200, {"error": "overloaded"}))
    assert replies(client(server, max_in_flight=1), *plain(2))["0"].finish == "stop"
    server.handler = in_turn(says(200, {"error": {"code": 400, "message": "prompt is too long: 9 tokens > 8 maximum"}}))
    assert replies(client(server, max_in_flight=1), *plain(1))["0"].problem == "prompt too long"


@pytest.mark.parametrize(
    "message",
    [
        "the request exceeds the available context size, try increasing it",
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        "This model's maximum context length is 4096 tokens",
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
        "The input (9 tokens) is longer than the model's context length (8 tokens).",
        "Please reduce the length of the messages or completion.",
        "Trying to keep the first 9 tokens when context the overflows. However, the model is loaded with context length of 8",
    ],
)
def test_longer_than_the_context_is_told_as_that(message: str) -> None:
    for status in (400, 500):
        error = ServerError(status, message)
        assert error.why_unusable == "prompt too long" and error.is_about_prompt


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1.5", 1.5),
        ("-3", 0),
        ("inf", None),
        ("nan", None),
        ("1e999", None),
        ("9" * 400, None),
        ("99999999", MAX_RETRY_AFTER),
        ("Wed, 21 Oct 10000000000000000000 07:28:00 GMT", None),
        ("Wed, 21 Oct 9999 07:28:00 GMT", MAX_RETRY_AFTER),
        ("Wed, 21 Oct 2015 99:99:99 +99999999999", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_retry_after_is_a_credible_number_of_seconds_or_nothing(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}) == seconds


def test_when_to_retry_is_found_in_the_text_too() -> None:
    assert read_error(429, b'{"error": {"message": "Please try again in 1.5s."}}', {}).retry_after == 1.5
    assert read_error(429, b"Please retry in 2 minutes", {}).retry_after == 120
    assert read_error(429, b"wait 20ms", {"retry-after-ms": "40"}).retry_after == 0.04
    assert read_error(429, b"Limit 3 requests per minute", {}).retry_after is None


@pytest.mark.parametrize("value", [int("9" * 401), -1, True, "many", [], 1e300, 3.0])
def test_numbers_of_a_server_are_bounded_where_they_enter(value: Any) -> None:
    body = {**completion("a dog"), "usage": {"prompt_tokens": value, "completion_tokens": value, "prompt_tokens_details": value}}
    usage = read_reply("k", json.dumps(body).encode(), 1.0).usage
    assert (usage.prompt_tokens, usage.completion_tokens) in ((0, 0), (1, 1), (3, 3)) and type(usage.prompt_tokens) is int


FORMS = [
    SECRET,
    SECRET.replace("/", "\\/"),
    "".join(f"\\u{ord(character):04x}" for character in SECRET),
    "".join(f"\\\\u{ord(character):04X}" for character in SECRET),
    "".join(f"%{ord(character):02X}" for character in SECRET),
    "".join(f"\\x{ord(character):02x}" for character in SECRET),
    "".join(f"&#{ord(character)};" for character in SECRET),
    SECRET.replace("&", "&amp;"),
    SECRET[:9],
]


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_taken_out_of_messages_in_every_form(form: str) -> None:
    assert redact(f"key: {form}", SECRET) == f"key: {REPLACEMENT}"


@pytest.mark.parametrize("key", ["-", "EMPTY", "dummy", "not-needed", "no-key-required", "lm-studio", "password"])
def test_a_key_that_is_no_secret_is_not_searched_for(key: str) -> None:
    assert redact(f"a well-known password: {key}", key) == f"a well-known password: {key}"


@pytest.mark.parametrize("broken", ["header", "status", "chunk", "length", "body"])
def test_a_key_in_a_broken_response_stays_out_of_messages(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    text = {
        "header": f"HTTP/1.1 200 OK\r\nX \x01{SECRET}: {SECRET}\x02\r\n\r\n",
        "status": f"HTTP/1.1 {SECRET}\r\n\r\n",
        "chunk": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SECRET}\r\n",
        "length": f"HTTP/1.1 200 OK\r\nContent-Length: {SECRET}\r\n\r\n",
        "body": f"HTTP/1.1 200 OK\r\nContent-Length: {len(SECRET)}\r\n\r\n{SECRET}",
    }[broken]

    async def raw(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(text.encode())  # type: ignore[attr-defined]
        request.transport.close()
        return web.Response()

    server.handler = raw
    found = replies(client(server, tries=2), *plain(1))
    assert {reply.finish for reply in found.values()} == {"error"}
    assert SECRET[:8] not in str(found) + caplog.text


def test_an_answer_is_never_rewritten_and_one_with_the_key_is_not_kept(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "-")
    server.handler = says(200, completion("a well-kept - dog"))
    assert replies(client(server), *plain(1))["0"].result == "a well-kept - dog"
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    server.handler = says(200, completion(f"a dog {SECRET}"))
    reply = replies(client(server), *plain(1))["0"]
    assert (reply.finish, reply.result, reply.problem) == ("error", "", "the answer repeats the API key")


async def drip(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """An answer of which a byte comes now and then, and the end never."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.02)


BOMB = gzip.compress(b" " * 60_000_000, 1)


async def bomb(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(body=BOMB, headers={"Content-Encoding": "gzip"})


def test_an_answer_that_comes_a_byte_at_a_time_is_given_up_in_time(server: FaultyServer) -> None:
    server.handler = in_turn(drip)
    assert replies(client(server, timeout_seconds=0.3), *plain(1))["0"].finish == "stop"


def test_an_answer_that_swells_when_it_is_unpacked_is_not_kept_in_memory(server: FaultyServer) -> None:
    server.handler = bomb
    tracemalloc.start()
    reply = replies(client(server, tries=1), *plain(1))["0"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reply.finish == "error" and "more than 4,000,000 bytes" in reply.detail
    assert peak < 30_000_000


def test_a_handshake_that_is_cut_off_is_a_server_that_cannot_be_reached() -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        with suppress(OSError):
            while True:
                listening.accept()[0].close()

    threading.Thread(target=hang_up, daemon=True).start()
    address = f"https://127.0.0.1:{listening.getsockname()[1]}/v1"
    with pytest.raises(UserError, match="no server of m has answered"):
        replies(OpenAIModel(model="m", base_urls=[address], wait_minutes=0.005), *plain(1))
    listening.close()


@pytest.mark.skipif(not which("openssl"), reason="makes a certificate")
def test_a_certificate_that_nobody_vouches_for_ends_the_run(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening = socket.create_server(("127.0.0.1", 0))

    def shake() -> None:
        with suppress(OSError):
            context.wrap_socket(listening.accept()[0], server_side=True)

    threading.Thread(target=shake, daemon=True).start()
    with pytest.raises(UserError, match="is not trusted here"):
        replies(OpenAIModel(model="m", base_urls=[f"https://127.0.0.1:{listening.getsockname()[1]}/v1"]), *plain(1))
    listening.close()


def test_a_server_without_tls_is_told_at_once(server: FaultyServer) -> None:
    with pytest.raises(UserError, match="does not speak TLS"):
        replies(OpenAIModel(model="m", base_urls=[server.url.replace("http:", "https:")]), *plain(1))
