"""Faults that the command meets while it works: one line, exit code 2, and the same command goes on when they are mended."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shardmill.cli.main import main
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.store.plan import load_plan
from shardmill.store.run_folder import RunFolder
from shardmill.util.signals import STOPPING

MakeRun = Callable[..., RunFolder]
EngineRejected = Callable[..., str]
SETTINGS = ["filter_objects.unverified=keep"]


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Commands that run stages install handlers; the next test gets the old ones."""
    numbers = STOPPING
    saved = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, saved, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> EngineRejected:
    """Runs a command that must fail with exit code 2 and exactly one line on stderr, which it returns."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["shardmill", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        told = capsys.readouterr().err.splitlines()
        assert stopped.value.code == 2 and len(told) == 1, told
        return told[0]

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True).returncode
    ):
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_settings_and_pipeline_files_that_make_no_sense(refused: EngineRejected, captions_csv: Path, tmp_path: Path) -> None:
    shard = ("shard", captions_csv, "--run", tmp_path / "run")
    assert "is not YAML" in refused(*shard, "--set", "create_mcq.style=[")
    assert "valid integer" in refused(*shard, "--set", "extract_objects.attempts=lots")
    assert "create_mcq uses no model" in refused(*shard, "--set", "create_mcq.model=rules")
    assert "pipeline file" in refused(*shard, "--pipeline", tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text("pipeline: negbench\nstages: [{stage: extract_objects, model: oracle}]")
    assert "there is no text model 'oracle'" in refused(*shard, "--pipeline", tmp_path / "mine.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "folder.yaml" in refused(*shard, "--pipeline", tmp_path / "folder.yaml")
    assert not (tmp_path / "run").exists()


def test_an_image_root_that_is_no_folder_is_named(refused: EngineRejected, captions_csv: Path, tmp_path: Path) -> None:
    for words in (
        ("shard", captions_csv, "--run", tmp_path / "run"),
        ("launch", "negbench", "--input", captions_csv, "--run", tmp_path / "run"),
        ("preview", "negbench", "--input", captions_csv),
    ):
        assert "--image-root: there is no folder nosuchdir," in refused(*words, "--image-root", "nosuchdir/")
    assert not (tmp_path / "run").exists()


def test_places_where_nothing_can_be_written(
    refused: EngineRejected, make_run: MakeRun, captions_csv: Path, tmp_path: Path
) -> None:
    assert "/proc/run" in refused("shard", captions_csv, "--run", "/proc/run")
    assert "captions.csv/run is a file, or inside one" in refused("shard", captions_csv, "--run", captions_csv / "run")
    run = make_run()
    for word in (captions_csv / "x.csv", tmp_path / ("n" * 300 + ".csv")):
        line = refused("combine", run.path, "ingest", "--out", word)
        assert str(word.parent) in line or "name too long" in line
    assert "is a folder" in refused("combine", run.path, "ingest", "--out", _folder(tmp_path / "x.csv"))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_stage_module_given_a_file_for_its_run(captions_csv: Path) -> None:
    words = ["-m", "shardmill.negbench.extract_objects", "--run", str(captions_csv), "--shard-index", "0"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 2 and "captions.csv" in done.stderr and "Traceback" not in done.stderr


def test_commands_for_a_run_that_is_another(refused: EngineRejected, make_run: MakeRun, captions_csv: Path) -> None:
    run = make_run()
    assert "--input" in refused("launch", "negbench", "--run", run.path, "--seed", 1)
    assert "no pipeline 'negbanch'; did you mean 'negbench'" in refused("launch", "negbanch", "--run", run.path)
    run_shard(run, "extract_objects", 0)
    plan = run.path / "plan.json"
    plan.write_text(plan.read_text().replace('"pipeline": "negbench"', '"pipeline": "antidote"'))
    assert "is a run of the pipeline antidote, not negbench" in refused("launch", "negbench", "--run", run.path)
    assert "the pipeline is" in refused("shard", captions_csv, "--run", run.path, "--num-shards", 4)


def test_options_of_a_new_run_are_named_as_they_were_typed(refused: EngineRejected, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    again = ("launch", "negbench", "--run", run.path)
    line = refused(*again, "--set", "create_mcq.medium= photo", "--set", "create_mcq.style=original")
    assert line.startswith("shardmill: --set belongs to a new run; ")
    command = line.partition("this run: shardmill ")[2]
    assert "has not finished shard 0" in refused(*shlex.split(command))
    assert load_plan(run.path).stages[6].options["medium"] == "photo"
    line = refused(*again, "--model", "rules")
    assert "--model belongs to" in line and line.endswith(f"run {run.path} STAGE --redo --set STAGE.model=rules")
    assert "--format belongs to" in refused(*again, "--format", "jsonl")
    assert "--seed belongs to" in refused(*again, "--redo", "create_mcq", "--set", "create_mcq.style=original", "--seed", 1)
    assert "name its table with --input" in refused("launch", "negbench", "--run", tmp_path / "new", "--set", "a.b=1")


def test_ingest_is_told_apart_from_the_stages(refused: EngineRejected, make_run: MakeRun) -> None:
    run = make_run()
    assert "shardmill run" in refused("retry", run.path, "ingest", "--rejects")
    assert "has no model" in refused("retry", run.path, "create_mcq", "--rejects")
    assert "the shards 0 to 3" in refused("run", run.path, "ingest", "--shard", 9)
    assert "did you mean 'ingest'" in refused("run", run.path, "ingst")


def test_a_row_of_a_damaged_shard_is_not_explained(refused: EngineRejected, make_run: MakeRun) -> None:
    run = make_run()
    run_shard(run, "extract_objects", 0)
    run.files("extract_objects", 0).part.unlink()
    assert "extract_objects --shard 0 --redo" in refused("explain", run.path, 0)


def test_a_read_only_disk_is_one_line(refused: EngineRejected, captions_csv: Path, small_disk: Path) -> None:
    run = start_run(small_disk / "run", NewRun(input=captions_csv, num_shards=2, settings=SETTINGS))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "read-only" in refused("run", run.path, "extract_objects")
    assert "read-only" in refused("shard", captions_csv, "--run", small_disk / "other")
    assert "read-only" in refused("combine", run.path, "ingest", "--out", small_disk / "x.csv")


@pytest.mark.parametrize("free", [0, 4096, 12288])
def test_a_disk_that_fills_up_stops_a_stage_and_with_room_the_bytes_are_the_same(
    refused: EngineRejected, captions_csv: Path, small_disk: Path, tmp_path: Path, free: int
) -> None:
    calm, run = (
        start_run(folder / "run", NewRun(input=captions_csv, num_shards=2, settings=SETTINGS))
        for folder in (_folder(tmp_path / "calm"), small_disk)
    )
    space = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"\0" * (space.f_bavail * space.f_frsize - free))
    assert "no space left" in refused("run", run.path, "extract_objects")
    (small_disk / "filler").unlink()
    for shard in range(2):
        run_shard(calm, "extract_objects", shard)
        run_shard(run, "extract_objects", shard)
        assert run.files("extract_objects", shard).part.read_bytes() == calm.files("extract_objects", shard).part.read_bytes()
        assert not run.files("extract_objects", shard).temporaries()


def test_a_run_that_cannot_be_carried_out_here_leaves_no_plan_behind(
    refused: EngineRejected, captions_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    command = ("launch", "negbench", "--input", captions_csv, "--run", tmp_path / "run", "--num-shards", "1")
    assert "the site file" in refused(*command, "--site", tmp_path / "none.yaml")
    assert not (tmp_path / "run").exists()
    assert "needs 1 GPU and this machine has 0" in refused(*command, "--model", "owlvit-base")
    assert not (tmp_path / "run").exists()
