"""Changing the plan of a run on purpose: stages done again, and code of today accepted for what is finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shardmill import __version__
from shardmill.core.model_files import RequestDefaults, Thresholds
from shardmill.core.permissions import allow_models
from shardmill.core.pipeline_file import PipelineFile, StageEntry, override, plan_stages
from shardmill.core.planning import code_of
from shardmill.core.registry import stage_class
from shardmill.core.stage import Context, ModelStage
from shardmill.core.user_code import recall_code, remember_code
from shardmill.store.exclusive import one_change_at_a_time
from shardmill.store.journal import read_header
from shardmill.store.plan import Plan, StagePlan, replace_plan
from shardmill.store.publish import archive_files, published_files
from shardmill.store.run_folder import INGEST, RunFolder, rows_digest
from shardmill.store.shard import Shard
from shardmill.util.errors import UserError
from shardmill.util.texts import LEXICON, use_texts


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
            requests=stage.requests,
        )
        for stage in plan.stages
    ]
    redone = [] if name is None else run.downstream(name)
    renewed_texts = {text for stage in plan.stages if stage.name in redone for text in stage.texts} - {LEXICON}
    use_texts({text: content for text, content in plan.texts.items() if text not in renewed_texts})
    texts: dict[str, str] = {}
    recall_code(run.path)
    _forget_defaults(plan, entries)
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


def _forget_defaults(plan: Plan, entries: Sequence[StageEntry]) -> None:
    """Take out of the options what they are by default or by their stage's model: another model brings defaults of its own."""
    thresholds: dict[str, float] = {}
    for stage, entry in zip(plan.stages, entries, strict=True):
        fields = stage_class(stage.source, stage.name).Options.model_fields
        thresholds |= {name: fields[name].default for name in Thresholds.model_fields if name in fields} | stage.thresholds
        requests = {name: fields[name].default for name in RequestDefaults.model_fields if name in fields} | stage.requests
        known = {**thresholds, **requests}
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
