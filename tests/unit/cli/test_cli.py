"""Bad input: one clear line that names the thing and what to do, exit code 2, no traceback, nothing finished is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from shardmill.cli.main import main
from shardmill.core.shard_runner import run_shard
from shardmill.store.run_folder import RunFolder
from shardmill.util.signals import STOPPING

MakeRun = Callable[..., RunFolder]
UNVERIFIED = ("--set", "filter_objects.unverified=keep")


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Commands that run stages install handlers; the next test gets the old ones."""
    numbers = STOPPING
    saved = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, saved, strict=True):
        signal.signal(number, handler)


def process(*words: object, module: str = "shardmill") -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    return subprocess.run([sys.executable, "-m", module, *map(str, words)], capture_output=True, text=True)


def shardmill(*words: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, which is quicker."""
    arguments = ["shardmill", *map(str, words)]
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        try:
            main()
            code: Any = 0
        except SystemExit as stopped:
            code = stopped.code or 0
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def refused(*words: object, module: str | None = None) -> str:
    """The one line of a command that is refused."""
    done = process(*words, module=module) if module else shardmill(*words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith(("shardmill:", "Error:"))]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_what_cannot_be_read_as_a_table_is_named(tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    run = ("--run", tmp_path / "run")
    assert "nowhere.csv" in refused("shard", tmp_path / "nowhere.csv", *run)
    assert str(tmp_path) in refused("shard", tmp_path, *run)
    assert "empty" in refused("shard", file("empty.csv", b""), *run)
    assert "no rows" in refused("shard", file("header.csv", b"filepath,caption\n"), *run)
    assert "UTF-16" in refused("shard", file("utf16.csv", "filepath,caption\na,b\n".encode("utf-16")), *run)
    assert "--encoding" in refused("shard", file("latin.csv", "filepath,caption\na.jpg,caf\xe9\n".encode("latin-1")), *run)
    assert "gzip" in refused("shard", file("packed.csv", b"\x1f\x8b\x08\x00" + b"\0" * 40), *run).lower()
    assert "--caption-column" in refused("shard", file("other.csv", b"a,b\n1,2\n"), *run)
    assert "did you mean 'caption'" in refused("shard", file("t.csv", b"a,caption\n1,2\n"), *run, "--caption-column", "captoin")
    assert not (tmp_path / "run").exists()


def test_unknown_names_get_a_suggestion(captions_csv: Path, tmp_path: Path) -> None:
    def shard(*words: object) -> str:
        return refused("shard", captions_csv, "--run", tmp_path / "run", *words)

    assert "did you mean 'shard'" in refused("shrad", captions_csv)
    assert "--num-shards" in shard("--num-shard", 3)
    assert "did you mean 'negbench'" in shard("--pipeline", "negbnch")
    assert "did you mean 'create_mcq'" in shard("--set", "create_mqc.style=original")
    assert "did you mean 'style'" in shard("--set", "create_mcq.stile=original")
    assert "original" in shard("--set", "create_mcq.style=best")
    assert "did you mean 'rules'" in shard("--set", "extract_objects.model=rule")
    assert "miss_rat" in shard("--set", "filter_objects.model.miss_rat=1")
    assert "STAGE.OPTION=VALUE" in shard("--set", "style=original")
    assert "at least 1" in shard("--num-shards", 0)
    assert "not both" in shard("--num-shards", 2, "--rows-per-shard", 5)
    assert not (tmp_path / "run").exists()


def test_a_run_of_other_values_is_refused_and_the_field_is_named(make_run: MakeRun, captions_csv: Path, tmp_path: Path) -> None:
    run = make_run()
    run_shard(run, "extract_objects", 0)
    plan = (run.path / "plan.json").read_bytes()

    def again(*words: object) -> str:
        return refused("shard", captions_csv, "--run", run.path, "--num-shards", 4, *UNVERIFIED, *words)

    assert shardmill("shard", captions_csv, "--run", run.path, "--num-shards", 4, *UNVERIFIED).returncode == 0
    assert "the seed is 0 in its plan and 7 now" in again("--seed", 7)
    assert "options of stage create_mcq" in again("--set", "create_mcq.style=original")
    assert "the number of target rows" in again("--target-rows", 5)
    assert "the number of shards" in refused("shard", captions_csv, "--run", run.path, "--num-shards", 5, *UNVERIFIED)
    captions_csv.write_text(captions_csv.read_text() + "9.png,one more,test\n")
    assert "sha256" in again()
    assert (run.path / "plan.json").read_bytes() == plan


def test_stages_and_shards_that_are_not_there(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    assert "did you mean 'extract_objects'" in refused("run", run.path, "extract_object")
    assert "the shards 0 to 3" in refused("run", run.path, "extract_objects", "--shard", 4)
    stage = "shardmill.negbench.extract_objects"
    assert "the shards 0 to 3" in refused("--run", run.path, "--shard-index", -1, module=stage)
    assert "is not a run folder" in refused("status", tmp_path / "nothing")
    assert "has not finished shard 0" in refused("run", run.path, "propose_negatives", "--shard", 0)
    assert "there is no row 999" in refused("explain", run.path, 999)
    assert "not finished" in refused("build", run.path)
    assert "not finished" in refused("combine", run.path, "extract_objects", "--out", tmp_path / "x.csv")
    assert "did you mean '.csv'" in refused("combine", run.path, "ingest", "--out", tmp_path / "x.cvs")


def test_several_stages_are_run_in_their_order_and_a_redo_begins_with_the_first(make_run: MakeRun) -> None:
    run = make_run(num_shards=2)
    done = shardmill("run", run.path, "extract_objects", "propose_negatives", "--shard", 1)
    assert done.returncode == 0, done.stderr
    assert run.is_complete("propose_negatives", 1) and not run.is_complete("extract_objects", 0)
    assert "no stage 'propose'" in refused("run", run.path, "extract_objects", "propose")
    assert "extract_objects is not one of them" in refused("run", run.path, "propose_negatives", "extract_objects", "--redo")
    assert "give numbers from 0 on" in refused("run", run.path, "extract_objects", "--shard", "3-1")


def test_models_are_named_on_the_command_line(captions_csv: Path, tmp_path: Path) -> None:
    shard = ("shard", captions_csv, "--run", tmp_path / "run")
    assert "did you mean 'llama-3.1-8b'" in refused(*shard, "--model", "lama-3.1-8b")
    assert "no stage has a vLLM model" in refused(*shard, "--servers", tmp_path)
    assert shardmill(*shard, "--model", "llama-3.1-8b", "--servers", tmp_path / "servers").returncode == 0
    planned = RunFolder(tmp_path / "run").stage("extract_objects").model
    assert (planned["kind"], planned["servers"]) == ("openai", str(tmp_path / "servers"))


def test_a_damaged_plan_manifest_or_part_is_named(make_run: MakeRun) -> None:
    run = make_run()
    part = run.files("ingest", 1).part
    part.write_bytes(part.read_bytes()[:-3])
    assert part.name in refused("run", run.path, "extract_objects", "--shard", 1)
    run.files("ingest", 2).manifest.write_text("{")
    assert "is corrupt" in refused("run", run.path, "extract_objects", "--shard", 2)
    (run.path / "plan.json").write_text(json.dumps({"format": 1}))
    assert "plan.json is corrupt" in refused("status", run.path)


def test_a_file_in_the_place_of_the_run_folder(captions_csv: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    done = shardmill("shard", captions_csv, "--run", tmp_path / "taken")
    assert done.returncode == 2
    assert "taken" in done.stderr


def test_a_changed_template_is_refused_and_redone_on_demand(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    assert shardmill("run", run.path, "extract_objects").returncode == 0
    plan = run.path / "plan.json"
    plan.write_text(plan.read_text().replace(run.fingerprint("extract_objects")["template"], "0" * 64))
    line = refused("run", run.path, "extract_objects", "--shard", 0)
    assert "template of stage extract_objects changed" in line
    remedy = line.partition("again: ")[2].split()[1:]
    assert shardmill(*remedy).returncode == 0
    assert RunFolder(run.path).is_complete("extract_objects", 0)
    assert RunFolder(run.path).plan.revision == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_is_one_line_and_the_run_goes_on_with_more_room(captions_csv: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=88k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this system lets nobody mount a tmpfs")
    try:
        captions_csv.write_text(captions_csv.read_text() * 10)
        command = ("launch", "negbench", "--input", captions_csv, "--run", small / "run", "--num-shards", 3, *UNVERIFIED)
        full = process(*command)
        assert full.returncode in (1, 2)
        assert "no space left" in full.stderr
        assert "Traceback" not in full.stderr
        subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
        done = process(*command)
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from shardmill.cli.main import cli; cli(['--help'], standalone_mode=False); "
        "print({'polars', 'pydantic', 'submitit', 'rich', 'torch'} & sys.modules.keys())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert "Start a run:" in shown and shown.splitlines()[-1] == "set()"
