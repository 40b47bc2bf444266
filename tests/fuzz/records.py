"""Manifests, records of jobs, leases and job files that somebody else has written. Plans and announcements: `fuzz.servers`."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fuzz.hostile import PATHS, pick, texts, values
from fuzz.target import Target
from shardmill.audit.label_studio import VERDICTS, read_annotations
from shardmill.audit.sample import AuditSample, SampledStatement, Stratum
from shardmill.launch.assignment import Assignment
from shardmill.launch.job_file import JobFile, read_job_file
from shardmill.launch.launch_lock import one_launch_at_a_time
from shardmill.launch.throttle import current_shares
from shardmill.store.jobs import Allocation, ArrayRecord, BadNode, Failure, JobsFolder, Submission
from shardmill.store.leases import read_leases, this_process
from shardmill.store.manifest import FileRecord, InputRecord, Manifest, read_manifest, summary
from shardmill.store.plan import NAME, InputPlan, Plan, StagePlan
from shardmill.store.run_folder import RunFolder

Edits = list[tuple[float, str, Any]]

STAGES = [
    StagePlan(name="first", source="mine", reads=["caption"], after="ingest", model={"kind": "rules"}, adds={"x": "text"}),
    StagePlan(
        name="second-b", source="mine", after="first", options={"count": 3}, fingerprint={"code": "ab"}, sources={"f": "ab"}
    ),
]
INPUT = InputPlan(path="/in.csv", sha256="ab", bytes=9, rows=6, format="csv", columns={"caption": "text"}, image_root="/images")
PLAN = Plan(pipeline="mine", seed=1, input=INPUT, shards=[(0, 3), (3, 6)], stages=STAGES, code_version="0.2.0", created="now")
FILE = FileRecord(name="part.csv", sha256="ab", bytes=3)
MANIFEST = Manifest(
    stage="first", shard=0, num_shards=2, rows_in=3, rows_out=2, rejected=1, lines_out=2, reasons={"x": 1}, columns={"x": "text"},
    part=FILE, rejects=FILE, input=InputRecord(stage="ingest", sha256="ab"), fingerprint={"code": "ab"}, usage={"requests": 3.0},
    job={"SLURM_JOB_ID": "7"},
)  # fmt: skip
ARRAY = ArrayRecord(job="7", stages=["first"], elements=[[0], [1]], workers=1, gpus=0, cpus=1, minutes=5, chained_to=["6"])
RECORDS = {
    "submissions": Submission(site="mine", arrays=[ARRAY], finish="9", max_parallel=2),
    "failures/first": Failure(stage="first", shard=0, kind="died", message="gone", node="n1", job="7_0", log="/x.log"),
    "nodes": BadNode(node="n1", reason="no GPU", stage="first", job="7_0"),
    "allocations": Allocation(stages=["first"], job="7_0", node="n1", gpus=1, cpus=8, started=1.0, ended=2.0),
}
SAMPLE = AuditSample(
    id="s0", pipeline="mine", input_sha256="ab", run_seed=0, seed=0, rows=1, missing_shards=[], fingerprints={},
    strata=[Stratum(output="x", name="x", lines=1, drawn=1)],
    claims=[SampledStatement(claim_id="s0-0", unit=0, stratum=0, kind="k", claim="c", row_id=0, sub_id=None, image=None)],
)  # fmt: skip
GIVEN = {"verdict": {"choices": ["right"]}, "note": {"text": ["dark"]}, "boxes": {"x": 1.5}}
ANNOTATED = [
    {
        "data": {"claim_id": "s0-0"},
        "annotations": [
            {"completed_by": {"email": "ann@lab.org"}, "was_cancelled": False, "updated_at": "2026-01-01",
             "result": [{"from_name": name, "value": value} for name, value in GIVEN.items()]},
        ],
    },
    {"claim_id": "s0-0", "verdict": "wrong", "note": "x", "annotator": 2},
]  # fmt: skip
ODD = [*PATHS, "-rf", "a b", "a,b", "", ".", "..", -1, 10**400, 1e308, True, None, [], {}, [[]], "[" * 900, "x" * 5_000, "\ud800"]
NUMBERS = [float("inf"), float("nan"), 2**63, -(2**63), 0.5]


def changed(record: Any, edits: Edits) -> bytes:
    """The JSON of a record with other values or names somewhere in it, or with something cut off."""
    content = json.loads(record if isinstance(record, str) else record.model_dump_json())
    for where, how, given in edits:
        value = deepcopy(given)  # the same object twice could be put into itself
        spots = list(_spots(content))
        inner, key = spots[int(where * len(spots))]
        if how == "replace":
            inner[key] = value
        elif how == "remove":
            del inner[key]
        elif isinstance(inner, dict):
            inner[str(value)[:5_000]] = deepcopy(inner[key])
        else:
            inner.insert(key, value)
        if not content:
            break
    return json.dumps(content, separators=(",", ":")).encode("ascii")


def _spots(content: Any) -> Any:
    """Every place in a value: what it is in, and its key."""
    pairs = list(content.items() if isinstance(content, dict) else enumerate(content))
    for key, value in pairs:
        yield content, key
        if isinstance(value, (dict, list)):
            yield from _spots(value)


def manifest(case: Edits, folder: Path) -> None:
    """A manifest is refused, or its numbers can be added up and shown."""
    path = folder / "part.json"
    path.write_bytes(changed(MANIFEST, case))
    found = read_manifest(path)
    assert found is not None
    summary(found.rows_in, found.rows_out, found.reasons, found.lines_out)
    int(found.seconds + sum(found.usage.values(), 0.0) % 1)
    assert "/" not in found.part.name and found.rows_in < 2**63


def records(case: tuple[str, Edits], folder: Path) -> None:
    """A record of a job is refused, or what of it reaches a command of SLURM is one plain word."""
    kind, edits = case
    root = folder / "run"
    place = root / "jobs" / kind
    place.mkdir(parents=True)
    (root / NAME).write_bytes(PLAN.to_bytes())
    (place / "00000.json").write_bytes(changed(RECORDS[kind], edits))
    jobs = JobsFolder(RunFolder(root))
    for submission in jobs.submissions():
        words = [*(id for array in submission.arrays for id in array.ids()), submission.finish or ""]
        assert all(re.fullmatch(r"[0-9_]*", word) for word in words)
    current_shares(jobs)
    found = [*jobs.failures("first"), *jobs.bad_nodes(), *jobs.allocations()]
    assert all(re.fullmatch(r"[\w.:@+-]*", each.node) and not each.node.startswith("-") for each in found)
    jobs.quarantined("first")


def owners(case: Edits, folder: Path) -> None:
    """A lease or a lock is somebody's, or nobody's."""
    root = folder / "run"
    (root / "jobs").mkdir(parents=True)
    (root / NAME).write_bytes(PLAN.to_bytes())
    run = RunFolder(root)
    text = json.dumps({**vars(this_process("x")), "started": "0"})  # its process has ended
    files = run.files("first", 0)
    files.leases_folder.mkdir(parents=True)
    (files.leases_folder / f"{files.stem}.block-00.claim").write_bytes(changed(text, case))
    for _, owner, _ in read_leases(files):
        owner.is_dead(this_process())
    (root / "jobs" / "launching.json").write_bytes(changed(text, case))
    with one_launch_at_a_time(JobsFolder(run)):
        pass


def job_files(case: Edits, folder: Path) -> None:
    """A job file is the one that was submitted, or is refused."""
    job = JobFile(elements=(Assignment("run", ("first",), (0, 1), "logs"),), code={"mine:A": ""})
    path = job.write(folder)
    path.write_bytes(changed(job.to_bytes().decode(), case))
    assert read_job_file(path, job.digest) == job


def annotations(case: Edits, folder: Path) -> None:
    """What Label Studio is said to have exported is refused, or its verdicts are texts."""
    path = folder / "export.json"
    path.write_bytes(changed(json.dumps(ANNOTATED), case))
    for sheet in read_annotations(path, SAMPLE):
        assert isinstance(sheet.annotator, str) and {tick.verdict for tick in sheet.ticks.values()} <= {*VERDICTS}
        assert all(isinstance(tick.note, str) for tick in sheet.ticks.values())


_VALUES = st.one_of(pick(ODD), pick(NUMBERS), texts(3), values())
_EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(["replace", "replace", "remove", "name"]), _VALUES), max_size=3
)
TARGETS = [
    Target("manifests", _EDITS, manifest),
    Target("job-records", st.tuples(st.sampled_from(sorted(RECORDS)), _EDITS), records),
    Target("lease-owners", _EDITS, owners),
    Target("job-files", _EDITS, job_files),
    Target("label-studio", _EDITS, annotations),
]
