"""What a worker of an element does next, by the files of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shardmill.core.shard_runner import run_shard
from shardmill.launch.assignment import Assignment, WorkerContext
from shardmill.launch.element_queue import ElementQueue
from shardmill.store.jobs import Failure, JobsFolder
from shardmill.store.leases import Leases, this_process
from shardmill.store.manifest import read_manifest
from shardmill.store.run_folder import RunFolder
from shardmill.store.tasks import Task

EXTRACT, PROPOSE, DRAW = PHASE = ("extract_objects", "propose_negatives", "draw_questions")


@pytest.fixture
def run(make_run: Callable[..., RunFolder]) -> RunFolder:
    """Four shards of three rows; `draw_questions` learns from all of them."""
    return make_run()


def queue(run: RunFolder, *shards: int, stages: tuple[str, ...] = PHASE, **options: bool) -> ElementQueue:
    work = Assignment(str(run.path), stages, shards, "logs", **options)
    return ElementQueue(run, work, WorkerContext("n1"), this_process(), set)


def done_by(run: RunFolder, elements: ElementQueue) -> list[Task]:
    """The tasks that a single worker does, in turn."""
    found: list[Task] = []
    while (task := elements.next_task(0, None, [])) is not None:
        run_shard(run, *task)
        elements.ended(task, "done")
        found.append(task)
    return found


def fail(run: RunFolder, stage: str, shard: int) -> None:
    """Quarantine a shard."""
    JobsFolder(run).note_failure(Failure(stage=stage, shard=shard, kind="refused", message="no", node="n1"))


def test_an_element_takes_its_shards_through_all_stages_and_does_those_that_it_waits_for(run: RunFolder) -> None:
    elements = queue(run, 0, 1)
    own = [Task(stage, shard) for stage in (EXTRACT, PROPOSE) for shard in (0, 1)]
    others = [Task(stage, shard) for stage in (EXTRACT, PROPOSE) for shard in (2, 3)]
    learned = [Task(DRAW, 0), Task(DRAW, 1)]
    made = done_by(run, elements)
    assert [sorted(made[:2]), sorted(made[2:4])] == [own[:2], own[2:]]
    assert (sorted(made[4:8]), sorted(made[8:])) == (sorted(others), learned)
    assert elements.finished and elements.unfinished() == []
    assert done_by(run, queue(run, 2, 3)) == [Task(DRAW, 2), Task(DRAW, 3)]


def test_two_elements_share_the_work_that_both_wait_for(run: RunFolder) -> None:
    one, other = queue(run, 0, 1), queue(run, 2, 3)
    made: list[Task] = []
    while True:
        turns = [task for each in (one, other) if (task := each.next_task(0, None, [])) is not None]
        if not turns:
            break
        for task in dict.fromkeys(turns):
            run_shard(run, *task)
        made += turns
    assert len(made) == len(set(made)) == 12
    assert one.finished and other.finished


def test_while_others_have_all_that_it_waits_for_an_element_is_not_finished(run: RunFolder) -> None:
    for shard in (0, 1, 2):
        for stage in (EXTRACT, PROPOSE):
            run_shard(run, stage, shard)
    run_shard(run, EXTRACT, 3)
    elements = queue(run, 0)
    with Leases(run.files(PROPOSE, 3), this_process("other")) as lease:
        assert lease.take(0)
        assert elements.next_task(0, None, []) is None
        assert not elements.finished
    assert elements.next_task(0, None, []) == Task(PROPOSE, 3)
    run_shard(run, PROPOSE, 3)
    assert elements.next_task(0, None, []) == Task(DRAW, 0)


def test_the_next_task_for_a_model_that_runs_dry_is_of_whichever_stage(run: RunFolder) -> None:
    run_shard(run, EXTRACT, 1)
    elements = queue(run, 0, 1)
    ahead = elements.next_ahead(0, [Task(EXTRACT, 0)])
    assert ahead == Task(PROPOSE, 1)
    assert queue(run, 0).next_ahead(0, [Task(EXTRACT, 0)]) is None


def test_nothing_is_waited_for_that_can_never_come(run: RunFolder) -> None:
    fail(run, EXTRACT, 3)
    elements = queue(run, 0, 1)
    assert [task for task in done_by(run, elements) if task.stage == DRAW or task.shard == 3] == []
    assert elements.finished
    assert elements.unfinished() == []
    missing = queue(run, 2, stages=(DRAW,))
    assert missing.next_task(0, None, []) is None and missing.finished


def test_a_node_without_a_scheduler_leaves_the_shards_of_other_nodes_to_them(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    elements = queue(run, 0, 1, chained=False, helps=False)
    assert {task.stage for task in done_by(run, elements)} == {EXTRACT, PROPOSE}
    assert elements.finished
    assert elements.unfinished() == [Task(DRAW, 0), Task(DRAW, 1)]
    assert "propose_negatives has not finished the shards" in capsys.readouterr().err


def test_a_shard_whose_input_is_made_again_is_made_again_too(run: RunFolder) -> None:
    for stage in (EXTRACT, PROPOSE):
        run_shard(run, stage, 0)
    files = run.files(EXTRACT, 0)
    made = read_manifest(files.manifest)
    assert made is not None
    files.manifest.write_bytes(made.model_copy(update={"revision": 9}).to_bytes())  # of a plan that counts no more
    elements = queue(run, 0, stages=(EXTRACT, PROPOSE))
    assert elements.left().ready == [Task(EXTRACT, 0)]
    assert elements.left().waiting == [Task(PROPOSE, 0)]


def test_idle_workers_join_a_shard_of_their_own_element_before_they_help_others(make_run: Callable[..., RunFolder]) -> None:
    run = make_run(num_shards=1)
    elements = queue(run, 0)
    assert elements.next_task(0, None, []) == Task(EXTRACT, 0)
    assert elements.next_task(1, None, [Task(EXTRACT, 0)]) == Task(EXTRACT, 0)
