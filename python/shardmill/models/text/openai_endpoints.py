"""The servers of one model: their keys and rate limits, which of them are healthy, and which gets the next request."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp

from shardmill.models.servers import KEY_HOSTS, AnnouncedServer, host_of, live_servers, trusted_variable
from shardmill.models.text.openai_replies import WEAKER, SchemaMode
from shardmill.models.text.openai_window import RequestWindow
from shardmill.util.errors import UserError

log = logging.getLogger("shardmill")

MIN_BACKOFF, MAX_BACKOFF = 0.5, 60.0
"""Seconds: the longest pause after the first failure, and after any number of failures."""
REFRESH_SECONDS = 3.0
"""How often the folder of announced servers is read."""
WARNING_SECONDS = 60.0
FAILURES_UNTIL_DOWN = 3
BURST_SECONDS = 10
"""How many seconds' worth of a rate limit may be used at once."""
IMAGE_TOKENS = 1_000
"""What an image of a megapixel takes, about, at most providers."""
MAX_DETOUR = 4
"""So many requests more than another server has, one may have in flight before it gets no more about the images that it knows."""
HEALTH_CHECK = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}


def read_key(variable: str) -> str | None:
    """The API key in an environment variable, or in the file that NAME_FILE names; None without either.

    Args:
        variable: The variable's name, such as OPENAI_API_KEY.

    Raises:
        UserError: If the file cannot be read, or if what is found cannot be a key.
    """
    key = os.environ.get(variable, "").strip()
    path = os.environ.get(f"{variable}_FILE")
    if not key and path:
        try:
            key = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{variable}_FILE names {path}, which cannot be read ({type(error).__name__})") from None
    if key and not is_key(key):
        raise UserError(f"the value of {variable} or {variable}_FILE is not a key: a key is one line of plain characters")
    return key or None


def is_key(text: str) -> bool:
    """Whether a text can be sent in a request's header."""
    return text.isascii() and text.isprintable() and " " not in text


def announced_key(server: AnnouncedServer) -> str | None:
    """The key for an announced server: its own if this user announced it, else what the user has listed for its host.

    Raises:
        UserError: If another user announced it and this user has not listed its host, or if its key is malformed.
    """
    variable = trusted_variable(server.url)
    if not server.own and variable is None:
        raise UserError(f"another user announced it; if you trust it, set {KEY_HOSTS} to {host_of(server.url)}")
    if server.key is not None and not is_key(server.key):
        raise UserError("the file of its key does not hold a key")
    return server.key or (read_key(variable) if variable else None)


def backoff(attempt: int) -> float:
    """Seconds to wait after a failed attempt (the first is 1): exponential with full jitter, so that clients spread out."""
    return random.uniform(0, min(MAX_BACKOFF, MIN_BACKOFF * 2 ** min(attempt, 30)))


def estimated_tokens(body: Mapping[str, Any]) -> float:
    """About how many tokens a request and its answer will take: about 4 letters a token, and so many for an image."""
    contents = [message["content"] for message in body["messages"]]
    parts = [part for content in contents if not isinstance(content, str) for part in content]
    texts = [content for content in contents if isinstance(content, str)] + [part.get("text", "") for part in parts]
    return sum(map(len, texts)) / 4 + IMAGE_TOKENS * sum("image_url" in part for part in parts) + float(body["max_tokens"])


class RateLimit:
    """A number of units per minute, as providers grant them: a token bucket that holds BURST_SECONDS' worth."""

    def __init__(self, per_minute: float | None):
        self._rate = per_minute / 60 if per_minute else None
        self._capacity = self._rate * BURST_SECONDS if self._rate else 0.0
        self._level = self._capacity
        self._filled = time.monotonic()

    async def acquire(self, units: float) -> None:
        """Wait until `units` may be used. More than the bucket holds is granted when it is full, and leaves it in debt."""
        if self._rate is None:
            return
        while True:
            now = time.monotonic()
            self._level = min(self._capacity, self._level + (now - self._filled) * self._rate)
            self._filled = now
            need = min(units, self._capacity)
            if self._level >= need:
                self._level -= units
                return
            await asyncio.sleep((need - self._level) / self._rate)

    def correct(self, estimated: float, used: float) -> None:
        """Replace what was taken by estimate with what was really used."""
        if self._rate is not None:
            self._level += estimated - used


