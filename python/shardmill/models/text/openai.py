"""Language models behind any server that speaks OpenAI's chat completions: vLLM's, another engine's, a provider's.

Many requests are in flight at once over connections that are kept open. What a server cannot do now is retried later, or at
another server; what no server will ever do ends as an unusable reply or as a UserError.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import aiohttp
from pydantic import Field

from shardmill.models.contract import Reply, Request, TextRequest
from shardmill.models.settings import SettingsModel, read_settings
from shardmill.models.text.key_redaction import is_secret, redact
from shardmill.models.text.openai_batch_api import BatchApi
from shardmill.models.text.openai_batch_records import digest_of
from shardmill.models.text.openai_batches import BatchClient, BatchedRequest, as_text_request, refusal, sent_mode, unfitted
from shardmill.models.text.openai_endpoints import Endpoint, EndpointPool, RateLimit, backoff, estimated_tokens, read_key
from shardmill.models.text.openai_errors import REFUSED, ServerError, read_error
from shardmill.models.text.openai_replies import (
    WEAKER,
    ErrorReply,
    MalformedReply,
    ReplyStream,
    ResponseFormats,
    SchemaMode,
    read_reply,
)
from shardmill.models.text.openai_window import BUSY_STATUSES
from shardmill.models.text.schemas import ProbePrompt, make_probe
from shardmill.models.text.settings import TextSettings
from shardmill.util.errors import UserError
from shardmill.util.signals import stop_requested

log = logging.getLogger("shardmill")

MAX_BYTES = 4_000_000
CLOSE_SECONDS = 10.0
IDLE_SECONDS = 4.0
"""How long an unused connection is kept: shorter than servers do (uvicorn: 5 s), or a request is sent into one that closes."""
MAX_PAUSE = 300.0
"""The longest pause, in seconds, that a server's error (other than 429) can ask for."""
FAILED = "server error"
MAX_FAILED_IN_A_ROW = 50
"""When so many requests in a row fail or are refused, the server or the settings are to blame, and not the rows."""
MAX_FINISHES = 16
"""So many different unknown values of finish_reason are logged and counted by their names; more are counted together."""
UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
"""What OpenSSL says of a server that answers a handshake in plain text."""
INTERRUPTED = (aiohttp.ClientError, asyncio.TimeoutError, OSError)


class OpenAISettings(TextSettings):
    """Settings of a model behind servers. Either `base_urls` or `servers` says where they are."""

    shaping = (*TextSettings.shaping, "schema_mode", "omit")
    loaded = False

    base_urls: list[str] = Field([], description="addresses that end in /v1")
    servers: str | None = Field(default=None, description="the folder in which `shardmill serve` announces servers")
    key_variable: str = Field(
        "OPENAI_API_KEY", description="the environment variable with the key; NAME_FILE names a file with it"
    )
    schema_mode: Literal["auto", "json_schema", "json_object", "none"] = Field(
        "auto", description="how answers are constrained to a schema; auto: as well as the server can"
    )
    omit: list[Literal["seed", "temperature", "top_p", "stop"]] = Field(
        [], description="parameters that requests are sent without, for servers that refuse them"
    )
    max_in_flight: int = Field(
        64,
        ge=1,
        description="requests in flight at once, of one worker; fewer where a server without rate limits here is too busy",
    )
    requests_per_minute: float | None = Field(default=None, gt=0, description="rate limit of requests, per worker")
    tokens_per_minute: float | None = Field(default=None, gt=0, description="rate limit of tokens, per worker")
    connect_seconds: float = Field(20, gt=0)
    timeout_seconds: float = Field(600, gt=0, description="time limit of one answer")
    tries: int = Field(6, ge=1, description="maximum attempts after connection or server errors")
    batch: bool = Field(
        False, description="send requests in batches, at half the price and within a day, where the provider has them"
    )
    batch_min: int = Field(50, ge=1, description="fewer requests than this make no batch, and are sent one by one")
    wait_minutes: float = Field(30, ge=0, description="how long to wait while no server answers, and for one that is too busy")


