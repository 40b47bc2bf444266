"""Language models behind any server that speaks OpenAI's chat completions: vLLM's, another engine's, a provider's.

Many requests are under way at once over connections that are kept open. What a server cannot do now is asked again later, or of
another one; what no server will ever do is told as such.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
from pydantic import Field

from shardmill.models.contract import Reply, Request, TextRequest
from shardmill.models.settings import SettingsModel, read_settings
from shardmill.models.text.openai_answer import (
    REFUSED,
    BadAnswer,
    error_text,
    is_about_money,
    is_about_schema,
    read_reply,
    retry_after,
    why_unusable,
)
from shardmill.models.text.openai_format import WEAKER, FormatQuestion, Formats, SchemaMode, probe
from shardmill.models.text.openai_key import hidden, read_key
from shardmill.models.text.openai_limits import Allowance
from shardmill.models.text.openai_pool import Endpoint, Pool, pause
from shardmill.models.text.openai_stream import Stream
from shardmill.models.text.settings import TextSettings
from shardmill.util.errors import UserError

log = logging.getLogger("shardmill")

MAX_BYTES = 4_000_000
CLOSE_SECONDS = 10.0
IDLE_SECONDS = 4.0
"""How long an unused connection is kept: shorter than servers do (uvicorn: 5 s), or a request is sent into one that closes."""
FAILED = "server error"
MAX_FRUITLESS = 50
"""When so many requests in a row fail or are refused, and none is answered, it is the server or the settings, not the rows."""
UNREACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
LOST = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


class OpenAISettings(TextSettings):
    """Settings of a model behind servers. Either `base_urls` or `servers` says where they are."""

    shaping = (*TextSettings.shaping, "schema_mode")
    loaded = False

    base_urls: list[str] = Field([], description="addresses that end in /v1")
    servers: str | None = Field(default=None, description="the folder in which `shardmill serve` announces servers")
    key_variable: str = Field(
        "OPENAI_API_KEY", description="the environment variable with the key; NAME_FILE names a file with it"
    )
    schema_mode: Literal["auto", "json_schema", "json_object", "none"] = Field(
        "auto", description="how answers are held to a schema; auto: as well as the server can"
    )
    max_in_flight: int = Field(64, ge=1, description="requests under way at once, of one worker")
    requests_per_minute: float | None = Field(default=None, gt=0, description="of one worker")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="of one worker")
    connect_seconds: float = Field(20, gt=0)
    timeout_seconds: float = Field(600, gt=0, description="of one answer")
    tries: int = Field(6, ge=1, description="how often a request is sent that breaks connections or gets errors")
    wait_minutes: float = Field(30, ge=0, description="how long to wait while no server answers, and for one that is too busy")


@dataclass(frozen=True)
class _Again:
    """A try that gave no reply. Whether it `counts` against the request: not when there was no server, or it was too busy."""

    problem: str
    counts: bool = False


class OpenAIModel(SettingsModel):
    """A client of one model on one or several servers. Several threads may stream at the same time."""

    Settings = OpenAISettings
    many_streams = True

    def __init__(self, **settings: Any):
        self.settings = read_settings(OpenAISettings, settings)
        if bool(self.settings.base_urls) == bool(self.settings.servers):
            raise UserError("an openai model needs base_urls, or servers: a folder; one of the two")
        for url in self.settings.base_urls:
            _check_address(url, self.settings.key_variable)
        named = self.settings.base_urls or "key_variable" in self.settings.model_fields_set
        self._key = read_key(self.settings.key_variable) if named else None
        self._asking = self._fruitless = 0
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run, args=(self._loop,), name="openai", daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        self._finalizer = weakref.finalize(self, _end, self._loop, thread, self._session)

    def close(self) -> None:
        """Cancel the requests in flight and close all connections."""
        self._finalizer()

    async def _open(self) -> None:
        wanted = self.settings
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)
        timeout = aiohttp.ClientTimeout(total=wanted.timeout_seconds, connect=wanted.connect_seconds)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        mode: SchemaMode = "json_schema" if wanted.schema_mode == "auto" else wanted.schema_mode
        folder = Path(wanted.servers) if wanted.servers else None
        self._pool = Pool(wanted.model, wanted.base_urls, folder, self._key, mode, wanted.wait_minutes, self._session)
        self._requests, self._tokens = Allowance(wanted.requests_per_minute), Allowance(wanted.tokens_per_minute)
        self._places = asyncio.Semaphore(wanted.max_in_flight)
        self._formats = Formats()

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """See `models.contract.Model`. All streams together have `max_in_flight` requests under way."""
        stream = Stream(self._loop, self._answer, 2 * self.settings.max_in_flight)
        yield from stream.replies(map(self._asked, requests))

    def _asked(self, request: Request) -> tuple[TextRequest, dict[str, Any]]:
        assert isinstance(request, TextRequest)
        return request, self._body(request)

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

    async def _answer(self, asked: tuple[TextRequest, dict[str, Any]]) -> Reply:
        request, body = asked
        async with self._places:
            if self._asking == 0:
                self._pool.begin()
            self._asking += 1
            try:
                reply = await self._ask(request, body)
            finally:
                self._asking -= 1
        self._fruitless = self._fruitless + 1 if reply.problem in (FAILED, REFUSED) else 0
        if self._fruitless >= MAX_FRUITLESS:
            self._fruitless = 0
            raise UserError(
                f"the last {MAX_FRUITLESS} requests all failed, this one with: {reply.detail}; "
                f"look at the server's log, and at the settings of the model {self.settings.model}"
            )
        return reply

    async def _ask(self, request: TextRequest, body: dict[str, Any]) -> Reply:
        """Send a request until it is answered, or has failed as often as it may."""
        failed, again, busy_since = 0, _Again(""), 0.0
        while failed < self.settings.tries:
            endpoint = await self._pool.choose()
            try:
                if endpoint.mode_of(request.schema) == "json_schema":
                    await self._prove(endpoint)
                outcome = await self._send(endpoint, request, body)
            finally:
                self._pool.release(endpoint)
            if isinstance(outcome, Reply):
                return outcome
            again = outcome
            if again.counts:
                failed += 1
                if failed < self.settings.tries:
                    await asyncio.sleep(pause(failed))
                continue
            busy_since = busy_since or time.monotonic()
            if time.monotonic() - busy_since > self.settings.wait_minutes * 60 and self._pool.some_answer:
                break
        return Reply(request.key, "", "error", FAILED, again.problem)

    async def _send(self, endpoint: Endpoint, request: TextRequest, body: dict[str, Any]) -> Reply | _Again:
        """One try."""
        estimate = sum(len(message["content"]) for message in body["messages"]) / 4 + body["max_tokens"]
        await self._requests.take(1)
        await self._tokens.take(estimate)
        started, used = time.monotonic(), 0.0
        mode, limit = endpoint.mode_of(request.schema), endpoint.limit
        sent = {**body, **self._formats.of(mode, request.schema)}
        sent[limit] = sent.pop("max_tokens")
        try:
            status, after, content = await self._post(endpoint, sent)
            if status == 200:
                reply = read_reply(request.key, content, time.monotonic() - started)
                used = reply.usage.prompt_tokens + reply.usage.completion_tokens
                self._pool.is_healthy(endpoint)
                return reply
        except aiohttp.ClientConnectorCertificateError as error:
            raise UserError(f"the certificate of {endpoint.url} is not trusted here: {str(error)[:300]}") from None
        except UNREACHED as error:
            self._pool.fault(endpoint, f"cannot be reached ({type(error).__name__})", gone=True)
            return _Again(f"{endpoint.url} cannot be reached")
        except (*LOST, BadAnswer) as error:
            said = f"{type(error).__name__} {error}".strip()[:300]
            self._pool.fault(endpoint, said)
            return _Again(f"{endpoint.url}: {said}", counts=True)
        finally:
            self._tokens.complete_publication(estimate, used)
        said = error_text(content)
        if status in (400, 422):
            if mode in WEAKER and why_unusable(said) == REFUSED and is_about_schema(said):
                self._weaken(endpoint, request, mode, said)
                return _Again(said)
            if limit == "max_tokens" and "max_completion_tokens" in said:
                endpoint.limit = "max_completion_tokens"
                return _Again(said)
        return self._refused(endpoint, request, status, after, said)

    async def _post(self, endpoint: Endpoint, body: dict[str, Any]) -> tuple[int, str | None, bytes]:
        """Status, Retry-After and body of an answer, no more than `MAX_BYTES` of it."""
        async with self._session.post(f"{endpoint.url}/chat/completions", json=body, **endpoint.request()) as response:
            content = bytearray()
            async for piece in response.content.iter_chunked(65_536):
                content += piece
                if len(content) > MAX_BYTES:
                    raise BadAnswer(f"more than {MAX_BYTES:,} bytes")
            return response.status, response.headers.get("Retry-After"), hidden(bytes(content), endpoint.key)

    def _refused(self, endpoint: Endpoint, request: TextRequest, status: int, after: str | None, said: str) -> Reply | _Again:
        told = f"{endpoint.url} answered {status}: {said}"
        if status == 402 or (status == 429 and is_about_money(said)):
            raise UserError(f"{told}; see to the account of the key in {self.settings.key_variable}")
        if status in (401, 403):
            raise UserError(
                f"{told}; put the key into {self.settings.key_variable}, or a file named by {self.settings.key_variable}_FILE"
            )
        if status in (404, 405) or 300 <= status < 400:
            raise UserError(f"{told}; does the address end in /v1, and does the server have the model {self.settings.model!r}?")
        if status == 429:
            self._pool.rest(endpoint, retry_after(after), f"answered 429: {said}")
            return _Again(told)
        if status in (408, 409, 425) or status >= 500:
            if (seconds := retry_after(after)) is not None:
                self._pool.rest(endpoint, min(seconds, 300.0), f"answered {status}: {said}")
            self._pool.fault(endpoint, f"answered {status}: {said}")
            return _Again(told, counts=True)
        self._pool.is_healthy(endpoint)
        return Reply(request.key, "", "unusable", why_unusable(said), told)

    def _weaken(self, endpoint: Endpoint, request: TextRequest, mode: SchemaMode, said: str) -> None:
        """Ask less of a server that refused `mode`, unless another request that was under way has done so already.

        A server that refuses the plain schema of the probe takes none; any other refusal may be for that schema alone.
        """
        if self.settings.schema_mode != "auto":
            raise UserError(f"{endpoint.url} does not take schema_mode {mode} ({said}); set another, or auto")
        if endpoint.mode_of(request.schema) == mode:
            endpoint.weaken(None if isinstance(request.chat, FormatQuestion) else request.schema, mode)
            log.warning("%s does not take %s (%s): asked with %s from now on", endpoint.url, mode, said[:120], WEAKER[mode])

    async def _prove(self, endpoint: Endpoint) -> None:
        """Ask once of each server what only one that holds answers to schemas can know, and say so if it does not."""
        if endpoint.proof is None:
            endpoint.proof = asyncio.create_task(self._probe(endpoint))
        await asyncio.shield(endpoint.proof)

    async def _probe(self, endpoint: Endpoint) -> None:
        secret, request = probe()
        try:
            outcome = await self._send(endpoint, request, self._body(request))
        except UserError:
            endpoint.proof = None
            raise
        if not isinstance(outcome, Reply):
            endpoint.proof = None
        elif outcome.result and secret not in outcome.result:
            problem = f"{endpoint.url} ignores JSON schemas"
            if self.settings.schema_mode == "json_schema":
                raise UserError(f"{problem}; set schema_mode to auto to do without")
            log.warning("%s: answers out of form are asked again, which costs attempts", problem)


def _check_address(url: str, variable: str) -> None:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise UserError(f"base_urls: the address of {parts.hostname} holds a name or key; put the key into {variable}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"base_urls: {url!r} is no address such as http://node01:8000/v1")


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread, session: aiohttp.ClientSession) -> None:
    async def close() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await session.close()

    future = asyncio.run_coroutine_threadsafe(close(), loop)
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
    if threading.current_thread() is not thread:  # where a last reference was dropped
        thread.join(CLOSE_SECONDS)
