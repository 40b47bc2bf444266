"""The records of launching in `RUN/jobs/`: launches, allocated nodes, failures, bad nodes.

Each record is a small JSON file of its own that is created once, so writers on many nodes never share a file. Whether a shard is
complete depends on its manifest alone, never on a record here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field

from shardmill.store.plan import MAX_SHARDS, MAX_STAGES
from shardmill.store.run_folder import RunFolder
from shardmill.store.tasks import Task
from shardmill.util.atomic import create_if_absent, new_attempt, replacing
from shardmill.util.errors import UserError
from shardmill.util.untrusted import CorruptRecord, Count, JobId, NodeName, PlainName, Seconds, read_model

MAX_FAILURES = 3
"""A shard that fails this often without progress in between is quarantined."""


Shard = Annotated[int, Field(ge=0, lt=MAX_SHARDS)]


def now() -> str:
    """The current time in UTC, as records hold it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class ArrayRecord(BaseModel):
    """A submitted job array: element k takes the shards `elements[k]` through `stages` with `workers` workers on one node."""

    job: JobId
    stages: Annotated[list[PlainName], Field(min_length=1, max_length=MAX_STAGES)]
    elements: Annotated[list[list[Shard]], Field(min_length=1, max_length=MAX_SHARDS)]
    workers: Count
    gpus: Count
    cpus: Count
    minutes: Count
    depends: str = ""
    chained_to: list[JobId] = Field(default_factory=list)
    parallel: Count = 0

    def ids(self) -> list[str]:
        """The job id of each element. An array of one element is a plain job."""
        return [self.job] if len(self.elements) == 1 else [f"{self.job}_{index}" for index in range(len(self.elements))]


class Submission(BaseModel):
    """One `shardmill launch`: its arrays in the order of the pipeline, and the job that builds the datasets at the end.

    `by_stage` if each stage had arrays of its own.
    """

    created: str = Field(default_factory=now)
    site: str
    group: int = Field(default=0, ge=0, le=MAX_SHARDS)
    max_parallel: int | None = Field(default=None, ge=1, le=MAX_SHARDS)
    by_stage: bool = False
    arrays: list[ArrayRecord] = Field(default_factory=list)
    finish: JobId | None = None


class Allocation(BaseModel):
    """A node that one element has for `stages`. It lasts until `ended`, or until the file was last touched."""

    stages: Annotated[list[PlainName], Field(min_length=1, max_length=MAX_STAGES)]
    job: JobId
    restart: Count = 0
    node: NodeName
    gpus: Count
    cpus: Count
    started: Seconds
    ended: Seconds | None = None
    outcome: str = ""

    @property
    def hours(self) -> float:
        """How long it lasted."""
        return ((self.ended or self.started) - self.started) / 3600

    def share_of(self, stage: str, worked: Mapping[str, float]) -> float:
        """A stage's share of it, by the seconds of work in each of its stages; all is the first one's before any is done."""
        if stage not in self.stages:
            return 0.0
        total = sum(worked.get(each, 0.0) for each in self.stages)
        return worked.get(stage, 0.0) / total if total else float(stage == self.stages[0])


class Failure(BaseModel):
    """A failed attempt at a shard. `died`: its worker died; `error`: the program failed; `refused`: something has to be fixed;
    `changed`: the stage is not what was planned; `stuck`: its job was stopped again and again without progress.
    """

    stage: PlainName
    shard: Shard
    kind: Literal["died", "error", "refused", "changed", "stuck"]
    message: str
    node: NodeName
    job: JobId = ""
    restart: Count = 0
    log: str = ""
    progressed: bool = False
    time: str = Field(default_factory=now)


class BadNode(BaseModel):
    """A node that fails its health check, or everything it gets. Its failures do not count against the shards."""

    node: NodeName
    reason: str
    stage: PlainName
    job: JobId = ""
    restart: Count = 0
    time: str = Field(default_factory=now)


