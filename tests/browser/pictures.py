"""Takes the pictures of reports that the README shows, from runs over the bundled samples: tests/browser/pictures.py [FOLDER]

Needs the browser of install.sh.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from browser.chromium import Browser, start_browser
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.quality.gather import gather
from shardmill.quality.page import write_report
from shardmill.store.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"
WIDTH = 1280


def report_of(new: NewRun, folder: Path) -> Path:
    """Run a pipeline in `folder` and write its report."""
    run = start_run(folder, new)
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(RunFolder(folder), stage, shard)
    run = RunFolder(folder)
    return write_report(gather(run), folder / "report.html", Path(run.plan.input.image_root))


def take(browser: Browser, page: Path, place: str, height: int, out: Path) -> None:
    """A picture of the page with the element `place` at the top."""
    browser.open(page, WIDTH, height)
    browser.run("document.querySelector(arguments[0]).scrollIntoView()", place)
    browser.wait_until_idle()
    Image.open(browser.picture(out)).convert("RGB").save(out, optimize=True)
    print(f"{out}: {out.stat().st_size:,} bytes")


def main(out: Path) -> None:
    """Write report-verdict.png and report-gallery.png into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        negbench = report_of(NewRun(input=SAMPLES / "captions.csv", num_shards=8), Path(work) / "negbench-demo")
        options = {"pipeline": "antidote", "min_words": 8, "total": 12_000}
        antidote = report_of(NewRun(input=SAMPLES / "antidote.json", **options), Path(work) / "antidote-demo")  # type: ignore[arg-type]
        with start_browser(Path(work) / "profile") as browser:
            take(browser, negbench, "body", 860, out / "report-verdict.png")
            take(browser, antidote, "#gallery", 640, out / "report-gallery.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "data" / "pictures")
