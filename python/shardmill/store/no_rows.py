"""What is wrong with a run, or a stage, of which no row came out. Zero rows are a failure, never a quiet success."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shardmill.store.manifest import Counts, counted, totals
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.util.commands import command_line
from shardmill.util.errors import NoRows

NEW_RUN = "in another run folder"
FIXES = {
    "empty caption": f"name the column of captions with --caption-column, {NEW_RUN}",
    "no image": f"name the column of images with --image-column, {NEW_RUN}",
    "unreadable image": f"say with --image-root where the paths of images start, {NEW_RUN}",
    "not a scene image": f"name a model that reads photos: --model owlvit-base, or --model openai-detector, {NEW_RUN}",
    "cut by the token limit": "raise max_tokens in the model's `sampling`",
    "malformed answer": "use a larger model, or one whose engine constrains answers to a schema",
    "prompt too long": "raise max_model_len of the model, or shorten the prompt",
    "server error": "see the server's log",
}


def check_rows(run: RunFolder, stages: Iterable[str] | None = None) -> None:
    """Raises NoRows if no row came out of `stages` (by default the last ones) although all of their shards are finished."""
    if problem := no_rows(run, run.finished(), stages):
        raise NoRows(problem)


def no_rows(run: RunFolder, complete: Mapping[tuple[str, int], Counts], stages: Iterable[str] | None = None) -> str:
    """Why no row came out of `stages` (by default the last ones), and what to do; empty if some did, or shards are unfinished.

    Args:
        run: The run.
        complete: The manifests of its finished shards, by (stage, shard).
        stages: The stages to look at.
    """
    for stage in run.leaves() if stages is None else stages:
        made = _manifests(run, stage, complete)
        if len(made) < run.num_shards or any(manifest.rows_out for manifest in made):
            return ""
        empty = _first_empty(run, stage, complete)
    return _reason(run, empty, _manifests(run, empty, complete))


def _manifests(run: RunFolder, stage: str, complete: Mapping[tuple[str, int], Counts]) -> list[Counts]:
    return [complete[stage, shard] for shard in range(run.num_shards) if (stage, shard) in complete]


def _first_empty(run: RunFolder, stage: str, complete: Mapping[tuple[str, int], Counts]) -> str:
    """The stage, on the way to `stage`, at which the last rows were rejected."""
    above = run.after(stage)
    while above is not None and not any(manifest.rows_out for manifest in _manifests(run, above, complete)):
        stage, above = above, run.after(above)
    return stage


def _reason(run: RunFolder, stage: str, made: list[Counts]) -> str:
    sums = totals(made)
    reasons: dict[str, int] = sums["reasons"]
    main = max(reasons, key=lambda reason: reasons[reason], default="")
    rejected = f"{stage} rejected all of its {sums['rows_in']:,} rows: {counted(reasons)}" if reasons else f"{stage} got no row"
    start = made[0].shard if made else 0
    file = run.files(stage, start).rejects
    fix = FIXES.get(main, "change its model, prompt or options")
    if stage != INGEST and not fix.endswith(NEW_RUN):
        fix += f", then: {command_line('run', run.path, stage, '--redo')}"
    return f"no row came out of {run.path}: {rejected}. To fix it: {fix}. Each row's detail is in {file}"
