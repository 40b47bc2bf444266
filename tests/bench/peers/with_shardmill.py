"""Shardmill: step 1 of NegBench with a model behind a server, by `shardmill launch`, as its README says."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from job import CHANGED, Job, Outcome, main

ROOT = Path(__file__).resolve().parents[3]
STAGE = "extract_objects"


def prepare(job: Job) -> tuple[Path, dict[str, str]]:
    """The pipeline file of the job, and the environment of the command."""
    job.out.mkdir(parents=True, exist_ok=True)
    model = {"kind": "openai", "base_urls": [job.url], "model": job.model, "max_in_flight": job.concurrency}
    pipeline = {"pipeline": "negbench", "stages": [{"stage": STAGE, "model": model}]}
    file = job.out / "pipeline.yaml"
    file.write_text(json.dumps(pipeline))  # JSON is YAML
    environment = {**os.environ, "OPENAI_API_KEY": "x"}
    if job.prompt == CHANGED:
        environment["PYTHONPATH"] = str(_edited(job.out / "edited") / "python")
    return file, environment


def run(job: Job) -> None:
    file, environment = prepare(job)
    command = ["-m", "shardmill", "launch", file, "--input", job.table, "--run", job.out / "run", "--workers", "1", "--no-build"]
    os.execve(sys.executable, [sys.executable, *map(str, command)], environment)


def _edited(copy: Path) -> Path:
    """A copy of the product whose template of the stage has a rule more."""
    for folder in ("python", "templates", "slurm"):
        shutil.copytree(ROOT / folder, copy / folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    template = copy / "templates" / "negbench" / f"{STAGE}.md"
    text = (ROOT / "templates" / "negbench" / f"{STAGE}.md").read_text(encoding="utf-8")
    template.write_text(text.replace("  Rules\n", "  Rules\n  - Leave out people.\n"), encoding="utf-8")
    return copy


def read(job: Job) -> Iterator[Outcome]:
    for part in sorted((job.out / "run" / STAGE).glob("part-*.csv")):
        with open(part, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if "reason" in row:
                    yield {"row_id": int(row["row_id"]), "reason": row["reason"]}
                else:
                    yield {"row_id": int(row["row_id"]), "objects": json.loads(row["objects"])}


if __name__ == "__main__":
    main(run, read)
