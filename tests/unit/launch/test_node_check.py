"""Whether a node is fit for work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.launch import node_check
from shardmill.launch.gpus import visible_gpus
from shardmill.launch.node_check import node_problem
from shardmill.store.run_folder import RunFolder


def command(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_healthy_node_has_no_problem(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    assert node_problem(make_run(), (), 0, str(tmp_path), [str(command(tmp_path / "ok", "exit 0"))]) is None


def test_too_few_gpus(make_run: Callable[..., RunFolder]) -> None:
    assert node_problem(make_run(), ("0",), 2, None, []) == "1 of 2 GPUs are visible"


def test_a_scratch_folder_that_is_not_there(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    assert "cannot write to the scratch folder" in str(node_problem(make_run(), (), 0, str(tmp_path / "none"), []))


def test_the_last_line_of_a_failed_check_is_the_reason(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    check = command(tmp_path / "check", "echo looking; echo 'GPU 3 is gone' >&2; exit 4")
    assert node_problem(make_run(), (), 0, None, [str(check)]) == f"{check} failed (4): GPU 3 is gone"


def test_a_check_that_hangs_or_is_missing_is_a_problem(
    make_run: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_check, "CHECK_SECONDS", 0.2)
    check = command(tmp_path / "check", "exec sleep 30")
    assert "did not answer" in str(node_problem(make_run(), (), 0, None, [str(check)]))
    assert "No such file" in str(node_problem(make_run(), (), 0, None, [str(tmp_path / "none")]))


def test_a_dead_driver_is_a_problem_only_for_those_who_need_a_gpu(
    make_run: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path / "nvidia-smi", "echo 'Unable to determine the device handle' >&2; exit 9")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert node_problem(make_run("a"), (), 0, None, []) is None
    assert "Unable to determine" in str(node_problem(make_run("b"), ("0",), 1, None, []))


def test_visible_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert visible_gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    command(tmp_path / "nvidia-smi", "echo 'GPU 0: X (UUID: a)'; echo 'GPU 1: X (UUID: b)'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert visible_gpus() == ["0", "1"]
