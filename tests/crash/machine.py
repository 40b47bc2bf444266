"""Starting commands that can be crashed: the shim is compiled, a zygote is kept, children are started and waited for."""

from __future__ import annotations

import atexit
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from crash.disk import Call, read_log

CALM, KILL_BEFORE, KILL_AFTER, KILL_TORN, FAIL_ONCE, FAIL_ON, SHORT_WRITE, SLOW, JITTER = range(9)
HERE = Path(__file__).parent
PATHS = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
ENVIRONMENT = {"POLARS_MAX_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": PATHS, "NO_COLOR": "1"}


class Hung(Exception):
    """A command neither goes on nor ends."""


class NoCompiler(Exception):
    """There is no C compiler here."""


@cache
def shim() -> Path:
    """The compiled shim, in a folder that lasts as long as this process."""
    folder = tempfile.mkdtemp(prefix="shardmill-shim-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, "shim.so")
    flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-Wno-nonnull-compare"]
    try:
        subprocess.run(["cc", *flags, "-o", path, HERE / "shim.c", "-ldl", "-lpthread"], check=True)
    except FileNotFoundError:
        raise NoCompiler("the crash tests compile a small C file; install a C compiler, cc") from None
    return path


def memory_folder() -> Path | None:
    """A folder in memory, where fsync costs nothing."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else None


@dataclass(frozen=True)
class Disturbance:
    """What becomes of the call number `at` (from 1) of a command."""

    how: int = CALM
    at: int = 0
    error: int = 0

    def __str__(self) -> str:
        name = ("nothing", "killed before", "killed after", "killed within", "fails once at", "fails from", "short at", "slow at")
        return f"{name[self.how]} call {self.at}" + (f" with {errno.errorcode[self.error]}" if self.error else "")


UNDISTURBED = Disturbance()


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), what it printed, and what it called."""

    code: int
    told: str
    log: list[Call] = field(repr=False)

    @property
    def calls(self) -> int:
        """How many calls had a number, when the command came to its end."""
        return self.log[-1].number

    @property
    def changes(self) -> list[Call]:
        """The calls that were carried out."""
        return self.log[:-1] if self.log and self.log[-1].name == "calls" else self.log


class Machine:
    """A zygote with a folder to work in. Used by one thread at a time. Run folders are in `box`, which is watched."""

    def __init__(self, folder: Path, table: Path, under: Sequence[str] = ()):
        """`under` is a command to start it with."""
        self.folder, self.table, self.box = folder, table, folder / "box"
        folder.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, **ENVIRONMENT, "LD_PRELOAD": str(shim())}
        self._zygote = subprocess.Popen(
            [*under, sys.executable, "-m", "crash.zygote"], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        assert self._zygote.stdin and self._zygote.stdout
        self._zygote.stdin.close()
        self._zygote.wait()
        self._zygote.stdout.close()

    def run(self, commands: Sequence[str], root: Path, disturbance: Disturbance = UNDISTURBED, settled: str = "") -> Ended:
        """Run commands on the run folder `run` in the folder `root`, in one process, to its end."""
        return self.wait(self.start(commands, root, disturbance, settled=settled))

    def start(
        self,
        commands: Sequence[str],
        root: Path,
        disturbance: Disturbance = UNDISTURBED,
        name: str = "a",
        turns: tuple[Path, Path] | None = None,
        settled: str = "",
        hurry: bool = False,
    ) -> tuple[int, str]:
        """Start commands; `name` tells those that run at the same time apart, `turns` are the pipes to step it by.

        In a `hurry`, time limits are a fraction of a second, and launchers fork their workers.
        """
        order = {
            "commands": list(commands), "settled": settled, "root": str(root), "table": str(self.table),
            "at": disturbance.at, "how": disturbance.how, "error": disturbance.error,
            "log": str(self.folder / f"{name}.log"), "told": str(self.folder / f"{name}.out"), "hurry": hurry,
        }  # fmt: skip
        if turns:
            order["turns"] = [str(pipe) for pipe in turns]
        return self._order(order)["pid"], name

    def quiet(self) -> list[int]:
        """Wait for all processes that are left; those that had to be killed."""
        late: list[int] = self._order({"quiet": True})["late"]
        return late

    def wait(self, started: tuple[int, str], *, logged: bool = True) -> Ended:
        """Wait for the end of a command. Of one in a hurry, whose workers write to the same log, that is not `logged`."""
        pid, name = started
        code = self._order({"wait": pid})["code"]
        if code == -signal.SIGALRM:
            raise Hung(self._told(name))
        log = read_log(self.folder / f"{name}.log") if logged else []
        return Ended(code, self._told(name), log)

    def _told(self, name: str) -> str:
        """What a command printed; nothing if it was killed before it could open the file."""
        path = self.folder / f"{name}.out"
        return path.read_text(errors="replace") if path.exists() else ""

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._zygote.stdin and self._zygote.stdout
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        line = self._zygote.stdout.readline()
        if not line:
            raise RuntimeError(f"the zygote was killed, by {self._zygote.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
