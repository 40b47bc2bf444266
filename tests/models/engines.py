"""Every engine with the small trained model, greedy and in float32: in process, behind vLLM's server, behind transformers'."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.train_tiny import DATA
from shardmill.launch.serve import ServerSupervisor, free_port
from shardmill.launch.serve_command import serve_command
from shardmill.models.servers import AnnouncedServer, live_servers
from shardmill.models.settings import read_settings
from shardmill.models.text.vllm import VllmSettings

START_SECONDS = 180
GREEDY = {"sampling": {"temperature": 0.0}}
VLLM = {"model": str(DATA), "dtype": "float32", "max_model_len": 2048, "enforce_eager": True, "max_num_seqs": 16}
IN_PROCESS: dict[str, dict[str, Any]] = {
    "vllm": {"kind": "vllm", "separate_process": False, "gpu_memory_utilization": 0.05, **VLLM, **GREEDY},
    "transformers": {"kind": "transformers", "model": str(DATA), "dtype": "float32", "max_batch_size": 8, **GREEDY},
}


def behind_servers(**where: Any) -> dict[str, Any]:
    """The model behind the servers that `base_urls` or `servers` tells."""
    return {"kind": "openai", "model": str(DATA), "max_in_flight": 8, "wait_minutes": 3, **GREEDY, **where}


@contextmanager
def vllm_server(folder: Path) -> Iterator[Path]:
    """vLLM's server, kept by what `shardmill serve` is; gives the folder in which it is announced."""
    settings = read_settings(VllmSettings, VLLM)
    over = threading.Event()
    keeper = ServerSupervisor(
        command=lambda port: serve_command(settings, "127.0.0.1", port, 0, ["--gpu-memory-utilization", "0.05"]),
        model=str(DATA), folder=folder / "servers", log=folder / "log", host="127.0.0.1", environment=dict(os.environ),
        start_seconds=START_SECONDS, should_stop=over.is_set, say=print,
    )  # fmt: skip
    thread = threading.Thread(target=keeper)
    thread.start()
    try:
        yield folder / "servers"
    finally:
        over.set()
        thread.join()


def served_by(folder: Path) -> AnnouncedServer:
    """The server that is announced in a folder, once it answers."""
    deadline = time.monotonic() + START_SECONDS
    while not (found := live_servers(folder) if folder.is_dir() else []):
        assert time.monotonic() < deadline, f"no server was announced; see {folder.parent / 'log'}"
        time.sleep(0.2)
    return found[0]


@contextmanager
def transformers_server(folder: Path) -> Iterator[str]:
    """`transformers serve`, which takes JSON schemas and ignores them; gives its address, which may not answer yet."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(DATA), *options]
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_CACHE": str(folder)})
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()
