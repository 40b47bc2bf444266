"""What figures over a whole run need of its manifests: a manifest takes 7 kB of memory, and a run may have 100,000 of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from shardmill.store.manifest import begun_at, element_of, gpus_of, worker_of
from shardmill.util.untrusted import Count, Digest, Seconds


class MadeWith(Protocol):
    """What decides whether a finished shard is as planned; a manifest has it too."""

    @property
    def fingerprint(self) -> dict[str, str]: ...
    @property
    def revision(self) -> int: ...
    @property
    def fits(self) -> dict[int, str]: ...


class _Input(BaseModel):
    """A part that a shard was made from."""

    sha256: Digest


class _File(_Input):
    """A file of the shard."""

    bytes: Count


class _Digests(BaseModel):
    """The fields of a manifest by which shards are compared. Equal ones are kept once."""

    fingerprint: dict[str, str]
    revision: Count = 1
    fits: dict[Count, Digest] = Field(default_factory=dict)


class _Record(_Digests):
    """The fields of a manifest that are read here; the others are not even checked."""

    model_config = ConfigDict(allow_inf_nan=False)
    rows_in: Count
    rows_out: Count
    rejected: Count
    lines_out: Count
    reasons: dict[str, Count] = Field(default_factory=dict)
    part: _File
    rejects: _File
    input: _Input
    round: Count = 0
    usage: dict[str, float] = Field(default_factory=dict)
    seconds: Seconds = 0.0
    loading: Seconds = 0.0
    elsewhere: Count = 0
    attempt: str = ""
    host: str = ""
    job: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FinishedShard:
    """A finished shard by its manifest, whose fields have the same names.

    Attributes:
        bytes: Those of its part and rejects.
        part: The digest of its part.
        input: The digest of the part that it was made from.
        made_with: Its fingerprint, revision and fits.
    """

    shard: int
    rows_in: int
    rows_out: int
    rejected: int
    lines_out: int
    seconds: float
    loading: float
    elsewhere: int
    round: int
    bytes: int
    begun: float
    node: str
    host: str
    element: str
    worker: str
    gpus: int
    part: str
    input: str
    reasons: Mapping[str, int]
    made_with: MadeWith
    _usage: tuple[tuple[str, ...], tuple[float, ...]]

    @property
    def usage(self) -> Mapping[str, float]:
        return dict(zip(*self._usage, strict=True))


@dataclass
class ManifestReader:
    """Reads manifests. What many of them have in common is in memory once."""

    _made_with: dict[object, MadeWith] = field(default_factory=dict)
    _reasons: dict[object, Mapping[str, int]] = field(default_factory=dict)
    _names: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def read(self, shard: int, content: bytes) -> FinishedShard:
        """The shard that a manifest is about. Raises ValueError if it is not one."""
        made = _Record.model_validate_json(content)
        digests = (tuple(made.fingerprint.items()), made.revision, tuple(made.fits.items()))
        if digests not in self._made_with:
            self._made_with[digests] = _Digests(fingerprint=made.fingerprint, revision=made.revision, fits=made.fits)
        names = tuple(made.usage)
        return FinishedShard(
            shard, made.rows_in, made.rows_out, made.rejected, made.lines_out, made.seconds, made.loading, made.elsewhere,
            round=made.round,
            bytes=made.part.bytes + made.rejects.bytes,
            begun=begun_at(made.attempt),
            node=intern(made.job.get("SHARDMILL_NODE") or made.job.get("SLURMD_NODENAME") or made.host),
            host=intern(made.host),
            element=intern(element_of(made.job)),
            worker=intern(worker_of(made.job)),
            gpus=gpus_of(made.job),
            part=intern(made.part.sha256),
            input=intern(made.input.sha256),
            reasons=self._reasons.setdefault(tuple(made.reasons.items()), made.reasons),
            made_with=self._made_with[digests],
            _usage=(self._names.setdefault(names, names), tuple(made.usage.values())),
        )  # fmt: skip
