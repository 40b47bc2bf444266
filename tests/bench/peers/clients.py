"""The clients that are compared: their scripts, environments and versions; one run of one of them beside a fresh server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from job import objects_of  # noqa: E402
from measure import Running  # noqa: E402


@dataclass(frozen=True)
class Client:
    """A client. `package` is its distribution on PyPI, `needs` what a program that uses it imports."""

    name: str
    package: str
    needs: str

    def python(self, scratch: Path) -> Path:
        ours = self.name in ("shardmill", "shardmill_job", "bare")
        return Path(sys.executable) if ours else scratch / self.name / "bin" / "python"

    def installed(self, scratch: Path) -> bool:
        return self.python(scratch).exists()

    def version(self, scratch: Path) -> str:
        asked = f"from importlib.metadata import version; print(version({self.package!r}))"
        return subprocess.run([self.python(scratch), "-c", asked], capture_output=True, text=True).stdout.strip()

    def command(self, scratch: Path, table: Path, out: Path, *more: str) -> list[str]:
        script = HERE / f"with_{self.name}.py"
        return [str(part) for part in (self.python(scratch), script, "--table", table, "--out", out, *more)]


OURS = "import shardmill.cli.hand_on, shardmill.core.shard_runner, shardmill.models.text.openai"
CLIENTS = {
    client.name: client
    for client in (
        Client("bare", "aiohttp", "import aiohttp"),
        Client("shardmill", "shardmill", OURS),
        Client("shardmill_job", "shardmill", OURS),
        Client(
            "datatrove",
            "datatrove",
            "from datatrove.executor import LocalPipelineExecutor; from datatrove.pipeline.readers import CSVReader; "
            "from datatrove.pipeline.inference.run_inference import InferenceRunner",
        ),
        Client("curator", "bespokelabs-curator", "from bespokelabs import curator; curator.LLM"),
        Client(
            "distilabel",
            "distilabel",
            "from distilabel.pipeline import Pipeline; from distilabel.models.llms import OpenAILLM; "
            "from distilabel.steps.tasks import Task",
        ),
        Client(
            "designer",
            "data-designer",
            "import data_designer.config as dd; from data_designer.interface import DataDesigner; dd.DataDesignerConfigBuilder",
        ),
    )
}


class Server:
    """The loopback server in a process of its own."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"

    def stats(self) -> dict[str, Any]:
        return self._get("/stats", 30)

    def wait(self, answers: int, seconds: float) -> None:
        """Return when so many requests were answered. Raises TimeoutError."""
        self._get(f"/wait/{answers}", seconds)

    def _get(self, path: str, seconds: float) -> Any:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + path, timeout=seconds) as answer:
            return json.load(answer)


@contextmanager
def server(*options: str, core: int | None = None) -> Iterator[Server]:
    """A server with these options of `server.py`."""
    pinned = [] if core is None else ["--core", str(core)]
    command = [sys.executable, str(HERE / "server.py"), *options, *pinned]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


def environment(out: Path) -> dict[str, str]:
    """What each client finds: a home of its own, no network, no telemetry."""
    home = out.parent / f"{out.name}-home"
    home.mkdir(parents=True, exist_ok=True)
    quiet = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    return {**kept, **quiet, "HOME": str(home)}


def start(client: Client, scratch: Path, table: Path, out: Path, url: str, core: int | None, *more: str) -> Running:
    """Start the client's job, or go on with it; its output goes to a log beside `out`."""
    command = client.command(scratch, table, out, "--url", f"{url}/v1", *more)
    return Running(command, out.parent / f"{out.name}.log", environment(out), core)


@dataclass(frozen=True)
class Outcome:
    """What is left of the rows: those that came out (once or more often), with a reason, and not at all."""

    out: int
    wrong: int
    doubled: int
    reasoned: int
    gone: int


def read(client: Client, scratch: Path, table: Path, out: Path, captions: Sequence[str]) -> Outcome:
    """Read the client's output by its own means and compare it with what is right."""
    command = client.command(scratch, table, out, "--read")
    done = subprocess.run(command, capture_output=True, text=True, env=environment(out))
    found: Counter[int] = Counter()
    reasons, wrong = set(), 0
    for line in done.stdout.splitlines():
        row = json.loads(line)
        if "objects" in row:
            found[row["row_id"]] += 1
            wrong += row["objects"] != objects_of(captions[row["row_id"]])
        else:
            reasons.add(row["row_id"])
    reasons -= set(found)
    doubled = found.total() - len(found)
    return Outcome(len(found), wrong, doubled, len(reasons), len(captions) - len(found) - len(reasons))