@dataclass(frozen=True)
class JobsFolder:
    """`RUN/jobs/`."""

    run: RunFolder

    @property
    def path(self) -> Path:
        return self.run.path / "jobs"

    def submissions(self) -> list[Submission]:
        """All launches on the cluster, oldest first."""
        return [record for _, record in _read(self.path / "submissions", "*.json", Submission)]

    def add_submission(self, submission: Submission) -> Path:
        """Record a launch; returns its file, which `update_submission` replaces while arrays are being submitted."""
        folder = self.path / "submissions"
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob("*.json")))
        while not create_if_absent(path := folder / f"{number:04d}.json", record_bytes(submission)):
            number += 1
        return path

    def update_submission(self, path: Path, submission: Submission) -> None:
        with replacing(path) as file:
            file.write(record_bytes(submission))

    def allocations(self) -> list[Allocation]:
        """Every allocation so far. One without an end ended when its file was last touched."""
        found = []
        for path, record in _read(self.path / "allocations", "*.json", Allocation):
            if record.ended is None:
                with suppress(FileNotFoundError):
                    record.ended = max(path.stat().st_mtime, record.started)
            found.append(record)
        return found

    def allocation_file(self, job: str, restart: int) -> Path:
        return self.path / "allocations" / f"{job}.{restart}.json"

    def mark_healthy(self, node: str, job: str, restart: int) -> None:
        """Record that something succeeded on a node in a job: what fails there later is not the node's fault."""
        path = self._health_mark(node, job, restart)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666))
        os.utime(path)

    def is_healthy(self, node: str, job: str, restart: int) -> bool:
        return self._health_mark(node, job, restart).exists()

    def _health_mark(self, node: str, job: str, restart: int) -> Path:
        return self.path / "allocations" / f"{job or 'none'}.{restart}.{node}.healthy"

    def made_progress(self, job: str, restarts: Iterable[int]) -> bool:
        """Whether a job finished a row in one of these starts, on whichever node."""
        return any(True for restart in restarts for _ in (self.path / "allocations").glob(f"{job}.{restart}.*.healthy"))

    def note_failure(self, failure: Failure) -> None:
        self._create(self.path / "failures" / failure.stage / f"{failure.shard:05d}.{_unique()}.json", failure)

    def failures(self, stage: str, shard: int | None = None) -> list[Failure]:
        """The failures of a stage, or of one of its shards, oldest first."""
        pattern = "*.json" if shard is None else f"{shard:05d}.*.json"
        return [record for _, record in _read(self.path / "failures" / stage, pattern, Failure)]

    def forget_failures(self, stage: str, shards: Iterable[int] | None = None) -> None:
        """Give shards (all of the stage if none are named) their attempts back."""
        folder = self.path / "failures" / stage
        patterns = ["*.json"] if shards is None else [f"{shard:05d}.*.json" for shard in shards]
        for pattern in patterns:
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)

    def quarantined(self, stage: str) -> dict[int, Failure]:
        """The unfinished shards of a stage that failed too often, each with its last failure."""
        blamed = {(bad.node, bad.job, bad.restart) for bad in self.bad_nodes()}
        counts: dict[int, int] = {}
        last: dict[int, Failure] = {}
        for failure in self.failures(stage):
            if failure.job and (failure.node, failure.job, failure.restart) in blamed:
                continue
            counts[failure.shard] = (0 if failure.progressed else counts.get(failure.shard, 0)) + attempts_spent(failure)
            last[failure.shard] = failure
        return {shard: last[shard] for shard, count in counts.items() if count >= MAX_FAILURES and not self._done(stage, shard)}

    def _done(self, stage: str, shard: int) -> bool:
        return self.run.is_complete(*Task(stage, shard))

    def note_bad_node(self, bad: BadNode) -> None:
        self._create(self.path / "nodes" / f"{_unique()}.json", bad)

    def bad_nodes(self) -> list[BadNode]:
        """The nodes to avoid, and why."""
        return [record for _, record in _read(self.path / "nodes", "*.json", BadNode)]

    def clear_nodes(self, nodes: Iterable[str]) -> None:
        """Use nodes again: what failed there failed elsewhere too."""
        trusted = set(nodes)
        for path, bad in _read(self.path / "nodes", "*.json", BadNode):
            if bad.node in trusted:
                path.unlink(missing_ok=True)

    def _create(self, path: Path, record: BaseModel) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        create_if_absent(path, record_bytes(record))


def attempts_spent(failure: Failure) -> int:
    """Attempts that a failure costs. What the user has to fix is not tried again; an error may be chance once, a death twice."""
    return {"refused": MAX_FAILURES, "changed": MAX_FAILURES, "stuck": MAX_FAILURES, "error": 2, "died": 1}[failure.kind]


def _unique() -> str:
    """A name that no other record has, and that sorts by time."""
    return f"{time.time_ns()}.{new_attempt()}"


Record = TypeVar("Record", bound=BaseModel)


def _read(folder: Path, pattern: str, kind: type[Record]) -> Iterator[tuple[Path, Record]]:
    """The records of a folder in the order of their names. One that vanishes meanwhile is left out."""
    for path in sorted(folder.glob(pattern)):
        try:
            yield path, read_model(path, kind)
        except FileNotFoundError:
            continue
        except CorruptRecord as error:
            raise UserError(f"{path} is damaged ({error}); remove it: nothing but attempts at shards is lost") from None


def record_bytes(record: BaseModel) -> bytes:
    """A record as the bytes of its JSON file."""
    return (record.model_dump_json(indent=1) + "\n").encode("utf-8")
