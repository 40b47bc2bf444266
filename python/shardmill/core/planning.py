"""Starting a run: read the input, cut it into shards, write the plan, ingest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from shardmill import __version__
from shardmill.core.model_choice import use_models
from shardmill.core.permissions import allow_models, permitted
from shardmill.core.pipeline import Pipeline
from shardmill.core.pipeline_file import PipelineFile, load_pipeline, override, plan_stages
from shardmill.core.registry import default_pipeline, find_pipeline
from shardmill.core.stage import Context
from shardmill.core.start_at import GivenColumns, inputs_of, possible_starts, start_at
from shardmill.core.user_code import allowed_code, is_reference, remember_code
from shardmill.store.plan import (
    NAME,
    InputPlan,
    InputReading,
    PartFormat,
    Plan,
    compare,
    create_plan,
    cut,
    load_plan,
)
from shardmill.store.run_folder import RunFolder
from shardmill.store.selection import Selection
from shardmill.store.untouched import is_untouched, replace_untouched
from shardmill.tables import Table, folder_of
from shardmill.tables.ingest import ImportProgress, count_records, ingest
from shardmill.tables.run_input import RunInput, open_run_input
from shardmill.tables.selection import Drawing
from shardmill.util.errors import UserError
from shardmill.util.texts import use_texts

DEFAULT_ROWS_PER_SHARD = 10_000
MAX_DEFAULT_SHARDS = 10_000
"""What workers list of a shared folder grows with the square of the shards: a run of more rows gets larger shards, not more."""


@dataclass(frozen=True)
class NewRun:
    """What a user says when starting a run. Exactly one of `num_shards` and `rows_per_shard` may be given."""

    input: Path
    pipeline: str = ""
    settings: Sequence[str] = ()
    models: Sequence[str] = ()
    servers: Path | None = None
    seed: int = 0
    num_shards: int | None = None
    rows_per_shard: int | None = None
    caption_column: str | None = None
    image_column: str | None = None
    list_columns: Sequence[str] = ()
    min_words: int | None = None
    total: int | None = None
    image_root: Path | None = None
    encoding: str | None = None
    quoting: str = "auto"
    separator: str | None = None
    header: bool | None = None
    columns: Sequence[str] = ()
    part_format: PartFormat = "csv"
    target_rows: int | None = None
    start_at: str | None = None
    pipeline_file: PipelineFile = field(init=False)
    given: GivenColumns = field(init=False, default=GivenColumns())

    def __post_init__(self) -> None:
        if self.num_shards is not None and self.rows_per_shard is not None:
            raise UserError("give --num-shards or --rows-per-shard, not both")
        for name, value in (
            ("--num-shards", self.num_shards),
            ("--rows-per-shard", self.rows_per_shard),
            ("--target-rows", self.target_rows),
            ("--min-words", self.min_words),
            ("--total", self.total),
        ):
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, not {value}")
        object.__setattr__(self, "pipeline", self.pipeline or default_pipeline())
        file = load_pipeline(self.pipeline)
        if self.target_rows is not None and not _knows(file).target_rows:
            raise UserError(f"{file.pipeline} cannot stop at --target-rows; it draws from its input with --total")
        if self.image_root is not None and not self.image_root.is_dir():
            raise UserError(f"--image-root: there is no folder {self.image_root}, where relative image paths are to start")
        if self.start_at is not None:
            file, given = start_at(file, self.start_at, _knows(file).originals)
            object.__setattr__(self, "given", given)
        chosen = use_models(file, self.models, self.servers)
        object.__setattr__(self, "pipeline_file", override(chosen, self.settings))
        object.__setattr__(self, "given", inputs_of(self.pipeline_file, self.given))

    @property
    def reading(self) -> InputReading:
        """How the input is read."""
        return InputReading(
            encoding=self.encoding,
            quoting=self.quoting,
            delimiter=self.separator,
            header=self.header,
            columns=list(self.columns),
        )


def start_run(
    folder: Path,
    new: NewRun,
    progress: Callable[[ImportProgress], None] | None = None,
    check: Callable[[Plan], object] = lambda plan: None,
) -> RunFolder:
    """Plan a run and ingest its input; with the run there already, check that it is the same and finish its ingest.

    `check` raises UserError for a plan that cannot be carried out where it is to be; then nothing is written.
    """
    plan = make_plan(folder, new, progress)
    check(plan)
    allow_models(stage.model for stage in plan.stages)
    if not replaces_untouched(folder, plan):
        create_plan(folder, plan)
    remember_code(folder, code_of(load_plan(folder)))
    run = RunFolder(folder)
    ingest(run, progress)
    return run


def replaces_untouched(folder: Path, plan: Plan) -> bool:
    """Whether the plan has replaced another one, of which nothing was done: that of a command which is corrected now."""
    run = RunFolder(folder)
    if not (folder / NAME).exists() or not compare(run.plan, plan) or not is_untouched(run):
        return False
    replace_untouched(run, plan)
    return True


def code_of(plan: Plan) -> dict[str, str]:
    """The allowed references and the permissions that a plan uses."""
    used = {plan.source, *(stage.source for stage in plan.stages), *(str(stage.model.get("kind")) for stage in plan.stages)}
    found = {name: location for name, location in allowed_code().items() if name in used}
    return {**found, **permitted(stage.model for stage in plan.stages)}


def make_plan(folder: Path, new: NewRun, progress: Callable[[ImportProgress], None] | None = None) -> Plan:
    """The plan that `new` asks for. An input whose digest the existing plan has is not counted again."""
    existing = load_plan(folder) if (folder / NAME).exists() else None
    use_texts(existing.texts if existing is not None and not is_untouched(RunFolder(folder)) else {})
    texts: dict[str, str] = {}
    reading = new.reading
    root = (new.image_root or folder_of(new.input)).resolve()
    captioned = reads_captions(new.pipeline_file)
    source = open_input(new, root, captioned=captioned or bool(new.total or new.min_words))
    table, mapping, columns = source.table, source.mapping, source.columns
    sha256, size = table.digest()
    wanted = Selection(min_words=new.min_words or 1, total=new.total, seed=new.seed) if new.min_words or new.total else None
    known = existing is not None and existing.input.sha256 == sha256 and existing.input.reading == reading
    if existing is not None and known and _same_selection(existing.input.selection, wanted):
        rows, selection, notes = existing.input.rows, existing.input.selection, existing.input.notes
    else:
        rows, selection = _count(table, mapping, wanted, progress)
        notes = source.notes()
    if rows == 0:
        raise UserError(f"{new.input} has no rows below its header")
    if existing is not None and existing.input.rows == rows and new.num_shards is None and new.rows_per_shard is None:
        shards = existing.shards
    elif new.num_shards is not None:
        shards = cut(rows, num_shards=new.num_shards)
    else:
        shards = cut(rows, rows_per_shard=new.rows_per_shard or default_rows_per_shard(rows))
    return Plan(
        pipeline=new.pipeline_file.pipeline,
        source=new.pipeline_file.source if is_reference(new.pipeline_file.source) else "",
        seed=new.seed,
        shards=shards,
        part_format=new.part_format,
        target_rows=new.target_rows,
        input=InputPlan(
            path=str(new.input.resolve()),
            sha256=sha256,
            bytes=size,
            rows=rows,
            format=table.format,
            reading=reading,
            mapping=mapping,
            copies=source.copies,
            columns=columns,
            image_root=str(root),
            selection=selection,
            captioned=captioned or selection is not None,
            notes=notes,
            files=table.file_digests,
        ),
        stages=plan_stages(new.pipeline_file, columns, Context(new.seed, root), [*mapping.values(), *source.copies], texts),
        texts=texts,
        code_version=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def open_input(new: NewRun, root: Path, *, captioned: bool) -> RunInput:
    """The input of a run, with its columns found."""
    found = open_run_input(
        new.input,
        new.reading.model_dump(),
        root,
        caption=new.caption_column,
        image=new.image_column,
        lists=new.list_columns,
        captioned=captioned,
        taken=added_columns(new.pipeline_file),
        given=new.given.kinds,
        sources_of=new.given.sources,
    )
    if new.start_at is None:
        columns = found.table.columns
        if starts := possible_starts(new.pipeline_file, _knows(new.pipeline_file).originals, columns):
            original = f"it has columns that {new.pipeline_file.pipeline}'s original makes"
            found.guesses.append(f"{original}; to go on from these: --start-at {' or '.join(starts)}")
    return found


def added_columns(pipeline: PipelineFile) -> set[str]:
    """The columns that stages add, but for those that a stage before them reads from the input."""
    read: set[str] = set()
    added: set[str] = set()
    for entry in pipeline.stages:
        stage = entry.make(Context())
        read |= {*stage.reads} - added
        added |= stage.columns().keys()
    return added - read


def _knows(file: PipelineFile) -> Pipeline:
    """The pipeline object of a file; one with defaults for a file of stages of others."""
    try:
        return find_pipeline(file.source or file.pipeline)
    except UserError:
        return Pipeline(file.pipeline, stages=())


def default_rows_per_shard(rows: int) -> int:
    """Rows of a shard where the user names no number.

    >>> [default_rows_per_shard(rows) for rows in (1_000, 100_000_000, 1_000_000_000)]
    [10000, 10000, 100000]
    """
    return max(DEFAULT_ROWS_PER_SHARD, -(-rows // MAX_DEFAULT_SHARDS))


def reads_captions(pipeline: PipelineFile) -> bool:
    """Whether a stage of the pipeline cannot do without the captions of the input."""
    stages = [entry.make(Context()) for entry in pipeline.stages]
    return any("caption" in stage.reads and "caption" not in stage.optional for stage in stages)


def _count(
    table: Table, mapping: Mapping[str, str], wanted: Selection | None, progress: Callable[[ImportProgress], None] | None
) -> tuple[int, Selection | None]:
    """The number of records, and the selection with its last draw."""
    if wanted is None:
        return count_records(table, progress), None
    drawing = Drawing(wanted)
    caption = next(source for source, target in mapping.items() if target == "caption")
    rows = count_records(table, progress, lambda frame: drawing.add_captions(frame[caption]))
    return rows, drawing.selection()


def _same_selection(existing: Selection | None, wanted: Selection | None) -> bool:
    if existing is None or wanted is None:
        return existing is wanted
    return existing.model_dump(exclude={"last"}) == wanted.model_dump(exclude={"last"})
