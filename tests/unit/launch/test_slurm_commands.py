"""What is read from SLURM's own commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripted_slurm import ScriptedSlurm
from shardmill.launch import slurm
from shardmill.util.errors import UserError


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedSlurm:
    return ScriptedSlurm(tmp_path / "bin", monkeypatch)


@pytest.mark.parametrize(
    "printed",
    ["4711", "4711;north", "Your job 30 minutes limit is fine\n4711;north\nquota: 12 of 100", "\n 4711 \n"],
)
def test_a_job_id_is_the_line_that_parsable_asks_for(scripted: ScriptedSlurm, printed: str) -> None:
    scripted.program("sbatch", f"/bin/cat >/dev/null\n/bin/cat <<'END'\n{printed}\nEND")
    assert slurm.submit("#!/bin/sh\ntrue\n") == "4711"


@pytest.mark.parametrize("printed", ["", "job 30 minutes", "Submitted batch job 12", "1\n2"])
def test_an_answer_without_one_id_is_an_error(scripted: ScriptedSlurm, printed: str) -> None:
    scripted.program("sbatch", f"/bin/cat >/dev/null\n/bin/cat <<'END'\n{printed}\nEND")
    with pytest.raises(UserError, match="did not print the id of a job"):
        slurm.submit("#!/bin/sh\ntrue\n")
