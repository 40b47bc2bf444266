"""The servers that one model can be asked of: which is well, which is to be left alone for a while, and whose turn it is."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp

from shardmill.models.servers import live_servers
from shardmill.models.text.openai_format import WEAKER, SchemaMode
from shardmill.models.text.openai_key import is_key
from shardmill.util.errors import UserError

log = logging.getLogger("shardmill")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
LOOK_SECONDS = 3.0
TELL_SECONDS = 60.0
FAULTS_UNTIL_DOWN = 3
GREETING = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}


@dataclass(eq=False)
class Endpoint:
    """A server, and what is known of it.

    It is asked unless it is `down`, or before `resting_until` (seconds of the monotonic clock). `faults` and `refusals` are those
    since its last answer, `problem` is the last of them. `limit` is its name for the most tokens of an answer. `schema_mode` is
    for all schemas but those in `modes`, which it refused by themselves.
    """

    url: str
    key: str | None = field(repr=False)
    schema_mode: SchemaMode
    modes: dict[str, SchemaMode] = field(default_factory=dict, repr=False)
    limit: str = "max_tokens"
    proof: asyncio.Task[None] | None = None
    in_flight: int = 0
    faults: int = 0
    refusals: int = 0
    down: bool = False
    resting_until: float = 0.0
    problem: str = ""
    proxy: str | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.proxy = proxy_of(self.url)

    def mode_of(self, schema: Mapping[str, Any] | None) -> SchemaMode:
        """How the server is asked to hold an answer to a schema."""
        if schema is None:
            return "none"
        return self.modes.get(json.dumps(schema), self.schema_mode) if self.modes else self.schema_mode

    def weaken(self, schema: Mapping[str, Any] | None, mode: SchemaMode) -> None:
        """Ask less than `mode` from now on: for one schema, or for all when it is None."""
        if schema is None:
            self.schema_mode = WEAKER[mode]
        else:
            self.modes[json.dumps(schema)] = WEAKER[mode]

    def request(self) -> dict[str, Any]:
        """What every request to the server has: never to be led elsewhere, where the key would go along."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return {"headers": headers, "proxy": self.proxy, "allow_redirects": False}


def pause(attempt: int) -> float:
    """Seconds to wait after the attempt of that number (from 1): twice as long each time, of which a random part."""
    return random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempt, 30)))


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for a provider. Servers of the cluster's own (http) are asked without one."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    return getproxies().get("https") if scheme == "https" and not proxy_bypass(host) else None


