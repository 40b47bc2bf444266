"""The licences of the locked packages are listed, every one of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ENV = Path(__file__).parents[3] / "env"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", ENV / "licences.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_locked_package_is_listed(script: ModuleType) -> None:
    listed = (ENV / "README.md").read_text(encoding="utf-8").partition(script.START)[2].partition(script.END)[0]
    names = {name.strip() for row in listed.splitlines() for name in row.rpartition(" | ")[2].rstrip(" |").split(",")}
    locked = {
        script.normal(script.REQUIREMENT.match(line)[1])
        for lock in script.LOCKS
        for line in script.requirements(ENV / f"{lock}.lock")
    }
    assert len(locked) > 200 and locked <= names, f"run: make licences ({sorted(locked - names)})"


@pytest.mark.parametrize(
    ("package", "licence"),
    [
        ({"license_expression": "MIT AND Apache-2.0", "license": "x"}, "MIT AND Apache-2.0"),
        ({"license": "Apache License 2.0"}, "Apache-2.0"),
        ({"license": "The MIT License (MIT)\n\nCopyright"}, "MIT"),
        ({"classifier": ["License :: OSI Approved :: BSD License", "Topic :: X"], "license": "text " * 90}, "BSD"),
        (
            {"classifier": ["License :: Other/Proprietary License"], "license": "LicenseRef-NVIDIA-Proprietary"},
            "NVIDIA, proprietary",
        ),
        ({"license": "x" * 500}, "not declared in the metadata"),
        ({}, "not declared in the metadata"),
    ],
)
def test_a_licence_is_what_the_package_declares(script: ModuleType, package: dict[str, object], licence: str) -> None:
    assert script.licence_of(package) == licence


def test_a_requirement_keeps_its_marker_and_loses_its_hashes(script: ModuleType, tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text("a-b==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:00\nc==2 \\\n    --hash=sha256:01\n")
    assert script.requirements(lock) == ["a-b==1.0 ; sys_platform == 'win32'", "c==2"]
