"""Every SLURM command that Shardmill runs, and the parsing of what it prints.

States come from `squeue`, which knows ended jobs for some minutes, and from `sacct` only where there is accounting.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from shardmill.launch import relay
from shardmill.util.errors import UserError

TIMEOUT_SECONDS = 60
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "SUSPENDED", "RESV_DEL_HOLD"}
RUNNING = {"RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING", "STOPPED"}
BETWEEN = {"NODE_FAIL", "PREEMPTED", "BOOT_FAIL"}
USABLE = {"idle", "mixed", "allocated", "completing", "reserved", "planned"}
NEVER = "DependencyNeverSatisfied"


@dataclass(frozen=True)
class Job:
    """One job, or one element of a job array: its id as `12` or `12_3`, SLURM's state of it, its node and why it waits."""

    id: str
    state: str
    node: str = ""
    reason: str = ""

    @property
    def waiting(self) -> bool:
        return self.state in WAITING

    @property
    def running(self) -> bool:
        return self.state in RUNNING

    @property
    def live(self) -> bool:
        """It runs, or will. A preempted job or one of a failed node is queued again in the next second."""
        return self.waiting or self.running or self.state in BETWEEN


class SlurmError(UserError):
    """A command of SLURM failed, or did not answer: it may do so later."""


def available() -> bool:
    """Whether SLURM's commands are here."""
    return relay.folder() is not None or all(shutil.which(name) for name in ("sbatch", "squeue", "scontrol", "scancel"))


def command(*argv: str, timeout: float = TIMEOUT_SECONDS, send: str | None = None) -> str:
    """What a SLURM command prints, given `send` as its input. In a container it is run outside, by the job script.

    Raises SlurmError with its message if it fails or does not answer, UserError if it is missing.
    """
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if send is None else {"input": send}
    try:
        if (outside := relay.folder()) is not None:
            done = relay.run(outside, argv, send, timeout)
        else:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, errors="replace", **given)
    except FileNotFoundError:
        raise UserError(f"the command {argv[0]} was not found; run this on a login node of the cluster") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(
            f"{argv[0]} did not answer within {timeout:.0f} s; the SLURM controller may be down, try again"
        ) from None
    if done.returncode != 0:
        message = " ".join((done.stderr or done.stdout).split()) or f"exit code {done.returncode}"
        raise SlurmError(f"{argv[0]} {argv[1] if len(argv) > 1 else ''}: {message}")
    return done.stdout


def settings() -> dict[str, str]:
    """The cluster's configuration, as `scontrol show config` names it."""
    lines = command("scontrol", "show", "config").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def max_array_size() -> int:
    """MaxArraySize: the highest index of an array is one less."""
    return int(settings().get("MaxArraySize", "1001"))


def queue(arrays: Collection[str]) -> dict[str, Job]:
    """The jobs of these array or job ids that `squeue` knows, by id, one for each element."""
    if not arrays:
        return {}
    wanted = {str(job) for job in arrays}
    text = command("squeue", "-h", "-r", "-a", "--states=all", "-u", str(os.getuid()), "-o", "%i|%T|%N|%r")
    jobs = {}
    for line in text.splitlines():
        job, state, node, reason = (field.strip() for field in line.split("|", 3))
        if job.partition("_")[0] in wanted:
            jobs[job] = Job(job, state, node, reason)
    return jobs


def jobs_in_queue() -> int:
    """How many jobs of the user are in the queue; each element of an array counts, as it does for the limits of a QOS."""
    return len(command("squeue", "-h", "-r", "-a", "-u", str(os.getuid()), "-o", "%i").splitlines())


def named(prefix: str) -> set[str]:
    """The ids of the user's live jobs and arrays whose names begin with `prefix` and a dot."""
    text = command("squeue", "-h", "-a", "-u", str(os.getuid()), "-o", "%F|%j|%T")
    rows = (line.split("|", 2) for line in text.splitlines())
    return {job for job, name, state in rows if name.startswith(f"{prefix}.") and state in WAITING | RUNNING}


