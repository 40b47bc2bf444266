"""The browser that the tests of this folder share. `install.sh` brings it where it can; SHARDMILL_REQUIRE_BROWSER=1: or fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser.chromium import Browser, start_browser

INSTALL = Path(__file__).parent / "install.sh"
CANNOT_RUN = 69


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    installed = subprocess.run([INSTALL], capture_output=True, text=True)
    if installed.returncode == CANNOT_RUN:
        give_up = pytest.fail if os.environ.get("SHARDMILL_REQUIRE_BROWSER") == "1" else pytest.skip
        give_up(f"no browser here: {installed.stderr.strip()}")
    assert installed.returncode == 0, installed.stderr
    with start_browser(tmp_path_factory.mktemp("profile")) as made:
        yield made
