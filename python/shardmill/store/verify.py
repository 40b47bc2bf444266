"""Checking the lineage of shards before anything is made from them: every stage from ingest to the one that is read.

Each part names the part that it was made from by its digest, and each manifest what its stage was planned with. Both are checked
over the whole chain, so that rows of two plans, or of two states of an earlier stage, never get into one file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from shardmill.store.jobs import JobsFolder
from shardmill.store.manifest import Manifest
from shardmill.store.plan import load_plan
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.util.atomic import file_digest
from shardmill.util.commands import command_line
from shardmill.util.errors import UserError
from shardmill.util.number_ranges import ranges_text

Depth = Literal["origin", "sizes", "digests"]
"""Manifests only: what the shards were made with and from. Or also their rows, and the sizes of the files that are wanted.
Or also the digests of these files, which reads them whole.
"""
SHOWN = 8
MISSING, STALE = "not finished", "made from an older input part"


class StageFault(NamedTuple):
    """What is wrong, and in which stage."""

    stage: str
    what: str


@dataclass
class LineageCheck:
    """What is wrong with shards, each noted once: at the first stage where something is.

    Attributes:
        stages: The stages that were checked, ingest first.
        finished: The shards that are finished in all of them.
        unfinished: Those that `shardmill launch` would continue, by what is missing where.
        problems: Those that no command may use as they are.
    """

    stages: list[str]
    finished: list[int] = field(default_factory=list)
    unfinished: dict[StageFault, list[int]] = field(default_factory=dict)
    problems: dict[StageFault, list[int]] = field(default_factory=dict)

    def add(self, fault: StageFault, shard: int) -> None:
        found = self.unfinished if fault.what in (MISSING, STALE) else self.problems
        found.setdefault(fault, []).append(shard)

    @property
    def left_out(self) -> list[int]:
        """The unfinished shards."""
        return sorted({shard for shards in self.unfinished.values() for shard in shards})

    def first(self, faults: dict[StageFault, list[int]]) -> tuple[StageFault, list[int]]:
        """The faults of the earliest stage, of which the others may be consequences."""
        return min(faults.items(), key=lambda item: self.stages.index(item[0].stage))


def check_lineage(
    run: RunFolder,
    stages: Sequence[str],
    shards: Sequence[int] | None = None,
    *,
    depth: Depth = "digests",
    note: Callable[[str, int, Manifest], None] = lambda stage, shard, manifest: None,
) -> LineageCheck:
    """Check shards in some stages and in all that these were made from. Each manifest is read once, and none is kept.

    Args:
        run: The run.
        stages: The stages whose parts are wanted.
        shards: Which shards; all if not given.
        depth: How much is compared.
        note: Called with each manifest in which nothing is wrong.
    """
    wanted = {INGEST if stage == INGEST else run.stage(stage).name for stage in stages}
    source = {stage: run.after(stage) for stage in [INGEST, *run.stages]}
    check = LineageCheck([stage for stage in source if wanted & set(run.downstream(stage))])
    for shard in range(run.num_shards) if shards is None else shards:
        healthy: dict[str | None, Manifest] = {}
        for stage in check.stages:
            above = healthy.get(source[stage])
            if above is None and stage != INGEST:
                continue
            try:
                manifest = run.manifest(stage, shard)
            except UserError:
                check.add(StageFault(stage, "the manifest is corrupt"), shard)
                continue
            what = MISSING if manifest is None else _origin_fault(run, stage, shard, manifest, above)
            if manifest is not None and not what and depth != "origin":
                what = _rows_fault(run, manifest, above) or (stage in wanted and _file_fault(run, manifest, depth)) or ""
            if what:
                check.add(StageFault(stage, what), shard)
            elif manifest is not None:
                healthy[stage] = manifest
                note(stage, shard, manifest)
        if len(healthy) == len(check.stages):
            check.finished.append(shard)
    return check


def _origin_fault(run: RunFolder, stage: str, shard: int, manifest: Manifest, above: Manifest | None) -> str:
    """What is wrong with the origin of a shard that was made from the shard `above`; empty if nothing is."""
    if (manifest.stage, manifest.shard, manifest.num_shards) != (stage, shard, run.num_shards):
        return "the manifest is that of another shard"
    if not run.accepts(stage, manifest):
        return "made with another fingerprint than planned"
    if above is None:
        return "" if manifest.input.sha256 == run.plan.input.sha256 else "made from another input"
    return "" if manifest.input.sha256 == above.part.sha256 else STALE


def _rows_fault(run: RunFolder, manifest: Manifest, above: Manifest | None) -> str:
    """The shard must account for the lines of its input part, or for ingest the records of its range."""
    start, end = run.plan.shards[manifest.shard]
    offered = end - start if above is None else above.lines_out
    return "" if manifest.conserved() and manifest.rows_in == offered else "rows in differ from rows out + rejected"


def _file_fault(run: RunFolder, manifest: Manifest, depth: Depth) -> str:
    files = run.files(manifest.stage, manifest.shard)
    for path, record in ((files.part, manifest.part), (files.rejects, manifest.rejects)):
        unchanged = path.exists() and path.stat().st_size == record.bytes
        if not unchanged or (depth == "digests" and file_digest(path) != record.sha256):
            return f"{path.suffix[1:] if path == files.part else 'rejects'} file missing or changed"
    return ""


@dataclass
class StageCheck:
    """The shards of one stage: the manifests of the finished ones, the unfinished ones, and the problems of others."""

    manifests: dict[int, Manifest] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    problems: dict[StageFault, list[int]] = field(default_factory=dict)


def check_stage(run: RunFolder, stage: str, shards: Sequence[int] | None = None, *, depth: Depth = "digests") -> StageCheck:
    """Check the lineage of a stage, and keep its manifests."""
    short = stage if stage == INGEST else run.stage(stage).name
    found: dict[int, Manifest] = {}

    def keep(name: str, shard: int, manifest: Manifest) -> None:
        if name == short:
            found[shard] = manifest

    check = check_lineage(run, [short], shards, depth=depth, note=keep)
    return StageCheck(found, check.left_out, check.problems)


def complete_manifests(run: RunFolder) -> dict[tuple[str, int], Manifest]:
    """The manifests of all finished shards, by stage and shard.

    Raises:
        UserError: Some shard is of another origin than planned.
    """
    found: dict[tuple[str, int], Manifest] = {}

    def keep(stage: str, shard: int, manifest: Manifest) -> None:
        found[stage, shard] = manifest

    check = check_lineage(run, [INGEST, *run.stages], depth="origin", note=keep)
    refuse(run, check, allow_missing=True)
    return found


def refuse(run: RunFolder, check: LineageCheck, *, allow_missing: bool = False) -> None:
    """Raise UserError for problems, and unless `allow_missing` for unfinished shards, with the command that repairs them."""
    if check.problems:
        fault, shards = check.first(check.problems)
        raise UserError(
            f"{fault.stage}: shards {numbers(shards)}: {fault.what}; do them again: "
            f"{redo_command(run, fault.stage, shards, check.stages)}"
        )
    if check.unfinished and not allow_missing:
        fault, shards = check.first(check.unfinished)
        if fault.what == STALE:
            later = [stage for stage in run.downstream(fault.stage) if stage in check.stages]
            again = command_line("run", run.path, *later, "--shard", ranges_text(shards))
            raise UserError(f"{fault.stage}: shards {numbers(shards)}: {STALE}; bring them up to date: {again}")
        raise UserError(
            f"{fault.stage}: shards {numbers(shards)} of {run.num_shards} are not finished; finish them: {launch_command(run)}"
        )


def refuse_if_changed(run: RunFolder) -> None:
    """Raise UserError if the plan was changed since the run was opened: what was read of it meanwhile may be of both plans."""
    now = load_plan(run.path).revision
    if now != run.plan.revision:
        raise UserError(
            f"{run.path} was changed by another command while it was being read (revision {run.plan.revision} of its plan became "
            f"{now}); run the command again"
        )


def redo_command(run: RunFolder, stage: str, shards: Sequence[int], wanted: Sequence[str] = ()) -> str:
    """The command that makes shards again, in a stage and in those of its later ones that are `wanted` or were made already."""
    later = [] if stage == INGEST else run.downstream(stage)[1:]
    made = [name for name in later if name in wanted or any(run.files(name, shard).manifest.exists() for shard in shards)]
    return command_line("run", run.path, stage, *made, "--shard", ranges_text(shards), "--redo")


def launch_command(run: RunFolder) -> str:
    """The command that continues a run where it was launched last."""
    submissions = JobsFolder(run).submissions()
    site = ("--site", submissions[-1].site) if submissions else ()
    return command_line("launch", run.plan.pipeline, "--run", run.path, *site)


def numbers(shards: Sequence[int]) -> str:
    """3, 7 and 9: the first few of a list of shard numbers."""
    shown = ", ".join(map(str, shards[:SHOWN]))
    return shown if len(shards) <= SHOWN else f"{shown} and {len(shards) - SHOWN} more"


def choose_shards(
    run: RunFolder, stages: Sequence[str], allow_missing: bool, wanted: Sequence[int] | None = None
) -> tuple[list[int], list[int]]:
    """Of the `wanted` shards (all if not given) those to build from, and those left out.

    Raises UserError unless all of them are finished in each of the stages and in all that these are made from; `allow_missing`
    leaves unfinished ones out.
    """
    check = check_lineage(run, stages, wanted)
    refuse(run, check, allow_missing=allow_missing)
    if not check.finished:
        raise UserError(f"no shard of {run.path} is finished yet; run: {launch_command(run)}")
    return check.finished, check.left_out
