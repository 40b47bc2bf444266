"""The immutable plan of a run: what goes in, how it is cut, and what every stage is made of.

`RUN/plan.json` is created if absent and never edited. `replan` and `--redo` publish a new revision and keep the old one under
`RUN/superseded/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shardmill.store.cells import Kind
from shardmill.store.selection import Selection
from shardmill.util.atomic import create_if_absent, link_if_absent, make_folder, replacing
from shardmill.util.commands import command_line
from shardmill.util.errors import UserError
from shardmill.util.safe_files import refuse_foreign_links
from shardmill.util.untrusted import CorruptRecord, Count, Digest, PlainName, Version, read_model

NAME = "plan.json"
INGEST = "ingest"
GIVEN_IMAGES = "given_images"
"""A link in a run that starts behind the generation of images: to the folder in which these are."""
RESERVED_NAMES = (INGEST, GIVEN_IMAGES, "jobs", "datasets", "superseded", "report", "exports", "audit", "logs")
"""Folders of a run that are not those of stages."""
PartFormat = Literal["csv", "jsonl", "parquet"]
MAX_BYTES = 500_000_000
MAX_SHARDS = 1_000_000
MAX_STAGES = 1_000
FORMAT = 2
"""1 was written by Shardmill 0.1, whose plans do not say which code they were made with."""


class InputReading(BaseModel):
    """How the input is read; see `tables.open_table`."""

    encoding: str | None = None
    quoting: str = "auto"
    delimiter: str | None = None
    header: bool | None = None
    columns: list[str] = Field(default_factory=list)


class InputPlan(BaseModel):
    """The input table.

    Attributes:
        rows: The number of all its records.
        mapping: Its columns, and what they are called in the run.
        copies: Further columns of the parts: the column of the input that each is a copy of, a template of such columns
            ("{idx}.jpg"), or "" for an empty one.
        columns: The columns of the ingest parts, with their kinds.
        captioned: Whether a record without a caption is rejected: if a stage reads captions.
        notes: What of the input was guessed, and what was passed over.
        files: The digest and bytes of each file of a table in several.
    """

    path: str
    sha256: Digest
    bytes: int = Field(ge=0)
    rows: Count
    format: str
    reading: InputReading = InputReading()
    mapping: dict[str, str] = Field(default_factory=dict)
    copies: dict[str, str] = Field(default_factory=dict)
    columns: dict[str, Kind]
    image_root: str
    selection: Selection | None = None
    captioned: bool = True
    notes: list[str] = Field(default_factory=list)
    files: dict[str, tuple[str, int]] = Field(default_factory=dict)


class Resources(BaseModel):
    """What a worker of a stage is given on a cluster. `minutes` is for one shard; a worker takes `shards_per_task`, in turn."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    gpus_per_worker: int = Field(default=0, ge=0, le=1_000)
    cpus_per_worker: int = Field(default=1, ge=1, le=100_000)
    memory_gb: float = Field(default=4, gt=0, le=1e6)
    minutes: float = Field(default=60, gt=0, le=1e7)
    shards_per_task: int = Field(default=1, ge=1, le=MAX_SHARDS)

    def __str__(self) -> str:
        return f"{self.gpus_per_worker} GPUs, {self.cpus_per_worker} CPUs, {self.memory_gb:g} GB"


class Price(BaseModel):
    """What a model costs, in one currency of your own: per million tokens, and per GPU and hour.

    A token of a batched request costs the share `batch` of that.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    prompt: float = Field(default=0, ge=0)
    cached_prompt: float | None = Field(default=None, ge=0)
    completion: float = Field(default=0, ge=0)
    gpu_hour: float = Field(default=0, ge=0)
    batch: float = Field(default=0.5, ge=0, le=1)

    def of(self, usage: Mapping[str, float], gpu_hours: float = 0.0) -> float:
        """The cost of what a manifest's usage counts; cached prompt tokens cost as others if no price is given for them."""
        saved = (1 - self.batch) * self._tokens(usage, "batched_")
        return (self._tokens(usage) - saved) / 1e6 + gpu_hours * self.gpu_hour

    def _tokens(self, usage: Mapping[str, float], prefix: str = "") -> float:
        cached = usage.get(f"{prefix}cached_tokens", 0.0)
        fresh = usage.get(f"{prefix}prompt_tokens", 0.0) - cached
        cached_price = self.prompt if self.cached_prompt is None else self.cached_prompt
        return fresh * self.prompt + cached * cached_price + usage.get(f"{prefix}completion_tokens", 0.0) * self.completion


