"""The part of OpenAI's API that batches need: files and batches at a server, with patience and bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import IO, Any, TypeVar

import aiohttp
from pydantic import BaseModel, Field, ValidationError

from shardmill.models.text.key_redaction import redact
from shardmill.models.text.openai_batch_records import MAX_RESULT_BYTES, ServerId
from shardmill.models.text.openai_endpoints import Endpoint
from shardmill.models.text.openai_errors import read_error
from shardmill.util.errors import Stopped, UserError
from shardmill.util.signals import stop_requested

POLL_SECONDS, CHECK_SECONDS = 5.0, 0.25
MAX_ANSWER_BYTES = 4_000_000
RETRIED = (408, 409, 425, 429)

Result = TypeVar("Result")
Form = TypeVar("Form", bound=BaseModel)


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


class Interrupted(Exception):
    """The server could not be reached, or failed; whether it did what it was to do is not known."""


class NotFound(UserError):
    """The server does not have what was asked for."""


class BatchApi:
    """Calls a server from a thread beside the event loop of its connections.

    Args:
        session: The connections of the client.
        loop: The event loop that they belong to, which runs in another thread.
        endpoint: The server.
        wait_minutes: How long to wait for a server that fails.
    """

    def __init__(self, session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop, endpoint: Endpoint, wait_minutes: float):
        self._session, self._loop, self.endpoint = session, loop, endpoint
        self._wait_seconds = wait_minutes * 60

    def patiently(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Call until the server answers; for as long as the settings say."""
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                return self.in_loop(call())
            except Interrupted as error:
                if time.monotonic() > deadline:
                    raise UserError(f"batches: {error}") from None
                self.pause(POLL_SECONDS)

    def in_loop(self, work: Awaitable[Result]) -> Result:
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

    def pause(self, seconds: float) -> None:
        """Wait. Raises Stopped when the worker is to stop meanwhile."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if stop_requested():
                raise Stopped("batches are waited for")
            time.sleep(min(left, CHECK_SECONDS))

    async def call(
        self, form: type[Form], method: str, path: str, *, body: dict[str, Any] | None = None, upload: Path | None = None
    ) -> Form:
        """What the server answers, checked. Raises Interrupted, or UserError for what only the user can fix."""
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
            raise Interrupted(redact(f"{self.endpoint.url} cannot be reached: {error}", self.endpoint.key)[:600]) from None
        self._check_status(path, status, content)
        try:
            return form.model_validate_json(content)
        except ValidationError:
            raise Interrupted(f"{self.endpoint.url}{path} answered with something else than batches or files") from None

    async def _exchange(self, method: str, path: str, options: dict[str, Any]) -> tuple[int, bytes]:
        async with self._session.request(
            method, self.endpoint.url + path, **options, **self.endpoint.request_options()
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
        message = redact(read_error(status, content, {}).message, self.endpoint.key)
        problem = f"{self.endpoint.url}{path} answered {status}: {message}"
        if status in RETRIED or status >= 500:
            raise Interrupted(problem)
        error = NotFound if status == 404 else UserError
        raise error(f"{problem}; does this server take batches, and is the key that of the account that made them?")

    async def download(self, name: str, file: IO[bytes], kept: int) -> None:
        """Append a file of the server's to `file`, of which the first `kept` bytes stay."""
        url = f"{self.endpoint.url}/files/{name}/content"
        try:
            async with self._session.get(url, **self.endpoint.request_options()) as response:
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
            raise Interrupted(redact(f"{url}: {error}", self.endpoint.key)[:600]) from None


async def _awaited(work: Awaitable[Result]) -> Result:
    return await work
