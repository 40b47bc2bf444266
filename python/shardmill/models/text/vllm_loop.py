"""The step loop of a vLLM engine, in a thread of its own.

Requests join the running engine between steps and leave it as they finish, whichever stream they belong to. The streams' threads
render prompts and judge answers meanwhile, and notice when the engine has died: `step` would wait for a killed one for ever.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shardmill.util.errors import ModelDied
from shardmill.util.signals import stop_requested

POLL_SECONDS = 1.0
CLOSE_SECONDS = 30.0


@dataclass(frozen=True)
class EngineRejection:
    """A request that the engine did not accept."""

    key: str
    problem: str


@dataclass(frozen=True)
class EngineRequest:
    """A request as the engine takes it; its output or rejection goes to the queue `outputs`."""

    key: str
    prompt: Any
    params: Any
    outputs: queue.SimpleQueue[Any] = field(repr=False)

    @property
    def name(self) -> tuple[int, str]:
        """The request's stream and key: several streams may use the same keys."""
        return id(self.outputs), self.key


class EngineLoop:
    """Runs an engine.

    Args:
        build: Makes the engine, in the loop's thread.
        stall_seconds: A single step that takes longer means that the engine has died.
        lora: The LoRA request that all requests are sent with, if any.

    Raises:
        Exception: Whatever `build` raises.
    """

    def __init__(self, build: Callable[[], Any], stall_seconds: float, lora: Any = None):
        self._build, self._lora, self._stall_seconds = build, lora, stall_seconds
        self._inbox: queue.SimpleQueue[EngineRequest | set[tuple[int, str]] | None] = queue.SimpleQueue()
        """New requests, names of requests to abort, or None to end the loop."""
        self._running: dict[str, EngineRequest] = {}
        self._ids: dict[tuple[int, str], str] = {}
        self._count = 0
        self._step_since: float | None = None
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vllm-loop", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def engine(self) -> Any:
        return self._engine

    def add_request(self, request: EngineRequest) -> None:
        """Hand a request to the engine."""
        self._inbox.put(request)

    def abort_requests(self, outputs: queue.SimpleQueue[Any], keys: set[str]) -> None:
        """Drop requests of a stream that nobody waits for any more."""
        if keys:
            self._inbox.put({(id(outputs), key) for key in keys})

    def close(self) -> None:
        """End the engine and the thread."""
        self._inbox.put(None)
        self._thread.join(timeout=CLOSE_SECONDS)

    def wait_for_output(self, outputs: queue.SimpleQueue[Any]) -> Any:
        """The next output or rejection of a stream; None when the worker is to stop. Raises ModelDied when none will come."""
        while True:
            try:
                return outputs.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._check_engine()
                if stop_requested():
                    return None

    def _check_engine(self) -> None:
        """Raises ModelDied if the engine has failed, was killed, or is stuck in a step."""
        if self._failure is not None:
            raise ModelDied(str(self._failure) or type(self._failure).__name__) from self._failure
        client = getattr(self._engine.engine_core, "resources", None)
        if getattr(client, "engine_dead", False):
            raise ModelDied("the engine's process was killed")
        since = self._step_since
        if since is not None and time.monotonic() - since > self._stall_seconds:
            raise ModelDied(f"the engine has been in one step for {self._stall_seconds / 60:.0f} minutes")

    def _run(self) -> None:
        try:
            self._engine = self._build()
        except BaseException as error:  # noqa: BLE001 (handed to the caller's thread)
            self._failure = error
            return
        finally:
            self._ready.set()
        try:
            while self._take_requests():
                self._step_since = time.monotonic()
                outputs = self._engine.step()
                self._step_since = None
                for output in outputs:
                    self._deliver_output(output)
            self._engine.engine_core.shutdown()
        except BaseException as error:  # noqa: BLE001 (as above)
            self._failure = error

    def _take_requests(self) -> bool:
        """Take all that waits in the inbox; False when the loop is to end.

        Blocks while the engine has nothing to do. With requests running it never does, or the GPU would idle until the next one.
        """
        while True:
            try:
                item = self._inbox.get(block=not self._running)
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, EngineRequest):
                self._admit(item)
            else:
                aborted = [number for name in item if (number := self._ids.pop(name, None)) is not None]
                for number in aborted:
                    del self._running[number]
                self._engine.abort_request(aborted)

    def _admit(self, request: EngineRequest) -> None:
        """Add a request to the engine under a number of our own: a retry comes with the key of the first try."""
        self._count += 1
        number = str(self._count)
        try:
            self._engine.add_request(number, request.prompt, request.params, lora_request=self._lora)
        except (ValueError, TypeError) as error:
            request.outputs.put(EngineRejection(request.key, str(error)))
            return
        self._running[number] = request
        self._ids[request.name] = number

    def _deliver_output(self, output: Any) -> None:
        if not output.finished:
            return
        request = self._running.pop(output.request_id, None)  # None for one that was aborted in this very step
        if request is not None:
            self._ids.pop(request.name, None)
            request.outputs.put((request.key, output))
