"""Site files: what a cluster is like. See `slurm/sites/example.yaml`, which explains every entry."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from shardmill.store.plan import Plan, Resources, StagePlan
from shardmill.util.commands import command_line
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.resources import resource_names, resource_path, resource_text
from shardmill.util.yaml_text import read_yaml


class Queue(BaseModel):
    """Where jobs are sent: the `sbatch` options of the same names."""

    model_config = ConfigDict(extra="forbid")
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclude: str | None = None


START_SECONDS = 120
"""What a job may need until it works: SLURM may signal a minute early, and imports from a cold network disk take another."""


class Site(Queue):
    """One cluster. `cpu` is the queue of jobs without a GPU, for all that differs there; `stages` changes resources by stage."""

    name: str = ""
    cpu: Queue = Queue()
    gpus_per_node: int = Field(default=8, ge=0)
    gpu_type: str | None = None
    cpus_per_node: int = Field(default=64, ge=1)
    memory_gb_per_node: int = Field(default=512, ge=1)
    cpu_workers_per_node: int = Field(default=8, ge=1)
    exclusive: bool = False
    max_minutes: int = Field(default=24 * 60, ge=1)
    max_array_size: int | None = Field(default=None, ge=2)
    max_parallel: int | None = Field(default=None, ge=1)
    signal_seconds: int = Field(default=90, ge=5)
    environment: Path | None = None
    scratch: str | None = None
    health_check: list[str] = Field(default_factory=list)
    sbatch: dict[str, Any] = Field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = Field(default_factory=dict)

    _reference: str = PrivateAttr("")

    @property
    def reference(self) -> str:
        """The value of `--site` that means this site in any folder."""
        return self._reference or self.name

    def queue(self, gpu: bool) -> Queue:
        """The queue of a job that needs a GPU, or of one that does not."""
        own = {name: getattr(self, name) for name in Queue.model_fields}
        return Queue(**own) if gpu else Queue(**{**own, **self.cpu.model_dump(exclude_none=True)})

    def resources(self, stage: StagePlan) -> Resources:
        """What a worker of a stage gets here: the resources of the pipeline file with this site's changes."""
        return Resources.model_validate({**stage.resources.model_dump(), **self.stages.get(stage.name, {})})

    def workers_per_node(self, resources: Resources) -> int:
        """How many workers of a stage fit on one node: one for each share of its GPUs, or for CPU stages as the site allows.

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
            raise UserError(f"a worker with {resources} does not fit on a node of the site {self.name}: too few {scarce}")
        return limits[scarce]

    def time_limit(self, shards: int, workers: int, minutes: float) -> int:
        """The minutes of an element: its shards in turns over its workers, and the time to start and to stop at the signal.

        One that needs longer is requeued at the limit.
        """
        spare = (self.signal_seconds + START_SECONDS) / 60
        return max(1, min(math.ceil(minutes * -(-shards // workers) + spare), self.max_minutes))

    def check(self, plan: Plan) -> None:
        """Raises UserError for resources of a stage that the plan does not have, that are misspelt or that do not fit."""
        known = [stage.name for stage in plan.stages]
        for name in self.stages:
            if name not in known:
                raise UserError(f"site {self.name}: stages: no stage {name!r} in this run; {did_you_mean(name, known)}")
        for stage in plan.stages:
            try:
                self.workers_per_node(self.resources(stage))
            except ValidationError as error:
                raise UserError(f"site {self.name}: stages: {stage.name}: {_first_error(error, Resources)}") from None


def load_site(name: str) -> Site:
    """A site by the path of its file, or by name from `slurm/sites/`. Raises UserError naming the file and the entry."""
    path = site_path(name)
    try:
        values = read_yaml(path.read_text(encoding="utf-8")) or {}
        site = Site.model_validate(values)
    except FileNotFoundError:
        folder = () if path.parent == Path() else ("--folder", path.parent)
        make = command_line("site", "new", path.stem, *folder)
        raise UserError(f"the site file {path} was not found; make one: {make}") from None
    except ValidationError as error:
        raise UserError(f"{path}: {_first_error(error, Site)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if site.environment is not None and not site.environment.is_absolute():
        site.environment = (path.resolve().parent / site.environment).resolve()
    site.name = site.name or path.stem
    site._reference = name if name == path.stem else str(path.resolve())  # noqa: SLF001 (set once, when the file is read)
    return site


def site_path(name: str) -> Path:
    """The file of a site: the path itself, or that of a name, in the current folder or in `slurm/sites/`."""
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    here = Path(f"{name}.yaml")
    if here.is_file():
        return here
    if name not in resource_names("slurm/sites"):
        raise UserError(
            f"there is no site {name!r}; {did_you_mean(name, resource_names('slurm/sites'))}; to describe yours: "
            f"{command_line('site', 'new', name)}"
        )
    return resource_path(f"slurm/sites/{name}.yaml")


def new_site(name: str, folder: Path) -> list[Path]:
    """Write a site file to fill in, and beside it the file of its jobs' environment; returns their paths.

    Raises:
        UserError: If one of them is there already, or the folder cannot be written to.
    """
    site, environment = folder / f"{name}.yaml", folder / f"{name}.env"
    text = resource_text("slurm/sites/example.yaml")
    head = f"# What your cluster is like. Fill it in, check it with\n#   {command_line('doctor', '--site', site)}\n"
    body = text[text.index("# Everything but") :].replace("../../env/cluster.env", environment.name)
    contents = {site: head + body, environment: resource_text("env/cluster.example.env")}
    for path in contents:
        if path.exists():
            raise UserError(f"{path} is there already; edit it, or choose another name")
    for path, content in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from None
    return list(contents)


def _first_error(error: ValidationError, model: type[BaseModel]) -> str:
    """The first validation error in words, with a hint for a mistyped name."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"there is no entry {where!r}; {did_you_mean(str(first['loc'][-1]), model.model_fields)}"
    return f"{where}: {first['msg']}"
