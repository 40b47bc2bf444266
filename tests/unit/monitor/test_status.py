"""`shardmill status`: from the run's files first, then squeue, then sacct."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from conftest import run_first_shards
from scripted_slurm import ScriptedSlurm
from shardmill.cli.launcher import launch_here
from shardmill.core.shard_runner import run_shard
from shardmill.monitor.cluster_state import words_for
from shardmill.monitor.snapshot import Snapshot
from shardmill.monitor.stage_status import StageStatus
from shardmill.monitor.status import RunStatus, Seen, exit_code, read_status
from shardmill.monitor.status_view import render_status, watch
from shardmill.store.allocations import LiveAllocation
from shardmill.store.at_work import presence
from shardmill.store.jobs import Allocation, ArrayRecord, BadNode, Failure, JobsFolder, Submission
from shardmill.store.journal import Journal, JournalHeader, JournalRecord
from shardmill.store.leases import Leases, this_process
from shardmill.store.run_folder import RunFolder, rows_digest

STAGE, NEXT = "extract_objects", "propose_negatives"
MakeRun = Callable[..., RunFolder]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedSlurm:
    return ScriptedSlurm(tmp_path / "bin", monkeypatch)


@pytest.fixture
def run(make_run: MakeRun) -> RunFolder:
    return make_run()


def submit(run: RunFolder, *arrays: ArrayRecord, finish: str | None = None) -> None:
    JobsFolder(run).add_submission(Submission(site="mine", arrays=list(arrays), finish=finish))


def array(job: str, elements: list[list[int]], stage: str = STAGE, **values: Any) -> ArrayRecord:
    asked = {"workers": 2, "gpus": 0, "cpus": 4, "minutes": 5, **values}
    return ArrayRecord(job=job, stages=[stage], elements=elements, **asked)


def held(run: RunFolder, job: str, seconds: float, stage: str = STAGE, outcome: str = "done", **values: Any) -> None:
    """A node that was held for some time until now."""
    now = time.time()
    details: dict[str, Any] = {"node": "n1", "gpus": 0, "cpus": 4, "started": now - seconds, "ended": now, **values}
    allocation = Allocation(stages=[stage], job=job, outcome=outcome, **details)
    path = JobsFolder(run).allocation_file(job, allocation.restart)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(allocation.model_dump_json())


def quarantine(run: RunFolder, shard: int, stage: str = STAGE, message: str = "no such model") -> None:
    JobsFolder(run).note_failure(Failure(stage=stage, shard=shard, kind="refused", message=message, node="n1", log="/l/x.log"))


def write_rows(run: RunFolder, shard: int, rows: int, stage: str = STAGE, age: float = 0.0, attempt: str = "") -> Path:
    """The journal of an attempt that finished some rows and last wrote `age` seconds ago."""
    run.folder(stage).mkdir(exist_ok=True)
    path = run.files(stage, shard).journal(attempt or f"{int((time.time() - age) * 1000):013d}-n1-1-abcdef")
    journal = Journal(path, JournalHeader(rows_digest(run.fingerprint(stage), run.stage(stage).revision)))
    for row in range(rows):
        journal.append(JournalRecord((row,), [{}]))
    journal.close()
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def of(status: RunStatus, stage: str = STAGE) -> StageStatus:
    return next(each for each in status.stages if each.stage == stage)


def counts(status: RunStatus, stage: str = STAGE) -> dict[str, int]:
    found = of(status, stage)
    shown = {name: getattr(found, name) for name in ("done", "running", "queued", "failed", "waiting")}
    assert sum(shown.values()) == found.shards
    return {name: count for name, count in shown.items() if count}


def text_of(status: RunStatus, width: int = 250) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render_status(status))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_new_run_waits_and_nothing_is_known(run: RunFolder) -> None:
    status = read_status(run)
    assert counts(status, "ingest") == {"done": 4}
    assert counts(status) == {"waiting": 4}
    assert (status.live, status.finished, exit_code(status)) == (False, False, 4)
    assert (status.eta_seconds, of(status).eta_seconds, of(status).rows_per_second, status.goodput) == (None, None, None, None)
    assert of(status).rows_left == of(status, "ingest").rows_out
    assert status.next == f"to continue: shardmill launch negbench --run {run.path}"


def test_a_finished_run_is_finished_whatever_slurm_says(run: RunFolder, slurm: ScriptedSlurm) -> None:
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)
    submit(run, array("7", [[0, 1], [2, 3]]))
    slurm.squeue("7_0|RUNNING|n1|None", "7_1|PENDING||Resources")
    status = read_status(run)
    assert all(counts(status, stage) == {"done": 4} for stage in run.stages)
    assert (status.finished, status.live, exit_code(status)) == (True, False, 0)
    assert f"shardmill build {run.path}" in status.next
    assert of(status).rows_in == of(status).rows_out + of(status).rejected == of(status, "ingest").rows_out
    assert of(status).rows_left == 0 and of(status).seconds_left == 0
    assert [line.split(":")[0] for line in status.closing] == run.leaves()
    assert status.goodput_per == "CPU-hour" and status.goodput is not None


def test_queued_and_running_elements_and_why_they_wait(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0, 1], [2], [3]]), array("8", [[0, 1], [2], [3]], NEXT), finish="9")
    held(run, "7_0", 60, outcome="")
    slurm.squeue(
        "7_0|RUNNING|n1|None", "7_1|PENDING||Resources", "7_2|PENDING||JobArrayTaskLimit",
        "8_0|PENDING||Dependency", "8_1|PENDING||Dependency", "8_2|PENDING||Dependency", "9|PENDING||Dependency",
    )  # fmt: skip
    with Leases(run.files(STAGE, 0), this_process("1700000000000-n1-1-abcdef", node="n1", job="7_0")) as claims:
        assert claims.take(0)
        status = read_status(run)
    assert counts(status) == {"running": 1, "queued": 3}
    assert of(status).queued_why == {
        "its job runs and has not started it yet": 1,
        "waiting for a free node": 1,
        "waiting: as many nodes as allowed at once are in use": 1,
    }
    assert counts(status, NEXT) == {"queued": 4}
    assert of(status).workers == 2, "those of the job that runs"
    cluster = status.cluster
    assert cluster is not None and (cluster.running, cluster.queued, cluster.nodes) == (1, 5, ["n1"])
    assert cluster.queued_why["waiting for a job that it depends on"] == 3
    assert cluster.build == "job 9 waiting for a job that it depends on"
    assert status.live and exit_code(status) == 4
    assert f"shardmill cancel {run.path}" in status.next


def test_a_finished_run_goes_on_while_its_datasets_are_built(run: RunFolder, slurm: ScriptedSlurm) -> None:
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)
    submit(run, array("7", [[0, 1], [2, 3]]), finish="9")
    slurm.squeue("9|RUNNING|n1|None")
    status = read_status(run)
    assert (status.finished, status.live, exit_code(status)) == (True, True, 0)
    assert "being built" in status.next and status.cluster and status.cluster.build == "job 9 running on n1"
    slurm.squeue("9|COMPLETED|n1|None")
    status = read_status(run)
    assert not status.live and status.cluster and status.cluster.build_state == "ended"


def test_a_shard_whose_job_ended_without_it_is_open(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]))
    run_shard(run, STAGE, 0)
    slurm.squeue("7_0|CANCELLED|n1|None", "7_1|PENDING||DependencyNeverSatisfied")
    status = read_status(run)
    assert counts(status) == {"done": 1, "waiting": 3}
    assert (of(status).open, of(status, NEXT).open, status.live) == (3, 0, False)
    assert status.next == f"to continue: shardmill launch negbench --run {run.path} --site mine"
    assert "3 shards left unfinished by jobs that have ended" in text_of(status)


@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED"])
def test_a_job_that_lost_its_node_is_not_at_its_end(run: RunFolder, slurm: ScriptedSlurm, state: str) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]))
    slurm.sacct(f"7_0|{state}|n1", "7_1|COMPLETED|n1")
    slurm.squeue("7_0|PENDING||BeginTime")
    assert counts(read_status(run)) == {"queued": 2, "waiting": 2}
    slurm.squeue(f"7_0|{state}|n1|None")
    assert read_status(run).live
    slurm.squeue()
    status = read_status(run)
    assert (status.live, of(status).open) == (False, 4)


def test_a_later_launch_takes_over_from_an_ended_one_and_leaves_a_live_one(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]))
    submit(run, array("8", [[0, 2], [1]]))
    slurm.squeue("7_0|FAILED|n1|None", "7_1|RUNNING|n2|None", "8_0|COMPLETED|n1|None", "8_1|PENDING||Priority")
    status = read_status(run)
    assert counts(status) == {"queued": 3, "waiting": 1}
    assert of(status).open == 1


def test_the_accounting_is_asked_once_and_only_of_what_the_queue_forgot(run: RunFolder, slurm: ScriptedSlurm) -> None:
    for shard in (0, 1):
        run_shard(run, STAGE, shard)
    submit(run, array("7", [[0, 1], [2, 3]]))
    slurm.sacct("7_0|COMPLETED|n1", "7_1|TIMEOUT|n1")
    slurm.squeue("7_1|RUNNING|n1|None")
    seen = Seen()
    read_status(run, seen)
    assert slurm.calls("sacct") == 0
    slurm.squeue()
    for _ in range(3):
        assert of(read_status(run, seen)).open == 2
    assert slurm.calls("sacct") == 1


def test_a_silent_slurm_is_named_and_the_files_tell(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0], [1], [2, 3]]))
    run_shard(run, STAGE, 0)
    slurm.down()
    node = Allocation(stages=[STAGE], job="7_1", node="n2", gpus=0, cpus=4, started=time.time() - 60)
    with LiveAllocation(JobsFolder(run), node):
        status = read_status(run)
    assert counts(status) == {"done": 1, "queued": 1, "waiting": 2}
    assert status.cluster is not None and not status.cluster.answered
    assert "Unable to contact slurm controller" in status.cluster.note and "from the run's files" in status.cluster.note
    assert status.cluster.nodes == ["n2"] and status.live
    assert status.cluster.note in text_of(status)


def test_without_slurm_commands_a_cluster_run_says_so(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]))
    shutil.rmtree(slurm.folder)
    status = read_status(run)
    assert status.cluster is not None and "SLURM's commands were not found" in status.cluster.note
    assert status.next.startswith("see on a login node") and "--site mine" in status.next
    assert of(status).open == 0 and not status.live


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user needs root")
def test_jobs_of_another_user_are_not_taken_for_ended(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]))
    os.chown(JobsFolder(run).path / "submissions", 65534, -1)
    status = read_status(run)
    assert slurm.calls("squeue") == 0 and of(status).open == 0
    assert status.cluster is not None and "the jobs belong to another user (uid 65534)" in status.cluster.note


def test_a_run_that_was_never_submitted_asks_no_slurm(run: RunFolder, slurm: ScriptedSlurm) -> None:
    assert read_status(run).cluster is None
    assert slurm.calls("squeue") == 0


def test_journals_tell_of_local_workers_and_their_rows(run: RunFolder) -> None:
    write_rows(run, 0, 5)
    write_rows(run, 1, 7, age=600)
    status = read_status(run)
    assert counts(status) == {"running": 1, "waiting": 3}
    assert (of(status).rows_running, of(status).workers) == (12, 1)
    assert of(status).rows_left == of(status, "ingest").rows_out - 12
    assert status.live and "--watch" in status.next


def test_a_journal_that_grows_is_read_on_from_where_it_was(run: RunFolder) -> None:
    seen = Seen()
    path = write_rows(run, 0, 5)
    assert of(read_status(run, seen)).rows_running == 5
    with open(path, "ab") as file:
        file.write(b"x\ny\nhalf a li")
    assert of(read_status(run, seen)).rows_running == 7
    with open(path, "ab") as file:
        file.write(b"ne\n")
    assert of(read_status(run, seen)).rows_running == 8


def test_what_a_cancelled_job_wrote_just_now_does_not_run(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]))
    write_rows(run, 0, 5, age=1)
    held(run, "7_0", 60, outcome="stopped")
    slurm.squeue("7_0|CANCELLED|n1|None", "7_1|CANCELLED||None")
    with Leases(run.files(STAGE, 1), this_process("1700000000000-n1-1-abcdef", job="7_0")) as claims:
        assert claims.take(0)
        status = read_status(run)
    assert counts(status) == {"waiting": 4}
    assert not status.live


def test_a_local_launch_on_a_run_of_a_cluster_is_seen(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]))
    held(run, "7_0", 60, ended=time.time() - 50, started=time.time() - 90)
    slurm.squeue("7_0|FAILED|n1|None")
    write_rows(run, 0, 5)
    assert counts(read_status(run)) == {"running": 1, "waiting": 3}


def test_failed_shards_are_told_and_hold_back_what_reads_from_them(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]))
    quarantine(run, 2, message="bad \x1b[31mmodel")
    write_rows(run, 2, 3)
    status = read_status(run)
    assert counts(status) == {"failed": 1, "waiting": 3}
    assert of(status).failures == {2: "bad model"}
    assert [of(status, stage).held_back for stage in run.stages] == [0, 1, 4, 4, 4, 4, 4, 4]
    assert exit_code(status) == 1
    assert f"shardmill failures {run.path}" in status.next and f"shardmill retry {run.path}" in status.next
    assert "extract_objects shard 2 failed: bad model" in text_of(status)
    slurm.squeue("7_0|RUNNING|n1|None")
    status = read_status(run)
    assert exit_code(status) == 4 and "shardmill failures" in status.next


def test_a_failed_local_run_is_launched_again(run: RunFolder) -> None:
    quarantine(run, 1)
    assert read_status(run).next.endswith(f"then: shardmill launch negbench --run {run.path}")


def test_gpu_hours_are_those_of_the_nodes_held(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    for shard in (0, 1):
        run_shard(run, STAGE, shard)
    held(run, "7_0", 1800, gpus=8, cpus=32)
    held(run, "7_1", 900, gpus=8, cpus=32, outcome="")
    submit(run, array("7", [[0, 1], [2, 3]], workers=4, gpus=8, cpus=32))
    status = read_status(run)
    assert of(status).gpu_hours == pytest.approx(8 * 0.75, rel=0.01)
    left, rate = of(status).rows_left, of(status).rows_per_second
    assert left and rate and of(status).gpu_hours_left == pytest.approx(left / rate / 3600 * 2)
    assert status.goodput is None, "the last stages have made nothing yet"
    assert status.gpu_hours_left is None, "nothing is known of the later stages"
    assert "GPU-h" in text_of(status)
    assert [(phase.stages, phase.held) for phase in status.gpu_time] == [([STAGE], pytest.approx(6, rel=0.01))]
    assert f"{STAGE}: 6.00 GPU-hours allocated: asking 0%, loading 0%, waiting 0%, idle 100%" in text_of(status)


def test_local_work_counts_as_hours_of_its_workers(run: RunFolder) -> None:
    run_shard(run, STAGE, 0)
    manifest = run.manifest(STAGE, 0)
    assert manifest is not None
    status = read_status(run)
    assert (of(status).gpu_hours, of(status).cpu_hours) == (0, pytest.approx(manifest.seconds / 3600))
    assert "CPU-h" in text_of(status)


def test_the_eta_is_for_the_workers_that_run_now(run: RunFolder) -> None:
    run_shard(run, STAGE, 0)
    rate = of(read_status(run)).rows_per_second
    assert rate
    for shard in (1, 2):
        write_rows(run, shard, 0)
    status = read_status(run)
    ingested = [run.manifest("ingest", shard) for shard in (1, 2, 3)]
    assert of(status).rows_left == sum(each.rows_out for each in ingested if each)
    assert of(status).eta_seconds == pytest.approx(of(status).rows_left / rate / 2)  # type: ignore[operator]
    assert status.eta_seconds is None and " ? " in text_of(status), "nothing is known of the stages after it"


def test_rows_left_are_those_that_the_stage_before_is_expected_to_give(run: RunFolder) -> None:
    for shard in range(4):
        run_shard(run, STAGE, shard)
    run_shard(run, NEXT, 0)
    status = read_status(run)
    manifests = [run.manifest(STAGE, shard) for shard in range(4)]
    assert of(status, NEXT).rows_left == sum(each.rows_out for each in manifests[1:] if each)


def test_the_slowest_shards_come_with_their_node_and_the_median(run: RunFolder) -> None:
    for shard, seconds in enumerate((100.0, 100.0, 300.0)):
        run_shard(run, STAGE, shard)
        path = run.files(STAGE, shard).manifest
        path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": seconds, "job": {"SLURMD_NODENAME": f"n{shard}"}}))
    write_rows(run, 3, 1)
    begun = run.files(STAGE, 3).journals()[0]
    begun.rename(begun.with_name(begun.name.replace(begun.name.split(".")[1][:13], f"{int((time.time() - 900) * 1000):013d}")))
    status = read_status(run)
    worst = of(status).slowest
    assert (worst[0].shard, worst[0].seconds, worst[0].times_median, worst[0].node) == (2, 300.0, 3.0, "n2")
    assert {slow.shard for slow in worst} == {0, 1, 2}
    assert [(slow.shard, slow.running) for slow in of(status).behind] == [(3, True)]
    assert of(status).behind[0].seconds == pytest.approx(900, abs=5)
    shown = text_of(status)
    assert "2 (05:00, 3.0 x the median, n2)" in shown and "3 (running for 15:0" in shown


def test_bad_nodes_and_damaged_manifests_are_named(run: RunFolder) -> None:
    JobsFolder(run).note_bad_node(BadNode(node="n7", reason="no GPU [bold]", stage=STAGE))
    run_shard(run, STAGE, 0)
    path = run.files(STAGE, 0).manifest
    path.write_text("{")
    status = read_status(run)
    assert status.bad_nodes == {"n7": "no GPU [bold]"}
    assert status.damaged == [str(path)] and counts(status) == {"waiting": 4}
    assert "node n7 is avoided: no GPU [bold]" in text_of(status) and str(path) in text_of(status, 500)


def finish(run: RunFolder) -> None:
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)


@pytest.mark.parametrize("what", ["part", "rejects"])
def test_a_finished_run_of_which_a_file_is_gone_is_not_finished(run: RunFolder, what: str) -> None:
    finish(run)
    (run.path / "datasets").mkdir()
    path: Path = getattr(run.files(STAGE, 2), what)
    path.unlink()
    status = read_status(run)
    assert not status.finished and not status.live and of(status).done == 3
    assert status.missing == [str(path)] and f"{path} is missing" in text_of(status)
    assert "shardmill launch negbench" in status.next


def test_a_launch_makes_the_shard_again_of_which_a_file_is_gone(run: RunFolder) -> None:
    finish(run)
    part, content = run.files(STAGE, 2).part, run.files(STAGE, 2).part.read_bytes()
    part.unlink()
    cut = run.files("ingest", 1).part
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-3])
    run.files(NEXT, 0).manifest.write_text("{")
    assert launch_here(run, workers=1, build=False) == 0
    assert (part.read_bytes(), cut.read_bytes()) == (content, whole)
    assert read_status(run).finished


def test_a_launch_that_was_killed_does_not_go_on(run: RunFolder) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    host = socket.gethostname().split(".")[0]
    write_rows(run, 0, 5, attempt=f"{time.time_ns() // 1_000_000:013d}-{host}-{ended.pid}-abcdef")
    status = read_status(run)
    assert counts(status) == {"waiting": 4} and of(status).rows_running == 5
    assert not status.live and status.next.startswith("to continue: ")
    write_rows(run, 1, 5, attempt=f"{time.time_ns() // 1_000_000:013d}-{host}-{os.getpid()}-abcdef")
    assert counts(read_status(run)) == {"running": 1, "waiting": 3}


def test_between_two_shards_a_run_goes_on_while_its_launch_lives(run: RunFolder) -> None:
    run_shard(run, STAGE, 0)
    assert not read_status(run).live
    with presence(run, this_process("1")):
        assert read_status(run).live
    dead = replace(this_process("2"), pid=2**30, started="1")
    card = run.path / "jobs" / "claims" / "2.card.tmp"
    card.write_text(json.dumps(asdict(dead)))
    assert not read_status(run).live


def test_cancelled_array_tasks_are_told_although_the_job_at_the_end_is_queued(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]), finish="8")
    slurm.squeue("7_0|RUNNING|n1|None", "7_1|CANCELLED||None", "8|PENDING||Dependency")
    status = read_status(run)
    assert status.live and of(status).open == 2
    assert "2 shards left unfinished by jobs that have ended (was cancelled 2)" in text_of(status)
    assert "to submit again what ended jobs have left: shardmill launch" in status.next
    slurm.squeue("7_0|CANCELLED|n1|None", "7_1|CANCELLED||None", "8|PENDING||Dependency")
    status = read_status(run)
    assert not status.live and status.next.startswith("to continue: ")


def test_a_shard_that_was_made_again_is_seen_by_a_long_look(run: RunFolder) -> None:
    seen = Seen()
    run_shard(run, STAGE, 0)
    assert counts(read_status(run, seen)) == {"done": 1, "waiting": 3}
    run.files(STAGE, 0).manifest.unlink()
    assert counts(read_status(run, seen)) == {"waiting": 4}
    run_shard(run, STAGE, 0)
    assert counts(read_status(run, seen)) == {"done": 1, "waiting": 3}


def test_a_snapshot_answers_as_the_run_folder_does(run: RunFolder) -> None:
    for shard in (0, 2):
        run_shard(run, STAGE, shard)
    found, complete = Snapshot(run.path).finished(), run.complete()
    assert found.keys() == complete.keys()
    for task, manifest in complete.items():
        made = found[task]
        for name in ("shard", "rows_in", "rows_out", "rejected", "lines_out", "seconds", "elsewhere", "node", "reasons", "usage",
                     "loading", "element", "worker", "begun", "gpus"):  # fmt: skip
            assert getattr(made, name) == getattr(manifest, name)
        assert (made.part, made.input) == (manifest.part.sha256, manifest.input.sha256)


def test_a_snapshot_of_many_shards_is_small(run: RunFolder) -> None:
    seen = Seen()
    run_shard(run, STAGE, 0)
    content = run.files(STAGE, 0).manifest.read_bytes()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [seen.files.reader.read(shard, content) for shard in range(1000)]
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(kept) == 1000 and size < 1_000_000


def test_the_target_sets_how_many_shards_count(make_run: MakeRun) -> None:
    run = make_run(target_rows=1)
    run_first_shards(run)
    status = read_status(run)
    assert of(status).shards == 1 and status.finished


def test_json_has_the_numbers_by_name(run: RunFolder, slurm: ScriptedSlurm) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]))
    quarantine(run, 3)
    slurm.squeue("7_0|PENDING||Resources")
    found = json.loads(json.dumps(read_status(run).to_dict()))
    stage = next(each for each in found["stages"] if each["stage"] == STAGE)
    assert (stage["queued"], stage["failed"], stage["failures"]) == (2, 1, {"3": "no such model"})
    assert found["cluster"]["queued_why"] == {"waiting for a free node": 1}
    assert {"finished", "live", "eta_seconds", "gpu_hours", "gpu_hours_left", "goodput", "next", "closing"} <= found.keys()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", "waiting for nodes that are down, drained or reserved"),
        ("QOSMaxJobsPerUserLimit", "waiting: a limit of the account or QOS is reached (QOSMaxJobsPerUserLimit)"),
        ("AssocGrpGRES", "waiting: a limit of the account or QOS is reached (AssocGrpGRES)"),
        ("SomethingNew", "waiting (SomethingNew)"),
        ("None", "waiting"),
    ],
)
def test_reasons_are_told_in_words(reason: str, words: str) -> None:
    assert words_for(reason) == words


def test_watching_ends_when_nothing_goes_on(run: RunFolder, slurm: ScriptedSlurm, capsys: pytest.CaptureFixture[str]) -> None:
    submit(run, array("7", [[0, 1], [2, 3]]))
    slurm.squeue("7_0|RUNNING|n1|None", "7_1|PENDING||Resources")
    threading.Timer(0.5, slurm.squeue, ["7_0|FAILED|n1|None", "7_1|FAILED|n1|None"]).start()
    status = watch(run, 0.1)
    assert not status.live and of(status).open == 4
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.endswith("4 queued, 28 waiting; ETA ?")]) == 1
    assert lines[-1] == f"next: to continue: shardmill launch negbench --run {run.path} --site mine"


def test_ctrl_c_on_a_terminal_ends_the_watching_and_nothing_else(run: RunFolder) -> None:
    write_rows(run, 0, 5)
    mine, theirs = os.openpty()
    command = [sys.executable, "-m", "shardmill", "status", str(run.path), "--watch"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    shown = b""
    while b"to watch" not in shown:
        shown += os.read(mine, 1 << 16)
    time.sleep(1)  # it has shown the first look and waits for the next
    process.send_signal(signal.SIGINT)
    complaint = process.communicate(timeout=20)[1]
    os.close(mine)
    assert (process.returncode, complaint) == (0, "stopped watching; the run continues\n")
