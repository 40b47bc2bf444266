"""What a folder is like after some file-system calls, and what of it is left when the power goes.

A `Disk` is built from the log of a process (see shim.c), starting with a folder all of which is durable. It keeps apart what
the process sees and what is sure to be on the disk: the bytes of a file as of its last fsync, the names in a folder as of that
folder's last fsync. What came since may or may not have got there; `Loss` says which of it did.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Call:
    """One call that was carried out: its number (that of the last one with a number if it changes nothing), name and words."""

    number: int
    name: str
    words: tuple[str, ...]
    data: bytes = b""


def read_log(path: Path) -> list[Call]:
    """All calls of a log; a process killed while it wrote the log would leave a torn one, which cannot happen."""
    data = path.read_bytes()
    calls, at = [], 0
    while at < len(data):
        end = data.index(b"\n", at)
        *words, size = os.fsdecode(data[at:end]).split("\t")
        at = end + 1 + int(size)
        calls.append(Call(int(words[0]), words[1], tuple(words[2:]), data[end + 1 : at]))
        assert len(calls[-1].data) == int(size)
    return calls


@dataclass(eq=False)
class File:
    """A file's bytes as processes see them, and as they were when it was last synced."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""


@dataclass(eq=False)
class Folder:
    """A folder's names as processes see them."""

    names: dict[str, File | Folder] = field(default_factory=dict)


@dataclass
class Change:
    """A change of names in one folder, or in two for a rename between them. Sure once any of them was synced."""

    kind: str
    folder: Folder
    name: str
    node: File | Folder | None = None
    source: Folder | None = None
    source_name: str = ""
    sure: bool = False


class Escaped(AssertionError):
    """A process changed the folder in a way that is not followed here."""


class Loss:
    """What of the unsure things reaches the disk: nothing, unless a kind of loss says otherwise."""

    def name(self, change: Change) -> bool:
        """Whether a change of names that was not synced is there."""
        return False

    def data(self, file: File) -> bytes:
        """What a file holds."""
        return file.durable


class NamesFirst(Loss):
    """All names reach the disk and no unsynced byte does: a journal of names, as file systems have, was written just before."""

    def name(self, change: Change) -> bool:
        return True


class Zeros(NamesFirst):
    """The same, and files have got their lengths, but zeros where the bytes should be."""

    def data(self, file: File) -> bytes:
        return file.durable + bytes(max(0, len(file.data) - len(file.durable)))


class DataFirst(Loss):
    """All bytes reach the disk, and no unsynced name does."""

    def data(self, file: File) -> bytes:
        return bytes(file.data)


class Chance(Loss):
    """Each unsynced name is there or not, each file has its bytes, the first of them, zeros, or none: by the seed."""

    def __init__(self, seed: str):
        self._rng = Random(seed)
        self._data: dict[File, bytes] = {}

    def name(self, change: Change) -> bool:
        return self._rng.random() < 0.5

    def data(self, file: File) -> bytes:
        if file not in self._data:
            self._data[file] = self._drawn(file)
        return self._data[file]

    def _drawn(self, file: File) -> bytes:
        if bytes(file.data) == file.durable:
            return file.durable
        kind = self._rng.randrange(4)
        if kind == 0:
            return file.durable
        if kind == 1:
            return bytes(file.data)
        kept = self._rng.randrange(len(file.durable), len(file.data) + 1) if len(file.data) >= len(file.durable) else 0
        torn = bytes(file.data[:kept])
        return torn if kind == 2 else torn + bytes(len(file.data) - kept)


class Nothing(Loss):
    """No loss at all: what a process that is killed leaves."""

    def name(self, change: Change) -> bool:
        return True

    def data(self, file: File) -> bytes:
        return bytes(file.data)


