"""What the jobs of one kind ask `sbatch` for, and what the nodes have that they get."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from shardmill.launch.sbatch_options import GPU_ONLY, checked_options
from shardmill.store.plan import Resources
from shardmill.util.errors import UserError

START_SECONDS = 120
"""What a job may need until it works: SLURM may signal a minute early, and imports from a cold network disk take another."""

GpuRequest = Literal["gres", "gpus-per-node", "gpus-per-task", "gpus", "tres-per-task", "none"]
MemoryRequest = Literal["node", "cpu", "gpu", "all", "none"]
GPU_ENTRIES = ("gpus_per_node", "gpu_type", "gpu_request")

_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


def minutes_of(value: object) -> object:
    """The minutes of a time as SLURM writes them: `90`, `90:00`, `12:00:00`, `2-00`, `2-12:00` or `2-12:00:00`; `None` for none.

    >>> [minutes_of(text) for text in ("90", "90:00", "12:00:00", "2-00", "1-06:30:00")]
    [90, 90, 720, 2880, 1830]
    """
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return value
    days, first, second, third = (int(part or 0) for part in match.groups())
    if match[1] is not None:
        return math.ceil(days * 1440 + first * 60 + second + third / 60)
    if match[4] is not None:
        return math.ceil(first * 60 + second + third / 60)
    return math.ceil(first + second / 60)


Minutes = Annotated[int, BeforeValidator(minutes_of), Field(ge=1)]


def _text(value: object) -> object:
    """YAML reads an account such as 12345 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _joined(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else value


Text = Annotated[str, BeforeValidator(_text), Field(pattern=r"^[^\n]+$")]
Hosts = Annotated[Text, BeforeValidator(_joined)]


class JobSettings(BaseModel):
    """The settings of the jobs of a kind. Names that `sbatch` has too mean the same there."""

    model_config = ConfigDict(extra="forbid")
    partition: Text | None = None
    account: Text | None = None
    qos: Text | None = None
    constraint: Text | None = None
    reservation: Text | None = None
    licenses: Text | None = None
    nodelist: Hosts | None = None
    exclude: Hosts | None = None
    gpus_per_node: int = Field(default=8, ge=0)
    gpu_type: Text | None = None
    gpu_request: GpuRequest = "gres"
    cpus_per_node: int = Field(default=64, ge=1)
    memory_gb_per_node: int = Field(default=512, ge=1)
    memory_request: MemoryRequest = "node"
    cpu_workers_per_node: int = Field(default=8, ge=1)
    exclusive: bool | Literal["user", "mcs"] = False
    max_minutes: Minutes = 24 * 60
    signal_seconds: int = Field(default=90, ge=5)
    sbatch: dict[str, Any] = Field(default_factory=dict)

    _check_options = field_validator("sbatch", mode="after")(checked_options)

    @model_validator(mode="after")
    def _check_contradictions(self) -> JobSettings:
        if self.gpu_type and (self.gpu_request == "none" or not self.gpus_per_node):
            why = "gpu_request is none" if self.gpu_request == "none" else "gpus_per_node is 0"
            raise ValueError(f"gpu_type has no use, since {why}; remove one of them")
        if self.signal_seconds >= self.max_minutes * 60:
            raise ValueError(f"signal_seconds ({self.signal_seconds}) is more than a job of max_minutes ({self.max_minutes}) has")
        if self.nodelist is not None and self.nodelist == self.exclude:
            raise ValueError("nodelist and exclude name the same nodes; remove one of them")
        return self

    def workers_per_node(self, resources: Resources, site: str = "") -> int:
        """How many workers fit on one node: one for each share of its GPUs, or for CPU stages as the site allows.

        Raises:
            UserError: If not even one fits.
        """
        gpus = resources.gpus_per_worker
        limits = {
            "GPUs": self.gpus_per_node // gpus if gpus else self.cpu_workers_per_node,
            "CPUs": self.cpus_per_node // resources.cpus_per_worker,
            "memory": int(self.memory_gb_per_node // resources.memory_gb),
        }
        scarce = min(limits, key=lambda name: limits[name])
        if limits[scarce] == 0:
            raise UserError(f"a worker with {resources} does not fit on a node of the site {site}: too few {scarce}")
        return limits[scarce]

    def time_limit(self, shards: int, workers: int, minutes: float) -> int:
        """The minutes of an element: its shards in turns over its workers, and the time to start and to stop at the signal.

        One that needs longer is requeued at the limit.
        """
        spare = (self.signal_seconds + START_SECONDS) / 60
        return max(1, min(math.ceil(minutes * -(-shards // workers) + spare), self.max_minutes))

    def request(self, resources: Resources, workers: int) -> dict[str, Any]:
        """The sbatch options of a job with `workers` workers on one node: where it goes, and what it gets there."""
        gpus, memory_mb = resources.gpus_per_worker * workers, math.ceil(resources.memory_gb * workers * 1024)
        names = ("partition", "account", "qos", "constraint", "reservation", "licenses")
        options = {name: getattr(self, name) for name in names}
        options |= {"exclusive": self.exclusive or None, **self._memory(memory_mb, resources.cpus_per_worker * workers, gpus)}
        extras = {name: value for name, value in self.sbatch.items() if gpus or name not in GPU_ONLY}
        asked = self._gpus(gpus, resources.gpus_per_worker) if gpus else {}
        if "gres" in asked and extras.get("gres"):
            asked["gres"] += f",{extras.pop('gres')}"
        return {name: value for name, value in {**options, **extras, **asked}.items() if value is not None}

    def _gpus(self, gpus: int, each: int) -> dict[str, str]:
        typed = f"{self.gpu_type}:" if self.gpu_type else ""
        match self.gpu_request:
            case "gres":
                return {"gres": f"gpu:{typed}{gpus}"}
            case "gpus-per-task":
                return {self.gpu_request: f"{typed}{each}"}
            case "tres-per-task":
                return {self.gpu_request: f"gres/gpu:{self.gpu_type}={each}" if self.gpu_type else f"gres/gpu={each}"}
            case "gpus" | "gpus-per-node":
                return {self.gpu_request: f"{typed}{gpus}"}
            case _:
                return {}

    def _memory(self, megabytes: int, cpus: int, gpus: int) -> dict[str, str]:
        match self.memory_request:
            case "none":
                return {}
            case "all":
                return {"mem": "0"}
            case "cpu":
                return {"mem-per-cpu": f"{math.ceil(megabytes / cpus)}M"}
            case "gpu" if gpus:
                return {"mem-per-gpu": f"{math.ceil(megabytes / gpus)}M"}
            case _:
                return {"mem": f"{megabytes}M"}


class JobChanges(JobSettings):
    """What differs for some jobs. It is checked for contradictions together with what it changes."""

    @model_validator(mode="after")
    def _check_contradictions(self) -> JobChanges:
        return self


def changed(settings: JobSettings, changes: JobChanges | None) -> JobSettings:
    """Settings with changes; options under `sbatch` are changed one by one.

    Raises:
        ValidationError: If they contradict each other.
    """
    base = {name: getattr(settings, name) for name in JobSettings.model_fields}
    new = changes.model_dump(exclude_unset=True) if changes is not None else {}
    return JobSettings(**{**base, **new, "sbatch": {**settings.sbatch, **new.get("sbatch", {})}})


def as_options(request: Mapping[str, Any]) -> list[str]:
    """The options of a request as words of a command line."""
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in request.items()]
