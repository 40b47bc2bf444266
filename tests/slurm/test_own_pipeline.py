"""A pipeline of one file outside of the package, on a cluster: the same commands, and the same bytes after a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml

from shardmill.store.run_folder import RunFolder
from slurm.cluster import Cluster
from slurm.mill import SITE, Mill

EXAMPLES = Path(__file__).parents[2] / "python" / "examples"
COLOURS = ("red", "grey", "yellow", "green")
PIPELINE, STAGE = "colours.py:PIPELINE", "count_colours"


@pytest.fixture
def folder(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """The example as a user copies it, with captions and a site file; remembered permissions stay in this folder."""
    for name in ("colours.py", "count_colours.md"):
        shutil.copy(EXAMPLES / name, tmp_path)
    captions = [f"A {COLOURS[row % 4]} kite and a dog in field {row}." for row in range(40)]
    (tmp_path / "my.csv").write_text("\n".join(["caption", *captions]) + "\n")
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(SITE))
    cluster.env["XDG_STATE_HOME"] = str(tmp_path / "state")
    yield tmp_path


def test_the_example_is_launched_killed_resumed_looked_at_and_exported(cluster: Cluster, folder: Path) -> None:
    def shardmill(*words: str) -> str:
        return cluster.run("shardmill", *words, cwd=folder)

    launch = ("launch", PIPELINE, "--input", "my.csv", "--num-shards", "3")
    shardmill(*launch, "--run", "CALM")

    faults = Mill(cluster, folder, RunFolder(folder / "CALM"))
    faults.break_things(slow=1)
    shardmill(*launch, "--run", "RUN", "--site", "site.yaml")
    mill = Mill(cluster, folder, RunFolder(folder / "RUN"))
    cluster.wait_until(lambda: mill.rows_done(STAGE, 0) >= 2, 180, "rows of the first shard are in its journal")
    cluster.requeue(mill.element(STAGE))
    mill.break_things()
    mill.wait_complete()
    cluster.wait_for_empty(180)
    assert mill.digests() == Mill(cluster, folder, RunFolder(folder / "CALM")).digests()

    status = json.loads(shardmill("status", "RUN", "--json"))
    assert status["pipeline"] == "colours"
    assert "0 failed" in shardmill("report", "RUN")
    shardmill("export", "RUN", "--format", "parquet", "--out", "exported")
    exported = pl.concat(map(pl.read_parquet, sorted((folder / "exported").rglob("*.parquet"))))
    assert exported["colours"].to_list() == [[COLOURS[row % 4]] for row in range(40)]


def test_a_shard_by_hand_and_a_failed_one_retried(cluster: Cluster, folder: Path) -> None:
    def shardmill(*words: str) -> str:
        return cluster.run("shardmill", *words, cwd=folder)

    shardmill("shard", "my.csv", "--pipeline", PIPELINE, "--num-shards", "2", "--run", "RUN")
    mill = Mill(cluster, folder, RunFolder(folder / "RUN"))
    shardmill("run", "RUN", STAGE, "--shard", "0")
    mill.break_things(poison="field 30.")
    shardmill("launch", PIPELINE, "--run", "RUN", "--site", "site.yaml")
    cluster.wait_until(lambda: list(mill.jobs.quarantined(STAGE)) == [1], 120, "the shard whose worker dies is given up")
    cluster.wait_for_empty(180)
    assert "SIGKILL" in shardmill("failures", "RUN")
    mill.break_things()
    shardmill("retry", "RUN")
    mill.wait_complete()
    cluster.wait_for_empty(180)
    mill.check_conservation()
    assert "every shard is finished" in shardmill("launch", PIPELINE, "--run", "RUN", "--site", "site.yaml")
