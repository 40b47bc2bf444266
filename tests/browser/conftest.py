"""A real browser, without a screen: Chromium, which `install.sh` brings where it can."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

HERE = Path(__file__).parent
CANNOT_RUN = 69
QUIET = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-dev-shm-usage", "--hide-scrollbars",
]  # fmt: skip


class Browser:
    """One tab."""

    def __init__(self, driver: Any):
        self.driver = driver

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False, anchor: str = "") -> None:
        """Load a page from disk in a window of so many CSS pixels, and forget what the console said before."""
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.get(path.resolve().as_uri() + (f"#{anchor}" if anchor else ""))

    def run(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def console(self) -> list[str]:
        """What the console has said since the page was opened: errors, refused loads, warnings."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def visible(self, selector: str) -> list[Any]:
        return [element for element in self.all(selector) if element.is_displayed()]

    def picture(self, path: Path, whole: bool = False) -> Path:
        """A PNG of what is seen, or of the whole page."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(shot["data"]))
        return path


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the browser."""
    installed = subprocess.run([HERE / "install.sh"], capture_output=True, text=True)
    if installed.returncode == CANNOT_RUN:
        pytest.skip(installed.stderr.strip())
    assert installed.returncode == 0, installed.stderr
    return next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))


@pytest.fixture(scope="session")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