class StagePlan(BaseModel):
    """One stage of a run.

    Attributes:
        name: Its name in the run, the folder of its files.
        source: Where its code is from: a pipeline's name or a reference; see `core.registry.stage_class`.
        role: Which kind of model it calls; None for a stage without a model.
        reads: The columns that it reads.
        after: The stage that it reads from.
        model: The model's kind and settings.
        prompt: The text of a prompt of the user's.
        stop_after: The stage stops when so many of its first rows are all rejected for one reason; 0 if it never does.
        thresholds: Those of its model: defaults for options of this stage and of those after it.
        requests: How much its model can be asked for in one request: defaults for options of this stage.
        fingerprint: All that shapes its rows, by field.
        texts: The names of the texts that shape its rows: prompts, wordings, patterns. What they say is in the plan's `texts`.
        sources: The digests of the source files behind the field `code`, to name the file that was changed.
        accepted: Earlier fingerprints whose rows the user accepted beside those of today's code.
        fit_rows: About how many rows it is fitted on at once, see `fits`; 0 for a stage that decides about each row by itself.
        revision: The revision of the plan that planned it as it is, or redid it: what was made for an earlier one does not count,
            even with the same fingerprint.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    name: PlainName
    source: str = ""
    role: str | None = None
    reads: list[str] = Field(default_factory=list)
    after: PlainName
    prompt: str | None = None
    model: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    attempts: int = Field(default=3, ge=1, le=1_000_000)
    stop_after: Count = 50
    resources: Resources = Resources()
    price: Price | None = None
    thresholds: dict[str, float] = Field(default_factory=dict)
    requests: dict[str, bool] = Field(default_factory=dict)
    adds: dict[str, Kind] = Field(default_factory=dict)
    fingerprint: dict[str, str] = Field(default_factory=dict)
    texts: list[str] = Field(default_factory=list)
    sources: dict[str, str] = Field(default_factory=dict)
    accepted: list[dict[str, str]] = Field(default_factory=list)
    fit_rows: Count = 0
    revision: Count = 1


class Plan(BaseModel):
    """See the module. `shards` holds the row_id range [start, end) of each shard, in order and without gaps.

    `source` is the reference of a pipeline of the user's; empty for one that is found by its name. `texts` are the prompts and
    other texts that shape its rows, by the names of their files: workers read them here, whatever becomes of the files.
    """

    format: int = FORMAT
    revision: int = Field(default=1, ge=1, le=10**9)
    pipeline: PlainName
    source: str = ""
    seed: int
    input: InputPlan
    shards: Annotated[list[tuple[Count, Count]], Field(min_length=1, max_length=MAX_SHARDS)]
    part_format: PartFormat = "csv"
    target_rows: Count | None = None
    stages: Annotated[list[StagePlan], Field(max_length=MAX_STAGES)]
    texts: dict[str, str] = Field(default_factory=dict)
    code_version: Version
    created: str

    @model_validator(mode="after")
    def _check_models(self) -> Plan:
        """A planned model has settings of its own: only the user's command may name a model file, which may name code."""
        named = [stage.name for stage in self.stages if "file" in stage.model]
        if named:
            raise ValueError(f"the model of stage {named[0]} names a file")
        return self

    @model_validator(mode="after")
    def _check_shards(self) -> Plan:
        """The shards are cut out of the rows without gaps."""
        bounds = [0, *(end for _, end in self.shards)]
        if any(start != before or end < start for before, (start, end) in zip(bounds, self.shards, strict=False)):
            raise ValueError("the row ranges of the shards have gaps or overlap")
        if bounds[-1] != self.input.rows:
            raise ValueError(f"the shards have {bounds[-1]:,} rows, the input {self.input.rows:,}")
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> Plan:
        """Each stage has a folder of its own and reads from a stage before it."""
        known = {INGEST}
        for stage in self.stages:
            if stage.name in known or stage.name in RESERVED_NAMES:
                raise ValueError(f"two folders of the run are named {stage.name}")
            if stage.after not in known:
                raise ValueError(f"stage {stage.name} reads from {stage.after}, which is not a stage before it")
            known.add(stage.name)
        return self

    def to_bytes(self) -> bytes:
        return (json.dumps(self.model_dump(), indent=1, ensure_ascii=False) + "\n").encode("utf-8")

    def shard_of(self, row_id: int) -> int:
        """The shard that holds a row. Raises UserError for a row_id outside of the input."""
        for index, (start, end) in enumerate(self.shards):
            if start <= row_id < end:
                return index
        raise UserError(f"there is no row {row_id}: the input has the rows 0 to {self.input.rows - 1}")


