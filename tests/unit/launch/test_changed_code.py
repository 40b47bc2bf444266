"""Code that was edited while a run is under way is nobody's fault but the edit's: no node is avoided for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardmill.core.shard_runner import check_fingerprint, open_stage
from shardmill.launch.assignment import Assignment, WorkerContext
from shardmill.launch.element_queue import BadNodeError, ElementQueue
from shardmill.monitor.failures import read_failures
from shardmill.store.jobs import Failure, JobsFolder
from shardmill.store.leases import this_process
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import FingerprintChanged

MakeRun = Callable[..., RunFolder]
STAGE = "extract_objects"


def failure_of(run: RunFolder, kind: str, message: str = "refused") -> tuple[ElementQueue, Failure]:
    work = Assignment(str(run.path), (STAGE,), (0, 1), str(run.path / "logs"))
    queue = ElementQueue(run, work, WorkerContext("n1", job="12"), this_process(), lambda: {"n2"})
    failure = Failure(stage=STAGE, shard=0, kind=kind, message=message, node="n1", job="12")  # type: ignore[arg-type]
    JobsFolder(run).note_failure(failure)
    return queue, failure


def test_a_changed_fingerprint_is_never_a_fault_of_the_node(make_run: MakeRun) -> None:
    run = make_run()
    run.plan.stages[0].fingerprint["code"] = "another"
    with pytest.raises(FingerprintChanged) as change:
        check_fingerprint(run, open_stage(run, STAGE))
    queue, failure = failure_of(run, "changed", str(change.value))
    queue.failed(failure, quarantined=True)
    assert JobsFolder(run).quarantined(STAGE).keys() == {0}
    cause = read_failures(run).causes[0]
    assert "--accept-code-change" in cause.message and "do what the message says" in cause.next


def test_any_other_refusal_may_be_a_fault_of_the_node(make_run: MakeRun) -> None:
    queue, failure = failure_of(make_run(), "refused")
    with pytest.raises(BadNodeError):
        queue.failed(failure, quarantined=True)
