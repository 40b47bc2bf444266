"""Checking all shards of a stage before anything is made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shardmill.store.manifest import Manifest
from shardmill.store.run_folder import RunFolder
from shardmill.util.atomic import file_digest
from shardmill.util.errors import UserError

SHOWN = 8


@dataclass
class StageCheck:
    """The problems of the shards of a stage, by problem, and the manifests of the good ones."""

    stage: str
    manifests: dict[int, Manifest] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    problems: dict[str, list[int]] = field(default_factory=dict)

    def add_problem(self, what: str, shard: int) -> None:
        self.problems.setdefault(what, []).append(shard)


def check_stage(run: RunFolder, stage: str, shards: Sequence[int] | None = None, *, digests: bool = True) -> StageCheck:
    """Check every shard (or `shards`): manifest, fingerprint, input, conservation, and with `digests` the bytes."""
    short = stage if stage == "ingest" else run.stage(stage).name
    check = StageCheck(short)
    for shard in range(run.num_shards) if shards is None else shards:
        manifest, source = run.manifest(short, shard), run.after(short)
        above = None if source is None or manifest is None else run.manifest(source, shard)
        if manifest is None or (source is not None and above is None):
            check.missing.append(shard)
            continue
        problem = _problem(run, short, shard, manifest, above, digests)
        if problem is None:
            check.manifests[shard] = manifest
        else:
            check.add_problem(problem, shard)
    return check


def _problem(run: RunFolder, stage: str, shard: int, manifest: Manifest, above: Manifest | None, digests: bool) -> str | None:
    """What is wrong with a shard, made from the shard `above`."""
    files = run.files(stage, shard)
    if not run.accepts(stage, manifest):
        return "made with another fingerprint than planned"
    if above is not None and above.part.sha256 != manifest.input.sha256:
        return "made from an older input part"
    if not manifest.conserved() or manifest.rows_in != _rows_offered(run, shard, above):
        return "rows in differ from rows out + rejected"
    for path, record in ((files.part, manifest.part), (files.rejects, manifest.rejects)):
        if not path.exists() or path.stat().st_size != record.bytes or (digests and file_digest(path) != record.sha256):
            return f"{path.suffix[1:] if path == files.part else 'rejects'} file missing or changed"
    return None


def _rows_offered(run: RunFolder, shard: int, above: Manifest | None) -> int:
    """How many rows the shard had to account for: the lines of its input part, or for ingest the records of its range."""
    start, end = run.plan.shards[shard]
    return end - start if above is None else above.lines_out


def refuse(run: RunFolder, check: StageCheck) -> None:
    """Raise UserError if anything is wrong, naming the shards and the command that repairs them."""
    if check.problems:
        what, shards = next(iter(check.problems.items()))
        raise UserError(
            f"{check.stage}: shards {numbers(shards)}: {what}; "
            f"do them again: {repair_command(run, check.stage, shards, redo='older' not in what)}"
        )
    if check.missing:
        raise UserError(
            f"{check.stage}: shards {numbers(check.missing)} of {run.num_shards} are not finished; "
            f"finish them: shardmill launch {run.plan.pipeline} --run {run.path}"
        )


def repair_command(run: RunFolder, stage: str, shards: Sequence[int], *, redo: bool) -> str:
    """The command that does the shards again."""
    options = "".join(f" --shard {shard}" for shard in list(shards)[:SHOWN])
    return f"shardmill run {run.path} {stage}{options}{' --redo' if redo else ''}"


def numbers(shards: Sequence[int]) -> str:
    """3, 7 and 9: the first few of a list of shard numbers."""
    shown = ", ".join(map(str, shards[:SHOWN]))
    return shown if len(shards) <= SHOWN else f"{shown} and {len(shards) - SHOWN} more"


def choose_shards(
    run: RunFolder, stages: Sequence[str], allow_missing: bool, wanted: Sequence[int] | None = None
) -> tuple[list[int], list[int]]:
    """Of the `wanted` shards (all if not given) those to build from, and those left out.

    Raises UserError unless all of them are finished in each of the stages; `allow_missing` leaves unfinished ones out.
    """
    wanted = range(run.num_shards) if wanted is None else wanted
    finished = set(wanted)
    for stage in stages:
        check = check_stage(run, stage, wanted)
        if allow_missing:
            finished -= set(check.missing)
            check.missing = []
        refuse(run, check)
    if not finished:
        raise UserError(f"no shard of {run.path} is finished yet; run: shardmill launch {run.plan.pipeline} --run {run.path}")
    return sorted(finished), sorted(set(wanted) - finished)
