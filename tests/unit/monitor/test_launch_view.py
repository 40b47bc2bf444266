"""What a dry run shows of phases."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from scripted_slurm import ScriptedSlurm
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.launch.cluster_plan import plan_launch
from shardmill.launch.site import Site
from shardmill.launch.submit import nice, parameters
from shardmill.monitor.launch_view import describe
from shardmill.store.jobs import JobsFolder, Submission
from shardmill.store.run_folder import RunFolder
from shardmill.util.console import TextConsole
from shardmill.util.errors import UserError

TEXT = ("extract_objects", "propose_negatives", "validate_objects", "caption_negated", "paraphrase_mcq")
GPUS = {**{stage: {"gpus_per_worker": 4} for stage in TEXT}, "filter_objects": {"gpus_per_worker": 1}}


@pytest.fixture
def run(make_run: Callable[..., RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Twelve shards, of which nothing is in the queue."""
    ScriptedSlurm(tmp_path / "bin", monkeypatch)
    return make_run(num_shards=12)


def shown(run: RunFolder, minutes: Mapping[str, float] | None = None, by_stage: bool | None = False) -> str:
    site = Site(name="mine", max_array_size=1000, max_parallel=4, stages=GPUS)
    plan = plan_launch(run, site, by_stage=by_stage, minutes=minutes)
    console = TextConsole(width=400, record=True, file=io.StringIO())
    console.print(describe(plan))
    return console.export_text()


def test_phases_are_shown_with_what_they_save(run: RunFolder) -> None:
    text = shown(run)
    # Two elements, of eight shards and four: two workers of four GPUs for text, eight and four of one for the detector.
    assert "the whole run: 3 arrays, 6 nodes allocated, 20 model loads; stage by stage (--no-phases): 8, 16 and 32" in text
    assert "draw_questions needs no GPU (02:00 a shard planned): done by the workers of draw_questions+1" in text
    assert "validate_objects+3: after all of draw_questions+1, since create_mcq learns from many shards at once (afterok)" in text


def test_a_stage_of_minutes_without_a_gpu_is_shown_with_workers_of_its_own(run: RunFolder) -> None:
    text = shown(run, {"create_mcq": 12.0})
    assert "the whole run: 5 arrays" in text
    assert "create_mcq needs no GPU" in text and "workers without GPUs" in text


def test_stages_that_are_done_get_nothing(captions_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ScriptedSlurm(tmp_path / "bin", monkeypatch)
    run = start_run(tmp_path / "run", NewRun(input=captions_csv, pipeline="recaption", num_shards=2))
    for shard in range(2):
        run_shard(run, "caption_images", shard)
    site = Site(name="mine", max_array_size=1000, stages={"caption_images": {"gpus_per_worker": 1, "minutes": 600}})
    plan = plan_launch(run, site)
    assert [phase[0] for phase in plan.phases] == ["caption_images"]
    (array,) = plan.arrays
    assert array.stages == ("check_captions", "merge_captions")
    assert (plan.workers(array), plan.minutes(array), nice(plan, array.stages)) == (2, 8, 0)
    assert "gres" not in parameters(plan, array)


def test_a_launch_is_stage_by_stage_if_asked_or_if_the_last_one_was(run: RunFolder) -> None:
    assert "the whole run: 3 arrays" in shown(run, by_stage=None)
    alone = "the whole run: 8 arrays, 16 nodes allocated, 32 model loads; in phases (--phases): 3, 6 and 20\n"
    assert alone in shown(run, by_stage=True)
    JobsFolder(run).add_submission(Submission(site="mine", by_stage=True))
    assert "the whole run: 8 arrays" in shown(run, by_stage=None)


def test_one_model_on_different_gpus_is_one_clear_line(run: RunFolder) -> None:
    site = Site(name="mine", max_array_size=1000, stages={**GPUS, "propose_negatives": {"gpus_per_worker": 2}})
    with pytest.raises(UserError, match=r"extract_objects and propose_negatives share a phase.* 4 and 2 GPUs"):
        plan_launch(run, site, by_stage=False)
    assert len(plan_launch(run, site, by_stage=True).phases) == 8