class Pool:
    """Servers by fixed addresses, or those that announce themselves in a folder as having the model."""

    def __init__(
        self,
        model: str,
        urls: list[str],
        folder: Path | None,
        key: str | None,
        schema_mode: SchemaMode,
        wait_minutes: float,
        session: aiohttp.ClientSession,
    ):
        self._model, self._folder, self._key, self._schema_mode = model, folder, key, schema_mode
        self._wait_seconds, self._session = wait_minutes * 60, session
        self.endpoints = {url: Endpoint(url, key, schema_mode) for url in (address.rstrip("/") for address in urls)}
        self._looked = 0.0
        self._none_since: float | None = None
        self._told = 0.0
        self._unread: set[str] = set()
        self._revivals: set[asyncio.Task[None]] = set()

    async def choose(self) -> Endpoint:
        """The server with the least to do of those that are well; waits while there is none.

        Raises UserError when none has answered for the minutes to wait.
        """
        while True:
            await self._look()
            now = time.monotonic()
            ready = [endpoint for endpoint in self.endpoints.values() if not endpoint.down and endpoint.resting_until <= now]
            if ready:
                chosen = min(ready, key=lambda endpoint: endpoint.in_flight)
                chosen.in_flight += 1
                return chosen
            if self._none_since is None:
                self._none_since = self._told = now
            self._tell(now, now - self._none_since)
            await asyncio.sleep(random.uniform(0.1, 0.3))

    def release(self, endpoint: Endpoint) -> None:
        """A request to the server has ended, one way or another."""
        endpoint.in_flight -= 1

    def is_healthy(self, endpoint: Endpoint) -> None:
        """The server has answered as it should."""
        endpoint.faults = endpoint.refusals = 0
        self._none_since = None

    def begin(self) -> None:
        """Nothing was under way until now: what happened before is no reason for less patience."""
        self._none_since = None

    @property
    def some_answer(self) -> bool:
        """There was a server to ask whenever one was needed since the last answer."""
        return self._none_since is None

    def rest(self, endpoint: Endpoint, seconds: float | None, problem: str) -> None:
        """Leave the server alone for as long as it asked, or longer each time."""
        endpoint.problem = problem
        endpoint.refusals += 1
        seconds = FIRST_PAUSE + pause(endpoint.refusals) if seconds is None else seconds
        endpoint.resting_until = max(endpoint.resting_until, time.monotonic() + min(seconds, self._wait_seconds))

    def fault(self, endpoint: Endpoint, problem: str, *, gone: bool = False) -> None:
        """The server failed. One that is `gone`, or fails again and again, leaves the rotation until it is well again."""
        endpoint.problem = problem
        endpoint.faults += 1
        if not endpoint.down and (gone or endpoint.faults >= FAULTS_UNTIL_DOWN):
            endpoint.down = True
            log.warning("server %s: %s; it is left out until it answers again", endpoint.url, problem)
            task = asyncio.create_task(self._revive(endpoint))
            self._revivals.add(task)
            task.add_done_callback(self._revivals.discard)

    async def _revive(self, endpoint: Endpoint) -> None:
        attempt = 0
        while self.endpoints.get(endpoint.url) is endpoint:
            attempt = min(attempt + 1, 5)
            await asyncio.sleep(FIRST_PAUSE + pause(attempt))
            if await self._answers(endpoint):
                endpoint.down, endpoint.faults = False, 0
                log.warning("server %s answers again", endpoint.url)
                return

    async def _answers(self, endpoint: Endpoint) -> bool:
        """The server gives a word when it is asked for one. Its list of models would be there without an engine behind it."""
        url = f"{endpoint.url}/chat/completions"
        try:
            async with self._session.post(url, json={"model": self._model, **GREETING}, **endpoint.request()) as response:
                return response.status < 500 and response.status != 408
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            return False

    async def _look(self) -> None:
        """Learn which servers are announced by now."""
        now = time.monotonic()
        if self._folder is None or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        announced = await asyncio.to_thread(self._announced, self._folder)
        for url in [url for url in self.endpoints if url not in announced]:
            del self.endpoints[url]
        for url, key in announced.items():
            self.endpoints.setdefault(url, Endpoint(url, key, self._schema_mode)).key = key

    def _announced(self, folder: Path) -> dict[str, str | None]:
        """The keys of the servers that have the model, by address."""
        found = {}
        for server in live_servers(folder):
            if server.model != self._model or not str(server.url).startswith(("http://", "https://")):
                continue
            try:
                key = server.key() or self._key
                if key is not None and not is_key(key):
                    raise ValueError("no key in it")
            except (OSError, ValueError) as error:
                if server.url not in self._unread:
                    log.warning("server %s is not asked: its key %s cannot be read (%s)", server.url, server.key_file, error)
                self._unread.add(server.url)
                continue
            found[server.url.rstrip("/")] = key
        return found

    def _tell(self, now: float, waited: float) -> None:
        known = "; ".join(f"{endpoint.url}: {endpoint.problem or 'resting'}" for endpoint in self.endpoints.values())
        where = known or f"none is announced in {self._folder}"
        if waited > self._wait_seconds:
            raise UserError(
                f"no server of {self._model} has answered for {self._wait_seconds / 60:.0f} minutes ({where[:1200]}); "
                "start one (shardmill serve), or look at its log"
            )
        if now - self._told > TELL_SECONDS:
            self._told = now
            log.warning("waiting for a server of %s since %.0f s (%s)", self._model, waited, where[:1200])
