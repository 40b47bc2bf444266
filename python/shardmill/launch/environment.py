"""The environment file of a site: checked on the login node before anything is submitted, and sourced by every job.

Its lines are data: `env/activate.sh` reads them in the same way, and nothing in them is ever run.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from shardmill.launch.site import Site
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.resources import resource_path

FOLDERS = ("BASE_DIR", "VENV", "CONDA_ENV", "CONDA_ROOT", "HF_HOME")
SECRET_FILES = ("HF_TOKEN_FILE", "OPENAI_API_KEY_FILE")
PATHS = (*FOLDERS, "TMP_DIR", "PIP_CACHE_DIR", *SECRET_FILES)
KEYS = (*PATHS, "MODULES", "HF_HUB_OFFLINE")
LINE = re.compile(r"([A-Z_]+)=(.*)")
PLACEHOLDER = re.compile(r"<.*>")


def check_environment(path: Path, container: bool = False) -> dict[str, str]:
    """The values of an environment file, paths made absolute. For a `container`, which has its own Python, it must name none.

    Raises UserError naming file, line and key for whatever would fail in a job: a missing file or folder, an unknown key, a
    placeholder that was not filled in, no Python environment, a token file that cannot be read.
    """
    values: dict[str, str] = {}
    where: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the environment file {path} cannot be read ({error}); copy env/cluster.example.env to it") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.strip().startswith("#"):
            continue
        match = LINE.fullmatch(line.strip())
        if match is None:
            raise UserError(f"{path} line {number}: not of the form KEY=value")
        key, value = match[1], _unquoted(match[2])
        if key not in KEYS:
            raise UserError(f"{path} line {number}: there is no key {key}; {did_you_mean(key, KEYS)}")
        if key in PATHS and PLACEHOLDER.search(value):
            raise UserError(f"{path} line {number}: {key} is still a placeholder; fill it in, or remove the line")
        where[key] = f"{path} line {number}: {key}"
        values[key] = value
    _check_values(path, values, where, container)
    return values


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _check_values(path: Path, values: dict[str, str], where: dict[str, str], container: bool) -> None:
    base = values.get("BASE_DIR", "")
    for key in PATHS:
        if values.get(key) and key != "BASE_DIR" and not values[key].startswith("/"):
            values[key] = f"{base}/{values[key]}"
    for key in FOLDERS:
        if values.get(key) and not Path(values[key]).is_dir():
            raise UserError(f"{where[key]}: the folder {values[key]} was not found; make it, or name another")
    if container:
        for key in ("VENV", "CONDA_ENV", "CONDA_ROOT"):
            if values.get(key):
                raise UserError(f"{where[key]}: jobs run in the Python of the site's container; remove the line, or `container`")
    elif not values.get("VENV") and not values.get("CONDA_ENV"):
        raise UserError(f"{path}: neither VENV nor CONDA_ENV says which Python environment jobs run in (env/README.md)")
    if values.get("CONDA_ENV") and not values.get("VENV") and not values.get("CONDA_ROOT"):
        raise UserError(f"{path}: CONDA_ENV needs CONDA_ROOT, the folder of the conda that made it")
    for key in SECRET_FILES:
        if values.get(key) and not os.access(values[key], os.R_OK):
            raise UserError(f"{where[key]}: {values[key]} was not found or cannot be read; remove the line if it is not needed")


def setup_lines(site: Site) -> list[str]:
    """The first lines of a job script: activate the site's environment, or exit with what is wrong. Empty without one."""
    if site.environment is None:
        return []
    activate = os.environ.get("SHARDMILL_ACTIVATE") or resource_path("env/activate.sh")
    return [
        *([f"export SHARDMILL_CONTAINER=1 SHARDMILL_ACTIVATE={shlex.quote(str(activate))}"] if site.container else []),
        f"export SHARDMILL_ENV_FILE={shlex.quote(str(site.environment))}",
        f"source {shlex.quote(str(activate))} || exit 1",
    ]