class Disk:
    """A folder and the changes to it, call by call."""

    def __init__(self, start: Path, root: Path):
        """A disk with the content of `start`, in a folder that the calls know as `root`."""
        self._root = str(root)
        self._top = _read(start)
        self._before = {folder: dict(folder.names) for folder in _folders(self._top)}
        self._changes: list[Change] = []
        self._handles: dict[int, File | Folder] = {}

    def apply(self, call: Call) -> None:
        """Follow one call. Raises Escaped for one that changes files in a way unknown here."""
        getattr(self, f"_{call.name}")(*call.words, **({"data": call.data} if call.name == "write" else {}))

    def _place(self, path: str) -> tuple[Folder, str]:
        folder: File | Folder = self._top
        *between, last = path[len(self._root) + 1 :].split("/")
        for name in between:
            assert isinstance(folder, Folder)
            folder = folder.names[name]
        assert isinstance(folder, Folder)
        return folder, last

    def _change(self, change: Change) -> None:
        self._changes.append(change)
        _carry_out(change, lambda folder: folder.names)

    def _open(self, handle: str, path: str, flags: str) -> None:
        if path == self._root:
            self._handles[int(handle)] = self._top
            return
        folder, name = self._place(path)
        if name not in folder.names:
            assert int(flags) & os.O_CREAT, path
            self._change(Change("link", folder, name, File()))
        node = self._handles[int(handle)] = folder.names[name]
        if int(flags) & os.O_TRUNC and isinstance(node, File):
            node.data.clear()

    def _escaped(self, what: str) -> None:
        raise Escaped(what)

    def _dup(self, handle: str, other: str) -> None:
        self._handles[int(other)] = self._handles[int(handle)]

    def _close(self, handle: str) -> None:
        self._handles.pop(int(handle))

    def _write(self, handle: str, offset: str, data: bytes) -> None:
        file, at = self._handles[int(handle)], int(offset)
        assert isinstance(file, File)
        file.data.extend(bytes(max(0, at - len(file.data))))
        file.data[at : at + len(data)] = data

    def _ftruncate(self, handle: str, size: str) -> None:
        file = self._handles[int(handle)]
        assert isinstance(file, File)
        del file.data[int(size) :]
        file.data.extend(bytes(int(size) - len(file.data)))

    def _fsync(self, handle: str) -> None:
        node = self._handles[int(handle)]
        if isinstance(node, File):
            node.durable = bytes(node.data)
            return
        for change in self._changes:
            change.sure = change.sure or node in (change.folder, change.source)

    def _unlink(self, path: str) -> None:
        self._change(Change("unlink", *self._place(path)))

    _rmdir = _unlink

    def _mkdir(self, path: str) -> None:
        folder, name = self._place(path)
        self._change(Change("link", folder, name, made := Folder()))
        self._before[made] = {}

    def _link(self, source: str, path: str) -> None:
        folder, name = self._place(source)
        self._change(Change("link", *self._place(path), node=folder.names[name]))

    def _rename(self, source: str, path: str) -> None:
        folder, name = self._place(source)
        self._change(Change("rename", *self._place(path), node=folder.names[name], source=folder, source_name=name))

    def _utime(self, path: str) -> None:
        pass

    def after(self, loss: Loss) -> dict[str, File | Folder]:
        """The files and folders by their paths, when what is sure and what `loss` leaves of the rest is on the disk."""
        names = {folder: dict(there) for folder, there in self._before.items()}
        for change in self._changes:
            if change.sure or loss.name(change):
                _carry_out(change, names.__getitem__)
        found: dict[str, File | Folder] = {}

        def walk(folder: Folder, path: str) -> None:
            for name, node in sorted(names[folder].items()):
                found[path + name] = node
                if isinstance(node, Folder):
                    walk(node, f"{path}{name}/")

        walk(self._top, "")
        return found

    def write_after(self, loss: Loss, root: Path) -> None:
        """Make the folder `root` as the disk has it. The names of one file are links there too."""
        made: dict[File, Path] = {}
        root.mkdir()
        for path, node in self.after(loss).items():
            if isinstance(node, Folder):
                (root / path).mkdir()
            elif node in made:
                os.link(made[node], root / path)
            else:
                (root / path).write_bytes(loss.data(node))
                made[node] = root / path


def contents(root: Path) -> dict[str, bytes | None]:
    """Each file of a real folder with its bytes, each folder with None, by their paths."""
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in sorted(root.rglob("*"))}


def contents_after(disk: Disk, loss: Loss) -> dict[str, bytes | None]:
    """The same of a disk."""
    nodes = disk.after(loss)
    return {path: None if isinstance(node, Folder) else loss.data(node) for path, node in nodes.items()}


def _carry_out(change: Change, names: Callable[[Folder], dict[str, File | Folder]]) -> None:
    if change.kind == "unlink":
        names(change.folder).pop(change.name, None)
        return
    if change.source is not None:
        names(change.source).pop(change.source_name, None)
    assert change.node is not None
    names(change.folder)[change.name] = change.node


def _read(root: Path) -> Folder:
    """A real folder as it is, all of it durable. Names of one inode are names of one file."""
    files: dict[int, File] = {}

    def read(folder: Path) -> Folder:
        made = Folder()
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                made.names[path.name] = read(path)
                continue
            number = path.stat().st_ino
            if number not in files:
                data = path.read_bytes()
                files[number] = File(bytearray(data), data)
            made.names[path.name] = files[number]
        return made

    return read(root)


def _folders(top: Folder) -> Iterator[Folder]:
    yield top
    for node in top.names.values():
        if isinstance(node, Folder):
            yield from _folders(node)
