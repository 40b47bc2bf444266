"""Requests in batches, which providers answer within a day at half the price: files of requests, uploaded, polled and fetched.

The form is that of OpenAI's Batch API (`/files`, `/batches`), which other providers have taken over.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shardmill.models.contract import Reply, TextRequest
from shardmill.models.text.key_redaction import redact
from shardmill.models.text.openai_batch_api import (
    POLL_SECONDS,
    RETRIED,
    BatchApi,
    BatchList,
    Interrupted,
    NotFound,
    ServerBatch,
    ServerFile,
)
from shardmill.models.text.openai_batch_records import (
    MAX_REQUEST_BYTES,
    MAX_REQUESTS,
    BatchFolder,
    BatchRecord,
    request_id,
)
from shardmill.models.text.openai_errors import MAX_MESSAGE, ServerError, read_error
from shardmill.models.text.openai_replies import ErrorReply, MalformedReply, SchemaMode, read_reply
from shardmill.util.atomic import replacing
from shardmill.util.errors import Stopped, UserError

log = logging.getLogger("shardmill")

MAX_POLL_SECONDS = 60.0
MAX_ROOM_PAUSE, MAX_ROOM_SECONDS = 1_800.0, 90_000.0
"""How long to wait for room in the account's queue: the batches that wait there end within a day."""
MAX_PAGES, PAGE = 50, 100
"""How much of the server's list of batches is searched for one whose making was interrupted."""
LABEL = "shardmill"
"""The name in a batch's metadata."""
WINDOW = "24h"
FINAL = ("completed", "expired", "cancelled")
OVER_QUEUE_LIMIT = "token_limit_exceeded"
"""The account has too many tokens in batches that wait already."""
ENDPOINT = "/v1/chat/completions"

Refit = Callable[["BatchedRequest", ServerError, dict[str, Any]], "dict[str, Any] | None"]


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
        server: The server.
        folder: Where the records are.
        wait_minutes: How long to wait until a batch can be made.
        tries: How often a request is put into a batch.
        refit: Gives the body to send instead of one that the server refused, if it is the form that was refused.
    """

    def __init__(self, server: BatchApi, folder: Path, wait_minutes: float, tries: int, refit: Refit):
        self._server, self._endpoint = server, server.endpoint
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
        uploaded = self._server.patiently(lambda: self._server.call(ServerFile, "POST", "/files", upload=path))
        wanted = {
            "input_file_id": uploaded.id,
            "endpoint": ENDPOINT,
            "completion_window": WINDOW,
            "metadata": {LABEL: record.label},
        }
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                batch = self._server.in_loop(self._server.call(ServerBatch, "POST", "/batches", body=wanted))
                break
            except Interrupted as error:
                self._server.pause(POLL_SECONDS)
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
                page = self._server.patiently(lambda path=path: self._server.call(BatchList, "GET", path))  # type: ignore[misc]
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
            except NotFound as error:
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
        pause, room_pause, began = POLL_SECONDS, MAX_POLL_SECONDS, time.monotonic()
        while True:
            path = f"/batches/{record.batch}"
            batch = self._server.patiently(lambda path=path: self._server.call(ServerBatch, "GET", path))  # type: ignore[misc]
            if batch.status == "failed":
                record = self._made_again(record, batch, room_pause, last=time.monotonic() - began > MAX_ROOM_SECONDS)
                room_pause = min(2 * room_pause, MAX_ROOM_PAUSE)
                continue
            if batch.status in FINAL:
                break
            self._server.pause(pause)
            pause = min(pause * 1.5, MAX_POLL_SECONDS)
        files = [name for name in (batch.output_file_id, batch.error_file_id) if name]
        with replacing(self._folder.results_file(record.label)) as file:  # other workers may fetch them too, for shared requests
            for name in files:
                kept = file.tell()
                self._server.patiently(lambda name=name, kept=kept: self._server.download(name, file, kept))  # type: ignore[misc]
        log.info("batch %s is %s", batch.id, batch.status)

    def _made_again(self, record: BatchRecord, batch: ServerBatch, pause: float, *, last: bool) -> BatchRecord:
        """Another batch for one that failed as a whole, of which nothing was paid for, if that was for lack of room alone."""
        problems = batch.errors.data if batch.errors else []
        shown = redact("; ".join(str(each.message or each.code) for each in problems[:3])[:MAX_MESSAGE], self._endpoint.key)
        if not any(each.code == OVER_QUEUE_LIMIT for each in problems):
            self._folder.forget(record)
            raise UserError(f"{self._endpoint.url} refused batch {batch.id}: {shown or 'it does not say why'}")
        if last:
            raise UserError(
                f"{self._endpoint.url} had no room for {len(record.ids):,} requests for a day: {shown}; if that is more than "
                "your account takes at once, start a run with more shards, which make smaller batches"
            )
        log.warning("batch %s waits for room at the provider: %s", batch.id, shown)
        waiting = record.model_copy(update={"batch": None})
        self._folder.save(waiting)
        self._server.pause(pause)
        found = self._find(waiting)  # another worker that has some of the requests may have made it meanwhile
        if found is None:
            return self._make(waiting)
        made = waiting.model_copy(update={"batch": found.id})
        self._folder.save(made)
        return made

    def _another_body(
        self, record: BatchRecord, request: BatchedRequest, outcome: Reply | ServerError | None
    ) -> dict[str, Any] | None:
        """The body for another try in a batch; None if there is to be none."""
        if isinstance(outcome, Reply) or request.attempt >= self._tries:
            return None
        body = self._folder.body(record.label, request.id)
        return body if outcome is None or body is None else self._refit(request, outcome, body)


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
