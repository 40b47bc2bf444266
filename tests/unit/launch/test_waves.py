"""A site that limits the jobs in the queue: a launch submits what fits, and a last job goes on by itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from scripted_slurm import ScriptedSlurm
from shardmill.launch import slurm
from shardmill.launch.cluster_plan import ClusterPlan, plan_launch
from shardmill.launch.elements import own_shard
from shardmill.launch.job_file import JobFile, read_job_file
from shardmill.launch.next_wave import submit_next_wave
from shardmill.launch.site import Site, load_site
from shardmill.launch.submit import submit
from shardmill.launch.waves import wave
from shardmill.store.jobs import JobsFolder
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

PHASES = [("a",), ("b", "c")]
AFTER = {"a": "ingest", "b": "a", "c": "b"}


def chosen(room: int, done: set[tuple[str, int]] = set(), learns: str = "") -> tuple[set[tuple[str, int]], int]:  # noqa: B006
    def inputs(stage: str, shard: int) -> tuple[int, ...]:
        return (0, 1, 2) if stage == learns else own_shard(stage, shard)

    return wave(PHASES, AFTER, [[0], [1], [2]], lambda stage, shard: (stage, shard) not in done, {}, inputs, room)


def test_a_group_of_shards_goes_through_all_phases_before_the_next_is_begun() -> None:
    assert chosen(3) == ({("a", 0), ("b", 0), ("c", 0), ("a", 1)}, 3)
    assert chosen(99)[1] == 0
    assert chosen(0) == (set(), 6)


def test_what_learns_from_shards_of_other_groups_comes_after_them() -> None:
    assert chosen(3, learns="b") == ({("a", 0), ("a", 1), ("a", 2)}, 3)
    assert chosen(2, learns="b", done={("a", 0), ("a", 1)}) == ({("a", 2), ("b", 0), ("c", 0)}, 2)


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedSlurm:
    monkeypatch.setattr("shardmill.store.task_logs.logs_folder", lambda: tmp_path / "logs")
    made = ScriptedSlurm(tmp_path / "bin", monkeypatch)
    made.sbatch()
    return made


def limited(max_jobs: int) -> Site:
    return Site(name="mine", max_array_size=1000, max_jobs=max_jobs, cpu_workers_per_node=1)


def last_job(scripted: ScriptedSlurm) -> JobFile:
    command = next(line for line in scripted.scripts()[-1].splitlines() if line.startswith("srun"))
    path, digest = shlex.split(command.replace("||", " "))[-3:-1]
    return read_job_file(Path(path), digest)


def test_a_launch_submits_what_fits_and_a_job_that_goes_on(make_run: Callable[..., RunFolder], scripted: ScriptedSlurm) -> None:
    plan = plan_launch(make_run(num_shards=4), limited(6), by_stage=True, group=1)
    assert sum(len(array.elements) for array in plan.arrays) == 5
    submission = submit(plan, lambda line: None, build=False)
    assert submission.finish == f"{100 + len(scripted.scripts())}"
    going_on = last_job(scripted).finish
    assert going_on is not None and going_on.wave is not None and not going_on.wave.build
    half = [array.job for array in submission.arrays][: -(-len(submission.arrays) // 2)]
    assert f"--dependency=afterany:{':'.join(half)}" in scripted.scripts()[-1]


def test_jobs_of_others_in_the_queue_count(make_run: Callable[..., RunFolder], scripted: ScriptedSlurm) -> None:
    scripted.squeue(*[f"9_{element}|other.work|RUNNING|n1" for element in range(5)])
    assert slurm.jobs_in_queue() == 5
    plan = plan_launch(make_run(num_shards=4), limited(8), by_stage=True, group=1)
    assert sum(len(array.elements) for array in plan.arrays) == 2


def test_the_next_wave_is_submitted_with_the_site_of_the_first(
    make_run: Callable[..., RunFolder], scripted: ScriptedSlurm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text("partition: a\nmax_jobs: 6\nmax_array_size: 9\ncpu: {partition: b}\n")
    run = make_run(num_shards=4)
    plan = plan_launch(run, load_site(str(tmp_path / "mine.yaml")), by_stage=True, group=1)
    submit(plan, lambda line: None)
    (tmp_path / "mine.yaml").unlink()
    work = last_job(scripted).finish
    assert work is not None and work.wave is not None
    before = len(scripted.scripts())
    assert submit_next_wave(run.path, work.wave) == 1  # nothing was finished: it does not go on for ever
    assert len(scripted.scripts()) == before
    unlike = type(work.wave)(**{**vars(work.wave), "finished": -1})
    assert submit_next_wave(run.path, unlike) == 0
    assert "#SBATCH --partition=b" in scripted.scripts()[before]
    latest = JobsFolder(run).submissions()[-1]
    assert latest.site == str(tmp_path / "mine.yaml") and latest.finish
    assert json.loads(work.wave.site)[1] == latest.site


def test_a_queue_that_is_full_of_other_jobs_is_looked_at_again_until_it_has_room(
    make_run: Callable[..., RunFolder], scripted: ScriptedSlurm
) -> None:
    scripted.squeue(*[f"9_{element}|other.work|RUNNING|n1" for element in range(8)])
    run = make_run(num_shards=4)
    submit(plan_launch(run, limited(8), by_stage=True, group=1), lambda line: None)
    for _ in range(2):
        (script,) = scripted.scripts()[-1:]
        work = last_job(scripted).finish
        assert "#SBATCH --begin=now+10minutes" in script and work is not None and work.wave is not None
        assert submit_next_wave(run.path, work.wave) == 0
    scripted.squeue()
    assert submit_next_wave(run.path, work.wave) == 0
    assert [len(each.arrays) > 0 for each in JobsFolder(run).submissions()] == [False, False, False, True]


def test_a_controller_that_does_not_answer_for_a_moment_does_not_end_the_chain(
    make_run: Callable[..., RunFolder], scripted: ScriptedSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(num_shards=4)
    submit(plan_launch(run, limited(6), by_stage=True, group=1), lambda line: None)
    work = last_job(scripted).finish
    assert work is not None and work.wave is not None
    unlike = type(work.wave)(**{**vars(work.wave), "finished": -1})
    before = len(scripted.scripts())
    scripted.down()
    monkeypatch.setattr("shardmill.launch.next_wave.sleep", lambda seconds: scripted.squeue())
    assert submit_next_wave(run.path, unlike) == 0
    assert len(scripted.scripts()) > before


def test_a_refused_submission_says_how_to_submit_in_waves(make_run: Callable[..., RunFolder], scripted: ScriptedSlurm) -> None:
    count = f"/usr/bin/wc -l <'{scripted.folder}/sbatch.calls'"
    refuse = "echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1"
    scripted.program("sbatch", f"/bin/cat >/dev/null\n[ $({count}) -lt 4 ] && echo 100 && exit; {refuse}")
    run = make_run(num_shards=4)
    plan: ClusterPlan = plan_launch(run, limited(3).model_copy(update={"max_jobs": None}), by_stage=True, group=1)
    with pytest.raises(UserError, match=r"QOSMaxSubmit.*stays submitted; say in the site file how many jobs .*max_jobs: 40"):
        submit(plan, lambda line: None)
    assert len(JobsFolder(run).submissions()[-1].arrays) == 3
