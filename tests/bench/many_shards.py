"""What a shard costs a shared file system in a run of many shards, and what looking at such a run takes.

A run of any number of shards is made up: its plan is real, and so are the few shards that are worked on; the others are empty
files with manifests that say they are finished. The calls are counted with strace, where there is one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from generated_captions import write_captions
from stand_in_parts import SETTINGS

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.monitor.status import Seen, read_status
from shardmill.store.leases import this_process
from shardmill.store.manifest import FileRecord, InputRecord, Manifest
from shardmill.store.plan import create_plan
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.verify import check_lineage, check_stage

STAGE = "extract_objects"
ROWS = 600
WARM, WORKED = 1, 4
CALL = re.compile(r"^\d+ +(\w+)\((.*)")
ENTRIES = re.compile(r"/\* (\d+) entries \*/")
TRACED = "%file,fsync,getdents64,read,write,pwrite64"
LOOKING = {"openat", "newfstatat", "statx", "access", "readlink", "missing"}
WRITING = {"link", "linkat", "unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "utimensat"}


@dataclass(frozen=True)
class ShardCost:
    """Of one shard of a text stage in a run of `shards`: CPU seconds; calls on files of the run by name; names listed.

    A call about a name that is not there counts as `missing`.
    """

    shards: int
    cpu: float
    calls: dict[str, float]
    names: float

    @property
    def looks(self) -> float:
        """Calls that ask for a file by name and change nothing: open for reading, stat."""
        return sum(count for name, count in self.calls.items() if name in LOOKING)

    @property
    def changes(self) -> float:
        """Names made, linked, moved and removed."""
        return sum(count for name, count in self.calls.items() if name in WRITING or name == "create")

    def __str__(self) -> str:
        calls = ", ".join(f"{name} {count:g}" for name, count in sorted(self.calls.items(), key=lambda item: -item[1]))
        return (
            f"a shard of {STAGE} ({ROWS} rows) in a run of {self.shards:,}: {self.cpu:.2f} CPU s; {self.looks:g} looks, "
            f"{self.changes:g} changes, {self.calls.get('fsync', 0):g} fsync, {self.names:,.0f} names listed ({calls})"
        )


def cost_of_a_shard(folder: Path, shards: int) -> ShardCost:
    """The cost of one shard to a worker of a cluster, which claims its rows block by block."""
    own = folder / f"shards-{shards}"
    run = made_up_run(own, shards)
    trace = own / "trace.txt"
    command = [sys.executable, __file__, str(run.path)]
    if shutil.which("strace"):
        command = ["strace", "-f", "-y", "-s", "0", "-e", f"trace={TRACED}", "-o", str(trace), *command]
    cpu = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    calls, names = counted(trace, run.path) if trace.exists() else ({}, 0.0)
    shutil.rmtree(own)
    return ShardCost(shards, cpu, calls, names)


def counted(trace: Path, run: Path) -> tuple[dict[str, float], float]:
    """Calls per shard between the two marks that the worker makes, and names listed."""
    calls: Counter[str] = Counter()
    names, counting = 0, False
    with open(trace, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = CALL.match(line)
            if match is None or str(run) not in line:
                continue
            if "/mark-" in line:
                counting = "/mark-begin" in line
            elif counting:
                name = "create" if match[1] == "openat" and "O_CREAT" in line else match[1]
                name = "missing" if "= -1 ENOENT" in line else name
                calls[name] += 1
                names += sum(map(int, ENTRIES.findall(line)))
    return {name: count / WORKED for name, count in calls.items()}, names / WORKED


def made_up_run(folder: Path, shards: int, *, whole: bool = False) -> RunFolder:
    """A run of so many shards. Of STAGE the first few are to be worked on, the others are finished; or all of all stages."""
    folder.mkdir()
    count = WARM + WORKED
    write_captions(folder / "captions.csv", count * ROWS)
    small = start_run(folder / "small", NewRun(input=folder / "captions.csv", num_shards=count, settings=SETTINGS))
    bounds = [(shard * ROWS, (shard + 1) * ROWS) for shard in range(shards)]
    run = RunFolder(folder / "run")
    whole_input = small.plan.input.model_copy(update={"rows": shards * ROWS})
    create_plan(run.path, small.plan.model_copy(update={"shards": bounds, "input": whole_input}))
    for stage in (INGEST, *(run.stages if whole else (STAGE,))):
        run.folder(stage).mkdir()
        template = made_up_manifest(run, stage)
        for shard in range(shards):
            files = run.files(stage, shard)
            if shard < count and not whole:
                if stage == STAGE:
                    continue
                real = small.manifest(INGEST, shard)
                assert real is not None
                small.files(INGEST, shard).part.rename(files.part)
                small.files(INGEST, shard).rejects.rename(files.rejects)
                made = real.model_copy(update={"num_shards": shards})
            else:
                files.part.touch()
                files.rejects.touch()
                made = template.model_copy(update={"shard": shard})
            files.manifest.write_bytes(made.to_bytes())
    return run


def made_up_manifest(run: RunFolder, stage: str) -> Manifest:
    """A manifest for an empty part, as long as a real one."""
    empty = sha256(b"").hexdigest()
    record = FileRecord(name=run.files(stage, 0).part.name, sha256=empty, bytes=0)
    source = InputRecord(stage=run.after(stage) or "input", sha256=run.plan.input.sha256 if stage == INGEST else empty)
    usage = {} if stage == INGEST else {"requests": 1.0, "prompt_tokens": 1.0, "completion_tokens": 1.0, "request_seconds": 1.0}
    return Manifest(
        stage=stage, shard=0, num_shards=run.num_shards, rows_in=ROWS, rows_out=ROWS, rejected=0, lines_out=ROWS,
        reasons={"empty caption": 0, "malformed answer": 0}, columns=run.kinds(stage), part=record, rejects=record,
        input=source, fingerprint=run.fingerprint(stage), usage=usage,
        seconds=600, host="node-0001", attempt="1700000000000-node-0001-1-abcdef", code_version="0.1.0",
        job={"SLURM_JOB_ID": "1234567", "SLURM_ARRAY_JOB_ID": "1234567", "SHARDMILL_NODE": "node-0001"},
    )  # fmt: skip


@dataclass(frozen=True)
class LookCost:
    """CPU seconds that looks at a whole run take, bytes of its plan and of a manifest, MB that a status keeps in memory."""

    shards: int
    stages: int
    seconds: dict[str, float]
    plan: int
    manifest: int
    memory_mb: float

    def __str__(self) -> str:
        timed = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in self.seconds.items())
        return (
            f"{self.shards:,} shards x {self.stages} stages: {timed}; plan {self.plan / 1e6:.1f} MB, "
            f"manifest {self.manifest:,} bytes; {self.memory_mb:,.0f} MB in memory"
        )


def cost_of_looks(folder: Path, shards: int) -> LookCost:
    """What status, launch and combine read of a run in which all shards of all stages stand."""
    own = folder / f"looks-{shards}"
    run = made_up_run(own, shards, whole=True)
    stages, seen = run.stages, Seen()
    before = resident()
    seconds = {}
    for name, look in (
        ("plan", lambda: RunFolder(run.path).plan),
        ("first status", lambda: read_status(RunFolder(run.path), seen)),
        ("next status", lambda: read_status(RunFolder(run.path), seen)),
        ("check of a stage", lambda: check_stage(RunFolder(run.path), stages[0], depth="sizes")),
        ("check of the lineage", lambda: check_lineage(RunFolder(run.path), RunFolder(run.path).leaves(), depth="origin")),
    ):
        begin = time.process_time()
        look()
        seconds[name] = time.process_time() - begin
    plan, manifest = (run.path / "plan.json").stat().st_size, run.files(stages[1], shards - 1).manifest.stat().st_size
    memory = resident() - before
    shutil.rmtree(own)
    return LookCost(shards, 1 + len(stages), seconds, plan, manifest, memory)


def resident() -> float:
    """MB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def work(path: Path) -> Iterator[float]:
    """CPU seconds of each shard after the warm ones."""
    run, models = RunFolder(path), ModelPool()
    for shard in range(WARM + WORKED):
        if shard == WARM:
            (path / "mark-begin").exists()
        begin = time.process_time()
        run_shard(run, STAGE, shard, models=models, owner=this_process())
        if shard >= WARM:
            yield time.process_time() - begin
    (path / "mark-end").exists()


if __name__ == "__main__":
    spent = list(work(Path(sys.argv[1])))
    print(sum(spent) / len(spent))
