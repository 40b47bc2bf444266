"""The loop of a vLLM engine, with an engine that never finishes a request."""

from __future__ import annotations

import queue
import time
from types import SimpleNamespace
from typing import Any

import pytest

from shardmill.models.text import vllm_loop
from shardmill.models.text.vllm_loop import EngineLoop, EngineRequest
from shardmill.util.signals import stopping_when


class BusyEngine:
    """Steps for ever and finishes nothing."""

    engine_core = SimpleNamespace(resources=None, shutdown=lambda: None)

    def __init__(self) -> None:
        self.aborted: list[str] = []

    def add_request(self, number: str, prompt: Any, params: Any, lora_request: Any) -> None:
        assert prompt == "a"

    def step(self) -> list[Any]:
        time.sleep(0.001)
        return []

    def abort_request(self, numbers: list[str]) -> None:
        self.aborted += numbers


def test_a_stop_ends_the_wait_for_an_answer_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_loop, "POLL_SECONDS", 0.01)
    loop = EngineLoop(BusyEngine, stall_seconds=60)
    outputs: queue.SimpleQueue[Any] = queue.SimpleQueue()
    loop.add_request(EngineRequest("1/0", "a", None, outputs))
    asked = iter([False, False, True])
    with stopping_when(lambda: next(asked)):
        assert loop.wait_for_output(outputs) is None
    loop.abort_requests(outputs, {"1/0"})
    loop.close()
    assert loop.engine.aborted == ["1"]
