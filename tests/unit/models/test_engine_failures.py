"""Why an engine could not start: its own line is shown, and a cause that stays is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardmill.models.failures import is_permanent, log_size, logged_cause
from shardmill.models.text.vllm import _startup_error
from shardmill.util.errors import ModelDied, UserError

ELSEWHERE = RuntimeError("Engine core initialization failed. See root cause above. Failed core proc(s): {}")
MEMORY = "ValueError: Available memory on node 0 (3.1/23.4 GiB) is less than desired CPU memory utilization (0.9)."


def log_of(path: Path, *errors: str) -> Path:
    """A log as vLLM writes it: the engine's process logs its error, then the worker's own."""
    lines = ["(EngineCore pid=7) INFO 11-30 12:00:00 [core.py:90] Initializing"]
    for error in errors:
        lines += [
            f"(EngineCore pid=7) ERROR 11-30 12:00:01 [core.py:866] {line}"
            for line in ("Traceback (most recent call last):", error)
        ]
    lines += ["Traceback (most recent call last):", f"RuntimeError: {ELSEWHERE}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, given: Exception = ELSEWHERE) -> Exception:
    monkeypatch.setenv("SHARDMILL_LOG", str(log_of(tmp_path / "log", error)))
    return _startup_error("mymodel", given, 0)


@pytest.mark.parametrize(
    "cause",
    [
        MEMORY,
        "ValueError: Unknown dtype: float7",
        "OSError: /models/x does not appear to have a file named config.json.",
        "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error",
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`.",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
    ],
)
def test_a_cause_that_stays_is_the_users_to_fix_and_shown_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    error = raised(tmp_path, monkeypatch, cause)
    assert isinstance(error, UserError) and cause.rpartition("Error: ")[2][:40] in str(error)
    assert "initialization failed" not in str(error)
    assert ("set gpu_memory_utilization" in str(error)) == ("memory" in cause)


@pytest.mark.parametrize(
    "cause", ["torch.OutOfMemoryError: CUDA out of memory", "ValueError: Free memory on device cuda:0 (1/80)"]
)
def test_memory_of_a_gpu_may_be_free_at_the_next_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str) -> None:
    error = raised(tmp_path, monkeypatch, cause)
    assert isinstance(error, ModelDied) and cause.rpartition("Error: ")[2] in str(error)


def test_only_what_this_start_has_logged_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(tmp_path / "log", "ValueError: an earlier one")
    monkeypatch.setenv("SHARDMILL_LOG", str(log))
    before = log_size()
    assert logged_cause(start=before) == ""
    with open(log, "a") as file:
        file.write(f"(Worker pid=8) {MEMORY}\n\x1b[31mRuntimeError: {ELSEWHERE}\n")
    assert logged_cause(start=before) == MEMORY.rstrip(".") and is_permanent(MEMORY)
    monkeypatch.delenv("SHARDMILL_LOG")
    assert logged_cause() == "" and log_size() == 0
    assert isinstance(_startup_error("m", ELSEWHERE, 0), ModelDied)