@dataclass(frozen=True)
class PreparedRequest:
    """A request and the body to send. Requests `about` the same image go to the same server where they can."""

    request: TextRequest
    body: dict[str, Any]
    about: str = ""


@dataclass(frozen=True)
class _Retry:
    """A try without a reply. It `counts` against the request, unless the server was unreachable or too busy."""

    problem: str
    counts: bool = False


class OpenAIModel(SettingsModel):
    """A client of one model on one or several servers. Several threads may stream at the same time."""

    Settings: ClassVar[type[OpenAISettings]] = OpenAISettings
    settings: OpenAISettings
    many_streams = True

    def __init__(self, **settings: Any):
        self.settings = read_settings(self.Settings, settings)
        if bool(self.settings.base_urls) == bool(self.settings.servers):
            raise UserError("an openai model needs base_urls, or servers: a folder; one of the two")
        if self.settings.batch and len(self.settings.base_urls) != 1:
            raise UserError("batch: true needs one address in base_urls: batches are a provider's own")
        for url in self.settings.base_urls:
            _check_address(url, self.settings.key_variable)
        # A provider's key in the environment must not reach servers that anyone may announce in a shared folder.
        self._key = read_key(self.settings.key_variable) if self.settings.base_urls else None
        self._answering = self._failed_in_a_row = 0
        self._finishes: set[str] = set()
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run_loop, args=(self._loop,), name="openai", daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(self._open_session(), self._loop).result()
        self._finalizer = weakref.finalize(self, _end_loop, self._loop, thread, self._session)

    def close(self) -> None:
        """Cancel the requests in flight and close all connections."""
        self._finalizer()

    async def _open_session(self) -> None:
        wanted = self.settings
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS)
        timeout = aiohttp.ClientTimeout(total=wanted.timeout_seconds, connect=wanted.connect_seconds)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        mode: SchemaMode = "json_schema" if wanted.schema_mode == "auto" else wanted.schema_mode
        folder = Path(wanted.servers) if wanted.servers else None
        given = wanted.requests_per_minute is not None or wanted.tokens_per_minute is not None
        window = math.inf if given else wanted.max_in_flight
        pool = EndpointPool(wanted.model, wanted.base_urls, folder, self._key, mode, wanted.wait_minutes, self._session, window)
        self._pool = pool
        self._requests, self._tokens = RateLimit(wanted.requests_per_minute), RateLimit(wanted.tokens_per_minute)
        self._room = asyncio.Semaphore(wanted.max_in_flight)
        self._formats = ResponseFormats(of_vllm=wanted.servers is not None)

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """See `models.contract.Model`. All streams together have `max_in_flight` requests in flight."""
        yield from self.replies_to(map(self._prepare, requests))

    def _prepare(self, request: Request) -> PreparedRequest:
        """A request and its body; made in the caller's thread, since rendering a prompt would block the event loop."""
        assert isinstance(request, TextRequest)
        return PreparedRequest(request, self.body(request))

    def replies_to(self, requests: Iterable[PreparedRequest | Reply]) -> Iterator[Reply]:
        """Replies to requests as they come; what is a reply already, since it can never be sent, is one of them."""
        if self.settings.batch and self.work_folder is not None:
            yield from self._replies_in_batches(requests, self.work_folder / "batches")
        else:
            yield from ReplyStream(self._loop, self._answer, 2 * self.settings.max_in_flight).replies(requests)

    def _replies_in_batches(self, requests: Iterable[PreparedRequest | Reply], folder: Path) -> Iterator[Reply]:
        """Replies from batches; what is too little for one, or was refused in one, is sent by itself in the end."""
        (endpoint,) = self._pool.endpoints.values()
        ready: list[Reply] = []
        alone: list[PreparedRequest] = []

        def batched() -> Iterator[BatchedRequest]:
            for each in requests:
                if isinstance(each, Reply):
                    ready.append(each)
                else:
                    schema = each.request.schema
                    asked = digest_of(each.body, schema, self.settings.schema_mode)
                    yield BatchedRequest(each.request.key, schema, asked, fitted=self._fitted(endpoint, each.body, schema))

        def refit(request: BatchedRequest, error: ServerError, fitted: dict[str, Any]) -> dict[str, Any] | None:
            mode = sent_mode(fitted)
            if error.status not in (400, 422) or not self._adapt(endpoint, as_text_request(request), error, mode, fitted):
                return None
            return self._fitted(endpoint, unfitted(fitted), request.schema)

        wanted = self.settings
        server = BatchApi(self._session, self._loop, endpoint, wanted.wait_minutes)
        client = BatchClient(server, folder, wanted.wait_minutes, wanted.tries, refit)
        for request, outcome in client.replies(batched(), wanted.batch_min):
            yield from ready
            ready.clear()
            if isinstance(outcome, Reply):
                yield self._reply(endpoint, outcome, endpoint.omitted)
            elif outcome is None and request.fitted is not None:
                alone.append(PreparedRequest(as_text_request(request), unfitted(request.fitted)))
            elif outcome is not None:
                yield refusal(request, outcome)
        yield from ready
        if not stop_requested():
            yield from ReplyStream(self._loop, self._answer, 2 * wanted.max_in_flight).replies(alone)

    def _fitted(self, endpoint: Endpoint, body: Mapping[str, Any], schema: Mapping[str, Any] | None) -> dict[str, Any]:
        """A body as a server takes it, by all that is known of it now."""
        sent = {name: value for name, value in body.items() if name not in endpoint.omitted}
        sent.update(self._formats.of(endpoint.mode_of(schema), schema))
        sent[endpoint.limit_name] = sent.pop("max_tokens")
        return sent

    def body(self, request: TextRequest) -> dict[str, Any]:
        """The body of a request, before it is fitted to a server."""
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
        return {name: value for name, value in body.items() if name not in self.settings.omit}

    async def _answer(self, prepared: PreparedRequest | Reply) -> Reply:
        if isinstance(prepared, Reply):
            return prepared
        async with self._room:
            if self._answering == 0:
                self._pool.reset_patience()
            self._answering += 1
            try:
                reply = await self._try_until_answered(prepared)
            finally:
                self._answering -= 1
        self._failed_in_a_row = self._failed_in_a_row + 1 if reply.problem in (FAILED, REFUSED) else 0
        if self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            self._failed_in_a_row = 0
            raise UserError(
                f"the last {MAX_FAILED_IN_A_ROW} requests all failed, this one with: {reply.detail}; "
                f"see the server's log, and check the settings of the model {self.settings.model}"
            )
        return reply

    async def _try_until_answered(self, prepared: PreparedRequest) -> Reply:
        """Send a request until it is answered, or has failed as often as it may."""
        request, body = prepared.request, prepared.body
        failed, retry, busy_since = 0, _Retry(""), 0.0
        while failed < self.settings.tries:
            endpoint = await self._pool.acquire_endpoint(prepared.about)
            try:
                if endpoint.mode_of(request.schema) == "json_schema":
                    await self._probe_once(endpoint)
                outcome = await self._send(endpoint, request, body)
            finally:
                self._pool.release_endpoint(endpoint)
            if isinstance(outcome, Reply):
                return outcome
            retry = outcome
            if retry.counts:
                failed += 1
                if failed < self.settings.tries:
                    await asyncio.sleep(backoff(failed))
                continue
            busy_since = busy_since or time.monotonic()
            # Where no server was ready, the pool itself gives up in time, and for all requests at once.
            if time.monotonic() - busy_since > self.settings.wait_minutes * 60 and self._pool.always_ready:
                break
        return Reply(request.key, "", "error", FAILED, retry.problem)

    async def _send(self, endpoint: Endpoint, request: TextRequest, body: dict[str, Any]) -> Reply | _Retry:
        """Send a request once."""
        estimate = estimated_tokens(body)
        await self._requests.acquire(1)
        await self._tokens.acquire(estimate)
        started, used = time.monotonic(), 0.0
        # All of these may change while the request is in flight: what counts is what was sent.
        mode, omitted = endpoint.mode_of(request.schema), endpoint.omitted & body.keys()
        sent = self._fitted(endpoint, body, request.schema)
        try:
            status, content, headers = await self._post(endpoint, sent)
            if status == 200:
                reply = self._reply(endpoint, read_reply(request.key, content, time.monotonic() - started), omitted)
                used = reply.usage.prompt_tokens + reply.usage.completion_tokens
                self._pool.mark_healthy(endpoint)
                endpoint.window.answered(started, reply.usage.completion_tokens, endpoint.in_flight)
                return reply
        except ErrorReply as claimed:
            status = claimed.status
        except aiohttp.ClientConnectorCertificateError as fault:
            raise UserError(f"the certificate of {endpoint.url} is not trusted here: {str(fault)[:300]}") from None
        except UNREACHABLE as fault:
            if any(sign in str(fault) for sign in NO_TLS):
                raise UserError(f"{endpoint.url} does not speak TLS; does its address begin with http://?") from None
            problem = f"cannot be reached ({type(fault).__name__})"
            self._pool.record_failure(endpoint, problem, unreachable=True)
            return _Retry(f"{endpoint.url} {problem}")
        except (*INTERRUPTED, MalformedReply) as fault:
            if isinstance(fault, asyncio.TimeoutError):
                endpoint.window.rejected(started)
            problem = redact(f"{type(fault).__name__} {fault}".strip(), endpoint.key)[:300]
            self._pool.record_failure(endpoint, problem)
            return _Retry(f"{endpoint.url}: {problem}", counts=True)
        finally:
            self._tokens.correct(estimate, used)
        error = read_error(status, content, headers)
        error = replace(error, message=redact(error.message, endpoint.key))
        if error.status in BUSY_STATUSES and not error.is_about_prompt:
            endpoint.window.rejected(started)
        if error.status in (400, 422) and self._adapt(endpoint, request, error, mode, sent):
            return _Retry(error.message)
        return await self._handle_error(endpoint, request, error, started)

    def _adapt(
        self, endpoint: Endpoint, request: TextRequest, error: ServerError, mode: SchemaMode, sent: Mapping[str, Any]
    ) -> bool:
        """Ask less of a server from now on, if that is what its error calls for; whether it did."""
        if mode in WEAKER and error.why_unusable == REFUSED and error.is_schema_problem:
            self._weaken(endpoint, request, mode, error.message)
            return True
        if "max_tokens" in sent and "max_completion_tokens" in error.message:
            endpoint.limit_name = "max_completion_tokens"
            return True
        name = error.refused_parameter(sent)
        if name is not None and name not in endpoint.omitted:
            endpoint.omitted.add(name)
            lost = "; its answers cannot be reproduced" if name == "seed" else ""
            log.warning("%s does not take %s (%s): it is left out from now on%s", endpoint.url, name, error.message[:120], lost)
        return name is not None

    async def _post(self, endpoint: Endpoint, body: dict[str, Any]) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers of a response. Raises MalformedReply for a body of more than `MAX_BYTES`."""
        url = f"{endpoint.url}/chat/completions"
        async with self._session.post(url, json=body, **endpoint.request_options()) as response:
            content = bytearray()
            async for piece in response.content.iter_chunked(65_536):
                content += piece
                if len(content) > MAX_BYTES:
                    raise MalformedReply(f"more than {MAX_BYTES:,} bytes")
            return response.status, bytes(content), response.headers

    def _reply(self, endpoint: Endpoint, reply: Reply, omitted: Set[str]) -> Reply:
        """A reply as it is handed out. Messages are without the key; an answer is never rewritten, so one with the key fails."""
        notes = [*(f"without {name}" for name in sorted(omitted)), *map(self._known_note, reply.usage.notes)]
        reply = replace(reply, usage=replace(reply.usage, notes=tuple(notes)), detail=redact(reply.detail, endpoint.key))
        if endpoint.key and is_secret(endpoint.key) and endpoint.key in reply.result:
            return replace(reply, result="", finish="error", problem="the answer repeats the API key")
        return reply

    def _known_note(self, finish: str) -> str:
        """A note on an unknown finish_reason. Each is logged once; of too many different ones it is not said which."""
        if finish not in self._finishes:
            if len(self._finishes) >= MAX_FINISHES:
                return "finish other"
            self._finishes.add(finish)
            log.warning("unknown finish_reason %r: such answers are taken as complete", finish.removeprefix("finish "))
        return finish

    async def _handle_error(self, endpoint: Endpoint, request: TextRequest, error: ServerError, started: float) -> Reply | _Retry:
        """What to do about a response that is no answer. Raises UserError for what only the user can fix."""
        problem = f"answered {error.status}: {error.message}"
        detail, variable = f"{endpoint.url} {problem}", self.settings.key_variable
        if error.is_unpaid:
            raise UserError(f"{detail}; check the account of the key in {variable}")
        unusable = Reply(request.key, "", "unusable", error.why_unusable, detail)
        if error.status < 400 or error.status in (401, 403, 404, 405):
            # Most often no request gets through, but a gateway may refuse a single prompt so: others tell which it is.
            others = True if error.is_about_prompt else await self._pool.answers_others(endpoint, started)
            if others is None:
                self._pool.record_failure(endpoint, problem)
                return _Retry(detail, counts=True)
            if others:
                return unusable
            if error.status in (401, 403):
                raise UserError(f"{detail}; put the key into {variable}, or a file named by {variable}_FILE")
            hint = f"does the address end in /v1, and does the server have the model {self.settings.model!r}?"
            raise UserError(f"{detail}; {hint}")
        if error.status == 429 and not error.is_about_prompt:
            self._pool.pause_endpoint(endpoint, error.retry_after, problem)
            return _Retry(detail)
        if (error.status in (408, 409, 425) or error.status >= 500) and not error.is_about_prompt:
            if error.retry_after is not None:
                self._pool.pause_endpoint(endpoint, min(error.retry_after, MAX_PAUSE), problem)
            self._pool.record_failure(endpoint, problem)
            return _Retry(detail, counts=True)
        self._pool.mark_healthy(endpoint)
        return unusable

    def _weaken(self, endpoint: Endpoint, request: TextRequest, mode: SchemaMode, message: str) -> None:
        """Lower the demand on a server that refused `mode`, unless another request in flight has done so already.

        A server that refuses the plain schema of the probe takes none; any other refusal may be for that schema alone.
        """
        if self.settings.schema_mode != "auto":
            raise UserError(f"{endpoint.url} does not take schema_mode {mode} ({message}); set another, or auto")
        if endpoint.mode_of(request.schema) == mode:
            endpoint.weaken(None if isinstance(request.chat, ProbePrompt) else request.schema, mode)
            log.warning("%s does not take %s (%s): asked with %s from now on", endpoint.url, mode, message[:120], WEAKER[mode])

    async def _probe_once(self, endpoint: Endpoint) -> None:
        """Find out, once for each server, whether it really constrains answers to schemas; all requests wait for that."""
        if endpoint.probe is None:
            endpoint.probe = asyncio.create_task(self._probe(endpoint))
        await asyncio.shield(endpoint.probe)  # the others that wait need it, even if this request is cancelled

    async def _probe(self, endpoint: Endpoint) -> None:
        secret, request = make_probe()
        try:
            outcome = await self._send(endpoint, request, self.body(request))
        except UserError:
            endpoint.probe = None
            raise
        if not isinstance(outcome, Reply):
            endpoint.probe = None
        elif outcome.result and secret not in outcome.result:
            problem = f"{endpoint.url} ignores JSON schemas"
            if self.settings.schema_mode == "json_schema":
                raise UserError(f"{problem}; set schema_mode to auto to do without")
            log.warning("%s: answers that do not fit are asked for again, which costs attempts", problem)


def _check_address(url: str, variable: str) -> None:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise UserError(f"base_urls: the address of {parts.hostname} contains a user name or key; put the key into {variable}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"base_urls: {url!r} is not an address such as http://node01:8000/v1")


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def _end_loop(loop: asyncio.AbstractEventLoop, thread: threading.Thread, session: aiohttp.ClientSession) -> None:
    async def close() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await session.close()

    future = asyncio.run_coroutine_threadsafe(close(), loop)
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
    if threading.current_thread() is not thread:  # the last reference may be dropped in the loop's own thread
        thread.join(CLOSE_SECONDS)
