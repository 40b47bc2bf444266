"""Starting a run: read the input, cut it into shards, write the plan, ingest. And changing a plan on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from shardmill import __version__
from shardmill.core.model_choice import use_models
from shardmill.core.model_files import Thresholds
from shardmill.core.permissions import allow_models, permitted
from shardmill.core.pipeline import Pipeline
from shardmill.core.pipeline_file import PipelineFile, StageEntry, load_pipeline, override, plan_stages
from shardmill.core.registry import default_pipeline, find_pipeline, stage_class
from shardmill.core.stage import Context, ModelStage
from shardmill.core.start_at import GivenColumns, inputs_of, possible_starts, start_at
from shardmill.core.user_code import allowed_code, is_reference, recall_code, remember_code
from shardmill.store.exclusive import one_change_at_a_time
from shardmill.store.journal import read_header
from shardmill.store.plan import (
    NAME,
    InputPlan,
    InputReading,
    PartFormat,
    Plan,
    StagePlan,
    compare,
    create_plan,
    cut,
    load_plan,
    replace_plan,
)
from shardmill.store.publish import archive_files, published_files
from shardmill.store.run_folder import INGEST, RunFolder, rows_digest
from shardmill.store.selection import Selection
from shardmill.store.shard import Shard
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


@one_change_at_a_time
def redo(
    run: RunFolder,
    name: str,
    settings: Sequence[str] = (),
    shards: Sequence[int] | None = None,
    *,
    keep_journals: bool = False,
) -> RunFolder:
    """Archive what a stage and all after it have made (of some shards only), to be made again with today's code and templates.

    What was made is kept under `superseded/`. With `shards`, stages that learn from many shards keep what they have learned.
    Without `shards` the plan gets a new revision with the fingerprints of today. Where a stage is only to ask about more or fewer
    things than before (`ModelStage.extendable`), it goes on from the answers it has. Redoing ingest cuts the same input in the
    same way, so the stages keep what they made. With `keep_journals`, journals of the stage that bear its new fingerprint stay:
    the worker goes on from them.
    """
    if name == INGEST:
        if settings:
            raise UserError("ingest has no options to --set")
        _set_aside(run, [INGEST], shards)
        return run
    short = run.stage(name).name
    if settings and shards is not None:
        raise UserError("--set changes a whole stage; remove --shard")
    today = plan_of_today(run, short, settings) if shards is None else None
    kept = []
    for stage in today.stages if today else ():
        grown = stage.name == short and _only_grew(run, stage)
        if (keep_journals and stage.name == short) or grown:
            kept.append(rows_digest(stage.fingerprint, stage.revision))
        for shard in range(run.num_shards) if grown else ():
            Shard(run, short, shard).keep_rows(rows_digest(stage.fingerprint, stage.revision))
    _set_aside(run, run.downstream(short), shards, kept)
    if today is not None:  # after the files: if this is interrupted earlier, nothing on disk contradicts the plan
        plan = replace_plan(run.path, today)
        remember_code(run.path, code_of(plan))
    renewed = RunFolder(run.path)
    _archive_late(renewed, renewed.downstream(short), shards)
    return renewed


KEPT_FIELDS = ("options", "prompt")
"""Fields of a fingerprint that the user decides: a change of them is never accepted as a change of code."""


@one_change_at_a_time
def accept_code_change(run: RunFolder) -> tuple[RunFolder, list[str]]:
    """Go on with the code (and the bundled prompts) of today, and keep what was finished with the earlier one.

    Both digests are recorded: the earlier fingerprints in the plan, what each shard was made with in its manifest.

    Returns:
        The run with its new plan, and the stages whose code had changed.

    Raises:
        UserError: If anything else than code and bundled prompts has changed, naming it.
    """
    today = plan_of_today(run, None, ())
    changed = []
    stages = []
    for before, now in zip(run.plan.stages, today.stages, strict=True):
        if before.fingerprint == now.fingerprint:
            stages.append(before)
            continue
        fields = [
            name
            for name in before.fingerprint.keys() | now.fingerprint.keys()
            if before.fingerprint.get(name) != now.fingerprint.get(name)
        ]
        other = sorted(name for name in fields if name in KEPT_FIELDS or (name.startswith("model ") and "code" not in fields))
        if other:
            raise UserError(
                f"{other[0]} of stage {before.name} changed, which is not a change of code; "
                f"do the stage and all after it again: shardmill run {run.path} {before.name} --redo"
            )
        changed.append(before.name)
        accepted = [*before.accepted, dict(before.fingerprint)]
        stages.append(now.model_copy(update={"accepted": [each for each in accepted if each != now.fingerprint]}))
    if changed:
        replace_plan(run.path, today.model_copy(update={"stages": stages, "code_version": __version__}))
    return RunFolder(run.path), changed


def _only_grew(run: RunFolder, now: StagePlan) -> bool:
    """Whether nothing of a stage changed but the options by which it grows (and their own entries in its fingerprint)."""
    kind = stage_class(now.source, now.name)
    grows = set(kind.extendable) if issubclass(kind, ModelStage) else set()
    before = run.stage(now.name)
    changed = {
        name
        for name in before.fingerprint.keys() | now.fingerprint.keys()
        if before.fingerprint.get(name) != now.fingerprint.get(name)
    }
    options = {name for name in now.options.keys() | before.options.keys() if before.options.get(name) != now.options.get(name)}
    return bool(changed) and changed <= {"options", *grows} and options <= grows


def plan_of_today(run: RunFolder, name: str | None, settings: Sequence[str]) -> Plan:
    """The plan with the stages as their code is now, with `settings`, and for `name` and the stages after it with today's texts.

    Raises UserError when a stage that is not `name` or after it differs; with None for it, any may.
    """
    plan = run.plan
    entries = [
        StageEntry(
            stage=stage.name,
            source=stage.source,
            after=stage.after,
            prompt=stage.prompt,
            model=stage.model or None,
            options=stage.options,
            attempts=stage.attempts,
            stop_after=stage.stop_after,
            resources=stage.resources,
            price=stage.price,
            thresholds=stage.thresholds,
        )
        for stage in plan.stages
    ]
    redone = [] if name is None else run.downstream(name)
    renewed_texts = {text for stage in plan.stages if stage.name in redone for text in stage.texts}
    use_texts({text: content for text, content in plan.texts.items() if text not in renewed_texts})
    texts: dict[str, str] = {}
    recall_code(run.path)
    _forget_thresholds(plan, entries)
    pipeline = override(PipelineFile(pipeline=plan.pipeline, source=plan.source or plan.pipeline, stages=entries), settings)
    context = Context(plan.seed, Path(plan.input.image_root))
    given = [*plan.input.mapping.values(), *plan.input.copies]
    renewed = plan_stages(pipeline, plan.input.columns, context, given, texts)
    allow_models([stage.model for stage in renewed], but=[stage.model for stage in plan.stages])
    for before, now in zip(plan.stages, renewed, strict=True):
        now.revision = plan.revision + 1 if before.name in redone else before.revision
        now.accepted = [] if before.name in redone else before.accepted
        same = (before.fingerprint, before.attempts) == (now.fingerprint, now.attempts)
        if name is not None and before.name not in redone and not same:
            raise UserError(
                f"stage {before.name}, which {name} does not come before, changed too; do it again first: "
                f"shardmill run {run.path} {before.name} --redo"
            )
    return plan.model_copy(update={"stages": renewed, "texts": texts})


def _forget_thresholds(plan: Plan, entries: Sequence[StageEntry]) -> None:
    """Take out of the options what is a threshold by default or by its model: another model brings thresholds of its own."""
    known: dict[str, float] = {}
    for stage, entry in zip(plan.stages, entries, strict=True):
        fields = stage_class(stage.source, stage.name).Options.model_fields
        known |= {name: fields[name].default for name in Thresholds.model_fields if name in fields} | stage.thresholds
        entry.options = {name: value for name, value in entry.options.items() if name not in known or known[name] != value}


def _archive_late(run: RunFolder, stages: Sequence[str], shards: Sequence[int] | None) -> None:
    """Archive what workers that did not see the change yet have published meanwhile: later ones look at the plan and do not."""
    for shard in range(run.num_shards) if shards is None else shards:
        for stage in stages:
            files = run.files(stage, shard)
            seen = published_files(files)
            manifest = run.manifest(stage, shard)
            source = run.after(stage)
            above = run.manifest(source, shard) if source else None
            fits = above is not None and manifest is not None and above.part.sha256 == manifest.input.sha256
            if manifest is not None and not (fits and run.accepts(stage, manifest)):
                archive_files(files, run.superseded / stage, seen)


def _set_aside(run: RunFolder, stages: Sequence[str], shards: Sequence[int] | None, kept: Sequence[str] = ()) -> None:
    """The last stage first: interrupted at any point, whatever is left still has the input that it was made from.

    Journals with a fingerprint of `kept` stay.
    """
    for stage in reversed(stages):
        for shard in range(run.num_shards) if shards is None else shards:
            files = run.files(stage, shard)
            archive_files(files, run.superseded / stage, published_files(files))
            journals = [path for path in files.journals() if (header := read_header(path)) and header.fingerprint in kept]
            for path in files.temporaries():
                if path not in journals:
                    path.unlink(missing_ok=True)
        blocks = run.fit_blocks(stage) if shards is None else None
        for block in range(len(blocks.bounds)) if blocks else ():
            run.fit_files(stage, block).archive(run.superseded / stage)
