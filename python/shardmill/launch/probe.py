"""What a node has, as a job sees it: `python -m shardmill.launch.probe FILE SCRATCH MODEL…` writes it to a file as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from pydantic import BaseModel

from shardmill.launch.gpus import visible_gpus
from shardmill.util.atomic import replacing

PACKAGES = ("shardmill", "vllm", "torch", "transformers", "diffusers")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class Probe(BaseModel):
    """What a job found on its node.

    Attributes:
        node: The name of the node.
        gpus: The GPUs that the job may use.
        node_gpus: All that the driver of the node has; None where that is not known.
        cpus: The CPUs of the node.
        memory_gb: The memory of the node.
        scratch: What is wrong with the scratch folder, or how much room it has.
        python: The version of Python.
        packages: Installed packages that models need, with their versions.
        hub_cache: Where models of the hub are kept; empty if HF_HOME is not set and there is no default folder.
        missing_models: The models asked for that are not in that cache.
    """

    node: str
    gpus: int
    node_gpus: int | None
    cpus: int
    memory_gb: float
    scratch_problem: str = ""
    scratch_gb: int | None = None
    python: str
    packages: dict[str, str]
    hub_cache: str = ""
    offline: bool = False
    missing_models: list[str] = []


def look(scratch: str, models: list[str]) -> Probe:
    """Look at this node."""
    cache = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    problem, room = _scratch(scratch)
    return Probe(
        node=os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        gpus=len(visible_gpus()),
        node_gpus=_node_gpus(),
        cpus=os.cpu_count() or 1,
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        scratch_problem=problem,
        scratch_gb=room,
        python=f"{platform.python_version()} at {sys.executable}",
        packages={name: version for name in PACKAGES if (version := _version(name))},
        hub_cache=str(cache) if cache.is_dir() else "",
        offline=os.environ.get("HF_HUB_OFFLINE") == "1",
        missing_models=[model for model in models if not _is_there(cache, model)],
    )


def _node_gpus() -> int | None:
    folder = Path("/proc/driver/nvidia/gpus")
    return len(list(folder.iterdir())) if folder.is_dir() else None


def _scratch(folder: str) -> tuple[str, int | None]:
    if not folder:
        return "", None
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
        return "", shutil.disk_usage(folder).free >> 30
    except OSError as error:
        return f"{folder}: {error.strerror}", None


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _is_there(cache: Path, model: str) -> bool:
    """Whether weights can be loaded offline: a folder, or a model of the hub of which the cache has a snapshot."""
    if not HUB_NAME.fullmatch(model):
        return Path(model).exists()
    return any((cache / "hub" / f"models--{model.replace('/', '--')}" / "snapshots").glob("*"))


def main(out: str, scratch: str, *models: str) -> None:
    """Write what this node has."""
    with replacing(Path(out)) as file:
        file.write(look(scratch, list(models)).model_dump_json().encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
