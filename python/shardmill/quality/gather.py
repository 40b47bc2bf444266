"""All of a report: what stands of a run is read once, in batches; the parts of its pipeline make figures of it."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from shardmill import __version__
from shardmill.core.registry import pipeline_of, resolve
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.flow import draw_rejected, flow_findings, flow_of, way_to
from shardmill.quality.model import FlowStep, QualityFinding, Report, ReportSection
from shardmill.quality.parts import ColumnReading, PipelineQuality
from shardmill.quality.sample import cards_of
from shardmill.quality.timeline import gpu_hours, spans_of, time_findings, time_section
from shardmill.store.manifest import totals
from shardmill.store.run_folder import INGEST, RunFolder

WORST_FIRST = {"fail": 0, "look": 1, "pass": 2}


def gather(run: RunFolder, *, rows: int = 60, seed: int = 0) -> Report:
    """The report of a run as it stands, finished or not, with a gallery of about `rows` rows drawn by `seed`.

    The figures do not depend on the number of shards. Raises UserError for a run folder or a part that cannot be read.
    """
    standing = FinishedShards(run)
    pipeline = resolve(pipeline_of(run).quality)(standing, seed)
    _read(standing, pipeline)
    rejected = draw_rejected(standing, seed)
    steps = flow_of(standing, rejected)
    findings = [*flow_findings(standing, steps), *time_findings(standing)]
    sections: list[ReportSection] = []
    facts = _facts(standing, steps)
    for part in pipeline.parts:
        findings += part.findings()
        sections += part.sections()
        facts.update(part.facts())
    shown = [example.row_id for finding in findings if finding.verdict != "pass" for example in finding.examples]
    return Report(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        pipeline=run.plan.pipeline,
        run=_run(standing),
        facts={**facts, "verdict": _verdict(findings)},
        findings=sorted(findings, key=lambda each: WORST_FIRST[each.verdict]),
        flow=steps,
        spans=spans_of(standing),
        sections=[*sections, time_section(standing)],
        cards=cards_of(pipeline, rejected, rows, shown if rows else ()),
    )


def _read(standing: FinishedShards, pipeline: PipelineQuality) -> None:
    """Show every batch of every stage that somebody looks at to all who do."""
    readings: dict[str, list[ColumnReading]] = {}
    for part in pipeline.parts:
        for reading in part.readings():
            readings.setdefault(reading.stage, []).append(reading)
    for stage, own in readings.items():
        columns = {name for reading in own for name in reading.columns}
        for batch in standing.batches(stage, columns):
            for reading in own:
                reading.look(batch)


def _facts(standing: FinishedShards, steps: list[FlowStep]) -> dict[str, str]:
    by_name = {step.stage: step for step in steps}
    done = sum(map(len, standing.manifests.values()))
    facts = {"rows in": f"{by_name[INGEST].rows_in:,}"}
    for leaf in standing.run.leaves():
        rows, lines = way_to(standing, leaf).rows_out, by_name[leaf].lines_out
        facts[f"out of {leaf}"] = f"{rows:,}" + (f" ({lines:,} lines)" if lines != rows else "")
    facts["shards finished"] = f"{done:,} of {standing.needed * len(standing.stages):,}"
    usage: dict[str, float] = {}
    for shards in standing.manifests.values():
        for name, value in totals(shards.values())["usage"].items():
            usage[name] = usage.get(name, 0) + value
    if usage.get("prompt_tokens"):
        facts["tokens"] = f"{usage['prompt_tokens']:,.0f} read, {usage.get('completion_tokens', 0):,.0f} written"
    hours = sum(gpu_hours(standing, stage) for stage in standing.stages)
    work = sum(made.seconds for shards in standing.manifests.values() for made in shards.values()) / 3600
    facts["work"] = f"{hours:,.2f} GPU-hours" if hours else f"{work:,.2f} CPU-hours"
    return facts


def _verdict(findings: list[QualityFinding]) -> str:
    """`2 failed, 3 to look at, 18 passed`."""
    counts = {verdict: sum(each.verdict == verdict for each in findings) for verdict in WORST_FIRST}
    return f"{counts['fail']} failed, {counts['look']} to look at, {counts['pass']} passed"


def _run(standing: FinishedShards) -> dict[str, Any]:
    """What the run is, as its plan says, and what is missing of it."""
    plan = standing.run.plan
    return {
        "folder": str(standing.run.path),
        "name": standing.run.path.resolve().name,
        "seed": plan.seed,
        "planned": plan.created,
        "plan_revision": plan.revision,
        "planned_by": plan.code_version,
        "reported_by": __version__,
        "input": {"path": plan.input.path, "sha256": plan.input.sha256, "rows": plan.input.rows},
        "target_rows": plan.target_rows,
        "shards": standing.needed,
        "partial": bool(standing.missing),
        "missing": standing.missing,
        "damaged": standing.damaged,
        "stages": [
            {"stage": stage.name, "after": stage.after, "model": stage.model, "options": stage.options} for stage in plan.stages
        ],
    }
