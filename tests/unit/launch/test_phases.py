"""Which stages share a job array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from shardmill.core.pipeline_file import load_pipeline
from shardmill.launch.elements import arrays_of, groups
from shardmill.launch.phases import Phase, downstream, phase_name, phases_of, resources_of
from shardmill.store.plan import Resources, StagePlan
from shardmill.util.errors import UserError


def stage(name: str, after: str, model: str = "", *, gpus: int = 0, minutes: float = 1, fit_rows: int = 0) -> StagePlan:
    """A stage with the model of that name, or without one."""
    needed = Resources(gpus_per_worker=gpus, minutes=60 if model else minutes)
    role = "text" if model else None
    return StagePlan(
        name=name, after=after, role=role, model={"kind": model} if model else {}, resources=needed, fit_rows=fit_rows
    )


def phases(*stages: StagePlan, **options: Any) -> list[Phase]:
    return phases_of(stages, lambda each: each.resources, **options)


NEGBENCH = (
    stage("extract", "ingest", "llm", gpus=4),
    stage("propose", "extract", "llm", gpus=4),
    stage("draw", "propose", fit_rows=9),
    stage("filter", "draw", "detector", gpus=1),
    stage("validate", "filter", "llm", gpus=4),
    stage("caption", "validate", "llm", gpus=4),
    stage("mcq", "validate", fit_rows=9),
    stage("paraphrase", "mcq", "llm", gpus=4),
)


def test_one_language_model_and_one_detector_take_three_arrays() -> None:
    found = phases(*NEGBENCH)
    assert found == [("extract", "propose"), ("draw", "filter"), ("validate", "caption", "mcq", "paraphrase")]
    assert [phase_name(phase) for phase in found] == ["extract+1", "draw+1", "validate+3"]
    assert phases(*NEGBENCH, by_stage=True) == [(each.name,) for each in NEGBENCH]


def test_a_stage_without_a_model_that_takes_minutes_has_workers_without_gpus() -> None:
    slow = phases(*NEGBENCH, minutes={"mcq": 10.0, "draw": 0.1})
    assert slow == [("extract", "propose"), ("draw", "filter"), ("validate", "caption"), ("mcq",), ("paraphrase",)]
    planned = stage("table", "a", minutes=30)
    assert phases(stage("a", "ingest", "llm", gpus=1), planned) == [("a",), ("table",)]
    assert phases(stage("a", "ingest", "rules"), planned) == [("a", "table")]
    assert phases(stage("a", "ingest", "llm", gpus=1), planned, minutes={"table": 0.5}) == [("a", "table")]


def test_a_stage_that_learns_from_many_shards_waits_for_them_with_a_phase_that_has_not_begun() -> None:
    first, learns = stage("a", "ingest", "llm", gpus=1), stage("fit", "a", fit_rows=9)
    assert phases(first, learns, stage("b", "fit", "other", gpus=1)) == [("a",), ("fit", "b")]
    assert phases(first, learns, stage("b", "fit", "llm", gpus=1)) == [("a", "fit", "b")]
    assert phases(first, learns, stage("table", "fit")) == [("a",), ("fit", "table")]


def test_stages_of_two_branches_share_the_phases_of_their_models() -> None:
    branches = (stage("a", "ingest", "x"), stage("b", "ingest", "y"), stage("c", "a", "x"), stage("d", "b", "y"))
    assert phases(*branches) == [("a", "c"), ("b", "d")]
    assert phases(stage("a", "ingest", "x"), stage("b", "a", "y"), stage("c", "b", "x")) == [("a",), ("b",), ("c",)]


def test_workers_that_others_wait_for_come_first() -> None:
    branches = (stage("a", "ingest", "x"), stage("b", "ingest", "y"), stage("c", "b", "x"))
    assert phases(*branches) == [("b",), ("a", "c")]
    slow = (stage("a", "ingest", "x", gpus=1), stage("table", "ingest", minutes=30), stage("c", "table", "x", gpus=1))
    assert phases(*slow) == [("table",), ("a", "c")]


def test_stages_of_one_model_on_different_gpus_are_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"the stages a and b share a phase.* 4 and 2 GPUs for a worker; give both the same"):
        phases(stage("a", "ingest", "llm", gpus=4), stage("b", "a", "llm", gpus=2))
    assert phases(stage("a", "ingest", "llm", gpus=4), stage("b", "a", "llm")) == [("a",), ("b",)]
    assert phases(stage("a", "ingest", "x", gpus=4), stage("b", "a", "y", gpus=2)) == [("a",), ("b",)]


def test_a_worker_of_a_phase_has_what_the_neediest_stage_needs_and_the_time_of_all() -> None:
    each = [Resources(gpus_per_worker=4, memory_gb=200, minutes=30), Resources(cpus_per_worker=8, minutes=5, shards_per_task=2)]
    together = Resources(gpus_per_worker=4, cpus_per_worker=8, memory_gb=200, minutes=35, shards_per_task=2)
    assert resources_of(each) == together


@pytest.mark.parametrize(
    ("pipeline", "models", "count"),
    [
        ("negbench", {"text": "llm", "detect": "detector"}, 3),
        ("antidote", {"text": "llm", "generate": "painter", "detect": "detector", "caption": "captioner"}, 5),
        ("anyedit", {"text": "llm", "generate": "painter", "detect": "detector", "caption": "captioner", "score": "clip"}, 4),
        ("recaption-four", {"score": "clip"}, 5),
    ],
)
def test_the_pipelines_have_no_more_phases_than_their_models_need(pipeline: str, models: Mapping[str, str], count: int) -> None:
    stages, previous = [], "ingest"
    for entry in load_pipeline(pipeline).stages:
        made = entry.make(context())
        model = models.get(made.role or "", str(entry.model)) if made.role else ""
        fit_rows = made.fit_rows
        stages.append(stage(entry.stage, entry.after or previous, model, gpus=int(bool(model)), fit_rows=fit_rows))
        previous = entry.stage
    found = phases(*stages)
    assert len(found) == count, found
    place = {name: number for number, phase in enumerate(found) for name in phase}
    assert all(each.after == "ingest" or place[each.after] <= place[each.name] for each in stages)


def context() -> Any:
    from shardmill.core.stage import Context

    return Context(0)


def test_what_reads_from_a_stage() -> None:
    assert [each.name for each in downstream("validate", NEGBENCH)] == ["validate", "caption", "mcq", "paraphrase"]


PHASES = [("a", "b"), ("c", "d")]
AFTER = {"a": "ingest", "b": "a", "c": "b", "d": "c"}


def learning(*names: str) -> Callable[[str, int], range]:
    """Inputs where these stages learn from four shards, and others from their own."""
    return lambda stage, shard: range(4) if stage in names else range(shard, shard + 1)


def test_a_phase_is_one_array_and_waits_for_the_phase_before_it_element_by_element() -> None:
    arrays = arrays_of(PHASES, AFTER, groups(4, 2), lambda stage, shard: (stage, shard) != ("a", 3), {}, 100)
    assert [(array.stages, array.elements) for array in arrays] == [
        (("a", "b"), [[0, 1], [2, 3]]),
        (("c", "d"), [[0, 1], [2, 3]]),
    ]
    assert (arrays[0].after, arrays[1].after) == ((), (arrays[0],))


@pytest.mark.parametrize("name", ["c", "d"])
def test_a_phase_with_a_stage_that_learns_from_many_shards_waits_for_all_of_the_phase_before(name: str) -> None:
    first, second = arrays_of(PHASES, AFTER, groups(4, 2), lambda stage, shard: True, {}, 100, learning(name))
    assert (second.after, second.after_all) == ((), (first,))
    assert first.after_all == ()


def test_a_phase_waits_for_jobs_under_way_of_what_its_shards_are_made_from() -> None:
    live = {("b", 0): ["7"], ("b", 1): ["8"], ("b", 2): ["9"], ("d", 3): ["10"]}
    done = {("a", shard) for shard in range(4)} | {("b", 3), ("c", 3)}
    alone = arrays_of(PHASES, AFTER, groups(4, 2), lambda *task: task not in done, live, 100)
    assert [(array.stages, array.elements, array.waits_for) for array in alone] == [
        (("c", "d"), [[0, 1]], ("7", "8")), (("c", "d"), [[2]], ("9",)),
    ]  # fmt: skip
    learns = arrays_of(PHASES, AFTER, groups(4, 2), lambda *task: task not in done, live, 100, learning("d"))
    assert {array.waits_for for array in learns} == {("7", "8", "9")}
