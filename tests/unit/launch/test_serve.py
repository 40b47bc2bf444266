"""A server is announced while it answers, started again when it does not, and withdrawn when its supervisor ends."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from shardmill.launch import serve
from shardmill.launch.serve import Load, ServerSupervisor, load_of
from shardmill.launch.serve_command import serve_command, served_settings
from shardmill.models.servers import Announcement, Server, live_servers
from shardmill.util.errors import UserError

PROGRAM = """
    import http.server, os, sys, time

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if os.path.exists(sys.argv[2] + "/hang"):
                time.sleep(60)
            text = b"vllm:num_requests_running{engine=\\"0\\"} 3.0\\nvllm:generation_tokens_total{engine=\\"0\\"} 1200.0\\n"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self):
            known = self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args):
            pass

    open(sys.argv[2] + "/pids", "a").write(f"{os.getpid()} ")
    if os.path.exists(sys.argv[2] + "/broken"):
        sys.exit("RuntimeError: CUDA error: out of memory")
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("POLL_SECONDS", 0.05), ("RENEW_SECONDS", 0.1), ("ANSWER_SECONDS", 0.3), ("STALE_SECONDS", 0.5)):
        monkeypatch.setattr(serve, name, seconds)
    monkeypatch.delenv("SHARDMILL_API_KEY", raising=False)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "server.py"
    path.write_text(textwrap.dedent(PROGRAM))
    return path


@pytest.fixture
def keep(tmp_path: Path, program: Path) -> Iterator[Callable[[], ServerSupervisor]]:
    ended = threading.Event()
    threads: list[threading.Thread] = []
    told: list[str] = []

    def start() -> ServerSupervisor:
        supervisor = ServerSupervisor(
            command=lambda port: [sys.executable, str(program), str(port), str(tmp_path)],
            model="m",
            folder=tmp_path / "servers",
            log=tmp_path / "serve.log",
            host="127.0.0.1",
            environment=dict(os.environ),
            start_seconds=10,
            should_stop=ended.is_set,
            say=told.append,
        )
        threads.append(threading.Thread(target=supervisor))
        threads[-1].start()
        return supervisor

    start.end = ended.set  # type: ignore[attr-defined]
    start.threads = threads  # type: ignore[attr-defined]
    start.told = told  # type: ignore[attr-defined]
    yield start
    ended.set()
    for thread in threads:
        thread.join()


def await_servers(folder: Path, but: str = "") -> Server:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = [server for server in (live_servers(folder) if folder.is_dir() else []) if server.url != but]
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("no server was announced")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pids(tmp_path: Path) -> list[int]:
    return [int(word) for word in (tmp_path / "pids").read_text().split()]


def test_a_server_is_announced_with_a_key_that_only_we_can_read(keep: Callable[[], ServerSupervisor], tmp_path: Path) -> None:
    supervisor = keep()
    server = await_servers(tmp_path / "servers")
    assert server.own and server.key == supervisor.key and len(supervisor.key) > 20
    (key_file,) = (tmp_path / "servers").glob(f"127.0.0.1-{os.getpid()}-*.key")
    assert key_file.stat().st_mode & 0o077 == 0
    assert supervisor.key not in repr(supervisor) and supervisor.key not in key_file.with_suffix(".json").read_text()
    assert load_of(server) == Load(running=3, waiting=0, generated=1200)


def test_a_server_that_is_killed_is_started_again_and_its_new_address_told(
    keep: Callable[[], ServerSupervisor], tmp_path: Path
) -> None:
    keep()
    first = await_servers(tmp_path / "servers")
    os.kill(pids(tmp_path)[-1], signal.SIGKILL)
    second = await_servers(tmp_path / "servers", but=first.url)
    assert urllib.request.urlopen(second.url.removesuffix("/v1") + "/health", timeout=5).status == 200
    assert len(live_servers(tmp_path / "servers")) == 1


