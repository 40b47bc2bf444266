"""The step loop of a vLLM engine in a thread of its own.

Requests join the running engine between steps and leave as they finish, whoever asked. The thread that asks renders prompts and
judges answers meanwhile, and it notices when the engine is gone: one that was killed leaves `step` waiting for ever.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shardmill.util.errors import ModelDied

LOOK_SECONDS = 1.0
CLOSE_SECONDS = 30.0


@dataclass(frozen=True)
class EngineRejected:
    """A request that the engine did not take."""

    key: str
    problem: str


@dataclass(frozen=True)
class Order:
    """A request for the engine: `add` puts it in, outputs and refusals go to `answers`."""

    key: str
    prompt: Any
    params: Any
    answers: queue.SimpleQueue[Any] = field(repr=False)

    @property
    def name(self) -> tuple[int, str]:
        """Who asks and by which key: several streams may use the same keys."""
        return id(self.answers), self.key


class Driver:
    """Runs the engine that `build` makes. Raises what `build` raises."""

    def __init__(self, build: Callable[[], Any], stall_seconds: float, lora: Any = None):
        self._build, self._lora, self._stall_seconds = build, lora, stall_seconds
        self._inbox: queue.SimpleQueue[Order | set[tuple[int, str]] | None] = queue.SimpleQueue()
        self._orders: dict[str, Order] = {}
        self._numbers: dict[tuple[int, str], str] = {}
        self._count = 0
        self._busy_since: float | None = None
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vllm-driver", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def engine(self) -> Any:
        return self._engine

    def add(self, order: Order) -> None:
        """Hand a request to the engine."""
        self._inbox.put(order)

    def drop(self, answers: queue.SimpleQueue[Any], keys: set[str]) -> None:
        """Forget requests that the one who takes `answers` waits for no more."""
        if keys:
            self._inbox.put({(id(answers), key) for key in keys})

    def close(self) -> None:
        """End the engine and the thread."""
        self._inbox.put(None)
        self._thread.join(timeout=CLOSE_SECONDS)

    def wait(self, answers: queue.SimpleQueue[Any]) -> Any:
        """The next output or refusal for one who asked. Raises ModelDied when none will come."""
        while True:
            try:
                return answers.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise ModelDied(str(self._failure) or type(self._failure).__name__) from self._failure
        client = getattr(self._engine.engine_core, "resources", None)
        if getattr(client, "engine_dead", False):
            raise ModelDied("the engine's process was killed")
        since = self._busy_since
        if since is not None and time.monotonic() - since > self._stall_seconds:
            raise ModelDied(f"the engine has been in one step for {self._stall_seconds / 60:.0f} minutes")

    def _run(self) -> None:
        try:
            self._engine = self._build()
        except BaseException as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        try:
            while self._take_orders():
                self._busy_since = time.monotonic()
                outputs = self._engine.step()
                self._busy_since = None
                for output in outputs:
                    self._hand_out(output)
            self._engine.engine_core.shutdown()
        except BaseException as error:
            self._failure = error

    def _take_orders(self) -> bool:
        """All orders that lie there; waits for one when the engine has nothing to do. False when it is to end."""
        while True:
            try:
                order = self._inbox.get(block=not self._orders)
            except queue.Empty:
                return True
            if order is None:
                return False
            if isinstance(order, Order):
                self._admit(order)
            else:
                gone = [number for name in order if (number := self._numbers.pop(name, None)) is not None]
                for number in gone:
                    del self._orders[number]
                self._engine.abort_request(gone)

    def _admit(self, order: Order) -> None:
        """The engine knows a request by a number of our own: keys may come again for a retry."""
        self._count += 1
        number = str(self._count)
        try:
            self._engine.add_request(number, order.prompt, order.params, lora_request=self._lora)
        except (ValueError, TypeError) as error:
            order.answers.put(EngineRejected(order.key, str(error)))
            return
        self._orders[number] = order
        self._numbers[order.name] = number

    def _hand_out(self, output: Any) -> None:
        if not output.finished:
            return
        order = self._orders.pop(output.request_id, None)
        if order is not None:
            self._numbers.pop(order.name, None)
            order.answers.put((order.key, output))
