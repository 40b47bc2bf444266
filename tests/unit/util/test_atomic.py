"""Writing that a crash cannot tear: what dead writers leave goes, what living ones write stays."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shardmill.util import atomic
from shardmill.util.atomic import create_if_absent, replacing

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
