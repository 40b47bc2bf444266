"""The logs of a shard. On a cluster one file belongs to a SLURM task and holds several shards, each begun by a line `=== …`."""

from __future__ import annotations

import re
from pathlib import Path

from shardmill.errors import UserError
from shardmill.launch.jobs import JobsFolder
from shardmill.launch.task_logs import TaskLogs
from shardmill.launch.tasks import Task
from shardmill.shards.claims import read_claims
from shardmill.shards.run_folder import RunFolder

HEADER = re.compile(r"^=== \S+ (?P<stage>\w+) shard (?P<shard>\d+) on ", re.MULTILINE)
ANY_HEADER = re.compile(r"^=== \d{4}-", re.MULTILINE)


def logs_of(run: RunFolder, stage: str, shard: int | None = None) -> list[Path]:
    """The log files that tell of a shard, or of any shard of the stage, the newest last. Raises UserError when there is none."""
    logs = TaskLogs(run)
    if shard is None:
        found = set(logs.folder.glob(f"{stage}-*.log"))
    else:
        run.files(stage, shard)
        found = {logs.log(Task(stage, shard)), *map(Path, _noted(run, stage, shard))}
    there = [path for path in found if path.is_file()]
    if not there:
        what = f"{stage} shard {shard}" if shard is not None else stage
        raise UserError(f"{what} has no log in {logs.folder}: it was not begun yet; see: shardmill status {run.path}")
    return sorted(there, key=lambda path: path.stat().st_mtime)


def _noted(run: RunFolder, stage: str, shard: int) -> list[str]:
    """What manifest, failures and claims say of where the log is."""
    noted = [failure.log for failure in JobsFolder(run).failures(stage, shard)]
    noted += [holder.log for _, holder, _ in read_claims(run.files(stage, shard))]
    manifest = run.manifest(stage, shard)
    if manifest is not None:
        noted.append(manifest.job.get("SHARDMILL_LOG", ""))
    return [path for path in noted if path]


def excerpt(path: Path, stage: str, shard: int) -> str:
    """What a log says of one shard; all of it when its parts are not marked."""
    text = path.read_text(encoding="utf-8", errors="replace")
    pieces = []
    for match in HEADER.finditer(text):
        if (match["stage"], int(match["shard"])) == (stage, shard):
            end = ANY_HEADER.search(text, match.end())
            pieces.append(text[match.start() : end.start() if end else len(text)])
    return "".join(pieces) or text


def latest_text(run: RunFolder, stage: str, shard: int | None, lines: int | None = None) -> str:
    """What the newest log says of a shard (of the stage), or the last lines of that."""
    path = logs_of(run, stage, shard)[-1]
    text = path.read_text(encoding="utf-8", errors="replace") if shard is None else excerpt(path, stage, shard)
    return "\n".join(text.rstrip("\n").split("\n")[-lines:] if lines else [text.rstrip("\n")])
