"""The record of a finished part. Its presence means that the shard is complete."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from shardmill.store.cells import Kind
from shardmill.util.errors import UserError
from shardmill.util.untrusted import CorruptRecord, Count, Digest, PlainName, Seconds, read_model
from shardmill.util.words import count_of

SLOW_FACTOR = 2.0
"""A shard that takes so many times the median of its stage is slow."""


class FileRecord(BaseModel):
    """A file with the digest that its content must have."""

    name: PlainName
    sha256: Digest
    bytes: int = Field(ge=0)


class InputRecord(BaseModel):
    """The part that a shard was made from (for ingest: the input file)."""

    stage: PlainName
    sha256: Digest


class Manifest(BaseModel):
    """What one stage did with one shard. `rows_*` count distinct row_ids, `lines_out` the lines of the part.

    `revision` is that of the planned stage. `usage` is what all attempts paid for the shard's rows; `seconds` are the last
    attempt's, which found `elsewhere` of the rows finished by earlier ones or by other workers, and which loaded its model in
    `loading` of them. `fits` has the digests of the fits that it was made with, by block; `commits` those of the weights that its
    last attempt loaded from the hub, by model.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    format: int = 1
    stage: PlainName
    shard: Count
    num_shards: Count
    rows_in: Count
    rows_out: Count
    rejected: Count
    lines_out: Count
    reasons: dict[str, Count] = Field(default_factory=dict)
    columns: dict[str, Kind]
    part: FileRecord
    rejects: FileRecord
    input: InputRecord
    fingerprint: dict[str, str]
    revision: Count = 1
    accepted_code: list[str] = Field(default_factory=list)
    fits: dict[Count, Digest] = Field(default_factory=dict)
    commits: dict[str, Digest] = Field(default_factory=dict)
    round: Count = 0
    usage: dict[str, float] = Field(default_factory=dict)
    seconds: Seconds = 0.0
    loading: Seconds = 0.0
    elsewhere: Count = 0
    started: str = ""
    finished: str = ""
    host: str = ""
    job: dict[str, str] = Field(default_factory=dict)
    attempt: str = ""
    code_version: str = ""

    @property
    def node(self) -> str:
        """The node that finished the shard."""
        return self.job.get("SHARDMILL_NODE") or self.job.get("SLURMD_NODENAME") or self.host

    @property
    def element(self) -> str:
        """The job that finished the shard, `12_3` for an element of an array; empty outside of SLURM."""
        return element_of(self.job)

    @property
    def worker(self) -> str:
        """What tells the workers of an element apart."""
        return worker_of(self.job)

    @property
    def begun(self) -> float:
        """When the last attempt began."""
        return begun_at(self.attempt)

    @property
    def gpus(self) -> int:
        """The GPUs of the worker, as far as it was told which are its own."""
        return gpus_of(self.job)

    def to_bytes(self) -> bytes:
        return (json.dumps(self.model_dump(), indent=1, ensure_ascii=False) + "\n").encode("utf-8")

    def conserved(self) -> bool:
        """Distinct rows in = distinct rows out + rejected."""
        return self.rows_in == self.rows_out + self.rejected


def element_of(job: Mapping[str, str]) -> str:
    """The job's id in the variables of SLURM that a manifest keeps.

    >>> element_of({"SLURM_JOB_ID": "15", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"})
    '12_3'
    """
    array, task = job.get("SLURM_ARRAY_JOB_ID"), job.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else job.get("SLURM_JOB_ID", "")


def worker_of(job: Mapping[str, str]) -> str:
    """How often the job was started again before, and the number of its SLURM task."""
    return f"{job.get('SLURM_RESTART_COUNT', '0')} {job.get('SLURM_PROCID', '0')}"


def gpus_of(job: Mapping[str, str]) -> int:
    """The number of GPUs that a worker saw."""
    seen = job.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return sum(device.strip() not in ("", "-1", "NoDevFiles") for device in seen)


def begun_at(attempt: str) -> float:
    """When an attempt began, by its name; 0 for one that does not say."""
    return int(attempt[:13]) / 1000 if attempt[:13].isdigit() else 0.0


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at `path`, or None when there is none. Raises UserError when it is not readable as one."""
    try:
        return read_model(path, Manifest)
    except FileNotFoundError:
        return None
    except CorruptRecord as error:
        raise UserError(f"{path} is corrupt ({error}); delete it and run the shard again") from None


def summary(rows_in: int, rows_out: int, reasons: dict[str, int], lines_out: int | None = None) -> str:
    """`10,000 in = 9,812 out + 188 rejected (malformed 97, not grounded 91)`: the line that ends every command."""
    rejected = sum(reasons.values())
    sign = "=" if rows_in == rows_out + rejected else "≠"
    lines = f" ({count_of(lines_out, 'line')})" if lines_out not in (None, rows_out) else ""
    return f"{rows_in:,} in {sign} {rows_out:,} out{lines} + {rejected:,} rejected" + (
        f" ({counted(reasons)})" if reasons else ""
    )


def counted(reasons: dict[str, int]) -> str:
    """`malformed 97, not grounded 91`: the most frequent first."""
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


class Counts(Protocol):
    """The counts of a finished shard, in a manifest or read from one."""

    @property
    def shard(self) -> int: ...
    @property
    def rows_in(self) -> int: ...
    @property
    def rows_out(self) -> int: ...
    @property
    def lines_out(self) -> int: ...
    @property
    def rejected(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def reasons(self) -> Mapping[str, int]: ...
    @property
    def usage(self) -> Mapping[str, float]: ...


def totals(manifests: Iterable[Counts]) -> dict[str, Any]:
    """Sums over shards: rows_in, rows_out, lines_out, rejected, seconds, reasons, usage."""
    rows_in = rows_out = lines_out = rejected = 0
    seconds, reasons, usage = 0.0, dict[str, int](), dict[str, float]()
    for made in manifests:
        rows_in, rows_out, lines_out = rows_in + made.rows_in, rows_out + made.rows_out, lines_out + made.lines_out
        rejected, seconds = rejected + made.rejected, seconds + made.seconds
        for reason, count in made.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
        for name, value in made.usage.items():
            usage[name] = usage.get(name, 0) + value
    return {
        "rows_in": rows_in, "rows_out": rows_out, "lines_out": lines_out, "rejected": rejected, "seconds": seconds,
        "reasons": reasons, "usage": usage,
    }  # fmt: skip