def test_a_server_that_falls_silent_is_withdrawn_and_started_again(keep: Callable[[], ServerSupervisor], tmp_path: Path) -> None:
    keep()
    first = await_servers(tmp_path / "servers")
    (tmp_path / "hang").touch()
    deadline = time.monotonic() + 20
    while len(pids(tmp_path)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    (tmp_path / "hang").unlink()
    await_servers(tmp_path / "servers", but=first.url)
    assert not is_alive(pids(tmp_path)[0])


def test_a_server_that_never_answers_is_given_up_with_its_last_lines_and_a_remedy(
    keep: Callable[[], ServerSupervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Path
) -> None:
    (tmp_path / "broken").touch()
    monkeypatch.setattr(serve, "MAX_STARTS", 2)
    supervisor = ServerSupervisor(
        command=lambda port: [sys.executable, str(program), str(port), str(tmp_path)],
        model="m", folder=tmp_path / "servers", log=tmp_path / "serve.log", host="127.0.0.1", environment=dict(os.environ),
        start_seconds=10, should_stop=lambda: False, say=lambda line: None,
    )  # fmt: skip
    with pytest.raises(UserError, match=r"never answered.*lower max_model_len.*out of memory.*serve.log"):
        supervisor()
    assert len(pids(tmp_path)) == 2
    assert list((tmp_path / "servers").iterdir()) == []


def test_a_supervisor_that_ends_leaves_no_process_and_no_file(keep: Callable[[], ServerSupervisor], tmp_path: Path) -> None:
    keep()
    await_servers(tmp_path / "servers")
    keep.end()  # type: ignore[attr-defined]
    for thread in keep.threads:  # type: ignore[attr-defined]
        thread.join()
    assert list((tmp_path / "servers").iterdir()) == []
    assert not any(is_alive(pid) for pid in pids(tmp_path))


def test_a_server_dies_with_a_supervisor_that_is_killed(tmp_path: Path, program: Path) -> None:
    code = f"""
        import os, sys
        from pathlib import Path
        from shardmill.launch import serve
        serve.POLL_SECONDS = 0.05
        folder = Path({str(tmp_path)!r})
        command = lambda port: [sys.executable, {str(program)!r}, str(port), str(folder)]
        paths = folder / "servers", folder / "log", "127.0.0.1"
        serve.ServerSupervisor(command, "m", *paths, dict(os.environ), 10, lambda: False, print)()
    """
    supervisor = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    await_servers(tmp_path / "servers")
    supervisor.kill()
    supervisor.wait()
    deadline = time.monotonic() + 10
    while is_alive(pids(tmp_path)[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pids(tmp_path)[0])


def test_stale_and_damaged_announcements_are_passed_over(tmp_path: Path) -> None:
    found = [Server(url=f"http://n{number}:1/v1", model="m", node=f"n{number}", pid=1) for number in range(3)]
    cards = [Announcement(tmp_path, server) for server in found]
    for card in cards:
        card.beat()
    long_ago = time.time() - 3600
    os.utime(cards[0].path, (long_ago, long_ago))
    cards[1].path.write_text("{")
    (tmp_path / "other.json").write_text('{"url": 1, "unknown": 2}')
    assert [server.node for server in live_servers(tmp_path)] == ["n2"]
    cards[0].beat()
    assert [server.node for server in live_servers(tmp_path)] == ["n0", "n2"]
    assert live_servers(tmp_path / "nowhere") == []


def test_the_command_line_has_the_settings_of_the_model_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardmill.launch.serve_command._vllm", lambda: ["vllm"])
    command = serve_command(served_settings("llama-3.1-70b"), "0.0.0.0", 8000, 4, ["--max-num-seqs", "64"])
    assert command[:3] == ["vllm", "serve", "meta-llama/Llama-3.1-70B-Instruct"]
    options = dict(zip(command[3::2], command[4::2], strict=False))
    assert options["--port"] == "8000" and options["--served-model-name"] == "meta-llama/Llama-3.1-70B-Instruct"
    text = " ".join(command)
    assert "--tensor-parallel-size 4" in text and "--max-model-len 4096" in text and "--enable-prefix-caching" in text
    assert '--structured-outputs-config {"backend": "guidance"' in text
    assert command[-2:] == ["--max-num-seqs", "64"]


def test_a_captioner_is_served_with_one_image_a_request_and_its_tiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shardmill.launch.serve_command._vllm", lambda: ["vllm"])
    configs = SimpleNamespace(get_config_dict=lambda model, revision: ({"model_type": "internvl_chat"}, {}))
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(PretrainedConfig=configs))
    command = dict(itertools.pairwise(serve_command(served_settings("internvl2-8b"), "0.0.0.0", 8000, 1, [])))
    assert json.loads(command["--limit-mm-per-prompt"]) == {"image": 1}
    assert json.loads(command["--mm-processor-kwargs"]) == {"max_dynamic_patch": 6}


def test_a_server_on_a_cpu_gets_a_cache_that_fits_unless_its_size_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardmill.launch.serve_command._vllm", lambda: ["vllm"])
    free = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=6 << 30))
    monkeypatch.setitem(sys.modules, "psutil", free)  # comes with vLLM
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)

    def cache(gpus: int, *extra: str) -> str | None:
        command = serve_command(served_settings("/models/own"), "0.0.0.0", 8000, gpus, [*extra])
        return dict(itertools.pairwise(command)).get("--kv-cache-memory-bytes")

    assert cache(0) == str(3 << 30)
    assert cache(0, "--gpu-memory-utilization=0.2") is cache(1) is None


def test_a_model_that_vllm_cannot_serve_is_refused() -> None:
    with pytest.raises(UserError, match="is openai"):
        served_settings("openai-api")
    assert served_settings("/models/own").model == "/models/own"
