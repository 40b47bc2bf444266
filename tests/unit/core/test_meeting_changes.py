"""A redo or a retry under a running worker: nothing of the earlier plan is published, and the worker says so in a line."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from shardmill.cli.main import cli
from shardmill.core.plan_changes import accept_code_change, redo
from shardmill.core.shard_runner import run_shard
from shardmill.launch.local import LaunchView, launch_local
from shardmill.launch.worker_main import Outbox, do_task
from shardmill.store import current_plan, finish
from shardmill.store.combine import combine
from shardmill.store.journal import read_records
from shardmill.store.plan import replace_plan
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.shard import Shard
from shardmill.store.tasks import Task, board_of
from shardmill.store.verify import check_stage
from shardmill.util.atomic import file_digest
from shardmill.util.errors import PlanChanged, Stopped, UserError
from shardmill.util.progress import Progress

MakeRun = Callable[..., RunFolder]
FIRST, SECOND, TABLE = "extract_objects", "propose_negatives", "validate_objects"
FEWER = ["extract_objects.max_objects=1"]


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_plan, "CHECK_SECONDS", 0.0)


@pytest.fixture
def run(make_run: MakeRun) -> RunFolder:
    return make_run(num_shards=2)


def once(action: Callable[[], object]) -> Callable[..., bool]:
    """Something to call now and then, which does the action at the first call."""
    left = [action]

    def call(*words: object) -> bool:
        if left:
            left.pop()()
        return False

    return call


def whole(run: RunFolder, *stages: str) -> list[bytes]:
    run = RunFolder(run.path)
    for stage in stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)
    return [combine(run, stage, run.path / f"{stage}.csv").path.read_bytes() for stage in stages]


@pytest.mark.parametrize("settings", [FEWER, ["extract_objects.attempts=5"], []], ids=["options", "attempts", "as it was"])
def test_a_worker_of_a_stage_that_is_redone_publishes_nothing(run: RunFolder, make_run: MakeRun, settings: list[str]) -> None:
    change = once(lambda: redo(RunFolder(run.path), FIRST, settings))
    with pytest.raises(PlanChanged, match=f"{FIRST} was redone or changed by another command .*; run it as planned now: "):
        run_shard(run, FIRST, 0, report=change)
    assert RunFolder(run.path).manifest(FIRST, 0) is None
    assert whole(run, FIRST, SECOND) == whole(make_run("calm", num_shards=2, settings=settings), FIRST, SECOND)


@pytest.mark.parametrize("moment", ["before it publishes", "while it publishes"])
def test_a_redo_at_the_last_moment_is_seen_by_the_worker(
    run: RunFolder, make_run: MakeRun, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either of the two is later, and sees the other: the redo archives what is published, or the worker withdraws it."""
    publish = finish.publish
    change = once(lambda: redo(RunFolder(run.path), FIRST, FEWER))

    def meanwhile(*words: object, **named: object) -> object:
        if moment == "before it publishes":
            change()
        published = publish(*words, **named)  # type: ignore[arg-type]
        change()
        return published

    monkeypatch.setattr(finish, "publish", meanwhile)
    with pytest.raises(PlanChanged):
        run_shard(run, FIRST, 0)
    monkeypatch.undo()
    assert not [path for path in run.folder(FIRST).iterdir() if not path.name.endswith(".journal")]
    assert whole(run, FIRST, SECOND) == whole(make_run("calm", num_shards=2, settings=FEWER), FIRST, SECOND)


