"""Whether two runs came to the same: every file, byte for byte, but for what tells when, where and by whom it was made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from crash.disk import contents

OF_THE_MOMENT = {
    "started", "finished", "seconds", "loading", "attempt", "created", "elsewhere", "request_seconds", "revision", "job", "bytes",
    "date",
}  # fmt: skip
"""Fields of manifests, plans and cards. `bytes` and digests of files stand beside the files, which are compared themselves."""


def result_of(run: Path) -> dict[str, Any]:
    """The files of a run by their paths. What was set aside is none of it."""
    return {
        path: _plain(data, path, str(run))
        for path, data in contents(run).items()
        if path.split("/")[0] != "superseded" and path != "jobs"
    }


def _plain(data: bytes | None, path: str, run: str) -> Any:
    if data is None or not path.endswith(".json"):
        return data
    return _timeless(json.loads(data.decode().replace(run, "RUN")))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in OF_THE_MOMENT}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What differs, a line for each file. A folder may be missing where no file is in it."""
    lines = [f"{path} is missing" for path in sorted(wanted.keys() - found.keys()) if wanted[path] is not None]
    lines += [f"{path} is left over" for path in sorted(found.keys() - wanted.keys())]
    lines += [
        f"{path} differs{_where(wanted[path], found[path])}"
        for path in sorted(wanted.keys() & found.keys())
        if wanted[path] != found[path]
    ]
    return lines


def _where(wanted: Any, found: Any) -> str:
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = [key for key in sorted(wanted.keys() | found.keys()) if wanted.get(key) != found.get(key)]
        return f": {keys[0]} is {found.get(keys[0])!r:.200}, not {wanted.get(keys[0])!r:.200}"
    if isinstance(wanted, bytes) and isinstance(found, bytes):
        return f": {len(found)} bytes, not {len(wanted)}"
    return ""


def one_line(told: str) -> str:
    """What is wrong with what a command printed when it had to give up: it must say so in one line, without a traceback."""
    lines = [line for line in told.splitlines() if re.match(r"shardmill: ", line)]
    if "Traceback" in told:
        return "it ended with a traceback: " + told.strip().splitlines()[-1]
    return "" if len(lines) == 1 else f"it told {len(lines)} reasons"