def history(arrays: Collection[str]) -> dict[str, Job] | None:
    """How the jobs of these ids ended, from the accounting; None where there is none."""
    if not arrays or not (shutil.which("sacct") or relay.folder()):
        return None
    ids = ",".join(sorted(str(job) for job in arrays))
    try:
        text = command("sacct", "-X", "-n", "-P", "-j", ids, "-o", "JobID,State,NodeList")
    except UserError:
        return None
    found = {}
    for line in text.splitlines():
        job, state, node = line.split("|", 2)
        for each in expand(job):
            found[each] = Job(each, state.split()[0] if state else "UNKNOWN", node)
    return found


def expand(job: str) -> list[str]:
    """The ids of the elements that an id of `sacct` means.

    >>> expand("12_[3,5-6%4]")
    ['12_3', '12_5', '12_6']
    """
    match = re.fullmatch(r"(\d+)_\[([^\]%]*)(?:%\d+)?\]", job)
    if match is None:
        return [job]
    elements: list[str] = []
    for piece in match[2].split(","):
        first, _, last = piece.partition("-")
        if first.isdigit():
            elements += [f"{match[1]}_{index}" for index in range(int(first), int(last or first) + 1)]
    return elements


def nodes(partition: str | None = None) -> set[str]:
    """The nodes of a partition (of all, if none is named) that are not down, drained or unresponsive.

    A `*` after a node's state says that it does not respond, a `$` that it is in maintenance.
    """
    where = ["-p", partition] if partition else []
    lines = command("sinfo", "-h", "-N", *where, "-o", "%N|%T").splitlines()
    return {node for node, state in (line.split("|") for line in lines) if state.rstrip("~#!%@^-") in USABLE}


def hostnames(expression: str) -> set[str]:
    """The nodes that an expression such as `n[1-3],m7` means."""
    return set(command("scontrol", "show", "hostnames", expression).split()) if expression else set()


def nodes_outside(expression: str, partition: str | None) -> str:
    """The nodes of a partition that an expression leaves out, as an expression; empty if there are none."""
    where = ["-p", partition] if partition else []
    others = set(command("sinfo", "-h", "-N", *where, "-o", "%N").split()) - hostnames(expression)
    return command("scontrol", "show", "hostlist", ",".join(sorted(others))).strip() if others else ""


_JOB = re.compile(r"(\d+)(?:;\S+)?")


def submit(script: str, *options: str, timeout: float = TIMEOUT_SECONDS) -> str:
    """Submit a job script; returns the job's id. The script goes to sbatch by a pipe: nobody can change it on its way.

    A site's own sbatch may print more than the line that `--parsable` asks for: the id is on the only line that has nothing else.

    Raises:
        UserError: If sbatch refuses it, or does not say which job it is.
    """
    printed = command("sbatch", "--parsable", *options, timeout=timeout, send=script)
    found = [match[1] for line in printed.splitlines() if (match := _JOB.fullmatch(line.strip()))]
    if len(found) != 1:
        raise UserError(
            f"sbatch --parsable did not print the id of a job but {printed.strip()[:200]!r}; the job may be in the queue: look "
            "with squeue, and cancel it before you launch again"
        )
    return found[0]


def cancel(jobs: Iterable[str]) -> None:
    """Cancel jobs or single elements. It is no error if they have ended already."""
    ids = list(jobs)
    for start in range(0, len(ids), 500):
        command("scancel", "--quiet", *ids[start : start + 500])


def requeue(job: str, exclude: Collection[str] = ()) -> None:
    """Put a job back into the queue, away from the nodes in `exclude`. Called inside that job, SIGTERM must be ignored before."""
    command("scontrol", "requeue", job)
    if exclude:
        exclude_nodes(job, exclude)


def exclude_nodes(job: str, nodes: Collection[str]) -> None:
    """Keep a waiting job away from nodes."""
    command("scontrol", "update", f"JobId={job}", f"ExcNodeList={','.join(sorted(nodes))}")


def set_parallel(array: str, count: int) -> None:
    """Let at most `count` elements of an array run at once."""
    command("scontrol", "update", f"JobId={array}", f"ArrayTaskThrottle={count}")


def job_id(environment: dict[str, str] | None = None) -> str | None:
    """The id of the job that this process is in, `12_3` for an element of an array; None outside of SLURM."""
    values = os.environ if environment is None else environment
    array, element = values.get("SLURM_ARRAY_JOB_ID"), values.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{element}" if array and element else values.get("SLURM_JOB_ID")
