"""The environment file of a site: its faults are told on the login node, and jobs get what it says."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

import pytest

from shardmill.launch.environment import KEYS, check_environment, setup_lines
from shardmill.launch.site import Site
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_path

SECRET = "hf_notforlogs"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base folder with a venv, a folder for models and a token."""
    venv.create(tmp_path / "venv", with_pip=False)
    (tmp_path / "models").mkdir()
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\n")
    token.chmod(0o600)
    return tmp_path


def write(base: Path, *lines: str) -> Path:
    path = base / "cluster.env"
    path.write_text("\n".join([f"BASE_DIR={base}", *lines]) + "\n")
    return path


def activate(path: Path, then: str, before: str = "set -euo pipefail") -> subprocess.CompletedProcess[str]:
    script = f"{before}\nsource {resource_path('env/activate.sh')}\n{then}"
    environment = {"PATH": os.environ["PATH"], "SHARDMILL_ENV_FILE": str(path), "HOSTNAME": "here", "SLURM_CPUS_PER_TASK": "3"}
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)


def test_a_whole_file_is_read_with_paths_below_the_base(base: Path) -> None:
    path = write(base, "# a comment", "", "VENV=venv", 'HF_HOME="models"', "HF_TOKEN_FILE=token", f"TMP_DIR={base}/tmp")
    values = check_environment(path)
    assert values["VENV"] == f"{base}/venv"
    assert values["HF_HOME"] == f"{base}/models"
    assert values["TMP_DIR"] == f"{base}/tmp"


def test_the_example_has_no_unknown_key_and_its_placeholders_are_noticed() -> None:
    with pytest.raises(UserError, match="BASE_DIR is still a placeholder"):
        check_environment(resource_path("env/cluster.example.env"))
    text = resource_path("env/cluster.example.env").read_text()
    assert set(KEYS) == {
        line.lstrip("#").partition("=")[0] for line in text.splitlines() if line.lstrip("#")[:1].isupper() and "=" in line
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("VNEV=venv", "line 2: there is no key VNEV; did you mean 'VENV'"),
        ("VENV venv", "line 2: not of the form"),
        ("VENV=none", "line 2: VENV: the folder"),
        ("HF_HOME=<models>", "line 2: HF_HOME is still a placeholder"),
        ("HF_TOKEN_FILE=none", "HF_TOKEN_FILE: "),
        ("HF_HOME=models", "neither VENV nor CONDA_ENV"),
        ("CONDA_ENV=venv", "CONDA_ENV needs CONDA_ROOT"),
    ],
)
def test_a_fault_names_file_line_and_key(base: Path, line: str, said: str) -> None:
    path = write(base, line, *([] if "neither" in said or "CONDA" in said or "VENV" in line else ["VENV=venv"]))
    with pytest.raises(UserError) as error:
        check_environment(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_a_missing_file_says_what_to_copy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cluster\.example\.env"):
        check_environment(tmp_path / "none.env")


def test_a_job_gets_what_the_file_says(base: Path) -> None:
    path = write(base, "VENV=venv", "HF_HOME=models", "HF_TOKEN_FILE=token", "TMP_DIR=tmp", "HF_HUB_OFFLINE=1")
    done = activate(path, 'echo "$VIRTUAL_ENV|$HF_HOME|$HF_TOKEN|$OMP_NUM_THREADS|$TRANSFORMERS_OFFLINE"; test -d "$TMPDIR"')
    assert done.stderr == ""
    assert done.stdout.strip() == f"{base}/venv|{base}/models|{SECRET}|3|1"


def test_the_token_is_shown_nowhere(base: Path) -> None:
    path = write(base, "VENV=venv", "HF_TOKEN_FILE=token")
    done = activate(path, "true", before="set -x")
    assert done.returncode == 0
    assert SECRET not in done.stdout + done.stderr
    lines = setup_lines(Site(name="mine", environment=path))
    assert SECRET not in "".join(lines)


def test_values_are_data_and_never_run(base: Path) -> None:
    path = write(base, "VENV=venv", f"HF_HOME=$(touch {base}/harm)")
    done = activate(path, "true")
    assert done.returncode != 0
    assert "HF_HOME: there is no folder" in done.stderr
    assert not (base / "harm").exists()


def test_without_an_environment_file_nothing_is_done() -> None:
    done = subprocess.run(
        ["bash", "-euc", f"source {resource_path('env/activate.sh')}; echo went on"], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("went on\n", "")
    assert setup_lines(Site(name="mine")) == []


def test_a_job_script_ends_where_its_environment_fails(base: Path) -> None:
    path = write(base, "VENV=none")
    script = "\n".join([*setup_lines(Site(name="mine", environment=path)), "echo went on"])
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": os.environ["PATH"], "HOSTNAME": "here"}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "is not a venv" in done.stderr
    assert done.stdout == ""
