"""A scripted SLURM: small programs on the PATH that print the lines a test gives them."""

from __future__ import annotations

from pathlib import Path

import pytest


class ScriptedSlurm:
    """`squeue` and `sacct` as programs in a folder that is the whole PATH. Without lines for `sacct` there is no accounting."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.folder = folder
        folder.mkdir()
        for name in ("sbatch", "scontrol", "scancel"):
            self.program(name, "exit 1")
        self.squeue()
        monkeypatch.setenv("PATH", str(folder))

    def squeue(self, *lines: str) -> None:
        """Lines as `12_3|RUNNING|n1|None`."""
        self._prints("squeue", lines)

    def sacct(self, *lines: str) -> None:
        """Lines as `12_3|COMPLETED|n1`."""
        self._prints("sacct", lines)

    def sinfo(self, *lines: str) -> None:
        """Lines as `n1|idle`."""
        self._prints("sinfo", lines)

    def sbatch(self) -> None:
        """Jobs are accepted, and get the numbers from 101 on."""
        count = f"$(/bin/cat '{self.folder}/sbatch.calls' | /usr/bin/wc -l)"
        self.program("sbatch", f"number=$((100 + {count}))\n/bin/cat >'{self.folder}'/$number.sh\necho $number")

    def scripts(self) -> list[str]:
        """The job scripts that were submitted, in their order."""
        return [path.read_text() for path in sorted(self.folder.glob("[0-9]*.sh"))]

    def down(self) -> None:
        """The controller does not answer."""
        self.program("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2\nexit 1")

    def calls(self, name: str) -> int:
        """How often a program was run."""
        path = self.folder / f"{name}.calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def _prints(self, name: str, lines: tuple[str, ...]) -> None:
        answer = self.folder / f"{name}.txt"
        answer.write_text("".join(f"{line}\n" for line in lines))
        self.program(name, f"exec /bin/cat '{answer}'")

    def program(self, name: str, script: str) -> None:
        """A program that runs these lines of sh."""
        path = self.folder / name
        fresh = path.with_suffix(".new")
        fresh.write_text(f"#!/bin/sh\necho called >>'{path}.calls'\n{script}\n")
        fresh.chmod(0o755)
        fresh.replace(path)  # the program may be running: a file that runs cannot be written
