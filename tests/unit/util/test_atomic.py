"""Writing that a crash cannot tear: what dead writers leave goes, what living ones write stays."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shardmill.util import atomic, processes
from shardmill.util.atomic import create_if_absent, replacing, sweep, temporary_folder, temporary_name
from shardmill.util.errors import UserError
from shardmill.util.processes import has_ended, machine, process_mark

WRITER = """
import sys, time
from pathlib import Path
from shardmill.util.atomic import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process looks through a folder once."""
    monkeypatch.setattr(atomic, "_swept", set())


def start_writer(path: Path) -> subprocess.Popen[str]:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert writer.stdout and writer.stdout.readline()
    return writer


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_left_goes_with_the_next_write_to_the_folder(tmp_path: Path) -> None:
    with start_writer(tmp_path / "out.csv") as writer:
        writer.kill()
    assert len(names(tmp_path)) == 1
    assert create_if_absent(tmp_path / "other.json", b"{}")
    assert names(tmp_path) == ["other.json"]


def test_a_writer_that_lives_is_left_alone(tmp_path: Path) -> None:
    with start_writer(tmp_path / "out.csv") as writer:
        with replacing(tmp_path / "out.csv") as file:
            file.write(b"mine")
        assert len(names(tmp_path)) == 2
        writer.communicate("")
    assert (tmp_path / "out.csv").read_bytes() == b"half"
    assert names(tmp_path) == ["out.csv"]


def test_another_machines_temporary_file_goes_when_it_is_a_day_old(tmp_path: Path) -> None:
    foreign = tmp_path / f".out.csv.1790000000000-elsewhere-{os.getpid()}-0a1b2c.tmp"
    foreign.write_bytes(b"half")
    assert create_if_absent(tmp_path / "one", b"")
    assert foreign.exists()
    os.utime(foreign, (time.time() - 2 * 86_400,) * 2)
    atomic._swept.clear()
    assert create_if_absent(tmp_path / "two", b"")
    assert names(tmp_path) == ["one", "two"]


def test_a_container_with_the_same_host_name_and_process_numbers_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process 7 writes; here there is no process with that number."""
    with monkeypatch.context() as container:
        container.setattr(processes, "machine", lambda: "the same boot, another process namespace")
        live = temporary_name(tmp_path / "out.csv")
        live.write_bytes(b"half")
    free = next(pid for pid in range(2, 1 << 22) if not Path(f"/proc/{pid}").exists())
    live = live.rename(live.with_name(live.name.replace(f"-{os.getpid()}-", f"-{free}-")))
    sweep(tmp_path)
    assert live.exists()


def test_a_process_number_that_another_process_has_now_is_no_sign_of_life(tmp_path: Path) -> None:
    old = temporary_name(tmp_path / "out.csv")
    old = old.with_name(old.name.replace(process_mark(), process_mark() + "0"))
    old.write_bytes(b"half")
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_writer_that_is_suspended_for_days_is_left_alone(tmp_path: Path) -> None:
    live = temporary_name(tmp_path / "out.csv")
    live.write_bytes(b"half")
    os.utime(live, (0, 0))
    sweep(tmp_path)
    assert live.exists()


def test_a_process_that_hides_from_us_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With /proc mounted with hidepid, no process of another user is seen there."""

    def forbidden(pid: int, number: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(processes, "process_start", lambda pid: "")
    assert has_ended(machine(), os.getpid(), "17")
    monkeypatch.setattr(os, "kill", forbidden)
    assert not has_ended(machine(), os.getpid(), "17")


def test_a_temporary_folder_is_swept_like_a_file_and_lives_while_a_file_in_it_is_written(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "join") as folder:
        (folder / "spool").write_bytes(b"half")
        sweep(tmp_path)
        assert folder.exists()
    assert names(tmp_path) == []
    foreign = tmp_path / ".join.1790000000000-0123456789ab-7-7-0a1b2c.tmp"
    foreign.mkdir()
    (foreign / "spool").write_bytes(b"half")
    os.utime(foreign, (0, 0))
    sweep(tmp_path)
    assert foreign.exists()
    os.utime(foreign / "spool", (0, 0))
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_file_that_was_swept_away_while_it_was_written_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was removed by another process before it could"), replacing(tmp_path / "out") as file:
        file.write(b"half")
        next(tmp_path.iterdir()).unlink()


def test_files_that_only_look_alike_stay(tmp_path: Path) -> None:
    for name in (".out.csv.tmp", "out.csv.1790000000000-host-1-0a1b2c.tmp", ".hidden"):
        (tmp_path / name).write_bytes(b"mine")
    assert create_if_absent(tmp_path / "one", b"")
    assert len(names(tmp_path)) == 4


def test_a_disk_that_fails_twice_is_told_by_its_first_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with pytest.raises(ValueError, match="the first"), replacing(tmp_path / "out.csv") as file:
        file.write(b"half")
        monkeypatch.setattr(Path, "unlink", failing)
        raise ValueError("the first")
