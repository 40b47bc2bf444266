"""The logs of a shard. On a cluster one file is of one worker and several shards, each after a line `=== …`."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from shardmill.monitor.cluster_state import ElementState, read_cluster
from shardmill.store.jobs import JobsFolder
from shardmill.store.leases import read_leases
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.store.tasks import Task
from shardmill.util.errors import UserError
from shardmill.util.plain_text import plain

HEADER = re.compile(r"=== \d{4}-\d\d-\d\dT\S+ (?P<what>.+) on \S+, process \d+\n?")
LOCAL = re.compile(r".*-\d{5,}\.log")


def logs_of(run: RunFolder, stage: str, shard: int | None = None) -> list[Path]:
    """The log files of a shard, or of any shard of the stage, the one written to last at the end.

    Raises:
        UserError: If there is none, saying why.
    """
    logs = TaskLogs(run)
    if shard is None:
        found = set(logs.folder.glob(f"{stage}-*.log"))
    else:
        run.files(stage, shard)
        found = {path for path in (logs.log(Task(stage, shard)), *_noted(run, stage, shard)) if path.is_file()}
    found |= {
        path for path in _worker_logs(run, logs.folder, stage, shard) if path not in found and _mentions(path, stage, shard)
    }
    if not found:
        raise UserError(_why_none(run, stage, shard))
    return sorted(found, key=lambda path: path.stat().st_mtime)


def _noted(run: RunFolder, stage: str, shard: int) -> Iterator[Path]:
    """Where the manifest, failures and leases say that the log is."""
    noted = [failure.log for failure in JobsFolder(run).failures(stage, shard)]
    noted += [owner.log for _, owner, _ in read_leases(run.files(stage, shard))]
    with suppress(UserError):
        if (manifest := run.manifest(stage, shard)) is not None:
            noted.append(manifest.job.get("SHARDMILL_LOG", ""))
    return (Path(path) for path in noted if path)


def _worker_logs(run: RunFolder, folder: Path, stage: str, shard: int | None) -> Iterator[Path]:
    """The logs of the workers that may have worked on a shard, or on any: of its elements, or of all workers where nothing was
    submitted. They are named after the first stage that a worker does.
    """
    arrays = [array for submission in JobsFolder(run).submissions() for array in submission.arrays if stage in array.stages]
    for array in arrays:
        for job, shards in zip(array.ids(), array.elements, strict=True):
            if shard is None or shard in shards:
                yield from folder.glob(f"{array.stages[0]}-{job}-*.log")
    if not arrays:
        yield from (path for path in folder.glob("*.log") if not LOCAL.fullmatch(path.name))


def _mentions(path: Path, stage: str, shard: int | None) -> bool:
    return any(True for _ in _parts(path, stage, shard))


def _why_none(run: RunFolder, stage: str, shard: int | None) -> str:
    what = stage if shard is None else f"{stage} shard {shard}"
    hint = f"see: shardmill status {run.path}"
    if shard is None:
        return f"{what} has no log: it was not started yet; {hint}"
    if run.is_complete(stage, shard):
        return f"{what} is finished and has no log: it was run by hand, which prints to the terminal, or its log was removed"
    element = read_cluster(JobsFolder(run), {}).shards.get((stage, shard))
    said = _last_words(run, element.job) if element is not None else ""
    return f"{what} has no log yet: {_job_state(element)}{said}; {hint}"


def _last_words(run: RunFolder, job: str) -> str:
    """The last line that a job printed before its worker had a log, such as that its container was not found."""
    lines: list[str] = []
    for path in sorted((TaskLogs(run).folder / "slurm").glob(f"{job}_*_log.out")):
        with suppress(OSError), open(path, encoding="utf-8", errors="replace", newline="\n") as printed:
            lines += _last(printed, 1)
    return f' ("{lines[-1][:300]}")' if lines else ""


def _job_state(element: ElementState | None) -> str:
    if element is None:
        return "it was never started"
    if element.state == "unknown":
        return f"it was submitted as job {element.job}, which has not started it"
    if element.state == "running":
        return f"its job {element.job} runs on {element.node} and has not started it"
    if element.state == "queued":
        return f"it is queued as job {element.job}, {element.words}"
    return f"its job {element.job} {element.words} before it started it"


def excerpt(path: Path, stage: str, shard: int) -> str:
    """What a log has of one shard; empty if nothing."""
    return "".join(_parts(path, stage, shard))


def _parts(path: Path, stage: str, shard: int | None) -> Iterator[str]:
    """The lines of a log about a shard of a stage, or about any."""
    wanted, inside = f"{stage} shard ", False
    with open(path, encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            if line.startswith("=== ") and (header := HEADER.fullmatch(line)):
                inside = header["what"].startswith(wanted) if shard is None else header["what"] == f"{wanted}{shard}"
            if inside:
                yield line


def last_lines(path: Path, stage: str, shard: int, count: int) -> list[str]:
    """The last lines that a log has of a shard, safe to print; of the whole log if the worker died before it began the shard."""
    with suppress(OSError):
        if not path.is_file():  # the record of a failure may name anything
            return []
        if found := _last(_parts(path, stage, shard), count):
            return found
        with open(path, encoding="utf-8", errors="replace", newline="\n") as lines:
            return _last(lines, count)
    return []


def _last(lines: Iterable[str], count: int | None) -> list[str]:
    return list(deque((text for line in lines if (text := plain(line).rstrip())), maxlen=count))


def latest_text(run: RunFolder, stage: str, shard: int | None, lines: int | None = None) -> str:
    """What the newest log has of a shard (or of the stage), safe to print: all of it, or the last `lines`."""
    path = logs_of(run, stage, shard)[-1]
    with open(path, encoding="utf-8", errors="replace", newline="\n") as everything:
        found = [] if shard is None else _last(_parts(path, stage, shard), lines)
        return "\n".join(found or _last(everything, lines))
