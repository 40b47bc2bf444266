"""A real SLURM cluster for tests: starting one, asking it, breaking its nodes and healing them.

Every cluster of a machine has a block of TCP ports, and its state in a folder named after the first of them.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

SCRIPT = Path(__file__).with_name("cluster.sh")
PORT_BLOCKS = range(27000, 30000, 40)
CANNOT_RUN, BUSY = 69, 75

# Dependencies, as SLURM 22.05 treats them here:
# - `aftercorr` on an array without the index: the element waits for the whole array, and starts when all of it succeeded.
# - `aftercorr` with a plain job on either side: like `afterok`; a plain job after an array waits for the whole array.
# - `aftercorr:A,afterany:B` combine: element k starts when element k of A succeeded and B has ended.
# - A job id that SLURM never knew, or forgot (MinJobAge after its end), counts as met: sbatch accepts it and even `afterok`
#   of a job that failed starts at once. While SLURM knows the failed job, the new one is DependencyNeverSatisfied.
# `--signal=USR2@60` under srun reaches every process that descends from a task, `setsid` ones too; the batch script gets
# none. At the time limit SIGTERM goes to the tasks and their descendants twice (for the step and for the job), and to the batch
# script; SIGKILL follows 5 s later.

T = TypeVar("T")


class CannotRun(Exception):
    """This machine cannot run the cluster, and why."""


class Queued(NamedTuple):
    """A line of squeue: the id is `12`, or `12_3` for an element of an array."""

    id: str
    state: str
    node: str
    reason: str


class Attempt(NamedTuple):
    """A line of sacct: one attempt at a job or an element."""

    id: str
    state: str
    node: str
    exit_code: str


class Cluster:
    """A running cluster. Its nodes are `n1`, `n2`, ... with 8 GPUs each, all on this host."""

    def __init__(self, folder: Path, port: int, settings: dict[str, str]) -> None:
        self.folder = folder
        self.port = port
        self.script_env = _outer_env() | {f"SHARDMILL_SLURM_{name}": value for name, value in settings.items()}
        self.script_env |= {"SHARDMILL_SLURM_DIR": str(folder), "SHARDMILL_SLURM_PORT": str(port)}
        # For subprocesses. This interpreter's scripts come first, so that `shardmill` is the one under test.
        self.env = _outer_env() | {"SLURM_CONF": str(folder / "etc" / "slurm.conf")}
        self.env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), self.env["PATH"], "/usr/sbin", "/sbin"])
        self._changed_partitions = False
        self._restarted_nodes: set[str] = set()

    def run(self, *argv: str | Path, stdin: str | None = None, cwd: Path | None = None) -> str:
        """What a command prints, run as a user of this cluster. An exit code other than 0 fails the test with its output."""
        done = self.attempt(*argv, stdin=stdin, cwd=cwd)
        assert done.returncode == 0, f"{argv} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def attempt(self, *argv: str | Path, stdin: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """The same, whatever the exit code."""
        where = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(argv, env=self.env, cwd=cwd, capture_output=True, text=True, timeout=300, **where)  # type: ignore[call-overload]

    def submit(self, script: str, *options: str) -> str:
        """Hand lines of bash to sbatch; returns the job's id. Output goes to the cluster's folder unless an option says where."""
        header = f"#!/bin/bash\n#SBATCH --output={self.folder}/log/job-%A_%a.out\n"
        return self.run("sbatch", "--parsable", *options, stdin=header + script).strip()

    def squeue(self, *options: str) -> list[Queued]:
        """The jobs and elements that wait, run or end just now; with `--states=all` those that ended in the last minutes too."""
        text = self.run("squeue", "-h", "-r", "-a", "-o", "%i|%T|%N|%r", *options)
        return [Queued(*(field.strip() for field in line.split("|", 3))) for line in text.splitlines()]

    def state(self, job: str) -> str:
        """SLURM's word for a job's or an element's state, also after its end; "" where it knows none."""
        return next((each.state for each in self.squeue("--states=all") if each.id == job), "")

    def node_of(self, job: str) -> str:
        """The node on which a job or an element runs, "" while it does not."""
        return next((each.node for each in self.squeue() if each.id == job), "")

    def sacct(self, job: str) -> list[Attempt]:
        """Every attempt at a job, from the accounting, which is a second or two late."""
        text = self.run("sacct", "-X", "-D", "-n", "-P", "-j", job, "-o", "JobID,State,NodeList,ExitCode")
        return [Attempt(*line.split("|", 3)) for line in text.splitlines()]

    def node_states(self) -> dict[str, str]:
        """SLURM's word for each node, such as `idle`, `down*`, `drained`."""
        lines = self.run("sinfo", "-h", "-N", "-o", "%N %T").splitlines()
        return dict(line.split() for line in lines)  # type: ignore[arg-type,misc]

    def wait_until(self, predicate: Callable[[], T], seconds: float, what: str) -> T:
        """What `predicate` returns once that is true. Fails the test after that many seconds, with the state of the cluster."""
        deadline = time.monotonic() + seconds
        while True:
            begin = time.monotonic()
            if value := predicate():
                return value
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self._describe()}"
            time.sleep(max(0.2, 4 * (time.monotonic() - begin)))  # what is waited for needs the processors more than the waiting

    def wait_for_state(self, job: str, *states: str, seconds: float = 30) -> None:
        self.wait_until(lambda: self.state(job) in states, seconds, f"{job} is {' or '.join(states)}")

    def wait_for_empty(self, seconds: float) -> None:
        self.wait_until(lambda: not self.squeue(), seconds, "the queue is empty")

    def cancel(self, job: str) -> None:
        self.run("scancel", job)

    def requeue(self, job: str) -> None:
        """Ends a running job or element, and puts it (or an ended one) back into the queue."""
        self.run("scontrol", "requeue", job)

    def expire(self, job: str, seconds: float = 1) -> None:
        """Set a running job's time limit to that many seconds from now. SLURM looks every 30 s."""
        end = datetime.now() + timedelta(seconds=seconds)
        self.run("scontrol", "update", f"JobId={job}", f"EndTime={end:%Y-%m-%dT%H:%M:%S}")

    def set_partition(self, name: str, **settings: object) -> None:
        """Change a partition until the end of the test: `set_partition("spot", GraceTime=3)` (looked at every 30 s)."""
        self._changed_partitions = True
        self.run("scontrol", "update", f"PartitionName={name}", *(f"{key}={value}" for key, value in settings.items()))

    def kill_node(self, node: str) -> None:
        """Power loss: its jobs are gone at once. SLURM notices after half a minute, and requeues them."""
        self._restarted_nodes.add(node)
        self._script("node-kill", node)

    def drop_node(self, node: str) -> None:
        """Lost contact: the same for SLURM, but its jobs run on unseen until the node is back."""
        self._restarted_nodes.add(node)
        self._script("node-drop", node)

    def raise_node(self, node: str) -> None:
        """Back from either."""
        self._script("node-up", node)

    def stop_controller(self) -> None:
        """SLURM's commands fail from here on; jobs run on."""
        self._script("ctld-down")

    def raise_controller(self) -> None:
        self._script("ctld-up")

    def heal(self) -> None:
        """No job is left, all nodes are idle and the partitions are as at the start."""
        self.raise_controller()
        for node in self.node_states():
            self.raise_node(node)
        if self._changed_partitions:
            self.run("scontrol", "reconfigure")
            self._changed_partitions = False
        self.wait_until(self._quiet, 60, "the queue is empty and all nodes are idle")
        for node in sorted(self._restarted_nodes):  # the first job after a restart can be lost, which no test is about
            job = self.submit("true", f"--nodelist={node}", "--time=1")
            self.wait_until(lambda job=job: self.state(job) not in ("PENDING", "RUNNING", "COMPLETING"), 60, f"{node} takes jobs")
        self._restarted_nodes.clear()

    def _quiet(self) -> bool:
        left = {each.id.partition("_")[0] for each in self.squeue() if each.state != "COMPLETING"}
        if left:
            self.attempt("scancel", "--quiet", *left)
        states = self.node_states()
        for node, state in states.items():
            if state.startswith(("down", "drain", "fail")):
                self.attempt("scontrol", "update", f"NodeName={node}", "State=RESUME")
        return not self.squeue() and set(states.values()) == {"idle"}

    def _script(self, *argv: str) -> None:
        done = subprocess.run(
            ["bash", SCRIPT, *argv], env=self.script_env, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"

    def _describe(self) -> str:
        parts = [self.attempt("squeue", "-r", "-a").stdout, self.attempt("sinfo", "-N", "-l").stdout]
        for log in sorted((self.folder / "log").glob("slurm*d*.log")):
            parts += [log.name, *log.read_text(errors="replace").splitlines()[-20:]]
        return "\n".join(parts)


@contextmanager
def start_cluster(*, nodes: int = 2, accounting: bool = True, **settings: object) -> Iterator[Cluster]:
    """A new cluster, brought down at the end, also when this process is killed. Raises CannotRun where it cannot run.

    Settings are those of cluster.sh, in small letters: `start_cluster(nodes=4, minjobage=20)`.
    """
    values = {name.upper(): str(value) for name, value in settings.items()} | {"NODES": str(nodes), "ACCT": str(int(accounting))}
    for port in PORT_BLOCKS:
        folder = Path(f"/tmp/shardmill-slurm-{port}")
        if not folder.exists() and not all(map(_is_free, range(port, port + 12 + nodes))):
            continue
        cluster = Cluster(folder, port, values)
        with _hold_process(cluster) as script:
            if script.stdout and script.stdout.readline():
                try:
                    yield cluster
                finally:
                    script.communicate()
                return
            complaint = script.communicate()[1].strip()
        if script.returncode == CANNOT_RUN:
            raise CannotRun(complaint.splitlines()[-1].removeprefix("test cluster: "))
        if script.returncode != BUSY:
            raise RuntimeError(f"the test cluster did not start:\n{complaint}")
    raise RuntimeError("no free block of ports for a test cluster")


def _hold_process(cluster: Cluster) -> subprocess.Popen[str]:
    """Keeps the cluster up while it reads from us: our end, of whatever kind, is the cluster's end too.

    In a session of its own, it lives on when Ctrl-C ends us.
    """
    pipe = subprocess.PIPE
    command = ["bash", str(SCRIPT), "hold"]
    return subprocess.Popen(
        command, env=cluster.script_env, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def is_alive(process: int | str) -> bool:
    """Whether a process of this host runs still; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _outer_env() -> dict[str, str]:
    """This process's environment without the variables of any SLURM around it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_", "SHARDMILL_SLURM_"))}
