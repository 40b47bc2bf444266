"""A stand-in for a provider's batches, built from the published description of OpenAI's API: files, batches, their results."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from faulty_server import FaultyServer, Handler

Answer = Callable[[dict[str, Any]], tuple[int, Any]]
"""The status and body of the response to a request in a batch."""


class BatchServer(FaultyServer):
    """Batches are finished at the `polls`-th look at them.

    Attributes:
        answer: Answers the requests in batches.
        made: The requests of each batch, by the batch's id.
        lost: Custom ids that come to nothing: the batch expires before them.
        fail: Problems by which the next batches fail as a whole.
        forget_answer: The next batch is made, and the connection is cut before the client hears of it.
        listed: Whether the server has a list of batches.
    """

    def __init__(self, handler: Handler, answer: Answer, polls: int = 1) -> None:
        self.answer, self.polls = answer, polls
        self.files: dict[str, bytes] = {}
        self.made: dict[str, list[dict[str, Any]]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.lost: set[str] = set()
        self.fail: list[dict[str, str]] = []
        self.forget_answer = False
        self.listed = True
        self.looks = 0
        super().__init__(handler)

    async def _start(self) -> None:
        app = web.Application(client_max_size=256 << 20)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{name}/content", self._content)
        app.router.add_post("/v1/batches", self._make)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{name}", self._look)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read()  # type: ignore[union-attr]
        return web.json_response({"id": name, "object": "file", "purpose": "batch"})

    async def _make(self, request: web.Request) -> web.StreamResponse:
        wanted = await request.json()
        assert wanted["endpoint"] == "/v1/chat/completions" and wanted["completion_window"] == "24h"
        name = f"batch_{len(self.batches)}"
        lines = [json.loads(line) for line in self.files[wanted["input_file_id"]].splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        batch = {"id": name, "object": "batch", "status": "validating", "metadata": wanted["metadata"], "looks": 0}
        self.batches[name] = batch
        if self.fail:
            batch.update(status="failed", errors={"object": "list", "data": [self.fail.pop(0)]})
        else:
            self.made[name] = lines
        if self.forget_answer:
            self.forget_answer = False
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(batch)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        if not self.listed:
            return web.json_response({"error": {"message": "not found"}}, status=404)
        newest = [*reversed(self.batches.values())]
        after = request.query.get("after")
        start = next((place + 1 for place, batch in enumerate(newest) if batch["id"] == after), 0)
        page = newest[start : start + 2]
        return web.json_response({"object": "list", "data": page, "has_more": start + 2 < len(newest)})

    async def _look(self, request: web.Request) -> web.StreamResponse:
        batch = self.batches.get(request.match_info["name"])
        if batch is None:
            return web.json_response({"error": {"message": "no such batch"}}, status=404)
        self.looks += 1
        batch["looks"] += 1
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "in_progress"
            if batch["looks"] >= self.polls:
                self._finish(batch)
        return web.json_response(batch)

    def _finish(self, batch: dict[str, Any]) -> None:
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        for line in self.made[batch["id"]]:
            result: dict[str, Any] = {"id": "r", "custom_id": line["custom_id"], "response": None, "error": None}
            if line["custom_id"] in self.lost:
                bad.append(
                    {**result, "error": {"code": "batch_expired", "message": "This request could not be executed in time."}}
                )
                continue
            status, body = self.answer(line["body"])
            result["response"] = {"status_code": status, "request_id": "q", "body": body}
            (good if status == 200 else bad).append(result)
        for field, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                batch[field] = name = f"file-{len(self.files)}"
                self.files[name] = "\n".join(map(json.dumps, lines)).encode()
        batch["status"] = "expired" if self.lost else "completed"

    async def _content(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.files[request.match_info["name"]])
