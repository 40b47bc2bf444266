"""What changed between two runs of one pipeline: their plans, counts, balances and rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from shardmill.compare.measures import Measure, count_categories, count_rows_naming, measures_of
from shardmill.compare.model import (
    Balance,
    Comparison,
    Frequencies,
    ObjectShift,
    PlanDifference,
    RunCounts,
    StageCounts,
    StageRows,
)
from shardmill.compare.rows import Shards, compare_stage, differences_of, first_drawn
from shardmill.quality.significance import chi_square, two_shares
from shardmill.store.manifest import Manifest, totals
from shardmill.store.plan import Plan, StagePlan
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.verify import complete_manifests
from shardmill.util.errors import UserError

ALPHA = 0.01
"""The family-wise error rate: how likely any of the tests may find a difference where there is none."""
MAX_MOVED = 15
MIN_ROWS = 10
"""An object that fewer rows of both runs name together is not ranked: chance moves it most."""
Progress = Callable[[str], None]


def compare(a: RunFolder, b: RunFolder, rows: int = 10, seed: int = 0, progress: Progress = lambda step: None) -> Comparison:
    """Compare what is finished of two runs.

    The tests treat the runs as independent samples. Two runs over the same rows differ less by chance than that, so a difference
    that is called beyond chance is so all the more.

    Args:
        a: the first run.
        b: the second run, of the same pipeline.
        rows: how many of the rows that differ to show, at most.
        seed: which of them.
        progress: called with the name of each step.

    Raises:
        UserError: the runs are of different pipelines, or a shard is of another origin than planned.
    """
    if a.plan.pipeline != b.plan.pipeline:
        raise UserError(
            f"{a.path} is a run of {a.plan.pipeline} but {b.path} is one of {b.plan.pipeline}; only runs of one pipeline compare"
        )
    manifests = [_by_stage(complete_manifests(run)) for run in (a, b)]
    shards = [{stage: sorted(each) for stage, each in found.items()} for found in manifests]
    same_input = a.plan.input.sha256 == b.plan.input.sha256
    measures = measures_of(a)
    balances = _compare_balances(_shared(measures.balances, a, b), a, b, shards, progress)
    frequencies = _compare_objects(_shared(measures.objects, a, b), a, b, shards, progress)
    stage_rows, drawn = _compare_rows(a, b, shards, rows, seed, progress) if same_input else ([], [])
    names = list(dict.fromkeys([INGEST, *a.stages, *b.stages]))
    stages = [_stage_counts(stage, *(found.get(stage) for found in manifests), a=a, b=b) for stage in names]
    tests = _mark_beyond_chance([*stages, *balances])
    return Comparison(
        a=str(a.path),
        b=str(b.path),
        pipeline=a.plan.pipeline,
        same_input=same_input,
        tests=tests,
        plan=plan_differences(a.plan, b.plan),
        stages=stages,
        balances=balances,
        frequencies=frequencies,
        rows=stage_rows,
        sample=[row for row_id in drawn if (row := differences_of(a, b, row_id)).cells],
        sample_seed=seed,
    )


def _shared(measures: Sequence[Measure], a: RunFolder, b: RunFolder) -> list[Measure]:
    """The measures whose stage and columns both runs have."""
    return [
        each
        for each in measures
        if all(
            each.stage in run.stages and set(each.category.meta.root_names()) <= run.kinds(each.stage).keys() for run in (a, b)
        )
    ]


def _compare_balances(
    measures: Sequence[Measure], a: RunFolder, b: RunFolder, shards: Sequence[Shards], progress: Progress
) -> list[Balance]:
    balances = []
    for measure in measures:
        progress(measure.name)
        first, second = (count_categories(run, own, measure) for run, own in zip((a, b), shards, strict=True))
        if first is not None and second is not None:
            balances.append(_balance(measure, first, second))
    return balances


def _compare_objects(
    measures: Sequence[Measure], a: RunFolder, b: RunFolder, shards: Sequence[Shards], progress: Progress
) -> list[Frequencies]:
    frequencies = []
    for measure in measures:
        progress(measure.name)
        (first, n), (second, m) = (count_rows_naming(run, own, measure) for run, own in zip((a, b), shards, strict=True))
        frequencies.append(_frequencies(measure, first, n, second, m))
    return frequencies


def _compare_rows(
    a: RunFolder, b: RunFolder, shards: Sequence[Shards], rows: int, seed: int, progress: Progress
) -> tuple[list[StageRows], list[int]]:
    """The rows of each stage that both runs have, and the row_ids of a sample of those that differ."""
    stage_rows: list[StageRows] = []
    drawn: list[int] = []
    for stage in [stage for stage in (INGEST, *a.stages) if stage in (INGEST, *b.stages)]:
        progress(f"rows of {stage}")
        found, differing = compare_stage(a, b, stage, shards[0], shards[1], rows, seed)
        stage_rows.append(found)
        drawn = [row_id for _, row_id in first_drawn([*drawn, *differing], rows, seed)]
    return stage_rows, drawn


def plan_differences(a: Plan, b: Plan) -> list[PlanDifference]:
    """Every field that shapes the data and differs between two plans, stage by stage and key by key."""
    before, after = dict(_plan_fields(a)), dict(_plan_fields(b))
    return [
        PlanDifference(field=name, a=before.get(name), b=after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _plan_fields(plan: Plan) -> Iterator[tuple[str, Any]]:
    yield "input", plan.input.path
    yield "input sha256", plan.input.sha256
    yield "input rows", plan.input.rows
    yield from _flatten("column", plan.input.mapping)
    yield from _flatten("selection", plan.input.selection.model_dump() if plan.input.selection else {})
    yield "image folder", plan.input.image_root
    yield "seed", plan.seed
    yield "target rows", plan.target_rows
    yield "shards", len(plan.shards)
    yield "part format", plan.part_format
    yield "code version", plan.code_version
    for stage in plan.stages:
        yield from _stage_fields(stage)


def _stage_fields(stage: StagePlan) -> Iterator[tuple[str, Any]]:
    yield f"{stage.name} reads", stage.after
    yield f"{stage.name} attempts", stage.attempts
    for what, values in (("model", stage.model), ("option", stage.options), ("threshold", stage.thresholds)):
        yield from _flatten(f"{stage.name} {what}", values)
    yield from _flatten(
        f"{stage.name} fingerprint of", {key: value for key, value in stage.fingerprint.items() if key != "options"}
    )


def _flatten(name: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in sorted(values.items()):
        yield f"{name} {key}", value


def _by_stage(complete: Mapping[tuple[str, int], Manifest]) -> dict[str, dict[int, Manifest]]:
    found: dict[str, dict[int, Manifest]] = {}
    for (stage, shard), manifest in complete.items():
        found.setdefault(stage, {})[shard] = manifest
    return found


def _stage_counts(
    stage: str, first: dict[int, Manifest] | None, second: dict[int, Manifest] | None, *, a: RunFolder, b: RunFolder
) -> StageCounts:
    one, other = (_counts(found or {}) if stage in (INGEST, *run.stages) else None for found, run in ((first, a), (second, b)))
    chance = two_shares(one.rows_out, one.rows_in, other.rows_out, other.rows_in) if one and other else None
    return StageCounts(stage=stage, a=one, b=other, p=chance.p if chance else None)


def _counts(manifests: Mapping[int, Manifest]) -> RunCounts:
    sums = totals(manifests.values())
    return RunCounts(
        shards=len(manifests),
        rows_in=sums["rows_in"],
        rows_out=sums["rows_out"],
        lines_out=sums["lines_out"],
        rejected=dict(sorted(sums["reasons"].items())),
    )


def _balance(measure: Measure, first: Counter[str], second: Counter[str]) -> Balance:
    balance = Balance(name=measure.name, stage=measure.stage, a=dict(sorted(first.items())), b=dict(sorted(second.items())))
    chance = chi_square(first, second)
    if chance is not None:
        balance.statistic, balance.df, balance.p = chance.statistic, chance.df, chance.p
    return balance


def _frequencies(measure: Measure, first: Counter[str], n: int, second: Counter[str], m: int) -> Frequencies:
    moved = [
        ObjectShift(name=name, a=first[name] / n, b=second[name] / m, z=_z_statistic(first[name], n, second[name], m))
        for name in (first.keys() | second.keys() if n and m else ())
        if first[name] + second[name] >= MIN_ROWS and first[name] * m != second[name] * n
    ]
    return Frequencies(
        name=measure.name,
        stage=measure.stage,
        rows_a=n,
        rows_b=m,
        distinct_a=len(first),
        distinct_b=len(second),
        moved=sorted(moved, key=lambda each: (-abs(each.z), each.name))[:MAX_MOVED],
    )


def _z_statistic(found: int, n: int, other: int, m: int) -> float:
    """The statistic of the two-proportion z test with the pooled share."""
    pooled = (found + other) / (n + m)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return (other / m - found / n) / spread if spread else 0.0


def _mark_beyond_chance(tested: list[StageCounts | Balance]) -> int:
    """Mark what is beyond chance, allowing for the number of tests (Bonferroni); returns that number."""
    known = [each for each in tested if each.p is not None]
    for each in known:
        each.beyond_chance = each.p is not None and each.p < ALPHA / len(known)
    return len(known)
