"""What travels with a submitted job: JSON whose digest is in the job script, and no pickle."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from scripted_slurm import ScriptedSlurm
from shardmill.core.user_code import allowed_code
from shardmill.launch import element_job
from shardmill.launch.assignment import Assignment
from shardmill.launch.cluster_plan import ClusterPlan
from shardmill.launch.elements import ElementArray
from shardmill.launch.job_file import FinishWork, JobFile, read_job_file
from shardmill.launch.site import Site
from shardmill.launch.submit import job_file, submit
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

CODE = {"mine:CountColours": "/home/me/mine.py"}
STAGE = "extract_objects"


@pytest.fixture
def plan(make_run: Callable[..., RunFolder]) -> ClusterPlan:
    site = Site(name="here", memory_gb_per_node=64, health_check=["true", "a b"], scratch="/scratch/$USER")
    arrays = [ElementArray((STAGE,), [[0], [1, 2]])]
    return ClusterPlan(make_run(), site, group=1, max_parallel=None, phases=[(STAGE,)], arrays=arrays)


def test_the_code_that_the_launching_command_named_travels_with_its_jobs(
    plan: ClusterPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARDMILL_CODE", json.dumps(CODE))
    assert job_file(plan, plan.arrays[0]).code == CODE


@pytest.mark.parametrize("code", [CODE, {}])
def test_an_element_does_its_own_work_and_may_load_what_its_launch_named_and_nothing_else(
    code: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHARDMILL_CODE", raising=False)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    seen: list[tuple[tuple[int, ...], dict[str, str]]] = []
    monkeypatch.setattr(element_job, "run_element", lambda work: seen.append((work.shards, allowed_code())) or 0)
    works = tuple(Assignment(str(tmp_path), (STAGE,), (shard,), str(tmp_path), health_check=("a", "b")) for shard in range(3))
    job = JobFile(elements=works, code=code)
    path = job.write(tmp_path)
    assert read_job_file(path, job.digest) == job
    assert element_job.main([element_job.JOB_FILE, str(path), job.digest]) == 0
    assert seen == [((1,), code)]


def test_the_job_at_the_end_may_load_the_same_code(tmp_path: Path) -> None:
    job = JobFile(finish=FinishWork("run", "log"), code=CODE)
    assert read_job_file(job.write(tmp_path), job.digest) == job


def test_a_job_file_that_somebody_changed_is_refused(tmp_path: Path) -> None:
    job = JobFile(elements=(Assignment("run", (STAGE,), (0,), "logs"),))
    path = job.write(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"health_check":[]', b'"health_check":["touch","/tmp/x"]'))
    with pytest.raises(UserError, match="was changed since this job was submitted; cancel the job and launch again"):
        read_job_file(path, job.digest)
    path.rename(tmp_path / "other")
    path.symlink_to("other")
    with pytest.raises(UserError, match="is a link"):
        read_job_file(path, job.digest)
    path.unlink()
    with pytest.raises(UserError, match="was not found"):
        read_job_file(path, job.digest)


def test_a_launch_leaves_no_script_and_no_pickle_that_others_could_change(
    plan: ClusterPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardmill.store.task_logs.logs_folder", lambda: tmp_path / "logs")
    slurm = ScriptedSlurm(tmp_path / "bin", monkeypatch)
    slurm.sbatch()
    submission = submit(plan, lambda line: None)
    assert [array.job for array in submission.arrays] == ["101"] and submission.finish == "102"
    array, end = (text for text in slurm.scripts())
    command = shlex.split(next(line for line in array.splitlines() if line.startswith("srun")))
    path, digest = command[-4:-2]
    assert read_job_file(Path(path), digest) == job_file(plan, plan.arrays[0])
    assert "--array=0-1%" in array and "--array" not in end and "_submit" not in array + end
    written = {file.suffix for file in plan.run.path.rglob("jobs/**/*") if file.is_file()}
    assert written == {".json"}
    output = next(line for line in array.splitlines() if "--output=" in line).partition("=")[2]
    assert Path(output).parent.is_dir() and Path(output).is_relative_to(tmp_path / "logs")
