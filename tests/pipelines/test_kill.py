"""kill -9 at random moments: no row is lost, none doubled, and the bytes are those of an undisturbed run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from conftest import CAPTIONS, write_captions
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.verify import check_stage

KILLS = 50
DRIVER = [sys.executable, str(Path(__file__).with_name("drive.py"))]


def contents(run: RunFolder) -> dict[str, bytes]:
    """The bytes of all parts and rejects; manifests hold times and attempts and are compared by their counts."""
    return {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for stage in [INGEST, *run.stages]
        for path in sorted(run.folder(stage).iterdir())
        if path.suffix == ".csv"
    }


def leftovers(run: RunFolder) -> list[str]:
    return [
        path.name
        for stage in [INGEST, *run.stages]
        for path in run.folder(stage).iterdir()
        if path.suffix in (".journal", ".tmp")
    ]


@pytest.mark.parametrize("half", [0, 1])
def test_fifty_kills_lose_and_double_nothing(tmp_path: Path, half: int) -> None:
    rng = Random(half)
    source = write_captions(tmp_path / "captions.csv", CAPTIONS * 30)
    started = time.monotonic()
    subprocess.run([*DRIVER, str(source), str(tmp_path / "calm"), "3"], check=True)
    whole = time.monotonic() - started
    calm = RunFolder(tmp_path / "calm")
    kills = runs = 0
    while kills < KILLS // 2:
        folder = tmp_path / f"disturbed-{runs}"
        runs += 1
        finished = False
        while not finished:
            process = subprocess.Popen([*DRIVER, str(source), str(folder), "3"])
            try:
                moment = rng.uniform(0.3, whole) if kills < KILLS // 2 else 600
                finished = process.wait(timeout=moment) == 0
                assert finished, "the worker failed by itself"
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
        run = RunFolder(folder)
        assert contents(run) == contents(calm)
        assert leftovers(run) == []
        for stage in [INGEST, *run.stages]:
            check = check_stage(run, stage)
            assert not check.problems and not check.missing
    assert kills == KILLS // 2
