"""Run folders that somebody else has written to: what is read there is checked before anything is done with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fuzz.records import TARGETS
from fuzz.target import Target
from shardmill.core.plan_changes import redo
from shardmill.launch.launch_lock import one_launch_at_a_time
from shardmill.launch.throttle import current_shares
from shardmill.models.weights import refuse_code
from shardmill.store.jobs import BadNode, Failure, JobsFolder
from shardmill.store.layout import generated_image_path
from shardmill.store.leases import live_blocks, read_leases
from shardmill.store.manifest import read_manifest
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

STAGE = "extract_objects"
MakeRun = Callable[..., RunFolder]
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another user")


@pytest.fixture
def run(make_run: MakeRun) -> RunFolder:
    return make_run()


def change(path: Path, *keys: Any, value: Any) -> None:
    """Put another value into a JSON file."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


PLANS = [
    (("stages", 0, "name"), "../outside"),
    (("stages", 0, "name"), "/tmp/outside"),
    (("stages", 0, "name"), "a/b"),
    (("stages", 0, "name"), ".."),
    (("stages", 0, "name"), "jobs"),
    (("stages", 0, "name"), "superseded"),
    (("stages", 0, "name"), "filter_objects"),
    (("stages", 0, "name"), "a\u0000b"),
    (("stages", 0, "name"), "a\n"),
    (("stages", 0, "name"), "x" * 300),
    (("stages", 0, "name"), "-rf"),
    (("stages", 0, "name"), ["extract_objects"]),
    (("stages", 0, "after"), "extract_objects"),
    (("stages", 0, "after"), "../ingest"),
    (("stages", 0, "after"), "filter_objects"),
    (("stages", 0, "attempts"), 10**400),
    (("stages", 0, "resources", "memory_gb"), float("inf")),
    (("stages", 0, "resources", "gpus_per_worker"), -1),
    (("stages", 0, "thresholds"), {"box": float("nan")}),
    (("stages", 0, "options"), json.loads("[" * 900 + "]" * 900)),
    (("pipeline",), "negbench; rm -rf ~"),
    (("pipeline",), "\u001b]52;c;eA==\u0007"),
    (("part_format",), "csv/../../x"),
    (("revision",), -1),
    (("revision",), "1/../.."),
    (("shards",), []),
    (("shards",), [[0, 10**30]]),
    (("shards",), [[0, 30], [40, 60]]),
    (("shards",), [[0, 30], [20, 60]]),
    (("shards",), [[0, 30]]),
    (("shards",), [[0, 60, 60]]),
    (("input", "rows"), -5),
    (("input", "rows"), 1e400),
    (("input", "sha256"), "../x"),
    (("input",), None),
]


@pytest.mark.parametrize(("keys", "value"), PLANS, ids=lambda value: repr(value)[:40])
def test_a_plan_that_could_do_harm_is_refused(run: RunFolder, keys: tuple[Any, ...], value: Any) -> None:
    change(run.path / "plan.json", *keys, value=value)
    with pytest.raises(UserError, match=r"plan\.json is corrupt: "):
        _ = RunFolder(run.path).plan


def test_a_stage_outside_of_the_run_leaves_its_files_alone(run: RunFolder) -> None:
    outside = run.path.parent / "outside"
    outside.mkdir()
    precious = outside / "part-00000-of-00004.csv"
    precious.write_text("precious")
    (outside / "part-00000-of-00004.x.journal").write_text("precious")
    change(run.path / "plan.json", "stages", 0, "name", value="../outside")
    with pytest.raises(UserError):
        redo(RunFolder(run.path), "../outside")
    assert precious.read_text() == "precious" and len(list(outside.iterdir())) == 2


@pytest.mark.parametrize("content", ["[" * 200_000, "9" * 5_000, '{"format": 2}', "", "\u0000", '"plan"', "null", "[]"])
def test_a_plan_that_is_none_is_one_line(run: RunFolder, content: str) -> None:
    (run.path / "plan.json").write_text(content)
    with pytest.raises(UserError, match=r"plan\.json is corrupt: ") as error:
        _ = RunFolder(run.path).plan
    assert "\n" not in str(error.value) and len(str(error.value)) < 1_000


def test_a_plan_is_not_read_through_a_link_a_pipe_or_a_folder(run: RunFolder) -> None:
    plan = run.path / "plan.json"
    plan.rename(run.path / "other.json")
    plan.symlink_to("other.json")
    with pytest.raises(UserError, match="is a link"):
        _ = RunFolder(run.path).plan
    plan.unlink()
    os.mkfifo(plan)
    with pytest.raises(UserError, match="is not a regular file"):
        _ = RunFolder(run.path).plan
    plan.unlink()
    plan.mkdir()
    with pytest.raises(UserError, match="is not a regular file"):
        _ = RunFolder(run.path).plan


@as_root
@pytest.mark.parametrize("name", [STAGE, "jobs", "superseded", "ingest"])
def test_a_folder_that_another_user_replaced_by_a_link_is_not_followed(run: RunFolder, name: str) -> None:
    folder = run.path / name
    if folder.exists():
        folder.rename(run.path / "moved")
    folder.symlink_to(run.path.parent)
    _ = RunFolder(run.path).plan  # a link of the user's own: a stage's folder on another disk
    os.lchown(folder, 12_345, 12_345)
    with pytest.raises(UserError, match=r"is a link that another user made to .*; it is not followed"):
        _ = RunFolder(run.path).plan


