"""Requests in batches, which providers answer within a day at half the price: files of requests, uploaded, polled and fetched.

The form is that of OpenAI's Batch API (`/files`, `/batches`), which other providers have taken over.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import aiohttp
from pydantic import BaseModel, Field, ValidationError

from shardmill.models.contract import Reply, TextRequest
from shardmill.models.text.key_redaction import redact
from shardmill.models.text.openai_batch_records import (
    MAX_REQUEST_BYTES,
    MAX_REQUESTS,
    MAX_RESULT_BYTES,
    BatchFolder,
    BatchRecord,
    ServerId,
    request_id,
)
from shardmill.models.text.openai_endpoints import Endpoint
from shardmill.models.text.openai_errors import MAX_MESSAGE, ServerError, read_error
from shardmill.models.text.openai_replies import ErrorReply, MalformedReply, SchemaMode, read_reply
from shardmill.util.atomic import replacing
from shardmill.util.errors import Stopped, UserError
from shardmill.util.signals import stop_requested

log = logging.getLogger("shardmill")

POLL_SECONDS, MAX_POLL_SECONDS, CHECK_SECONDS = 5.0, 60.0, 0.25
MAX_ANSWER_BYTES = 4_000_000
MAX_PAGES, PAGE = 50, 100
"""How much of the server's list of batches is searched for one whose making was interrupted."""
LABEL = "shardmill"
"""The name in a batch's metadata."""
WINDOW = "24h"
RETRIED = (408, 409, 425, 429)
FINAL = ("completed", "expired", "cancelled")
OVER_QUEUE_LIMIT = "token_limit_exceeded"
"""The account has too many tokens in batches that wait already."""
ENDPOINT = "/v1/chat/completions"

Result = TypeVar("Result")
Form = TypeVar("Form", bound=BaseModel)
Refit = Callable[["BatchedRequest", ServerError, dict[str, Any]], "dict[str, Any] | None"]


class ServerFile(BaseModel):
    """A file at the server."""

    id: ServerId


class BatchProblem(BaseModel):
    """Why a batch failed."""

    code: str | None = None
    message: str | None = None


class BatchProblems(BaseModel):
    """Why a batch failed, all of it."""

    data: list[BatchProblem] = Field(default_factory=list)


class ServerBatch(BaseModel):
    """A batch at the server."""

    id: ServerId
    status: str = ""
    output_file_id: ServerId | None = None
    error_file_id: ServerId | None = None
    errors: BatchProblems | None = None
    metadata: dict[str, Any] | None = None


class BatchList(BaseModel):
    """A page of the server's list of batches."""

    data: list[ServerBatch]
    has_more: bool = False


class _Interrupted(Exception):
    """The server could not be reached, or failed; whether it did what it was to do is not known."""


class _NotFound(UserError):
    """The server does not have what was asked for."""


@dataclass
class BatchedRequest:
    """A request on its way through batches.

    `asked` is the digest of what it asks. `fitted` is its body as it is sent, in the file of requests once that is written.
    """

    key: str
    schema: Mapping[str, Any] | None
    asked: str
    attempt: int = 1
    id: str = ""
    problem: str = ""
    fitted: dict[str, Any] | None = field(default=None, repr=False)


