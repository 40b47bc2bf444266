"""The signal before the time limit reaches the tasks whenever it comes: also before `srun`, and while they are only starting."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.launch.assignment import JobSignals
from shardmill.launch.site import Site
from shardmill.launch.time_warning import VARIABLE, catching
from shardmill.monitor.doctor import _time_limits
from shardmill.store.run_folder import RunFolder
from shardmill.util.signals import STOPPING

SCRIPT = "#!/bin/bash\n\n# Parameters\n#SBATCH --signal=USR2@90\n#SBATCH --time=5\n\n# setup\n{setup}\n\n# command\nsrun work\n"


def run_script(folder: Path, srun: str, setup: str = "true") -> int:
    (folder / "srun").write_text(f"#!/bin/sh\n{srun}\n")
    (folder / "srun").chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(folder)}
    text = catching(SCRIPT.format(setup=setup))
    return subprocess.run(["bash"], input=text, text=True, env=environment, timeout=60).returncode


def test_a_signal_during_the_setup_is_there_when_the_tasks_look(tmp_path: Path) -> None:
    assert run_script(tmp_path, f'test -e "${VARIABLE}" && exit 75', setup="kill -USR2 $$") == 75
    assert run_script(tmp_path, f'test -e "${VARIABLE}" || exit 3') == 3


def test_a_signal_while_the_tasks_run_does_not_end_them(tmp_path: Path) -> None:
    assert (
        run_script(tmp_path, f'kill -USR2 $(ps -o ppid= -p $PPID); until test -e "${VARIABLE}"; do sleep 0.05; done; exit 7') == 7
    )
    # The script's subshell is the parent of `srun`, and the script the parent of that.
    for _ in range(20):
        assert run_script(tmp_path, "kill -USR2 $(ps -o ppid= -p $PPID); exit 7") == 7
    assert [path.name for path in tmp_path.iterdir()] == ["srun"]


def test_tasks_take_the_file_for_the_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        signals = JobSignals()
        monkeypatch.setenv(VARIABLE, str(tmp_path / "came"))
        assert not signals()
        (tmp_path / "came").touch()
        assert signals() and signals.requeue
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_doctor_warns_of_limits_that_leave_no_time_to_start(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    (check,) = _time_limits(run, Site(name="here"))
    assert check.verdict == "ok"
    (check,) = _time_limits(run, Site(name="here", max_minutes=3))
    assert check.verdict == "warn" and "(3 minutes)" in check.detail
