"""What every stage let through and what it rejected, by reason, with examples, and whether all rows are accounted for."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from shardmill.core.seeding import uniform
from shardmill.quality.finished_shards import FinishedShards, shards_in_words
from shardmill.quality.judging import example
from shardmill.quality.model import FlowStep, QualityFinding, RowExample
from shardmill.quality.sampling import own_text
from shardmill.store.manifest import summary, totals
from shardmill.store.run_folder import INGEST
from shardmill.util.words import percent, whole_percent

MAX_PER_REASON = 20
"""Rejected rows of each stage and reason that are kept for examples and for the gallery."""
MAX_EXAMPLES = 3
MIN_YIELD = 0.5


@dataclass
class RejectedRows:
    """Rejected rows of one stage and reason, drawn by seed and row: {"row_id", "sub_id", "reason", "detail", "raw"}."""

    stage: str
    reason: str
    rows: list[dict[str, Any]] = field(default_factory=list)


def draw_rejected(finished: FinishedShards, seed: int) -> list[RejectedRows]:
    """Some rejected rows of every stage and reason, the same ones for any number of shards."""
    found: list[RejectedRows] = []
    for stage in finished.stages:
        kept: list[pl.DataFrame] = []
        for frame in finished.rejects(stage):
            drawn = frame.with_columns(uniform(pl.col("row_id"), "report", seed, "rejected", stage).alias("#"))
            kept = [own_text(_first_of_each_reason(pl.concat([*kept, drawn])))]
        for (reason,), rows in kept[0].group_by("reason", maintain_order=True) if kept else ():
            found.append(RejectedRows(stage, str(reason), rows.drop("#").to_dicts()))
    return found


def _first_of_each_reason(rejects: pl.DataFrame) -> pl.DataFrame:
    """The first few of each reason by their draw."""
    keys = ["#", *(name for name in ("sub_id",) if name in rejects.columns)]
    return rejects.sort("reason", *keys).group_by("reason", maintain_order=True).head(MAX_PER_REASON).select(rejects.columns)


def flow_of(finished: FinishedShards, rejected: list[RejectedRows]) -> list[FlowStep]:
    """The steps in the order of the plan, with the sums over their finished shards."""
    steps = []
    for stage in finished.stages:
        sums = totals(finished.manifests[stage].values())
        examples = {each.reason: [_example(row) for row in each.rows[:MAX_EXAMPLES]] for each in rejected if each.stage == stage}
        steps.append(
            FlowStep(
                stage=stage,
                after=finished.run.after(stage),
                rows_in=sums["rows_in"],
                rows_out=sums["rows_out"],
                lines_out=sums["lines_out"],
                rejected=dict(Counter(sums["reasons"]).most_common()),
                examples=examples,
            )
        )
    return steps


def _example(row: dict[str, Any]) -> RowExample:
    return example(row["row_id"], row["detail"] or row["raw"] or row["reason"], row.get("sub_id"))


def flow_findings(finished: FinishedShards, steps: list[FlowStep]) -> list[QualityFinding]:
    """Whether every row is accounted for, all shards are finished, and enough of the input comes out."""
    return [_conserved(finished, steps), _complete(finished), *_yields(finished, steps)]


def _conserved(finished: FinishedShards, steps: list[FlowStep]) -> QualityFinding:
    wrong = [step.stage for step in steps if step.rows_in != step.rows_out + sum(step.rejected.values())]
    by_name = {step.stage: step for step in steps}
    for step in steps:
        above = by_name.get(step.after or "")
        whole = above is not None and step.stage not in finished.missing and above.stage not in finished.missing
        if above is not None and whole and step.rows_in != above.lines_out:
            wrong.append(step.stage)
    lines = [path_to(finished, leaf).line for leaf in finished.run.leaves()]
    lost = ", ".join(dict.fromkeys(wrong))
    return QualityFinding(
        id="conserved",
        rule="Every row that goes into a stage comes out of it or is among its rejects.",
        verdict="fail" if wrong else "pass",
        value=float(len(set(wrong))),
        shown=f"rows are lost in {lost}"
        if wrong
        else lines[0] + ("; the flow below shows the other datasets" if lines[1:] else ""),
        threshold="every row",
        n=by_name[INGEST].rows_in,
        fault=f"Rows are lost in {lost}.",
        means="Rows are missing that no stage rejected. Find the shards with: shardmill build RUN",
    )


def _complete(finished: FinishedShards) -> QualityFinding:
    wanted = finished.needed * len(finished.stages)
    missing = finished.missing
    count = sum(map(len, missing.values()))
    detail = "; ".join(f"{stage} lacks {shards_in_words(shards)}" for stage, shards in list(missing.items())[:4])
    damaged = f"; damaged or missing files: {', '.join(finished.damaged[:3])}" if finished.damaged else ""
    return QualityFinding(
        id="complete",
        rule="All shards of all stages are finished.",
        verdict="fail" if finished.damaged else "look" if missing else "pass",
        value=round(1 - count / wanted, 6) if wanted else None,
        shown=f"{wanted - count:,} of {wanted:,} finished" + (f": {detail}{damaged}" if missing else ""),
        threshold="all",
        n=wanted,
        fault="Some shards are not finished yet, or files are missing.",
        means="This report covers the finished shards only, and its figures may change. Continue with shardmill launch, which "
        "runs only what is missing.",
    )


def _yields(finished: FinishedShards, steps: list[FlowStep]) -> list[QualityFinding]:
    """For each last stage, the share of the input that reaches it, over the shards that it has finished.

    If a stage makes several lines of a row, rows are counted up to that stage, and the lines of later stages separately. A last
    stage without any output fails: the other rules have nothing to measure then.
    """
    found = []
    by_name = {step.stage: step for step in steps}
    for leaf in finished.run.leaves():
        path = path_to(finished, leaf)
        stages, sums = path.stages, path.sums
        for id, first, last in ((f"yield.{leaf}", 0, path.split), (f"yield.lines.{leaf}", path.split + 1, len(stages) - 1)):
            given = sums[first]["rows_in"] if first <= last else 0
            if given:
                source = f"lines of {stages[path.split]}" if first else "input"
                found.append(_yield(id, stages[first : last + 1], sums[first : last + 1], source, by_name))
    return found


@dataclass(frozen=True)
class StagePath:
    """The stages from ingest to a last one, and their totals over the shards that the last one has finished.

    `split` is the index of the first stage that makes several lines of a row, or of the last stage: up to there rows are those of
    the input.
    """

    stages: list[str]
    sums: list[dict[str, Any]]
    split: int

    @property
    def line(self) -> str:
        """The rows of the input: `caption_negated: 542 in = 482 out + 60 rejected (no object seen 33, …)`."""
        reasons: Counter[str] = Counter()
        for each in self.sums[: self.split + 1]:
            reasons.update(each["reasons"])
        last = self.sums[self.split]
        return f"{self.stages[-1]}: " + summary(
            self.sums[0]["rows_in"], last["rows_out"], dict(reasons), self.sums[-1]["lines_out"]
        )

    @property
    def rows_out(self) -> int:
        """The rows of the input that came out of the stage at `split`."""
        return int(self.sums[self.split]["rows_out"])


def path_to(finished: FinishedShards, leaf: str) -> StagePath:
    """The path of the rows to a last stage."""
    path = [leaf]
    while (above := finished.run.after(path[0])) is not None:
        path.insert(0, above)
    shards = finished.manifests[leaf].keys()
    sums = [totals(made for shard, made in finished.manifests[stage].items() if shard in shards) for stage in path]
    split = next((index for index, each in enumerate(sums) if each["lines_out"] != each["rows_out"]), len(path) - 1)
    return StagePath(path, sums, split)


def _yield(id: str, stages: list[str], sums: list[dict[str, Any]], source: str, steps: dict[str, FlowStep]) -> QualityFinding:
    given, out = sums[0]["rows_in"], sums[-1]["rows_out"]
    losses = [
        (stage, reason, count) for stage, each in zip(stages, sums, strict=True) for reason, count in each["reasons"].items()
    ]
    worst = max(losses, key=lambda loss: loss[2], default=None)
    detail = f"; most are rejected in {worst[0]}: {worst[1]} ({worst[2]:,})" if worst else ""
    return QualityFinding(
        id=id,
        stage=worst[0] if worst else stages[-1],
        rule=f"Most of the {source} reaches the output of {stages[-1]}.",
        verdict="fail" if out == 0 else "look" if out / given < MIN_YIELD else "pass",
        value=round(out / given, 6),
        shown=f"{percent(out / given)} ({out:,} of {given:,}){detail}",
        threshold=f"at least {whole_percent(MIN_YIELD)}; fails if nothing comes out",
        n=given,
        fault=f"{'Few rows' if out else 'None'} of the {source} reach the output of {stages[-1]}.",
        means="Few rows survive, or none: the input does not suit the pipeline, a threshold is too strict, or a model does not "
        "answer as it should. See the reasons of each stage in the flow.",
        examples=steps[worst[0]].examples.get(worst[1], []) if worst else [],
    )


def raw_value(text: str) -> Any:
    """The value of a reject's raw text if it is JSON, else None."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
