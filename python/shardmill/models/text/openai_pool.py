"""The servers that one model can be asked of: which is well, which is to be left alone for a while, and whose turn it is."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp

from shardmill.errors import UserError
from shardmill.models.servers import live_servers

log = logging.getLogger("shardmill")

SchemaMode = Literal["json_schema", "json_object", "none"]
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
LOOK_SECONDS = 3.0
TELL_SECONDS = 60.0
FAULTS_UNTIL_DOWN = 3


@dataclass
class Endpoint:
    """A server. It is asked unless it is `down`, or before `resting_until` (seconds of the monotonic clock)."""

    url: str
    key: str | None = field(repr=False)
    schema_mode: SchemaMode
    proven: bool = False
    in_flight: int = 0
    faults: int = 0
    down: bool = False
    resting_until: float = 0.0


def pause(attempt: int) -> float:
    """Seconds to wait after the attempt of that number (from 1): twice as long each time, of which a random part."""
    return random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))


class Pool:
    """Servers by fixed addresses, or those that announce themselves in a folder."""

    def __init__(
        self,
        urls: list[str],
        folder: Path | None,
        key: str | None,
        schema_mode: SchemaMode,
        wait_minutes: float,
        session: aiohttp.ClientSession,
    ):
        self._folder, self._key, self._schema_mode = folder, key, schema_mode
        self._wait_seconds, self._session = wait_minutes * 60, session
        self.endpoints = {url: Endpoint(url, key, schema_mode) for url in (address.rstrip("/") for address in urls)}
        self._looked = 0.0
        self._alive_at = time.monotonic()
        self._told = time.monotonic()
        self._revivals: set[asyncio.Task[None]] = set()

    async def choose(self) -> Endpoint:
        """The server with the least to do of those that are well; waits while there is none.

        Raises UserError when none has been well for the minutes to wait.
        """
        while True:
            self._look()
            now = time.monotonic()
            well = [endpoint for endpoint in self.endpoints.values() if not endpoint.down]
            if well:
                self._alive_at = now
            ready = [endpoint for endpoint in well if endpoint.resting_until <= now]
            if ready:
                chosen = min(ready, key=lambda endpoint: endpoint.in_flight)
                chosen.in_flight += 1
                return chosen
            self._tell(now)
            await asyncio.sleep(0.2)

    def release(self, endpoint: Endpoint) -> None:
        """A request to the server has ended, one way or another."""
        endpoint.in_flight -= 1

    def is_well(self, endpoint: Endpoint) -> None:
        """The server has answered as it should."""
        endpoint.faults = 0

    def rest(self, endpoint: Endpoint, seconds: float) -> None:
        """Leave the server alone for a while, as it asked."""
        endpoint.resting_until = max(endpoint.resting_until, time.monotonic() + seconds)

    def fault(self, endpoint: Endpoint, problem: str, *, gone: bool = False) -> None:
        """The server failed. One that is `gone`, or fails again and again, leaves the rotation until it is well again."""
        endpoint.faults += 1
        if not endpoint.down and (gone or endpoint.faults >= FAULTS_UNTIL_DOWN):
            endpoint.down = True
            log.warning("server %s: %s; it is left out until it answers again", endpoint.url, problem)
            task = asyncio.create_task(self._revive(endpoint))
            self._revivals.add(task)
            task.add_done_callback(self._revivals.discard)

    async def _revive(self, endpoint: Endpoint) -> None:
        attempt = 0
        while endpoint.url in self.endpoints:
            attempt = min(attempt + 1, 5)
            await asyncio.sleep(FIRST_PAUSE + pause(attempt))
            if await self._answers(endpoint):
                endpoint.down, endpoint.faults = False, 0
                log.warning("server %s answers again", endpoint.url)
                return

    async def _answers(self, endpoint: Endpoint) -> bool:
        try:
            async with self._session.get(
                f"{endpoint.url}/models",
                headers=headers(endpoint),
                timeout=aiohttp.ClientTimeout(total=10),
                allow_redirects=False,
            ) as response:
                return response.status < 500
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            return False

    def _look(self) -> None:
        """Learn which servers are announced by now."""
        now = time.monotonic()
        if self._folder is None or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        announced = {server.url.rstrip("/"): server for server in live_servers(self._folder)}
        for url in [url for url in self.endpoints if url not in announced]:
            del self.endpoints[url]
        for url, server in announced.items():
            if url not in self.endpoints:
                self.endpoints[url] = Endpoint(url, server.key() or self._key, self._schema_mode)

    def _tell(self, now: float) -> None:
        where = f"in {self._folder}" if self._folder else ", ".join(self.endpoints)
        if now - self._alive_at > self._wait_seconds:
            minutes = self._wait_seconds / 60
            raise UserError(
                f"no server {where} has answered for {minutes:.0f} minutes; start one (shardmill serve) or read its log"
            )
        if now - self._alive_at > LOOK_SECONDS and now - self._told > TELL_SECONDS:
            self._told = now
            log.warning("waiting for a server %s since %.0f s", where, now - self._alive_at)


def headers(endpoint: Endpoint) -> dict[str, str]:
    """The headers of a request to a server."""
    return {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