def cut(rows: int, *, num_shards: int | None = None, rows_per_shard: int | None = None) -> list[tuple[int, int]]:
    """Row ranges of `num_shards` shards that differ by at most one row, or of shards of `rows_per_shard` rows.

    More shards than rows are cut down to one row each.
    """
    if rows_per_shard is not None:
        return [(start, min(start + rows_per_shard, rows)) for start in range(0, rows, rows_per_shard)]
    count = max(1, min(num_shards or 1, rows))
    bounds = [rows * index // count for index in range(count + 1)]
    return list(pairwise(bounds))


def load_plan(run: Path) -> Plan:
    """The plan of a run folder. Raises UserError when there is none or it is corrupt."""
    path = run / NAME
    try:
        plan = read_model(path, Plan, MAX_BYTES)
    except FileNotFoundError:
        raise UserError(
            f"{run} is not a run folder (it has no {NAME}); make one with: shardmill shard INPUT --run {run}"
        ) from None
    except CorruptRecord as error:
        raise UserError(f"{path} is corrupt: {error}; restore it from {run / 'superseded'} or start a new run") from None
    if plan.format != FORMAT:
        raise UserError(
            f"{run} was planned by Shardmill {plan.code_version}, which did not record its code; finish it with that version "
            f"(pip install 'shardmill=={plan.code_version}') or start a new run in another folder"
        )
    for folder in (run, run / "jobs", run / "superseded"):
        refuse_foreign_links(folder)
    return plan


def create_plan(run: Path, plan: Plan) -> Plan:
    """Create the plan of a run, or check that the one already there says the same.

    Raises UserError naming the first field that differs. Returns the plan on disk.
    """
    try:
        make_folder(run)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{run} is a file, or inside one; give a folder for the run") from None
    except (FileNotFoundError, PermissionError):
        raise UserError(f"no folder can be made at {run}; choose another for the run") from None
    if create_if_absent(run / NAME, plan.to_bytes()):
        return plan
    current = load_plan(run)
    difference = compare(current, plan)
    if difference:
        raise UserError(f"{run} was planned differently: {difference}; {_remedy(run, difference, current, plan)}")
    return current


def _remedy(run: Path, difference: str, old: Plan, new: Plan) -> str:
    """What to do about the first difference: a command for this run where there is one."""
    if difference.startswith(("the number of shards", "the row ranges")):
        return f"to cut this run anew: {command_line('replan', run, '--num-shards', len(new.shards))}; or use another run folder"
    if difference.startswith("lexicon of stage"):
        return "a run keeps its lexicon: give the same file, or use another run folder"
    match = re.search(r" of stage (\S+?)[:,;]? ", f"{difference} ")
    pairs = zip(old.stages, new.stages, strict=False)
    before, after = next(((one, other) for one, other in pairs if match and one.name == match[1]), (None, None))
    if before is None or after is None:
        return "use another run folder"
    again = ["run", run, before.name, "--redo"]
    if difference.startswith("code of stage"):
        keep = command_line("launch", old.pipeline, "--run", run, "--accept-code-change")
        return f"keep what is finished: {keep}; or do the stage and all after it again: {command_line(*again)}"
    settings = [word for setting in _settings(before, after) for word in ("--set", f"{before.name}.{setting}")]
    change = command_line(*again, *settings)
    return f"to change the stage in this run, and do all after it again: {change}; or use another run folder"


def _settings(before: StagePlan, after: StagePlan) -> list[str]:
    """What turns one planned stage into the other, as `--set` takes it."""
    changes = {name: value for name, value in after.options.items() if before.options.get(name) != value}
    if before.model != after.model:
        changes["model"] = after.model.get("kind")
        changes |= {f"model.{name}": value for name, value in after.model.items() if name != "kind"}
    if before.attempts != after.attempts:
        changes["attempts"] = after.attempts
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in changes.items()]


