"""Language models behind any server that speaks OpenAI's chat completions: vLLM's, another engine's, a provider's.

Many requests are under way at once over connections that are kept open. What a server cannot do now is asked again later, or of
another one; what no server will ever do is told as such.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import secrets
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
from pydantic import Field

from shardmill.errors import UserError
from shardmill.models.contract import Reply, Request, Sampling, TextRequest
from shardmill.models.text.openai_answer import BadAnswer, error_text, is_about_schema, is_too_long, read_reply, retry_after
from shardmill.models.text.openai_limits import Allowance
from shardmill.models.text.openai_pool import Endpoint, Pool, headers, pause
from shardmill.models.text.settings import TextSettings, read_settings

log = logging.getLogger("shardmill")

VERSION = 1
"""Goes up when the same request would be sent or sampled otherwise."""
MOST_BYTES = 4_000_000
WEAKER = {"json_schema": "json_object", "json_object": "none"}
LOST = (aiohttp.ClientError, asyncio.TimeoutError, OSError, asyncio.IncompleteReadError)


class OpenAISettings(TextSettings):
    """Settings of a model behind servers. Either `base_urls` or `servers` says where they are."""

    shaping = (*TextSettings.shaping, "schema_mode")

    base_urls: list[str] = Field([], description="addresses that end in /v1")
    servers: str | None = Field(default=None, description="the folder in which `shardmill serve` announces servers")
    key_variable: str = Field(
        "OPENAI_API_KEY", description="the environment variable with the key; NAME_FILE names a file with it"
    )
    schema_mode: Literal["auto", "json_schema", "json_object", "none"] = Field("auto", description="holds answers to a schema")
    max_in_flight: int = Field(64, ge=1, description="requests under way at once, of one worker")
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    connect_seconds: float = Field(20, gt=0)
    timeout_seconds: float = Field(600, gt=0, description="of one answer")
    tries: int = Field(6, ge=1, description="how often a request is sent that breaks connections or gets errors")
    wait_minutes: float = Field(30, ge=0, description="how long to wait while no server answers, and for one that is too busy")


@dataclass(frozen=True)
class _Failure:
    """What raised while a request was under way; handed to the thread that asked."""

    key: str
    error: Exception


class OpenAIModel:
    """A client of one model on one or several servers. Several threads may stream at the same time."""

    many_streams = True

    def __init__(self, **settings: Any):
        self.settings = read_settings(OpenAISettings, settings)
        if bool(self.settings.base_urls) == bool(self.settings.servers):
            raise UserError("an openai model needs base_urls, or servers: a folder; one of the two")
        for url in self.settings.base_urls:
            if not url.startswith(("http://", "https://")):
                raise UserError(f"base_urls: {url!r} is no address such as http://node01:8000/v1")
        self._key = read_key(self.settings.key_variable)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run, args=(self._loop,), name="openai", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        weakref.finalize(self, _close, self._session, self._loop)

    @classmethod
    def identity(cls, **settings: Any) -> dict[str, str]:
        return {"version": str(VERSION), **read_settings(OpenAISettings, settings).identity()}

    async def _open(self) -> None:
        wanted = self.settings
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        timeout = aiohttp.ClientTimeout(total=wanted.timeout_seconds, connect=wanted.connect_seconds)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        mode: Any = "json_schema" if wanted.schema_mode == "auto" else wanted.schema_mode
        folder = Path(wanted.servers) if wanted.servers else None
        self._pool = Pool(wanted.base_urls, folder, self._key, mode, wanted.wait_minutes, self._session)
        self._requests, self._tokens = Allowance(wanted.requests_per_minute), Allowance(wanted.tokens_per_minute)
        self._proving = asyncio.Lock()

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """See `models.contract.Model`."""
        answers: queue.SimpleQueue[Reply | _Failure] = queue.SimpleQueue()
        flying: dict[str, Future[None]] = {}
        source = iter(requests)
        try:
            while True:
                while len(flying) < self.settings.max_in_flight and (request := next(source, None)) is not None:
                    assert isinstance(request, TextRequest)
                    body = self._body(request)
                    flying[request.key] = asyncio.run_coroutine_threadsafe(self._answer(request, body, answers), self._loop)
                if not flying:
                    return
                reply = answers.get()
                del flying[reply.key]
                if isinstance(reply, _Failure):
                    raise reply.error
                yield reply
        finally:
            for future in flying.values():
                future.cancel()

    def _body(self, request: TextRequest) -> dict[str, Any]:
        sampling = self.settings.sampling_of(request)
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": self.settings.messages_of(request),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": request.seed & 0x7FFFFFFF,  # some servers keep it in 32 bits
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self.settings.chat_template_kwargs:
            body["chat_template_kwargs"] = self.settings.chat_template_kwargs
        return body

    async def _answer(self, request: TextRequest, body: dict[str, Any], answers: queue.SimpleQueue[Reply | _Failure]) -> None:
        try:
            answers.put(await self._ask(request, body))
        except Exception as error:
            answers.put(_Failure(request.key, error))

    async def _ask(self, request: TextRequest, body: dict[str, Any]) -> Reply:
        """Send a request until it is answered, or has failed as often as it may."""
        failed, busy_since, problem = 0, 0.0, ""
        while failed < self.settings.tries:
            endpoint = await self._pool.choose()
            try:
                if request.schema is not None:
                    await self._prove(endpoint)
                outcome = await self._send(endpoint, request, body)
            finally:
                self._pool.release(endpoint)
            if isinstance(outcome, Reply):
                return outcome
            problem, counts = outcome
            if counts:
                failed += 1
                await asyncio.sleep(pause(failed))
            else:
                busy_since = busy_since or time.monotonic()
                if time.monotonic() - busy_since > self.settings.wait_minutes * 60:
                    break
        return Reply(request.key, "", "error", "server error", problem)

    async def _send(self, endpoint: Endpoint, request: TextRequest, body: dict[str, Any]) -> Reply | tuple[str, bool]:
        """One try: the reply, or what went wrong and whether that counts against the request."""
        estimate = sum(len(message["content"]) for message in body["messages"]) / 4 + body["max_tokens"]
        await self._requests.take(1)
        await self._tokens.take(estimate)
        started = time.monotonic()
        used = 0.0
        try:
            status, after, content = await self._post(endpoint, {**body, **_format(endpoint, request.schema)})
            if status == 200:
                reply = read_reply(request.key, content, time.monotonic() - started)
                used = reply.usage.prompt_tokens + reply.usage.completion_tokens
                self._pool.is_well(endpoint)
                return reply
        except aiohttp.ClientConnectorError as error:
            self._pool.fault(endpoint, f"cannot be reached ({error.__class__.__name__})", gone=True)
            return f"{endpoint.url} cannot be reached", False
        except (*LOST, BadAnswer) as error:
            said = str(error) or type(error).__name__
            self._pool.fault(endpoint, said)
            return f"{endpoint.url}: {said}"[:600], True
        finally:
            self._tokens.settle(estimate, used)
        return self._refused(endpoint, request, status, after, error_text(content))

    async def _post(self, endpoint: Endpoint, body: dict[str, Any]) -> tuple[int, str | None, bytes]:
        """Status, Retry-After and body of an answer, no more than `MOST_BYTES` of it."""
        url = f"{endpoint.url}/chat/completions"
        async with self._session.post(url, json=body, headers=headers(endpoint), allow_redirects=False) as response:
            content = bytearray()
            async for piece in response.content.iter_chunked(65_536):
                content += piece
                if len(content) > MOST_BYTES:
                    raise BadAnswer(f"more than {MOST_BYTES:,} bytes")
            return response.status, response.headers.get("Retry-After"), bytes(content)

    def _refused(
        self, endpoint: Endpoint, request: TextRequest, status: int, after: str | None, said: str
    ) -> Reply | tuple[str, bool]:
        told = f"{endpoint.url} answered {status}: {said}"
        if status == 429:
            asked = retry_after(after)
            self._pool.rest(endpoint, min(pause(3) + 0.5 if asked is None else asked, 300.0))
            return told, False
        if status in (408, 409, 425) or status >= 500:
            if (seconds := retry_after(after)) is not None:
                self._pool.rest(endpoint, min(seconds, 300.0))
            self._pool.fault(endpoint, f"answered {status}")
            return told, True
        if status in (401, 403):
            variable = self.settings.key_variable
            raise UserError(f"{told}; put the key into {variable}, or into a file that {variable}_FILE names")
        if status == 404 or 300 <= status < 400:
            raise UserError(f"{told}; does the address end in /v1, and does the server have the model {self.settings.model!r}?")
        if request.schema is not None and endpoint.schema_mode in WEAKER and is_about_schema(said):
            self._weaken(endpoint, said)
            return told, False
        return Reply(request.key, "", "unusable", "prompt too long" if is_too_long(said) else "refused by the server", told)

    def _weaken(self, endpoint: Endpoint, said: str) -> None:
        if self.settings.schema_mode != "auto":
            raise UserError(f"{endpoint.url} does not take schema_mode {self.settings.schema_mode} ({said}); set auto")
        weaker: Any = WEAKER[endpoint.schema_mode]
        log.warning("%s does not take %s (%s): asked with %s from now on", endpoint.url, endpoint.schema_mode, said[:120], weaker)
        endpoint.schema_mode = weaker

    async def _prove(self, endpoint: Endpoint) -> None:
        """Ask once of each server what only one that holds answers to schemas can know, and say so if it does not."""
        async with self._proving:
            if endpoint.proven or endpoint.schema_mode != "json_schema":
                return
            endpoint.proven = True
            secret = secrets.token_hex(4)
            schema = {
                "type": "object",
                "properties": {"code": {"type": "string", "enum": [secret]}},
                "required": ["code"],
                "additionalProperties": False,
            }
            probe = TextRequest(_Probe(), Sampling(max_tokens=40), schema, "probe")
            outcome = await self._send(endpoint, probe, self._body(probe))
            if isinstance(outcome, Reply) and secret not in str(outcome.result):
                log.warning("%s ignores JSON schemas: answers out of form are asked again, which costs attempts", endpoint.url)
            endpoint.proven = isinstance(outcome, Reply) or endpoint.schema_mode != "json_schema"


def _run(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _close(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    """Close all connections and end the thread of the loop."""
    if loop.is_running():
        closing = asyncio.run_coroutine_threadsafe(session.close(), loop)
        closing.add_done_callback(lambda done: loop.call_soon_threadsafe(loop.stop))


class _Probe:
    task = "probe"
    values: Mapping[str, Any] = {}

    def messages(self, seed: int) -> list[dict[str, str]]:
        return [{"role": "user", "content": "Give me the code as JSON."}]


def _format(endpoint: Endpoint, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if schema is None or endpoint.schema_mode == "none":
        return {}
    if endpoint.schema_mode == "json_object":
        return {"response_format": {"type": "json_object"}}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema), "strict": True}}}


def read_key(variable: str) -> str | None:
    """The key in an environment variable, or in the file that the variable of that name with _FILE names; None without either.

    Raises UserError for a file that cannot be read.
    """
    if key := os.environ.get(variable):
        return key.strip()
    path = os.environ.get(f"{variable}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{variable}_FILE names {path}, which cannot be read ({type(error).__name__})") from None