MANIFESTS = [
    (("rows_in",), -1),
    (("rows_in",), 10**400),
    (("rows_out",), "many"),
    (("seconds",), float("inf")),
    (("usage",), {"prompt_tokens": float("nan")}),
    (("reasons",), {"x": -3}),
    (("part", "name"), "../../part.csv"),
    (("part", "bytes"), -1),
    (("part", "sha256"), 5),
    (("stage",), "../ingest"),
    (("columns",), {"caption": "pickle"}),
]


@pytest.mark.parametrize(("keys", "value"), MANIFESTS, ids=lambda value: repr(value)[:40])
def test_a_malformed_manifest_is_corrupt_and_its_shard_not_finished(run: RunFolder, keys: tuple[Any, ...], value: Any) -> None:
    path = run.files("ingest", 0).manifest
    change(path, *keys, value=value)
    with pytest.raises(UserError, match=r"json is corrupt \("):
        read_manifest(path)
    assert ("ingest", 0) not in run.complete()


FAILURE = Failure(stage=STAGE, shard=0, kind="died", message="gone", node="n1", job="7_0")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("node", "n1,n2"),
        ("node", "-n1"),
        ("node", "n1 n2"),
        ("node", "../n1"),
        ("job", "7 --user=root"),
        ("job", "-u"),
        ("stage", "../x"),
        ("shard", -1),
        ("shard", 10**30),
        ("restart", 1.5),
        ("kind", "unknown"),
    ],
)
def test_a_record_whose_values_would_reach_a_command_or_a_path_is_refused(run: RunFolder, key: str, value: Any) -> None:
    jobs = JobsFolder(run)
    jobs.note_failure(FAILURE)
    (path,) = (jobs.path / "failures" / STAGE).iterdir()
    change(path, key, value=value)
    with pytest.raises(UserError, match=r"is damaged \(.*\); remove it"):
        jobs.failures(STAGE)


def test_records_that_are_pipes_or_too_large_are_refused(run: RunFolder) -> None:
    jobs = JobsFolder(run)
    jobs.note_bad_node(BadNode(node="n1", reason="x", stage=STAGE))
    (path,) = (jobs.path / "nodes").iterdir()
    with path.open("ab") as file:
        file.truncate(100_000_000)
    with pytest.raises(UserError, match="at most"):
        jobs.bad_nodes()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="not a regular file"):
        jobs.bad_nodes()


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "{}", "[]", '{"attempt": 1}', json.dumps({"attempt": "a", "machine": "m", "pid": "../../x", "started": ""})],
)
def test_leases_and_locks_that_are_none_are_no_traceback(run: RunFolder, content: str) -> None:
    files = run.files(STAGE, 0)
    files.leases_folder.mkdir(parents=True)
    (files.leases_folder / f"{files.stem}.block-00.claim").write_text(content)
    (files.leases_folder / f"{files.stem}.block-xx.claim").write_text(content)
    assert list(read_leases(files)) == [] and live_blocks(files) == {}
    jobs = JobsFolder(run)
    (jobs.path / "launching.json").write_text(content)
    with pytest.raises(UserError, match=r"launching\.json is corrupt"), one_launch_at_a_time(jobs):
        pass
    (jobs.path / "shares.json").write_text(content)
    assert current_shares(jobs) == {}


@pytest.mark.parametrize(
    "value", ["../../secret.png", "/etc/secret.png", "images/../../../secret.png", "a/../b.png", "b.png", ""]
)
def test_a_generated_image_is_in_the_run_whatever_a_row_says(tmp_path: Path, value: str) -> None:
    path = generated_image_path(tmp_path / "run", value)
    assert Path(path).is_relative_to(tmp_path / "run") and ".." not in path
    assert generated_image_path(tmp_path / "run", path) == path
    assert generated_image_path(tmp_path / "run", "images/a.png") == str(tmp_path / "run" / "images" / "a.png")


def test_journals_and_parts_that_are_links_or_pipes_are_not_opened(run: RunFolder) -> None:
    files = run.files(STAGE, 0)
    files.folder.mkdir()
    real = files.journal("1700000000000-n1-1-abcdef")
    real.write_bytes(b"")
    os.mkfifo(files.journal("1700000000001-n1-1-abcdef"))
    files.journal("1700000000002-n1-1-abcdef").symlink_to(real)
    assert files.journals() == [real]
    ingest = run.files("ingest", 0)
    ingest.part.unlink()
    os.mkfifo(ingest.part)
    with pytest.raises(UserError, match="does not match its manifest"):
        run.read_part("ingest", 0)


def test_a_mark_in_the_jobs_folder_is_not_written_through_a_link(run: RunFolder, tmp_path: Path) -> None:
    jobs = JobsFolder(run)
    jobs.mark_healthy("n1", "7_0", 0)
    assert jobs.is_healthy("n1", "7_0", 0)
    (mark,) = (jobs.path / "allocations").iterdir()
    mark.unlink()
    mark.symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match="symbolic links"):
        jobs.mark_healthy("n1", "7_0", 0)
    assert not (tmp_path / "made").exists()


def test_no_text_of_a_plan_makes_a_command_that_a_message_proposes_another(run: RunFolder) -> None:
    change(run.path / "plan.json", "code_version", value="0.1'; touch y; '")
    with pytest.raises(UserError, match=r"corrupt: code_version"):
        _ = RunFolder(run.path).plan


def test_code_in_a_folder_of_weights_is_not_run(tmp_path: Path) -> None:
    refuse_code(str(tmp_path))
    refuse_code("org/name")
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "mine.py").write_text("")
    with pytest.raises(UserError, match=r"vae/mine\.py in the folder of weights would be run"):
        refuse_code(str(tmp_path))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_value_in_a_record_does_harm(target: Target) -> None:
    assert target.taken(examples=60), "all cases were refused: what comes behind that is not tried"
