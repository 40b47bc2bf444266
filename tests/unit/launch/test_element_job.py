"""What travels with a submitted job."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.core.user_code import allowed_code
from shardmill.launch import element_job
from shardmill.launch.assignment import Assignment
from shardmill.launch.cluster_plan import ClusterPlan
from shardmill.launch.element_job import ElementJob, FinishJob
from shardmill.launch.elements import ElementArray
from shardmill.launch.site import Site
from shardmill.launch.submit import element_jobs
from shardmill.store.run_folder import RunFolder

CODE = {"mine:CountColours": "/home/me/mine.py"}


def test_the_code_that_the_launching_command_named_travels_with_its_jobs(
    make_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHARDMILL_CODE", json.dumps(CODE))
    plan = ClusterPlan(make_run(), Site(name="here", memory_gb_per_node=64), group=1, max_parallel=None)
    jobs = element_jobs(plan, ElementArray("extract_objects", [[0], [1]]))
    assert [job.code for job in jobs] == [CODE, CODE]


@pytest.mark.parametrize("code", [CODE, {}])
def test_a_job_may_load_what_its_launch_named_and_nothing_else(
    code: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHARDMILL_CODE", raising=False)
    seen: list[dict[str, str]] = []

    def run_element(work: Assignment) -> int:
        seen.append(allowed_code())
        return 0

    monkeypatch.setattr(element_job, "run_element", run_element)
    job = ElementJob(Assignment(str(tmp_path), "extract_objects", (0,), str(tmp_path)), code)
    pickle.loads(pickle.dumps(job))()
    assert seen == [code]


def test_the_job_at_the_end_may_load_the_same_code() -> None:
    assert pickle.loads(pickle.dumps(FinishJob("run", "log", CODE))).code == CODE