@dataclass(eq=False)
class Endpoint:
    """A server and its state.

    It gets requests, as many at once as its `window` allows, unless it is `down`, or before `paused_until` (seconds of the
    monotonic clock). `failures` and `rejections` (429 and the like) count since its last good reply, `problem` is the last of
    them. `limit_name` is its name for the token limit of an answer. `schema_mode` holds for all schemas but those in `modes`,
    which it refused individually. `omitted` are the parameters that it refused by name. `answered_at` is when it last replied
    as it should, in seconds of the monotonic clock.
    """

    url: str
    key: str | None = field(repr=False)
    schema_mode: SchemaMode
    window: RequestWindow = field(default_factory=lambda: RequestWindow(math.inf), repr=False)
    modes: dict[str, SchemaMode] = field(default_factory=dict, repr=False)
    limit_name: str = "max_tokens"
    omitted: set[str] = field(default_factory=set)
    answered_at: float = 0.0
    check: asyncio.Task[int | None] | None = None
    probe: asyncio.Task[None] | None = None
    in_flight: int = 0
    failures: int = 0
    rejections: int = 0
    down: bool = False
    paused_until: float = 0.0
    problem: str = ""
    proxy: str | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.proxy = proxy_of(self.url)

    def mode_of(self, schema: Mapping[str, Any] | None) -> SchemaMode:
        """How the server is asked to constrain an answer to a schema."""
        if schema is None:
            return "none"
        return self.modes.get(json.dumps(schema), self.schema_mode) if self.modes else self.schema_mode

    def weaken(self, schema: Mapping[str, Any] | None, mode: SchemaMode) -> None:
        """Ask for less than `mode` from now on: for one schema, or for all when it is None."""
        if schema is None:
            self.schema_mode = WEAKER[mode]
        else:
            self.modes[json.dumps(schema)] = WEAKER[mode]

    def request_options(self) -> dict[str, Any]:
        """What every request to the server has. Redirects are not followed: the key would go along to wherever they lead."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return {"headers": headers, "proxy": self.proxy, "allow_redirects": False}


def _choose(ready: list[Endpoint], about: str) -> Endpoint:
    """The server for a request, by rendezvous hashing: when a server comes or goes, only its share moves."""
    idlest = min(ready, key=lambda endpoint: endpoint.in_flight)
    if not about or len(ready) == 1:
        return idlest
    home = max(ready, key=lambda endpoint: blake2b(f"{endpoint.url} {about}".encode("utf-8", "surrogateescape")).digest())
    return home if home.in_flight <= idlest.in_flight + MAX_DETOUR else idlest


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a provider (https). The cluster's own servers (http) are reached without one."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    return getproxies().get("https") if scheme == "https" and not proxy_bypass(host) else None


class EndpointPool:
    """Servers at fixed addresses, or those of a model that announce themselves in a folder.

    Args:
        model: The name that servers know the model by.
        urls: Fixed addresses; empty when servers announce themselves.
        folder: Where servers announce themselves, or None.
        key: The key for the fixed addresses.
        schema_mode: How servers are asked to constrain answers, to begin with.
        wait_minutes: How long to wait while no server replies.
        session: The connections of the client.
        window: The most requests that a server may have in flight, fewer where it turns out to be too busy; infinite to leave
            that to rate limits.
    """

    def __init__(
        self,
        model: str,
        urls: list[str],
        folder: Path | None,
        key: str | None,
        schema_mode: SchemaMode,
        wait_minutes: float,
        session: aiohttp.ClientSession,
        window: float = math.inf,
    ):
        self._model, self._folder, self._schema_mode = model, folder, schema_mode
        self._wait_seconds, self._session = wait_minutes * 60, session
        self._window, self._freed = window, asyncio.Event()
        self.endpoints = {url: self._endpoint(url, key) for url in (address.rstrip("/") for address in urls)}
        self._refreshed = 0.0
        self._none_ready_since: float | None = None
        self._warned = 0.0
        self._left_out: set[str] = set()
        self._recoveries: set[asyncio.Task[None]] = set()

    def _endpoint(self, url: str, key: str | None) -> Endpoint:
        return Endpoint(url, key, self._schema_mode, RequestWindow(self._window))

    async def acquire_endpoint(self, about: str = "") -> Endpoint:
        """The ready server with the fewest requests in flight; waits while none is ready.

        Args:
            about: What the request is about, such as an image: requests about the same go to the same server, unless it has
                many more in flight than another, since its cache knows their beginning.

        Raises:
            UserError: If none has replied for `wait_minutes`.
        """
        while True:
            await self._refresh_announced()
            now = time.monotonic()
            ready = [endpoint for endpoint in self.endpoints.values() if not endpoint.down and endpoint.paused_until <= now]
            free = [endpoint for endpoint in ready if endpoint.in_flight + 1 <= endpoint.window.size]
            if free:
                chosen = _choose(free, about)
                chosen.in_flight += 1
                return chosen
            if ready:
                self._freed.clear()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), REFRESH_SECONDS)
                continue
            if self._none_ready_since is None:
                self._none_ready_since = self._warned = now
            self._check_patience(now, now - self._none_ready_since)
            await asyncio.sleep(random.uniform(0.1, 0.3))

    def release_endpoint(self, endpoint: Endpoint) -> None:
        """A request to the server has ended, one way or another."""
        endpoint.in_flight -= 1
        self._freed.set()

    def mark_healthy(self, endpoint: Endpoint) -> None:
        """The server has replied as it should."""
        endpoint.failures = endpoint.rejections = 0
        endpoint.answered_at = time.monotonic()
        self._none_ready_since = None

    def reset_patience(self) -> None:
        """Nothing was in flight until now: how long servers were away before does not count."""
        self._none_ready_since = None

    @property
    def always_ready(self) -> bool:
        """Whether there was a server ready whenever one was needed since the last good reply."""
        return self._none_ready_since is None

    def pause_endpoint(self, endpoint: Endpoint, seconds: float | None, problem: str) -> None:
        """Send the server nothing for as long as it asked for, or longer each time if it did not say."""
        endpoint.problem = problem
        endpoint.rejections += 1
        seconds = MIN_BACKOFF + backoff(endpoint.rejections) if seconds is None else max(seconds, MIN_BACKOFF)
        endpoint.paused_until = max(endpoint.paused_until, time.monotonic() + min(seconds, self._wait_seconds))

    def record_failure(self, endpoint: Endpoint, problem: str, *, unreachable: bool = False) -> None:
        """The server failed. One that is unreachable, or fails again and again, gets no requests until it replies again."""
        endpoint.problem = problem
        endpoint.failures += 1
        if not endpoint.down and (unreachable or endpoint.failures >= FAILURES_UNTIL_DOWN):
            endpoint.down = True
            log.warning("server %s: %s; it gets no requests until it replies again", endpoint.url, problem)
            task = asyncio.create_task(self._await_recovery(endpoint))
            self._recoveries.add(task)  # the event loop itself keeps only a weak reference
            task.add_done_callback(self._recoveries.discard)

    async def _await_recovery(self, endpoint: Endpoint) -> None:
        attempt = 0
        while self.endpoints.get(endpoint.url) is endpoint:
            attempt = min(attempt + 1, 5)
            await asyncio.sleep(MIN_BACKOFF + backoff(attempt))
            if await self._is_serving(endpoint):
                endpoint.down, endpoint.failures = False, 0
                log.warning("server %s replies again", endpoint.url)
                return

    async def _is_serving(self, endpoint: Endpoint) -> bool:
        """Whether the server generates a token. Its list of models would be there without an engine behind it."""
        status = await self._check_status(endpoint)
        return status is not None and status < 500 and status != 408

    async def answers_others(self, endpoint: Endpoint, since: float) -> bool | None:
        """Whether a server that refuses a request answers others: since a time it did, or it answers a check now.

        None if that cannot be found out now, since it fails or is too busy.
        """
        if endpoint.answered_at > since:
            return True
        if endpoint.check is None or endpoint.check.done():
            endpoint.check = asyncio.create_task(self._check_status(endpoint))
        status = await asyncio.shield(endpoint.check)
        if status is None or status >= 500 or status in (408, 409, 425, 429):
            return None
        return status in (200, 400, 413, 422)

    async def _check_status(self, endpoint: Endpoint) -> int | None:
        """The status of a reply to the simplest of requests; None if there is none."""
        url = f"{endpoint.url}/chat/completions"
        body = {"model": self._model, **HEALTH_CHECK}
        try:
            async with self._session.post(url, json=body, **endpoint.request_options()) as response:
                return response.status
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            return None

    async def _refresh_announced(self) -> None:
        """Learn which servers are announced by now."""
        now = time.monotonic()
        if self._folder is None or now - self._refreshed < REFRESH_SECONDS:
            return
        self._refreshed = now
        announced = await asyncio.to_thread(self._read_announced, self._folder)
        for url in [url for url in self.endpoints if url not in announced]:
            del self.endpoints[url]
        for url, key in announced.items():
            self.endpoints.setdefault(url, self._endpoint(url, key)).key = key

    def _read_announced(self, folder: Path) -> dict[str, str | None]:
        """The keys of the announced servers that have the model, by address."""
        found = {}
        for server in live_servers(folder):
            if server.model != self._model:
                continue
            try:
                found[server.url.rstrip("/")] = announced_key(server)
            except UserError as error:
                if server.url not in self._left_out:
                    log.warning("server %s gets no requests: %s", server.url, error)
                self._left_out.add(server.url)
        return found

    def _check_patience(self, now: float, waited: float) -> None:
        """Warn now and then that no server is ready. Raises UserError after `wait_minutes`."""
        states = "; ".join(f"{endpoint.url}: {endpoint.problem or 'paused'}" for endpoint in self.endpoints.values())
        states = (states or f"none is announced in {self._folder}")[:1200]
        if waited > self._wait_seconds:
            raise UserError(
                f"no server of {self._model} has answered for {self._wait_seconds / 60:.0f} minutes ({states}); "
                "start one (shardmill serve), or see its log"
            )
        if now - self._warned > WARNING_SECONDS:
            self._warned = now
            log.warning("no server of %s has been ready for %.0f s (%s)", self._model, waited, states)
