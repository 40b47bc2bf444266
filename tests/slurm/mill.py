"""Driving Shardmill on a test cluster from outside, as a user does, and looking at what came of it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.launch.finish import build_datasets
from shardmill.store.jobs import JobsFolder
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import check_stage
from slurm.cluster import Cluster

SAMPLE = Path(__file__).parents[2] / "data" / "samples" / "captions.csv"
TWO_CAPTIONERS = str(Path(__file__).with_name("recaption-two.yaml"))
SAMPLES = {
    "negbench": SAMPLE, TWO_CAPTIONERS: SAMPLE, "antidote": SAMPLE.with_name("antidote.json"),
    "anyedit": SAMPLE.with_name("anyedit.csv"),
}  # fmt: skip
FAULTS = Path(__file__).with_name("faults")
SITE: dict[str, Any] = {
    "partition": "main",
    "gpus_per_node": 8,
    "cpus_per_node": 64,
    "memory_gb_per_node": 256,
    "signal_seconds": 60,
}


@dataclass
class Mill:
    """A run on a cluster, and which pipeline it was planned with. `env` reaches the jobs too."""

    cluster: Cluster
    folder: Path
    run: RunFolder
    pipeline: str = "negbench"

    @property
    def jobs(self) -> JobsFolder:
        return JobsFolder(self.run)

    def fresh(self) -> RunFolder:
        """The run as its files tell now."""
        return RunFolder(self.run.path)

    def site(self, **changes: Any) -> Path:
        path = self.folder / "site.yaml"
        path.write_text(yaml.safe_dump({**SITE, **changes}))
        return path

    def break_things(self, **faults: Any) -> None:
        """What the workers suffer from now on; see faults/sitecustomize.py."""
        path = self.folder / "faults.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(faults))
        fresh.replace(path)
        self.cluster.env["SHARDMILL_FAULTS"] = str(path)
        self.cluster.env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(FAULTS), os.environ.get("PYTHONPATH")]))

    def launch(self, *options: str, **site: Any) -> str:
        """`shardmill launch` on the cluster; returns what it printed."""
        return self.shardmill("launch", self.run.plan.pipeline, "--run", self.run.path, "--site", self.site(**site), *options)

    def shardmill(self, *words: str | Path) -> str:
        return self.cluster.run("shardmill", *map(str, words), cwd=self.folder)

    def element(self, stage: str, index: int = 0, launch: int = -1) -> str:
        """The job id of an element of a stage in the latest (or another) launch."""
        arrays = [array for array in self.jobs.submissions()[launch].arrays if stage in array.stages]
        return arrays[0].ids()[index]

    def rows_done(self, stage: str, shard: int) -> int:
        """Rows of an unfinished shard that are in its journals."""
        return sum(max(path.read_bytes().count(b"\n") - 1, 0) for path in self.run.files(stage, shard).journals())

    def is_complete(self, stages: Sequence[str] | None = None) -> bool:
        run = self.fresh()
        return all(run.is_complete(stage, shard) for stage in stages or run.stages for shard in range(run.num_shards))

    def wait_complete(self, seconds: float = 300, stages: Sequence[str] | None = None) -> None:
        self.cluster.wait_until(lambda: self.is_complete(stages), seconds, "every shard is complete")

    def check_conservation(self) -> None:
        """Every part is as its manifest says, and every row that went in came out or was rejected."""
        run = self.fresh()
        for stage in run.stages:
            check = check_stage(run, stage)
            assert (check.missing, check.problems) == ([], {}), stage

    def digests(self) -> dict[str, str]:
        """What the run made: each part, and of a bundled pipeline each dataset file but the card, which has a date and paths."""
        run = self.fresh()
        parts = [run.files(stage, shard).part for stage in run.stages for shard in range(run.num_shards)]
        files = [] if (self.folder / "pipeline.yaml").exists() else sorted((run.path / "datasets").rglob("*"))
        made = [path for path in files if path.is_file() and path.name != "dataset.json"]
        root = str(run.path).encode()  # datasets name generated images by absolute paths
        return {
            str(path.relative_to(run.path)): sha256(path.read_bytes().replace(root, b"RUN")).hexdigest()
            for path in [*parts, *made]
        }


TWO_STAGES = """
pipeline: negbench
stages:
  - {stage: extract_objects, model: rules, resources: {minutes: 30}}
  - {stage: propose_negatives, model: rules, resources: {minutes: 30}}
"""


def new_mill(
    cluster: Cluster, folder: Path, *, rows: int = 32, shards: int = 2, stages: str = TWO_STAGES, turtles: int = 0
) -> Mill:
    """A run of made-up captions, the first of them with turtles; two stages unless `stages` is another pipeline file's text."""
    pipeline = folder / "pipeline.yaml"
    pipeline.write_text(stages)
    table = folder / "captions.csv"
    captions = [f"A dog and a {THINGS[row % len(THINGS)]} in room {row}." for row in range(rows)]
    captions[:turtles] = [caption.replace("dog", "turtle") for caption in captions[:turtles]]
    table.write_text("\n".join(["caption", *captions]) + "\n")
    run = start_run(folder / "run", NewRun(input=table, pipeline=str(pipeline), num_shards=shards))
    return Mill(cluster, folder, run)


THINGS = ("cat", "ball", "lamp", "chair", "bicycle", "cup", "tree")


def sample_mill(cluster: Cluster, folder: Path, shards: int, pipeline: str = "negbench") -> Mill:
    """A run of a whole pipeline on its bundled sample."""
    run = start_run(folder / "run", NewRun(input=SAMPLES[pipeline], pipeline=pipeline, num_shards=shards))
    return Mill(cluster, folder, run, pipeline)


def local_digests(mill: Mill) -> dict[str, str]:
    """What the same input gives on this machine, in one process. Equal inputs are run once."""
    own = mill.folder / "pipeline.yaml"
    pipeline, num_shards = (str(own) if own.exists() else mill.pipeline), mill.run.num_shards
    key = (mill.run.plan.input.sha256, own.read_text() if own.exists() else pipeline, num_shards)
    if key not in _local_digests:
        run = start_run(
            mill.folder / "local", NewRun(input=Path(mill.run.plan.input.path), pipeline=pipeline, num_shards=num_shards)
        )
        models: ModelPool = {}
        for stage in run.stages:
            for shard in range(run.num_shards):
                run_shard(run, stage, shard, models=models)
        if not own.exists():
            build_datasets(run)
        _local_digests[key] = Mill(mill.cluster, mill.folder, run).digests()
    return _local_digests[key]


_local_digests: dict[tuple[str, str, int], dict[str, str]] = {}
