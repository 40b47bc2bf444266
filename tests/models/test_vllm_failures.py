"""vLLM that cannot start: the cause is shown in its own words, and one that stays is not tried again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from models.tiny import build_llama
from shardmill.models.text.vllm import VllmModel
from shardmill.store.jobs import JobsFolder
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

SETTINGS: dict[str, Any] = {"dtype": "float32", "max_model_len": 2048, "enforce_eager": True, "max_num_seqs": 8}
LAUNCH = (
    "import sys; from pathlib import Path; from shardmill.launch.local import launch_local; "
    "from shardmill.store.run_folder import RunFolder; "
    "launch_local(RunFolder(Path(sys.argv[1])), 1, stop_after='extract_objects')"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_llama(tmp_path_factory.mktemp("vllm") / "llama")


@pytest.fixture(autouse=True)
def no_fixed_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the share of the memory decide, which tests of other things leave at a fixed size."""
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)


def test_an_engine_process_without_memory_ends_the_launch_at_once_with_its_own_words(folder: Path, make_run: Any) -> None:
    spec = json.dumps({"kind": "vllm", "model": str(folder), **SETTINGS, "gpu_memory_utilization": 1.0})
    run: RunFolder = make_run("run", num_shards=1, settings=[f"extract_objects.model={spec}"])
    subprocess.run([sys.executable, "-c", LAUNCH, str(run.path)], check=True)
    failures = [failure.message for failure in JobsFolder(run).failures("extract_objects")]
    assert len(failures) == 1, "not tried again"
    assert "is less than desired" in failures[0] and "set gpu_memory_utilization" in failures[0]
    assert "initialization failed" not in failures[0]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"dtype": "float7"}, "float7"),
        ({"quantization": "gptq"}, "gptq"),
        ({"gpu_memory_utilization": 1.0}, r"is less than desired.*; set gpu_memory_utilization"),
    ],
)
def test_settings_that_cannot_work_are_the_users_to_fix(folder: Path, more: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=f"vLLM cannot load .*{why}"):
        VllmModel(model=str(folder), separate_process=False, **{**SETTINGS, **more})


def test_weights_that_are_cut_short_are_the_users_to_fix(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5000])
    with pytest.raises(UserError, match="vLLM cannot load"):
        VllmModel(model=str(tmp_path / "cut"), separate_process=False, gpu_memory_utilization=0.05, **SETTINGS)


def test_without_a_setting_an_engine_on_a_cpu_takes_no_more_than_fits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 1 << 28
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free, total=1 << 40))
    model = VllmModel(model=str(folder), separate_process=False, **SETTINGS)
    try:
        assert model._loop.engine.vllm_config.cache_config.kv_cache_memory_bytes == free // 2
    finally:
        model.close()
