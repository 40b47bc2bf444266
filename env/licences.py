#!/usr/bin/env python3
"""List the licences of all locked packages in env/README.md, as the packages themselves declare them.

    python env/licences.py

pip reads the metadata of the packages in the lock files from the index and installs nothing. It must be pip 25 or later, on
Linux on x86-64. `make licences` has one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
LOCKS = ("core", "test", "vllm", "vision")
START, END = "<!-- licences -->", "<!-- end of licences -->"
REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==[^\\]+")
SPDX = {
    "apache": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache 2.0 license": "Apache-2.0", "apache license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0", "apache license, version 2.0": "Apache-2.0", "apache software license": "Apache-2.0",
    "mit license": "MIT", "the mit license (mit)": "MIT",
    "3-clause bsd license": "BSD-3-Clause", "new bsd license": "BSD-3-Clause", "bsd license": "BSD", "freebsd": "BSD-2-Clause",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0", "isc license (iscl)": "ISC",
    "python software foundation license": "PSF-2.0",
    "licenseref-nvidia-proprietary": "NVIDIA, proprietary", "nvidia proprietary software": "NVIDIA, proprietary",
    "other/proprietary license": "proprietary", "nvidia software license": "NVIDIA, proprietary",
}  # fmt: skip
NOT_DECLARED, ELSEWHERE = "not declared in the metadata", "only on other systems or Pythons, not read here"


def main() -> int:
    """Write the list between its two marks in env/README.md."""
    version = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, text=True).stdout.split()[1:2]
    if not version or int(version[0].partition(".")[0]) < 25:
        print("pip 25 or later is needed, which reads all licences; run: make licences", file=sys.stderr)
        return 2
    wanted = {requirement for lock in LOCKS for requirement in requirements(FOLDER / f"{lock}.lock")}
    found: dict[str, str] = {}
    seen: set[str] = set()
    for lock in LOCKS:
        new = [requirement for requirement in requirements(FOLDER / f"{lock}.lock") if requirement not in seen]
        found |= {normal(each["name"]): licence_of(each) for each in metadata(new)}
        seen.update(new)
    names = {normal(REQUIREMENT.match(requirement)[1]) for requirement in wanted}  # type: ignore[index]
    page = FOLDER / "README.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    table = listing({name: found.get(name, ELSEWHERE) for name in names})
    page.write_text(f"{before}{START}\n{table}{END}{after}", encoding="utf-8")
    return 0


def requirements(lock: Path) -> list[str]:
    """The requirements of a lock file, with their markers and without their hashes."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return [line.rstrip("\\ ") for line in lines if REQUIREMENT.match(line)]


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata(wanted: list[str]) -> list[dict[str, Any]]:
    """The metadata of packages, by pip. Those that are not for this system or Python are left out."""
    with tempfile.TemporaryDirectory() as folder:
        listed, report = Path(folder) / "requirements.txt", Path(folder) / "report.json"
        listed.write_text("\n".join(wanted), encoding="utf-8")
        options = ["--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", *options, "--report", str(report), "-r", str(listed)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return [each["metadata"] for each in json.loads(report.read_bytes())["install"]]


def licence_of(package: Mapping[str, Any]) -> str:
    """What a package declares: an expression, else its classifiers, else the first line of its text.

    >>> licence_of({"classifier": ["License :: OSI Approved :: MIT License"], "license": "see LICENSE"})
    'MIT'
    """
    if expression := package.get("license_expression"):
        return _named(str(expression))
    classifiers = [each.rpartition(" :: ")[2] for each in package.get("classifier", ()) if each.startswith("License :: ")]
    text = str(package.get("license") or "").strip().partition("\n")[0]
    named = sorted({_named(each) for each in classifiers if each != "OSI Approved"})
    if named and named != ["proprietary"]:
        return " AND ".join(named)
    if text and len(text) <= 60:
        return _named(text)
    return named[0] if named else NOT_DECLARED


def _named(text: str) -> str:
    return SPDX.get(text.lower(), text)


def listing(licences: Mapping[str, str]) -> str:
    """The licences as a table, the most frequent first."""
    by_licence: dict[str, list[str]] = {}
    for name, licence in sorted(licences.items()):
        by_licence.setdefault(licence, []).append(name)
    rows = sorted(by_licence.items(), key=lambda item: (item[0] in (NOT_DECLARED, ELSEWHERE), -len(item[1]), item[0]))
    lines = [f"| {licence.replace('|', '/')} | {', '.join(names)} |" for licence, names in rows]
    return "\n".join(["| licence | packages |", "|---|---|", *lines, ""])


if __name__ == "__main__":
    sys.exit(main())
