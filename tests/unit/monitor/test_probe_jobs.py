"""Probe jobs: what nodes have, beside what the site file says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from scripted_slurm import ScriptedSlurm
from shardmill.launch.probe import Probe, look
from shardmill.launch.site import Site
from shardmill.monitor.probe_jobs import probe


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedSlurm:
    """A cluster that runs a job at once, when it is submitted."""
    made = ScriptedSlurm(tmp_path / "bin", monkeypatch)
    made.program("srun", f'until [ "$1" = \'{sys.executable}\' ]; do shift; done\nexec "$@"')
    path = f"{made.folder}:/usr/bin:/bin"
    made.program("sbatch", f"PATH='{path}' PYTHONPATH='{os.pathsep.join(sys.path)}' /bin/bash >/dev/null 2>&1\necho 101")
    made.program("scancel", "exit 0")
    return made


def test_a_node_that_has_what_the_site_says_is_ok(cluster: ScriptedSlurm, tmp_path: Path) -> None:
    site = Site(gpus_per_node=0, cpus_per_node=1, memory_gb_per_node=1, scratch=str(tmp_path))
    (check,) = probe(site, None, tmp_path)
    assert (check.name, check.verdict) == ("probe of CPU jobs", "ok"), check
    assert "0 GPUs, " in check.detail and "shardmill" in check.detail and "GB free" in check.detail
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin"]


def test_what_a_node_does_not_have_is_said_with_the_line_for_the_site_file(cluster: ScriptedSlurm, tmp_path: Path) -> None:
    site = Site(gpus_per_node=0, cpus_per_node=9999, memory_gb_per_node=1, scratch="/nowhere/at/all")
    (check,) = probe(site, None, tmp_path)
    assert check.verdict == "fail"
    assert "cpus_per_node is 9999" in check.detail and "/nowhere/at/all" in check.detail
    assert check.remedy.startswith(f"cpus_per_node: {os.cpu_count()}; correct scratch")


def test_a_probe_that_is_refused_does_not_keep_the_others(cluster: ScriptedSlurm, tmp_path: Path) -> None:
    cluster.program("sbatch", "/bin/cat >/dev/null\necho 'invalid qos' >&2\nexit 1")
    checks = list(probe(Site(gpus_per_node=8), None, tmp_path))
    assert [(check.name, check.verdict) for check in checks] == [("probe of GPU jobs", "fail"), ("probe of CPU jobs", "fail")]
    assert "invalid qos" in checks[0].detail


def test_models_that_are_not_in_the_cache_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "hub" / "models--a--b" / "snapshots" / "1").mkdir(parents=True)
    found: Probe = look("", ["a/b", "a/c", str(tmp_path), "/nowhere"])
    assert found.missing_models == ["a/c", "/nowhere"]
    assert found.hub_cache == str(tmp_path)
