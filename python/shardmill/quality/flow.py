"""What every stage let through and what it rejected, by reason, with examples; and whether all rows are accounted for."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from shardmill.core.seeding import uniform
from shardmill.quality.finished_shards import FinishedShards, shards_in_words
from shardmill.quality.judging import example, percent
from shardmill.quality.measures import own_text
from shardmill.quality.model import FlowStep, QualityFinding, RowExample
from shardmill.store.manifest import summary, totals
from shardmill.store.run_folder import INGEST

PER_REASON = 20
"""Rejected rows of each stage and reason that are kept for examples and for the gallery."""
SHOWN = 3
MIN_YIELD = 0.5


@dataclass
class Rejected:
    """Rejected rows of one stage and reason, drawn by seed and row: {"row_id", "sub_id", "reason", "detail", "raw"}."""

    stage: str
    reason: str
    rows: list[dict[str, Any]] = field(default_factory=list)


def draw_rejected(standing: FinishedShards, seed: int) -> list[Rejected]:
    """Some rejected rows of every stage and reason, the same ones for any number of shards."""
    found: list[Rejected] = []
    for stage in standing.stages:
        kept: list[pl.DataFrame] = []
        for frame in standing.rejects(stage):
            drawn = frame.with_columns(uniform(pl.col("row_id"), "report", seed, "rejected", stage).alias("#"))
            kept = [own_text(_first(pl.concat([*kept, drawn])))]
        for (reason,), rows in kept[0].group_by("reason", maintain_order=True) if kept else ():
            found.append(Rejected(stage, str(reason), rows.drop("#").to_dicts()))
    return found


def _first(rejects: pl.DataFrame) -> pl.DataFrame:
    """The first few of each reason by their draw."""
    keys = ["#", *(name for name in ("sub_id",) if name in rejects.columns)]
    return rejects.sort("reason", *keys).group_by("reason", maintain_order=True).head(PER_REASON).select(rejects.columns)


def flow_of(standing: FinishedShards, rejected: list[Rejected]) -> list[FlowStep]:
    """The steps in the order of the plan, with the sums over their finished shards."""
    steps = []
    for stage in standing.stages:
        sums = totals(standing.manifests[stage].values())
        shown = {each.reason: [_example(row) for row in each.rows[:SHOWN]] for each in rejected if each.stage == stage}
        steps.append(
            FlowStep(
                stage=stage,
                after=standing.run.after(stage),
                rows_in=sums["rows_in"],
                rows_out=sums["rows_out"],
                lines_out=sums["lines_out"],
                rejected=dict(Counter(sums["reasons"]).most_common()),
                examples=shown,
            )
        )
    return steps


def _example(row: dict[str, Any]) -> RowExample:
    return example(row["row_id"], row["detail"] or row["raw"] or row["reason"], row.get("sub_id"))


def flow_findings(standing: FinishedShards, steps: list[FlowStep]) -> list[QualityFinding]:
    """Every row is accounted for; all that was to be made stands; enough of the input comes out."""
    return [_conserved(standing, steps), _complete(standing), *_yields(standing, steps)]


def _conserved(standing: FinishedShards, steps: list[FlowStep]) -> QualityFinding:
    wrong = [step.stage for step in steps if step.rows_in != step.rows_out + sum(step.rejected.values())]
    by_name = {step.stage: step for step in steps}
    for step in steps:
        above = by_name.get(step.after or "")
        whole = above is not None and step.stage not in standing.missing and above.stage not in standing.missing
        if above is not None and whole and step.rows_in != above.lines_out:
            wrong.append(step.stage)
    ways = [way_to(standing, leaf).line for leaf in standing.run.leaves()]
    lost = ", ".join(dict.fromkeys(wrong))
    return QualityFinding(
        id="conserved",
        rule="Every row that goes into a stage comes out of it or is among its rejects.",
        verdict="fail" if wrong else "pass",
        value=float(len(set(wrong))),
        shown=f"rows are lost in {lost}" if wrong else ways[0] + ("; more below" if ways[1:] else ""),
        threshold="every row",
        n=by_name[INGEST].rows_in,
        means="Rows are missing, which no rule of the pipeline took out; find the shards with: shardmill build RUN",
    )


def _complete(standing: FinishedShards) -> QualityFinding:
    wanted = standing.needed * len(standing.stages)
    missing = standing.missing
    count = sum(map(len, missing.values()))
    told = "; ".join(f"{stage} lacks {shards_in_words(shards)}" for stage, shards in list(missing.items())[:4])
    damaged = f"; damaged or gone: {', '.join(standing.damaged[:3])}" if standing.damaged else ""
    return QualityFinding(
        id="complete",
        rule="All shards of all stages are finished.",
        verdict="fail" if standing.damaged else "look" if missing else "pass",
        value=round(1 - count / wanted, 6) if wanted else None,
        shown=f"{wanted - count:,} of {wanted:,} finished" + (f": {told}{damaged}" if missing else ""),
        threshold="all",
        n=wanted,
        means="This report is of what stands, and counts may change. Go on with: shardmill launch, which makes only what is "
        "missing.",
    )


def _yields(standing: FinishedShards, steps: list[FlowStep]) -> list[QualityFinding]:
    """For each last stage, the share of the input that comes out on the way to it, of the shards that it has finished.

    Where a stage makes several lines of a row, rows are counted up to there, and the lines that come out of later stages apart.
    Where nothing comes out, the rule fails: all others have nothing to measure then, and say so without a failure.
    """
    found = []
    by_name = {step.stage: step for step in steps}
    for leaf in standing.run.leaves():
        way = way_to(standing, leaf)
        for id, first, last in ((f"yield.{leaf}", 0, way.split), (f"yield.lines.{leaf}", way.split + 1, len(way.stages) - 1)):
            stages, sums = way.stages, way.sums
            given = sums[first]["rows_in"] if first <= last else 0
            if given:
                named = f"lines of {stages[way.split]}" if first else "input"
                found.append(_yield(id, stages[first : last + 1], sums[first : last + 1], named, by_name))
    return found


@dataclass(frozen=True)
class Way:
    """The stages from ingest to a last one, and their sums over the shards that the last one has finished.

    Up to the stage at place `split` rows are those of the input; it makes several lines of each, unless it is the last stage.
    """

    stages: list[str]
    sums: list[dict[str, Any]]
    split: int

    @property
    def line(self) -> str:
        """`caption_negated: 542 in = 482 out + 60 rejected (no object seen 33, …)`, rows of the input."""
        reasons: Counter[str] = Counter()
        for each in self.sums[: self.split + 1]:
            reasons.update(each["reasons"])
        last = self.sums[self.split]
        return f"{self.stages[-1]}: " + summary(
            self.sums[0]["rows_in"], last["rows_out"], dict(reasons), self.sums[-1]["lines_out"]
        )

    @property
    def rows_out(self) -> int:
        """Rows of the input that came as far as the split, or out of the last stage."""
        return int(self.sums[self.split]["rows_out"])


def way_to(standing: FinishedShards, leaf: str) -> Way:
    """The way of the rows to a last stage."""
    path = [leaf]
    while (above := standing.run.after(path[0])) is not None:
        path.insert(0, above)
    shards = standing.manifests[leaf].keys()
    sums = [totals(made for shard, made in standing.manifests[stage].items() if shard in shards) for stage in path]
    split = next((place for place, each in enumerate(sums) if each["lines_out"] != each["rows_out"]), len(path) - 1)
    return Way(path, sums, split)


def _yield(id: str, stages: list[str], sums: list[dict[str, Any]], named: str, steps: dict[str, FlowStep]) -> QualityFinding:
    given, out = sums[0]["rows_in"], sums[-1]["rows_out"]
    losses = [
        (stage, reason, count) for stage, each in zip(stages, sums, strict=True) for reason, count in each["reasons"].items()
    ]
    worst = max(losses, key=lambda loss: loss[2], default=None)
    told = f"; most is lost in {worst[0]}: {worst[1]} ({worst[2]:,})" if worst else ""
    return QualityFinding(
        id=id,
        rule=f"Most of the {named} comes out of {stages[-1]}.",
        verdict="fail" if out == 0 else "look" if out / given < MIN_YIELD else "pass",
        value=round(out / given, 6),
        shown=f"{percent(out / given)} ({out:,} of {given:,}){told}",
        threshold=f"at least {percent(MIN_YIELD)}, fails where nothing comes out",
        n=given,
        means="Few rows survive, or none: the input does not suit the pipeline, a threshold is too strict, or a model does not "
        "answer as it should. See the reasons of each stage.",
        examples=steps[worst[0]].examples.get(worst[1], []) if worst else [],
    )


def raw_value(text: str) -> Any:
    """The value of a reject's raw text where it is JSON; None otherwise."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