def test_a_redo_archives_what_was_published_while_it_moved_files(
    run: RunFolder, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker looked at the plan just before it was replaced: only the redo can see its part."""
    from shardmill.core import plan_changes

    replace_plan, old = plan_changes.replace_plan, RunFolder(run.path)
    assert old.plan.revision == 1

    def meanwhile(*words: object) -> object:
        run_shard(old, FIRST, 0)
        return replace_plan(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(plan_changes, "replace_plan", meanwhile)
    redo(run, FIRST, FEWER)
    monkeypatch.undo()
    assert RunFolder(run.path).manifest(FIRST, 0) is None
    assert whole(run, FIRST, SECOND) == whole(make_run("calm", num_shards=2, settings=FEWER), FIRST, SECOND)


@pytest.mark.parametrize("stage", [SECOND, "filter_objects", TABLE])
def test_a_worker_whose_input_is_redone_publishes_nothing_made_of_the_old_one(
    run: RunFolder, make_run: MakeRun, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the shard was redone to its end meanwhile: the rows of the later stage are those of the new input."""
    before = run.stages[: run.stages.index(stage)]
    whole(run, *before)
    read_input = Shard.read_input

    def meanwhile(shard: Shard) -> object:
        found = read_input(shard)
        monkeypatch.undo()
        redo(RunFolder(run.path), FIRST, FEWER)
        whole(run, *before)
        return found

    monkeypatch.setattr(Shard, "read_input", meanwhile)
    with pytest.raises(PlanChanged):
        run_shard(run, stage, 0)
    assert whole(run, *before, stage) == whole(make_run("calm", num_shards=2, settings=FEWER), *before, stage)


@pytest.mark.parametrize("stage", [FIRST, SECOND, "filter_objects", TABLE])
def test_a_redo_of_one_shard_under_its_worker_is_a_line_and_no_fault_of_the_program(
    run: RunFolder, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(run, *run.stages[: run.stages.index(stage)])
    seal, change = finish.seal, once(lambda: redo(RunFolder(run.path), stage, shards=[0]))
    monkeypatch.setattr(finish, "seal", lambda *words, **named: change() or seal(*words, **named))
    with pytest.raises(PlanChanged, match=f"{stage} shard 0 was redone .*; run it again: shardmill run .* {stage} --shard 0"):
        run_shard(run, stage, 0)
    monkeypatch.undo()
    assert run_shard(RunFolder(run.path), stage, 0).conserved()


def test_rows_are_kept_when_rejects_of_the_input_are_tried_again_meanwhile(run: RunFolder) -> None:
    whole(run, FIRST)
    manifest = run.manifest(FIRST, 0)
    assert manifest is not None and manifest.rejected
    reopen = once(lambda: Shard(run, FIRST, 0).reopen_rejected(manifest))
    with pytest.raises(PlanChanged, match=f"{FIRST} shard 0 was opened again .*; continue: .* {FIRST} {SECOND} --shard 0"):
        run_shard(run, SECOND, 0, report=reopen)
    kept = len(list(read_records(run.files(SECOND, 0).journals(), run.digests(SECOND))))
    assert kept
    whole(run, FIRST)
    done = run_shard(run, SECOND, 0)
    assert done.elsewhere == kept and done.rows_in == run.manifest(FIRST, 0).rows_out  # type: ignore[union-attr]


def test_rows_that_a_worker_of_the_earlier_plan_leaves_in_a_journal_are_not_taken_up(run: RunFolder, make_run: MakeRun) -> None:
    """A redo without new options has the same fingerprint: the revision tells the answers apart."""
    old = RunFolder(run.path)
    assert old.plan.revision == 1
    redo(run, FIRST)
    shard = Shard(old, FIRST, 0)
    with finish_journal(shard):
        pass
    assert list(read_records(shard.files.journals(), shard.digests)), "the journal is there"
    fresh = RunFolder(run.path)
    assert not list(read_records(shard.files.journals(), fresh.digests(FIRST)))
    assert run_shard(fresh, FIRST, 0).elsewhere == 0


def finish_journal(shard: Shard):  # type: ignore[no-untyped-def]
    from contextlib import closing

    from shardmill.store.journal import Journal, JournalHeader, JournalRecord
    from shardmill.util.atomic import new_attempt

    shard.files.folder.mkdir(exist_ok=True)
    journal = Journal(shard.files.journal(new_attempt()), JournalHeader(shard.digest))
    journal.append(JournalRecord((0,), rows=[{"objects": ["of the earlier plan"]}]))
    return closing(journal)


def test_a_part_of_the_earlier_plan_is_refused_as_input_and_repaired_by_the_command(run: RunFolder, make_run: MakeRun) -> None:
    whole(run, FIRST)
    old = run.files(FIRST, 0)
    kept = {path: path.read_bytes() for path in (old.part, old.rejects, old.manifest)}
    redo(run, FIRST, FEWER)
    for path, content in kept.items():
        path.write_bytes(content)
    for stage in (FIRST, SECOND):
        with pytest.raises(UserError, match=f"made with another fingerprint than planned; .*shardmill run .* {FIRST} --shard 0"):
            run_shard(RunFolder(run.path), stage, 0)
    redo(RunFolder(run.path), FIRST, shards=[0])
    assert whole(run, FIRST, SECOND) == whole(make_run("calm", num_shards=2, settings=FEWER), FIRST, SECOND)


def test_a_redo_of_a_later_stage_keeps_the_code_that_was_accepted_for_earlier_ones(run: RunFolder) -> None:
    whole(run, FIRST, SECOND)
    earlier = {**run.stage(FIRST).fingerprint, "code": "0" * 16}
    run.stage(FIRST).accepted.append(earlier)
    replace_plan(run.path, run.plan)
    run = RunFolder(run.path)
    manifest = run.manifest(FIRST, 0)
    assert manifest is not None
    run.files(FIRST, 0).manifest.write_bytes(manifest.model_copy(update={"fingerprint": earlier}).to_bytes())
    redone = redo(run, SECOND)
    assert redone.stage(FIRST).accepted == [earlier]
    assert not check_stage(redone, FIRST).problems
    assert accept_code_change(redone)[1] == []


def test_a_task_that_was_chosen_by_an_earlier_plan_goes_back(run: RunFolder) -> None:
    redo(RunFolder(run.path), FIRST, FEWER)
    outbox = Outbox(os.open(os.devnull, os.O_WRONLY))
    task = {"stage": FIRST, "shard": 0, "lease": {}, "revision": 1}
    assert do_task(RunFolder(run.path), task, {}, outbox, lambda: False)["end"] == "outdated"
    assert do_task(RunFolder(run.path), {**task, "revision": 2}, {}, outbox, lambda: False)["end"] == "done"
    gone = {**task, "revision": 2, "stage": "filter_objects"}
    assert do_task(RunFolder(run.path), gone, {}, outbox, lambda: False)["end"] == "outdated"


def test_a_launch_ends_its_workers_when_the_plan_changes_and_the_next_one_goes_on(
    run: RunFolder, make_run: MakeRun, tmp_path: Path
) -> None:
    class Redoing(LaunchView):
        change = staticmethod(once(lambda: redo(RunFolder(run.path), FIRST, FEWER)))

        def progress(self, task: Task, progress: Progress) -> None:
            self.change()

    with pytest.raises(PlanChanged):
        launch_local(run, 1, view=Redoing(), stop_after=SECOND)
    result = launch_local(RunFolder(run.path), 1, stop_after=SECOND)
    assert not result.failed
    calm = make_run("calm", num_shards=2, settings=FEWER)
    assert whole(run, FIRST, SECOND) == whole(calm, FIRST, SECOND)


@pytest.mark.parametrize("shards", [None, [1]])
def test_a_launch_goes_on_after_a_redo_of_ingest_that_was_killed(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, shards: list[int] | None
) -> None:
    """Whatever the run was started with: the plan has it all."""
    run = make_run(seed=7, num_shards=2, min_words=2)
    before = [run.files(INGEST, shard).part.read_bytes() for shard in range(2)]
    redo(run, INGEST, shards=shards)
    launched: list[RunFolder] = []

    def launch(run: RunFolder, *words: object, **named: object) -> None:
        board_of(run)
        launched.append(run)
        raise Stopped("far enough")

    monkeypatch.setattr("shardmill.launch.local.launch_local", launch)
    done = CliRunner().invoke(cli, ["launch", "negbench", "--run", str(run.path)])
    assert launched, done.output
    assert [run.files(INGEST, shard).part.read_bytes() for shard in range(2)] == before


def test_a_launch_of_missing_ingest_shards_by_other_means_names_a_command_that_works(run: RunFolder) -> None:
    redo(run, INGEST)
    with pytest.raises(UserError, match="is not ingested yet") as error:
        board_of(run)
    words = shlex.split(str(error.value)[str(error.value).rindex("shardmill ") :])
    assert CliRunner().invoke(cli, words[1:]).exit_code == 0
    assert board_of(run).next() is not None


def test_rows_whose_input_was_made_again_with_other_values_are_made_again_too(run: RunFolder) -> None:
    """As when a shard of the stage before was redone and came out otherwise, while a worker still had the earlier one."""
    whole(run, FIRST, SECOND)
    before, manifest = run.manifest(SECOND, 0), run.manifest(FIRST, 0)
    assert before is not None and manifest is not None
    part = run.files(FIRST, 0).part
    part.write_bytes(part.read_bytes().replace(b"dog", b"fox"))
    record = manifest.part.model_copy(update={"sha256": file_digest(part)})
    run.files(FIRST, 0).manifest.write_bytes(manifest.model_copy(update={"part": record}).to_bytes())
    done = run_shard(run, SECOND, 0)
    rows = run.read_part(SECOND, 0)[0]
    assert rows.filter(rows["objects"].str.contains("fox")).height and not rows.filter(rows["objects"].str.contains("dog")).height
    assert 0 < done.elsewhere < done.rows_in
    assert check_stage(run, SECOND).manifests.keys() == {0, 1}
