"""A whole report: the finished shards of a run are read once, in batches, and the parts of its pipeline make figures of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any

from shardmill import __version__
from shardmill.core.registry import pipeline_of, resolve
from shardmill.pages.charts import ShardSpan
from shardmill.quality.default import DefaultQuality
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.fixes import fixes_of, maker_of
from shardmill.quality.flow import draw_rejected, flow_findings, flow_of, path_to
from shardmill.quality.model import FlowStep, QualityFinding, Report, ReportSection
from shardmill.quality.model_uses import model_uses
from shardmill.quality.parts import ColumnReading, PipelineQuality, QualityPart
from shardmill.quality.rule_checks import RuleChecks
from shardmill.quality.sample import cards_of
from shardmill.quality.timeline import gpu_hours, spans_of, time_findings, time_section
from shardmill.store.manifest import totals
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.verify import refuse_if_changed
from shardmill.util.words import count_of, duration

WORST_FIRST = {"fail": 0, "look": 1, "pass": 2}


def quality_of(finished: FinishedShards, seed: int) -> PipelineQuality:
    """What the report of a run measures: what its pipeline brings (a PipelineQuality class, or rules), or the default."""
    given = resolve(pipeline_of(finished.run).quality) or ()
    if isinstance(given, Sequence):
        return DefaultQuality(finished, seed, rules=given)
    made: PipelineQuality = given(finished, seed)
    return made


def gather(run: RunFolder, *, rows: int = 60, seed: int = 0) -> Report:
    """The report of a run, finished or not. Its figures do not depend on the number of shards.

    Args:
        run: The run folder.
        rows: About how many rows the gallery shows.
        seed: The seed of all samples.

    Raises:
        UserError: If the run folder or a part cannot be read.
    """
    finished = FinishedShards(run)
    quality = quality_of(finished, seed)
    parts = [RuleChecks(finished, quality.rules, seed), *quality.parts]
    _read(finished, parts)
    rejected = draw_rejected(finished, seed)
    steps = flow_of(finished, rejected)
    findings = [*flow_findings(finished, steps), *time_findings(finished)]
    sections: list[ReportSection] = []
    spans = spans_of(finished)
    facts = _facts(finished, steps, spans)
    for part in parts:
        findings += map(partial(_with_stage, finished, part), part.findings())
        sections += part.sections()
        facts.update(part.facts())
    refuse_if_changed(run)
    findings.sort(key=lambda each: WORST_FIRST[each.verdict])
    with_examples = [example.row_id for finding in findings if finding.verdict != "pass" for example in finding.examples]
    return Report(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        pipeline=run.plan.pipeline,
        run=_run_facts(finished),
        facts={**facts, "verdict": _verdict(findings)},
        models=model_uses(run),
        findings=findings,
        fixes=fixes_of(run, findings),
        flow=steps,
        spans=spans,
        sections=[*sections, time_section(finished)],
        cards=cards_of(quality, rejected, rows, with_examples if rows else ()),
    )


def _with_stage(finished: FinishedShards, part: QualityPart, finding: QualityFinding) -> QualityFinding:
    """The finding of a part with the stage that made what it is about: that of the first thing that the part reads."""
    reading = next(iter(part.readings()), None)
    if finding.stage or reading is None:
        return finding
    return finding.model_copy(update={"stage": maker_of(finished.run, reading.stage, reading.columns)})


def _read(finished: FinishedShards, parts: Sequence[QualityPart]) -> None:
    """Read each stage once, and give every batch to all parts that read of it."""
    readings: dict[str, list[ColumnReading]] = {}
    for part in parts:
        for reading in part.readings():
            readings.setdefault(reading.stage, []).append(reading)
    for stage, own in readings.items():
        columns = {name for reading in own for name in reading.columns}
        for batch in finished.batches(stage, columns):
            for reading in own:
                reading.add_batch(batch)


def _facts(finished: FinishedShards, steps: list[FlowStep], spans: list[ShardSpan]) -> dict[str, str]:
    by_name = {step.stage: step for step in steps}
    done = sum(map(len, finished.manifests.values()))
    facts = {"rows in": f"{by_name[INGEST].rows_in:,}"}
    for leaf in finished.run.leaves():
        rows, lines = path_to(finished, leaf).rows_out, by_name[leaf].lines_out
        facts[f"rows out of {leaf}"] = f"{rows:,}" + (f" ({count_of(lines, 'line')})" if lines != rows else "")
    if spans:
        facts["time"] = duration(max(span.end for span in spans))
    facts["shards finished"] = f"{done:,} of {finished.needed * len(finished.stages):,}"
    usage: dict[str, float] = {}
    for shards in finished.manifests.values():
        for name, value in totals(shards.values())["usage"].items():
            usage[name] = usage.get(name, 0) + value
    if usage.get("prompt_tokens"):
        facts["tokens"] = f"{usage['prompt_tokens']:,.0f} read, {usage.get('completion_tokens', 0):,.0f} written"
    hours = sum(gpu_hours(finished, stage) for stage in finished.stages)
    work = sum(made.seconds for shards in finished.manifests.values() for made in shards.values()) / 3600
    facts["work"] = f"{hours:,.2f} GPU-hours" if hours else f"{work:,.2f} worker-hours"
    if unpinned := _unpinned_weights(finished):
        facts["weights that no commit pins"] = unpinned
    return facts


def _unpinned_weights(finished: FinishedShards) -> str:
    """The models whose weights may be replaced under the same name, each with the commits that were loaded, as far as known."""
    commits: dict[str, set[str]] = {}
    for stage, shards in finished.manifests.items():
        for name in finished.run.fingerprint(stage).get("model unpinned", "").split(", "):
            if name:
                commits.setdefault(name, set()).update(commit for made in shards.values() if (commit := made.commits.get(name)))
    return "; ".join(f"{name} ({_loaded(found)})" for name, found in sorted(commits.items()))


def _loaded(commits: set[str]) -> str:
    if not commits:
        return "unpinned"
    shown = ", ".join(sorted(commit[:12] for commit in commits))
    return f"loaded: {shown}" if len(commits) == 1 else f"{len(commits)} different commits were loaded: {shown}"


def _verdict(findings: list[QualityFinding]) -> str:
    """`2 failed, 3 to look at, 18 passed`."""
    counts = {verdict: sum(each.verdict == verdict for each in findings) for verdict in WORST_FIRST}
    return f"{counts['fail']} failed, {counts['look']} to look at, {counts['pass']} passed"


def _run_facts(finished: FinishedShards) -> dict[str, Any]:
    """What the plan says of the run, and which shards are missing."""
    plan = finished.run.plan
    return {
        "folder": str(finished.run.path),
        "name": finished.run.path.resolve().name,
        "seed": plan.seed,
        "planned": plan.created,
        "plan_revision": plan.revision,
        "planned_by": plan.code_version,
        "reported_by": __version__,
        "input": {"path": plan.input.path, "sha256": plan.input.sha256, "rows": plan.input.rows},
        "target_rows": plan.target_rows,
        "shards": finished.needed,
        "partial": bool(finished.missing),
        "missing": finished.missing,
        "damaged": finished.damaged,
        "stages": [
            {"stage": stage.name, "after": stage.after, "model": stage.model, "options": stage.options} for stage in plan.stages
        ],
    }
