"""Commands are killed, lose their power or their disk, and meet, at calls drawn by a seed. `make crash` tries all calls.

SHARDMILL_CRASH_SEED draws other points, SHARDMILL_CRASH_POINTS more of them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from crash.explore import Explorer
from crash.machine import Machine, NoCompiler, memory_folder, shim
from crash.operations import OPERATIONS, Operation, write_input

SEED = os.environ.get("SHARDMILL_CRASH_SEED", "0")
POINTS = int(os.environ.get("SHARDMILL_CRASH_POINTS", "7"))


@pytest.fixture(scope="module")
def explorer() -> Iterator[Explorer]:
    try:
        shim()
    except NoCompiler as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(prefix="shardmill-crash-", dir=memory_folder()) as folder:
        made = Explorer(Path(folder), lanes=1)
        yield made
        made.close()


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_command_that_is_disturbed_comes_to_the_same_in_the_end(explorer: Explorer, name: str) -> None:
    prepared = explorer.prepare(name)

    def drawn(points: list[Any]) -> list[Any]:
        return Random(f"{SEED} {name}").sample(points, min(POINTS, len(points)))

    found = explorer.try_all(prepared, chosen=drawn)
    assert sum(found.points.values()) == POINTS
    assert found.faults == []


CARELESS = {
    "careless": ["left over", "is not durable", "differs"],
    "hasty": ["is missing", "is not durable"],
}


@pytest.mark.parametrize("name", CARELESS)
def test_carelessness_is_found(explorer: Explorer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that writes without fsync, under a temporary name that nobody tidies away; one that says it is done too early."""
    monkeypatch.setitem(OPERATIONS, name, Operation(f"{name} 3", shared=False))
    found = explorer.try_all(explorer.prepare(name), ("kill", "power"))
    for fault in CARELESS[name]:
        assert any(fault in told for told in found.faults), (fault, found.faults)


CHANGING = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice,vmsplice,tee,truncate,ftruncate,"
    "fallocate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,mknod,mknodat,"
    "fsync,fdatasync,sync_file_range,msync,io_uring_setup,io_uring_enter,io_submit,ioctl,mmap"
)
ALIKE = {
    "pwrite64": "write", "fdatasync": "fsync", "renameat": "rename", "renameat2": "rename", "linkat": "link", "mkdirat": "mkdir",
    "openat": "open", "creat": "open", "rmdir": "rmdir",
}  # fmt: skip


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("name", ["text stage, claimed", "combine into Parquet", "replan"])
def test_the_shim_sees_every_call_that_the_kernel_sees(tmp_path: Path, name: str) -> None:
    write_input(tmp_path / "input.csv")
    calm = Machine(tmp_path / "lane", tmp_path / "input.csv")
    calm.box.mkdir()
    assert calm.run(OPERATIONS[name].before, calm.box).code == 0
    calm.close()
    trace = tmp_path / "trace"
    watched = Machine(tmp_path / "lane", tmp_path / "input.csv", ["strace", "-f", "-y", "-qq", "-e", CHANGING, "-o", str(trace)])
    ended = watched.run([OPERATIONS[name].command], watched.box)
    watched.close()
    if not trace.exists() or not trace.read_text():
        pytest.skip("strace may not look into processes here")
    assert ended.code == 0, ended.told
    told = Counter(call.name for call in ended.changes if call.name not in ("close", "utime", "dup"))
    assert _seen_by_kernel(trace.read_text(errors="replace"), str(watched.box)) == told


def _seen_by_kernel(trace: str, box: str) -> Counter[str]:
    """The calls on files in `box` that went well, by name: all that change something, and all that open something."""
    unfinished: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for line in trace.splitlines():
        process, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            unfinished[process] = text.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", text):
            text = unfinished.pop(process) + resumed[1]
        found = re.match(r"(\w+)\((.*)\) += (-?\w+)", text)
        if found is None or (f"{box}/" not in text and f"{box}>" not in text) or found[3].startswith("-"):
            continue
        name = ALIKE.get(found[1], found[1])
        if name == "unlinkat":
            name = "rmdir" if "AT_REMOVEDIR" in text else "unlink"
        if name == "ioctl" or (name == "mmap" and not ("MAP_SHARED" in text and "PROT_WRITE" in text)):
            continue
        if name == "open" and "O_DIRECTORY" in text and "O_CREAT" not in text and not _is_opened_by_name(text):
            continue
        seen[name] += 1
    return seen


def _is_opened_by_name(text: str) -> bool:
    """A folder opened to be synced; those opened to be listed are opened by libc itself, with O_NONBLOCK."""
    return "O_NONBLOCK" not in text
