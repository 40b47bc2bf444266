"""Site files: what a cluster is like. See `slurm/sites/example.yaml`, which explains every entry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from shardmill.launch.container import Container
from shardmill.launch.entry_errors import first_error
from shardmill.launch.job_settings import GPU_ENTRIES, JobChanges, JobSettings, Text, changed
from shardmill.models.registry import ROLES
from shardmill.store.plan import Plan, Resources, StagePlan
from shardmill.util.commands import command_line
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.resources import resource_names, resource_path, resource_text
from shardmill.util.yaml_text import read_yaml


class Site(JobSettings):
    """One cluster. Its own settings are those of jobs with GPUs; `roles` changes them for the models of a role, `cpu` for jobs
    without GPUs, and `stages` changes the resources of single stages.
    """

    name: str = ""
    cpu: JobChanges = JobChanges()
    roles: dict[str, JobChanges] = Field(default_factory=dict)
    max_array_size: int | None = Field(default=None, ge=2)
    max_parallel: int | None = Field(default=None, ge=1)
    max_jobs: int | None = Field(default=None, ge=3)
    environment: Path | None = None
    scratch: str | None = None
    health_check: list[str] = Field(default_factory=list)
    stages: dict[str, dict[str, Any]] = Field(default_factory=dict)
    dependencies: Literal["aftercorr", "afterok"] = "aftercorr"
    prolog: list[Annotated[str, Field(pattern=r"^[^\n]*$")]] = Field(default_factory=list)
    umask: Annotated[str, Field(pattern=r"^[0-7]{3,4}$")] | None = None
    group: Text | None = None
    logs: Path | None = None
    container: Container | None = None

    _reference: str = PrivateAttr("")
    _text: str = PrivateAttr("")

    @model_validator(mode="after")
    def _check_kinds(self) -> Site:
        for role in self.roles:
            if role not in ROLES:
                raise ValueError(f"roles: there is no role {role!r}; {did_you_mean(role, ROLES)}")
        if useless := [name for name in GPU_ENTRIES if name in self.cpu.model_fields_set]:
            raise ValueError(f"cpu.{useless[0]} has no use: jobs without GPUs ask for none; remove it")
        if self.logs is not None and not self.logs.is_absolute():
            raise ValueError(f"logs: {self.logs} is not an absolute path")
        for name, changes in {"cpu": self.cpu, **{f"roles.{role}": self.roles[role] for role in self.roles}}.items():
            try:
                changed(self, changes)
            except ValidationError as error:
                raise ValueError(f"{name}: {first_error(error, JobSettings)}") from None
        return self

    @property
    def reference(self) -> str:
        """The value of `--site` that means this site in any folder."""
        return self._reference or self.name

    @property
    def text(self) -> str:
        """The content of the site file."""
        return self._text

    def packed(self) -> str:
        """The site for another process, which may not be able to read its file."""
        return json.dumps([self.model_dump(mode="json", exclude_unset=True), self._reference, self._text])

    @classmethod
    def unpacked(cls, text: str) -> Site:
        """The site that `packed` gave."""
        values, reference, content = json.loads(text)
        return cls.model_validate(values).read_from(reference, content)

    def read_from(self, reference: str, text: str) -> Site:
        """The site itself, which now knows its file."""
        self._reference, self._text = reference, text
        return self

    def jobs(self, gpu: bool, role: str | None = None) -> JobSettings:
        """The settings of jobs with GPUs, for a model of `role`, or of jobs without."""
        return changed(self, self.roles.get(role or "") if gpu else self.cpu)

    def kinds(self) -> dict[str, JobSettings]:
        """The settings of each kind of jobs that the site file tells apart."""
        found = {"GPU jobs": self.jobs(gpu=True)} if self.gpus_per_node else {}
        found |= {f"GPU jobs of {role} models": self.jobs(True, role) for role in self.roles}
        return {**found, "CPU jobs": self.jobs(gpu=False)}

    def resources(self, stage: StagePlan) -> Resources:
        """What a worker of a stage gets here: the resources of the pipeline file with this site's changes."""
        return Resources.model_validate({**stage.resources.model_dump(), **self.stages.get(stage.name, {})})

    def check(self, plan: Plan) -> None:
        """Raises UserError for resources of a stage that the plan does not have, that are misspelt or that do not fit."""
        known = [stage.name for stage in plan.stages]
        for name in self.stages:
            if name not in known:
                raise UserError(f"site {self.name}: stages: no stage {name!r} in this run; {did_you_mean(name, known)}")
        for stage in plan.stages:
            try:
                resources = self.resources(stage)
            except ValidationError as error:
                raise UserError(f"site {self.name}: stages: {stage.name}: {first_error(error, Resources)}") from None
            self.jobs(bool(resources.gpus_per_worker), stage.role).workers_per_node(resources, self.name)


def load_site(name: str) -> Site:
    """A site by the path of its file, or by name from `slurm/sites/`. Raises UserError naming the file and the entry."""
    path = site_path(name)
    try:
        text = path.read_text(encoding="utf-8")
        site = Site.model_validate(read_yaml(text) or {})
    except FileNotFoundError:
        folder = () if path.parent == Path() else ("--folder", path.parent)
        make = command_line("site", "new", path.stem, *folder)
        raise UserError(f"the site file {path} was not found; make one: {make}") from None
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error, Site)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise UserError(f"the site file {path} cannot be read: {error.strerror}") from None
    if site.environment is not None and not site.environment.is_absolute():
        site.environment = (path.resolve().parent / site.environment).resolve()
    if site.container is not None and site.container.file is not None:
        site.container.image = str(path.resolve().parent / Path(site.container.image).expanduser())
    site.name = site.name or path.stem
    return site.read_from(name if name == path.stem else str(path.resolve()), text)


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
