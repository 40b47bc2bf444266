"""A loopback server of chat completions with a fixed think time: what every client of the comparison asks.

    python server.py --delay 0.02 --core 0

It prints its port. A caption (see `job.py`) is answered with its objects as JSON, in a fence if the prompt asks for one; which
answers are malformed or HTTP 500 is drawn by the hash of the caption, and of how often it was asked unless faults are lasting.
GET /stats tells what was asked and when; GET /wait/N answers when N requests were answered; GET /v1/models lists one model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from job import CAPTION, objects_of

REASONS = {200: "OK", 404: "Not Found", 411: "Length Required", 500: "Internal Server Error"}
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
HEADER_END = b"\r\n\r\n"


@dataclass
class Asked:
    """What the server was asked so far. Times are of the monotonic clock, which all processes of a machine share."""

    requests: int = 0
    answered: int = 0
    malformed: int = 0
    errors: int = 0
    connections: int = 0
    bytes_in: int = 0
    now: int = 0
    most_at_once: int = 0
    first: float | None = None
    last: float | None = None
    captions: Counter[str] = field(default_factory=Counter)
    prompts: Counter[int] = field(default_factory=Counter)
    waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "malformed": self.malformed,
            "errors": self.errors,
            "connections": self.connections,
            "most_at_once": self.most_at_once,
            "first": self.first,
            "last": self.last,
            "captions": len(self.captions),
            "repeated": self.captions.total() - len(self.captions),
            "prompts": sorted(self.prompts.values()),
            "bytes_per_request": self.bytes_in / max(self.requests, 1),
            "cpu_seconds": time.process_time(),
        }

    def answer_sent(self) -> None:
        self.answered += 1
        self.now -= 1
        self.last = time.monotonic()
        for least, future in self.waiting:
            if self.answered >= least and not future.done():
                future.set_result(None)


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests on it are answered one after another, as its client sends them."""

    def __init__(self, options: argparse.Namespace, asked: Asked):
        self.options, self.asked, self.buffer = options, asked, b""
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.asked.connections += 1

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(HEADER_END)) >= 0:
            head = self.buffer[:end]
            found = LENGTH.search(head)
            stop = end + 4 + (int(found[1]) if found else 0)
            if len(self.buffer) < stop:
                if b"expect: 100-continue" in head.lower() and len(self.buffer) == end + 4:
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body, self.buffer = self.buffer[end + 4 : stop], self.buffer[stop:]
            self.take(head, body)

    def take(self, head: bytes, body: bytes) -> None:
        method, path = head.split(b" ", 2)[:2]
        close = b"connection: close" in head.lower()
        if method == b"POST" and path.endswith(b"/chat/completions"):
            self.complete(json.loads(body), len(body), close)
        elif path.endswith(b"/models"):
            self.send(200, {"object": "list", "data": [{"id": "bench", "object": "model", "owned_by": "bench"}]}, close)
        elif path == b"/stats":
            self.send(200, self.asked.told(), close)
        elif path.startswith(b"/wait/"):
            future: asyncio.Future[None] = self.loop.create_future()
            future.add_done_callback(lambda _: self.send(200, {}, close))
            self.asked.waiting.append((int(path[6:]), future))
        else:
            self.send(404, {"error": {"message": f"no {path.decode()}"}}, close)

    def complete(self, body: dict[str, Any], size: int, close: bool) -> None:
        """Answer a chat after the think time."""
        asked = self.asked
        asked.requests += 1
        asked.bytes_in += size
        asked.now += 1
        asked.most_at_once = max(asked.most_at_once, asked.now)
        messages = body.get("messages") or [{"content": ""}]
        asked.prompts[zlib.crc32(json.dumps(messages[0]["content"]).encode())] += len(messages) > 1
        last = messages[-1]["content"]
        said = last if isinstance(last, str) else "".join(part.get("text", "") for part in last)
        status, content = self.answer(body, said)
        usage = {"prompt_tokens": size // 4, "completion_tokens": len(content) // 4, "total_tokens": (size + len(content)) // 4}
        message = {"role": "assistant", "content": content}
        reply: dict[str, Any] = {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 0,
            "model": "bench",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": usage,
        }
        if status != 200:
            reply = {"error": {"message": "an error that was asked for", "type": "server_error"}}
        self.loop.call_later(self.options.delay, self.finish, status, reply, close)

    def answer(self, body: dict[str, Any], said: str) -> tuple[int, str]:
        """Status and text: what a model that follows its prompt would say, or the fault that is drawn."""
        found = None
        for found in CAPTION.finditer(said):  # noqa: B007 (the last: examples stand before it)
            pass
        if found is None:
            form = (body.get("response_format") or {}).get("json_schema", {}).get("schema", {})
            return 200, json.dumps({name: smallest(part) for name, part in form.get("properties", {}).items()})
        caption = found[0]
        if self.asked.first is None:
            self.asked.first = time.monotonic()
        self.asked.captions[caption] += 1
        text = json.dumps({"objects": objects_of(caption)})
        if "```json" in said:
            text = f"```json\n{text}\n```"
        drawn = caption if self.options.lasting else f"{caption} {self.asked.captions[caption]}"
        chance = zlib.crc32(drawn.encode()) / 2**32
        if chance < self.options.errors:
            self.asked.errors += 1
            return 500, ""
        if chance < self.options.errors + self.options.malformed:
            self.asked.malformed += 1
            return 200, text[: len(text) // 2]
        return 200, text

    def finish(self, status: int, reply: dict[str, Any], close: bool) -> None:
        self.send(status, reply, close)
        self.asked.answer_sent()

    def send(self, status: int, content: Any, close: bool) -> None:
        body = json.dumps(content).encode()
        if self.transport.is_closing():
            return
        ending = "close" if close else "keep-alive"
        head = f"HTTP/1.1 {status} {REASONS[status]}\r\nConnection: {ending}\r\nContent-Type: application/json\r\n"
        self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        if close:
            self.transport.close()


def smallest(schema: dict[str, Any]) -> Any:
    """A value that a simple schema allows: what probes of clients want to see."""
    if schema.get("enum"):
        return schema["enum"][0]
    return {"string": "a", "integer": 1, "number": 1.0, "boolean": True, "array": []}.get(str(schema.get("type")), {})


async def serve(options: argparse.Namespace) -> None:
    asked = Asked()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(options, asked), "127.0.0.1", options.port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that an answer takes")
    parser.add_argument("--malformed", type=float, default=0.0, help="share of answers that are cut-off JSON")
    parser.add_argument("--errors", type=float, default=0.0, help="share of answers that are HTTP 500")
    parser.add_argument("--lasting", action="store_true", help="a caption has the same fault whenever it is asked")
    parser.add_argument("--core", type=int, help="the only core to run on")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    asyncio.run(serve(options))


if __name__ == "__main__":
    main()
