"""Being written."""

from __future__ import annotations

from pathlib import Path

from shardmill.launch.site import Site


def check_environment(path: Path) -> dict[str, str]:
    return {}


def setup_lines(site: Site) -> list[str]:
    return []