class BatchClient:
    """Answers requests in batches.

    Args:
        session: The connections of the client.
        loop: The event loop that they belong to, which runs in another thread.
        endpoint: The server.
        folder: Where the records are.
        wait_minutes: How long to wait for a server that fails.
        tries: How often a request is put into a batch.
        refit: Gives the body to send instead of one that the server refused, if it is the form that was refused.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        loop: asyncio.AbstractEventLoop,
        endpoint: Endpoint,
        folder: Path,
        wait_minutes: float,
        tries: int,
        refit: Refit,
    ):
        self._session, self._loop, self._endpoint = session, loop, endpoint
        self._folder, self._wait_seconds, self._tries = BatchFolder(folder), wait_minutes * 60, tries
        self._refit = refit

    def replies(
        self, requests: Iterable[BatchedRequest], least: int
    ) -> Iterator[tuple[BatchedRequest, Reply | ServerError | None]]:
        """The outcome of each request: a reply, an error of the server for it, or None for one that is to be sent by itself.

        Fewer than `least` requests make no batch. Those that went into one earlier, before a kill, are not sent again: its
        results are waited for. Ends early when the worker is to stop.
        """
        with suppress(Stopped):
            waiting, again = self._submitted(requests, least)
            while True:
                failed: list[BatchedRequest] = []
                yield from ((request, None) for request in again)
                for record, asked in waiting:
                    for request, outcome in self._outcomes(record, asked):
                        fitted = self._another_body(record, request, outcome)
                        if fitted is not None:
                            failed.append(replace(request, attempt=request.attempt + 1, fitted=fitted))
                        else:
                            yield request, outcome or ServerError(500, request.problem or "no answer in any batch")
                if not failed:
                    return
                waiting, again = self._submitted(failed, least)

    def _submitted(
        self, requests: Iterable[BatchedRequest], least: int
    ) -> tuple[list[tuple[BatchRecord, dict[str, BatchedRequest]]], list[BatchedRequest]]:
        """The batches that the requests are in, made where they are not there yet, and requests too few for one."""
        mine = [record for record in self._folder.records() if record.url == self._endpoint.url]
        made_last = sorted(mine, key=lambda record: record.batch is not None)
        known = {name: record for record in made_last for name in record.ids}
        found: dict[str, tuple[BatchRecord, dict[str, BatchedRequest]]] = {}
        fresh: dict[str, BatchedRequest] = {}
        lines: list[bytes] = []
        held = 0

        def submit() -> None:
            nonlocal held
            record = BatchRecord(url=self._endpoint.url, ids=list(fresh))
            self._folder.write_requests(record.label, lines)
            found[record.label] = self._make(record), dict(fresh)
            fresh.clear()
            lines.clear()
            held = 0

        for request in requests:
            assert request.fitted is not None
            request.id = request_id(request.key, request.asked, request.attempt)
            record = self._confirmed(known, request.id)
            if record is not None:
                request.fitted = None
                found.setdefault(record.label, (record, {}))[1][request.id] = request
                continue
            line = _line(request)
            if lines and (len(lines) >= MAX_REQUESTS or held + len(line) > MAX_REQUEST_BYTES):
                submit()
            fresh[request.id] = request
            lines.append(line)
            held += len(line)
        if len(fresh) >= least:
            submit()
        for _, asked in found.values():
            for request in asked.values():
                request.fitted = None  # it is in the file of requests
        return list(found.values()), list(fresh.values())

    def _confirmed(self, known: dict[str, BatchRecord], name: str) -> BatchRecord | None:
        """The record of the batch that has a request, if it was made.

        Otherwise the record stays: another worker, which has a request that is the same for several shards, may be making it.
        """
        record = known.get(name)
        if record is None or record.batch is not None:
            return record
        batch, found = self._find(record), None
        if batch is not None:
            found = record.model_copy(update={"batch": batch.id})
            self._folder.save(found)
        for each in [each for each in record.ids if known.get(each) is record]:
            if found is None:
                del known[each]
            else:
                known[each] = found
        return found

    def _make(self, record: BatchRecord) -> BatchRecord:
        """Upload the requests of a record and have the server make its batch."""
        self._folder.save(record)
        path = self._folder.requests_file(record.label)
        uploaded = self._patiently(lambda: self._call(ServerFile, "POST", "/files", upload=path))
        wanted = {
            "input_file_id": uploaded.id,
            "endpoint": ENDPOINT,
            "completion_window": WINDOW,
            "metadata": {LABEL: record.label},
        }
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                batch = self._in_loop(self._call(ServerBatch, "POST", "/batches", body=wanted))
                break
            except _Interrupted as error:
                self._pause(POLL_SECONDS)
                found = self._find(record)  # it may have been made all the same
                if found is not None:
                    batch = found
                    break
                if time.monotonic() > deadline:
                    raise UserError(f"no batch can be made: {error}") from None
        made = record.model_copy(update={"batch": batch.id})
        self._folder.save(made)
        log.info("batch %s of %d requests is with %s", batch.id, len(record.ids), self._endpoint.url)
        return made

    def _find(self, record: BatchRecord) -> ServerBatch | None:
        """The batch of a record whose id is not known, in the server's list. Raises UserError if the server has no such list."""
        after = ""
        for _ in range(MAX_PAGES):
            path = f"/batches?limit={PAGE}" + (f"&after={after}" if after else "")
            try:
                page = self._patiently(lambda path=path: self._call(BatchList, "GET", path))  # type: ignore[misc]
            except UserError as error:
                file = self._folder.record_file(record.label)
                raise UserError(
                    f"whether a batch was made before the worker was stopped is not known ({error}); look at the provider: if "
                    f'there is none, remove {file}; if there is one, write its id into that file as the value of "batch"'
                ) from None
            for batch in page.data:
                if (batch.metadata or {}).get(LABEL) == record.label and batch.status != "failed":
                    return batch
            if not page.has_more or not page.data:
                return None
            after = page.data[-1].id
        return None

    def _outcomes(
        self, record: BatchRecord, asked: dict[str, BatchedRequest]
    ) -> Iterator[tuple[BatchedRequest, Reply | ServerError | None]]:
        """The outcomes of requests of a batch; None for one that may go better in another."""
        if not self._folder.results_file(record.label).exists():
            try:
                self._fetch(record)
            except _NotFound as error:
                file = self._folder.record_file(record.label)
                raise UserError(f"{error} If it is gone, remove {file}: its requests are paid for again") from None
        left = dict(asked)
        for name, line in self._folder.results(record):
            if name in left:
                request = left.pop(name)
                yield request, _outcome(request, line, self._endpoint.key)
        for request in left.values():
            request.problem = "the batch ended without an answer"
            yield request, None

    def _fetch(self, record: BatchRecord) -> None:
        """Wait for a batch and keep its results."""
        pause = POLL_SECONDS
        while True:
            path = f"/batches/{record.batch}"
            batch = self._patiently(lambda path=path: self._call(ServerBatch, "GET", path))  # type: ignore[misc]
            if batch.status == "failed":
                record = self._made_again(record, batch)
                continue
            if batch.status in FINAL:
                break
            self._pause(pause)
            pause = min(pause * 1.5, MAX_POLL_SECONDS)
        files = [name for name in (batch.output_file_id, batch.error_file_id) if name]
        with replacing(self._folder.results_file(record.label)) as file:  # other workers may fetch them too, for shared requests
            for name in files:
                kept = file.tell()
                self._patiently(lambda name=name, kept=kept: self._download(name, file, kept))  # type: ignore[misc]
        log.info("batch %s is %s", batch.id, batch.status)

    def _made_again(self, record: BatchRecord, batch: ServerBatch) -> BatchRecord:
        """Another batch for one that failed as a whole, of which nothing was paid for, if that was for lack of room alone."""
        problems = batch.errors.data if batch.errors else []
        shown = redact("; ".join(str(each.message or each.code) for each in problems[:3])[:MAX_MESSAGE], self._endpoint.key)
        if not any(each.code == OVER_QUEUE_LIMIT for each in problems):
            self._folder.forget(record)
            raise UserError(f"{self._endpoint.url} refused batch {batch.id}: {shown or 'it does not say why'}")
        log.warning("batch %s waits for room at the provider: %s", batch.id, shown)
        waiting = record.model_copy(update={"batch": None})
        self._folder.save(waiting)
        self._pause(MAX_POLL_SECONDS)
        return self._make(waiting)

    def _another_body(
        self, record: BatchRecord, request: BatchedRequest, outcome: Reply | ServerError | None
    ) -> dict[str, Any] | None:
        """The body for another try in a batch; None if there is to be none."""
        if isinstance(outcome, Reply) or request.attempt >= self._tries:
            return None
        body = self._folder.body(record.label, request.id)
        return body if outcome is None or body is None else self._refit(request, outcome, body)

    def _patiently(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Call until the server answers; for as long as the settings say."""
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                return self._in_loop(call())
            except _Interrupted as error:
                if time.monotonic() > deadline:
                    raise UserError(f"batches: {error}") from None
                self._pause(POLL_SECONDS)

    def _in_loop(self, work: Awaitable[Result]) -> Result:
        """Have the loop do something. Raises Stopped when the worker is to stop meanwhile."""
        future = asyncio.run_coroutine_threadsafe(_awaited(work), self._loop)
        while True:
            try:
                return future.result(CHECK_SECONDS)
            except FutureTimeout:
                if future.done():  # just now, or what was done has timed out itself
                    return future.result()
                if stop_requested():
                    future.cancel()
                    raise Stopped("batches are waited for") from None

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if stop_requested():
                raise Stopped("batches are waited for")
            time.sleep(min(left, CHECK_SECONDS))

    async def _call(
        self, form: type[Form], method: str, path: str, *, body: dict[str, Any] | None = None, upload: Path | None = None
    ) -> Form:
        """What the server answers, checked. Raises _Interrupted, or UserError for what only the user can fix."""
        options: dict[str, Any] = {} if body is None else {"json": body}
        try:
            if upload is None:
                status, content = await self._exchange(method, path, options)
            else:
                with open(upload, "rb") as file:
                    data = aiohttp.FormData()
                    data.add_field("purpose", "batch")
                    data.add_field("file", file, filename="requests.jsonl", content_type="application/jsonl")
                    status, content = await self._exchange(method, path, {"data": data})
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise _Interrupted(redact(f"{self._endpoint.url} cannot be reached: {error}", self._endpoint.key)[:600]) from None
        self._check_status(path, status, content)
        try:
            return form.model_validate_json(content)
        except ValidationError:
            raise _Interrupted(f"{self._endpoint.url}{path} answered with something else than batches or files") from None

    async def _exchange(self, method: str, path: str, options: dict[str, Any]) -> tuple[int, bytes]:
        async with self._session.request(
            method, self._endpoint.url + path, **options, **self._endpoint.request_options()
        ) as response:
            content = bytearray()
            async for piece in response.content.iter_chunked(65_536):
                content += piece
                if len(content) > MAX_ANSWER_BYTES:
                    raise aiohttp.ClientError(f"more than {MAX_ANSWER_BYTES:,} bytes")
            return response.status, bytes(content)

    def _check_status(self, path: str, status: int, content: bytes) -> None:
        if 200 <= status < 300:
            return
        message = redact(read_error(status, content, {}).message, self._endpoint.key)
        problem = f"{self._endpoint.url}{path} answered {status}: {message}"
        if status in RETRIED or status >= 500:
            raise _Interrupted(problem)
        error = _NotFound if status == 404 else UserError
        raise error(f"{problem}; does this server take batches, and is the key that of the account that made them?")

    async def _download(self, name: str, file: IO[bytes], kept: int) -> None:
        """Append a file of the server's to `file`, of which the first `kept` bytes stay."""
        url = f"{self._endpoint.url}/files/{name}/content"
        try:
            async with self._session.get(url, **self._endpoint.request_options()) as response:
                if response.status != 200:
                    self._check_status(f"/files/{name}/content", response.status, await response.content.read(65_536))
                file.seek(kept)
                file.truncate()
                async for piece in response.content.iter_chunked(1 << 20):
                    file.write(piece)
                    if file.tell() > MAX_RESULT_BYTES:
                        raise UserError(f"{url} has more than {MAX_RESULT_BYTES:,} bytes")
                file.write(b"\n")
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            raise _Interrupted(redact(f"{url}: {error}", self._endpoint.key)[:600]) from None


async def _awaited(work: Awaitable[Result]) -> Result:
    return await work


def _line(request: BatchedRequest) -> bytes:
    line = {"custom_id": request.id, "method": "POST", "url": ENDPOINT, "body": request.fitted}
    return json.dumps(line).encode() + b"\n"


def _outcome(request: BatchedRequest, line: Mapping[str, Any], key: str | None) -> Reply | ServerError | None:
    """What a line of results says of a request; None for what may go better another time."""
    response = line.get("response")
    if not isinstance(response, dict) or type(response.get("status_code")) is not int:
        error = read_error(500, json.dumps({"error": line.get("error")}).encode(), {})
        request.problem = redact(error.message, key)
        return None
    status, content = response["status_code"], json.dumps(response.get("body")).encode()
    try:
        if status == 200:
            reply = read_reply(request.key, content, 0.0)
            return replace(reply, usage=replace(reply.usage, batched=True))
    except ErrorReply as claimed:
        status = claimed.status
    except MalformedReply as malformed:
        request.problem = redact(str(malformed), key)
        return None
    error = read_error(status, content, {})
    error = replace(error, message=redact(error.message, key))
    if (status in RETRIED or status >= 500) and not error.is_about_prompt:
        request.problem = error.message
        return None
    return error


def as_text_request(request: BatchedRequest) -> TextRequest:
    """The request for sending it by itself; its chat is in its body."""
    return TextRequest(_SentChat(), schema=request.schema, key=request.key)


def unfitted(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body before it was fitted to a server."""
    plain = {name: value for name, value in body.items() if name != "response_format"}
    if "max_completion_tokens" in plain:
        plain["max_tokens"] = plain.pop("max_completion_tokens")
    return plain


def sent_mode(body: Mapping[str, Any]) -> SchemaMode:
    """How an answer was to be constrained by a body that was sent; the server may be asked for less by now."""
    mode: SchemaMode = body["response_format"]["type"] if "response_format" in body else "none"
    return mode


def refusal(request: BatchedRequest, error: ServerError) -> Reply:
    """The reply to a request that was refused, or failed in each batch that it was in."""
    detail = f"in a batch: {error.status} {error.message}"
    if error.status >= 500:
        return Reply(request.key, "", "error", "server error", detail)
    return Reply(request.key, "", "unusable", error.why_unusable, detail)


class _SentChat:
    """A chat that is in a request's body already."""

    task = "batch"
    values: Mapping[str, Any] = {}

    def messages(self, seed: int) -> list[dict[str, Any]]:
        return []