def compare(old: Plan, new: Plan) -> str:
    """The first field in which two plans differ, in words; empty when they agree in all that shapes the result.

    Of a field that has keys, those that differ are named.
    """
    for field, before, after in _fields(old, new):
        if before != after and field.startswith("code of stage"):
            return (
                f"{field}: {', '.join(name for name in {**before, **after} if before.get(name) != after.get(name))} was changed"
            )
        if before != after:
            return _difference(field, _opened(before), _opened(after))
    return ""


def _difference(field: str, before: Any, after: Any) -> str:
    """What is to be said of a field.

    >>> _difference("options", {"count": 5, "style": "plain"}, {"count": 5})
    'options: style is "plain" in its plan and not there now'
    """
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return f"{field} is {_apart(json.dumps(before), json.dumps(after))}"
    parts = []
    for key in before | after:
        was, now = (json.dumps(side[key]) if key in side else "not there" for side in (before, after))
        if was != now:
            parts.append(f"{key} is {_apart(was, now)}")
    return f"{field}: {', '.join(parts)}"


def _opened(value: Any) -> Any:
    """A value of a fingerprint is text; options are JSON in it."""
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def _apart(before: str, after: str, most: int = 60, known: int = 20) -> str:
    """Two values for a message; long ones are shortened to where they begin to differ.

    >>> _apart("1", "2")
    '1 in its plan and 2 now'
    >>> _apart("/data/photos/of/2024", "/data/photos/of/2025", most=8, known=4)
    '.../2024 in its plan and .../2025 now'
    """
    alike = (one == other for one, other in zip(before, after, strict=False))
    same = sum(takewhile(bool, alike))
    start = max(0, same - known) if max(len(before), len(after)) > most else 0
    end = start + most
    cut = [("..." if start else "") + text[start:end] + ("..." if text[end:] else "") for text in (before, after)]
    return f"{cut[0]} in its plan and {cut[1]} now"


def _fields(old: Plan, new: Plan) -> list[tuple[str, Any, Any]]:
    fields: list[tuple[str, Any, Any]] = [
        ("the pipeline", old.pipeline, new.pipeline),
        ("the seed", old.seed, new.seed),
        ("the input's sha256", old.input.sha256, new.input.sha256),
        ("the input's number of rows", old.input.rows, new.input.rows),
        ("how the input is read", old.input.reading.model_dump(), new.input.reading.model_dump()),
        ("the column mapping", old.input.mapping, new.input.mapping),
        ("the copied columns", old.input.copies, new.input.copies),
        ("the image folder", old.input.image_root, new.input.image_root),
        ("the selection of records", _plain(old.input.selection), _plain(new.input.selection)),
        ("the number of shards", len(old.shards), len(new.shards)),
        ("the row ranges of the shards", old.shards, new.shards),
        ("the part format", old.part_format, new.part_format),
        ("the number of target rows", old.target_rows, new.target_rows),
        ("the list of stages", [s.name for s in old.stages], [s.name for s in new.stages]),
    ]
    for before, after in zip(old.stages, new.stages, strict=False):
        fields.append((f"what stage {before.name} reads from", before.after, after.after))
        fields.append((f"the attempts per answer of stage {before.name}", before.attempts, after.attempts))
        for key in sorted(before.fingerprint.keys() | after.fingerprint.keys()):
            sides = (
                (before.sources, after.sources) if key == "code" else (before.fingerprint.get(key), after.fingerprint.get(key))
            )
            fields.append((f"{key} of stage {before.name}", *sides))
    return fields


def _plain(selection: Selection | None) -> Any:
    return selection.model_dump() if selection else None


def replace_plan(run: Path, plan: Plan) -> Plan:
    """Publish `plan` as the next revision; the current one is kept as `superseded/plan-<revision>.json`."""
    current = load_plan(run)
    archive = run / "superseded" / f"plan-{current.revision:03d}.json"
    make_folder(archive.parent)
    link_if_absent(run / NAME, archive)
    successor = plan.model_copy(update={"revision": current.revision + 1})
    with replacing(run / NAME) as file:
        file.write(successor.to_bytes())
    return successor
