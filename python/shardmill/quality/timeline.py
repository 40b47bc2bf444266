"""When and where the shards were worked on, what that cost, and which took far longer than the others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from statistics import median

from shardmill.pages.charts import Chart, ChartSeries, FigureTable, ShardSpan, TableRow
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.model import QualityFinding, ReportSection
from shardmill.store.goodput import gpu_time
from shardmill.store.jobs import JobsFolder
from shardmill.store.manifest import SLOW_FACTOR, Manifest, totals
from shardmill.store.run_folder import INGEST
from shardmill.store.spending import read_budget

MIN_SLOW_SECONDS = 10.0
"""Nobody waits for a slow shard of fewer seconds."""
MAX_SPANS = 4_000
UNUSUAL = ("without ", "finish ")
"""How the notes of requests begin (`models/contract.py`): a parameter that a server refused, an unknown finish_reason."""

TIME_COLUMNS = (
    *("stage", "shards", "worker-hours", "GPU-hours", "rows/s", "requests", "retries", "prompt tokens", "answer tokens"),
    *("cached share", "tokens/s", "images/s", "cost"),
)
IMAGE_ROLES = ("detect", "generate", "edit", "caption", "score")


def spans_of(finished: FinishedShards) -> list[ShardSpan]:
    """A span for each finished shard; of more than 4,000 all stragglers and an even selection of the others."""
    found = list(_spans(finished))
    if len(found) > MAX_SPANS:
        step = -(-len(found) // MAX_SPANS)
        found = [span for index, span in enumerate(found) if span.straggler or index % step == 0]
    return found


def _spans(finished: FinishedShards) -> Iterator[ShardSpan]:
    begun = min((_seconds(made.started) for each in finished.manifests.values() for made in each.values()), default=0.0)
    for stage in finished.stages:
        shards = finished.manifests[stage]
        slow = slow_shards(shards)
        for shard, manifest in shards.items():
            start = _seconds(manifest.started) - begun
            yield ShardSpan(
                stage=stage,
                shard=shard,
                start=round(start, 3),
                end=round(start + manifest.seconds, 3),
                host=manifest.node,
                gpus=gpus_of(finished, stage, manifest),
                rows=manifest.rows_in,
                straggler=shard in slow,
            )


def _seconds(time: str) -> float:
    """Seconds since 1970 of a manifest's time; 0 if it has none."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return 0.0


def gpus_of(finished: FinishedShards, stage: str, manifest: Manifest) -> int:
    """The number of GPUs that a worker saw; as planned if its manifest does not say."""
    if "CUDA_VISIBLE_DEVICES" in manifest.job:
        return manifest.gpus
    return 0 if stage == INGEST else finished.run.stage(stage).resources.gpus_per_worker


def slow_shards(shards: dict[int, Manifest]) -> dict[int, float]:
    """The shards that took more than twice the median of their stage, and at least ten seconds: by how many times."""
    if len(shards) < 2:
        return {}
    middle = max(median(manifest.seconds for manifest in shards.values()), 1e-3)
    return {
        shard: manifest.seconds / middle
        for shard, manifest in shards.items()
        if manifest.seconds > SLOW_FACTOR * middle and manifest.seconds >= MIN_SLOW_SECONDS
    }


def gpu_hours(finished: FinishedShards, stage: str) -> float:
    """GPU-hours of a stage: of the nodes that its jobs had allocated, and of the work itself where there was no allocation."""
    worked = sum(
        manifest.seconds * gpus_of(finished, stage, manifest)
        for manifest in finished.manifests[stage].values()
        if "SLURM_JOB_ID" not in manifest.job
    )
    seconds = {name: sum(made.seconds for made in shards.values()) for name, shards in finished.manifests.items()}
    allocations = JobsFolder(finished.run).allocations()
    allocated = sum(each.hours * each.gpus * each.share_of(stage, seconds) for each in allocations)
    return worked / 3600 + allocated


def time_section(finished: FinishedShards) -> ReportSection:
    """Two tables: what each stage took, and its slowest shards."""
    rows = [_stage_line(finished, stage) for stage in finished.stages]
    columns, shares = list(TIME_COLUMNS), ["cached share"]
    note = "Rates are those of one worker. GPU-hours count allocated GPUs, busy or not; without SLURM, those of the work."
    title = "What each stage took"
    tables = [FigureTable(id="time.stages", title=title, columns=columns, rows=rows, shares=shares, note=note)]
    slow = [line for stage in finished.stages for line in _slow_lines(stage, finished.manifests[stage])]
    if slow:
        names = ["stage", "shard", "node", "seconds", "times the median"]
        tables.append(FigureTable(id="time.slow", title="Slowest shards", columns=names, rows=slow))
    charts = list(_gpu_charts(finished))
    return ReportSection(id="time", title="Time and cost", charts=charts, tables=tables, text=" ".join(_texts(finished)))


def _gpu_charts(finished: FinishedShards) -> Iterator[Chart]:
    """What allocated GPUs were doing, by phase; nothing for a run that had none."""
    made = {(stage, shard): each for stage, shards in finished.manifests.items() for shard, each in shards.items()}
    with_model = [stage.name for stage in finished.run.plan.stages if stage.role]
    phases = gpu_time(JobsFolder(finished.run).allocations(), made, with_model)
    if phases:
        names = [phase.stages[0] + (f" and {len(phase.stages) - 1} more" if len(phase.stages) > 1 else "") for phase in phases]
        parts = ("asking", "loading", "waiting", "idle")
        series = [ChartSeries(name=part, x=names, y=[round(getattr(phase, part), 4) for phase in phases]) for part in parts]
        yield Chart(
            id="time.gpus", title="What allocated GPUs were doing", kind="bars", x_label="stages", y_label="GPU-hours",
            series=series,
            note="Asking is what they are for. Much loading: give each worker more or larger shards. Waiting: for input, or for "
            "a stage without a model. Idle: starting, waiting for the other workers of the node, or work that was lost.",
        )  # fmt: skip


def _texts(finished: FinishedShards) -> Iterator[str]:
    """On which machines the run was made, and what was unusual about requests to models: what a server refused, for example."""
    yield _nodes(finished)
    for stage in finished.stages:
        usage = totals(finished.manifests[stage].values())["usage"]
        unusual = [f"{name} ({count:,.0f} requests)" for name, count in sorted(usage.items()) if name.startswith(UNUSUAL)]
        if unusual:
            yield f"{stage}: {', '.join(unusual)}."


def _stage_line(finished: FinishedShards, stage: str) -> TableRow:
    """What a stage took: see TIME_COLUMNS."""
    shards = finished.manifests[stage]
    sums = totals(shards.values())
    timed = totals(manifest for manifest in shards.values() if not manifest.elsewhere)
    usage, spent = sums["usage"], timed["seconds"]
    tokens = timed["usage"].get("prompt_tokens", 0) + timed["usage"].get("completion_tokens", 0)
    prompt = usage.get("prompt_tokens", 0)
    price = None if stage == INGEST else read_budget(finished.run).price_of(finished.run.stage(stage))
    hours = gpu_hours(finished, stage)
    return [
        stage,
        f"{len(shards)}/{finished.needed}",
        round(sums["seconds"] / 3600, 4),
        round(hours, 4),
        _rate(timed["rows_in"], spent),
        int(usage.get("requests", 0)),
        int(usage.get("retries", 0)),
        int(prompt),
        int(usage.get("completion_tokens", 0)),
        round(usage.get("cached_tokens", 0) / prompt, 4) if prompt else None,
        _rate(tokens, spent),
        _rate(timed["rows_in"], spent) if stage != INGEST and finished.run.stage(stage).role in IMAGE_ROLES else None,
        None if price is None else round(price.of(usage, hours), 2),
    ]


def _rate(count: float, seconds: float) -> float | None:
    return round(count / seconds, 2) if seconds and count else None


def _slow_lines(stage: str, shards: dict[int, Manifest]) -> list[TableRow]:
    slowest = sorted(slow_shards(shards).items(), key=lambda item: -item[1])[:5]
    return [[stage, shard, shards[shard].node, round(shards[shard].seconds, 1), round(times, 2)] for shard, times in slowest]


def _nodes(finished: FinishedShards) -> str:
    nodes = sorted({manifest.node for shards in finished.manifests.values() for manifest in shards.values()} - {""})
    machines = f"{len(nodes):,} machine{'s' if len(nodes) > 1 else ''}"
    return f"Made on {machines}: {', '.join(nodes[:8])}{' and more' if len(nodes) > 8 else ''}." if nodes else ""


def time_findings(finished: FinishedShards) -> list[QualityFinding]:
    """Whether some shards are far behind the others of their stage."""
    count = sum(len(shards) for shards in finished.manifests.values())
    slow = [(times, stage, shard) for stage in finished.stages for shard, times in slow_shards(finished.manifests[stage]).items()]
    worst = max(slow, default=None)
    detail = f": {worst[1]} shard {worst[2]} took {worst[0]:.1f} times the median" if worst else ""
    return [
        QualityFinding(
            id="stragglers",
            rule="The shards of a stage take about as long as one another.",
            verdict="look" if slow else "pass",
            value=float(len(slow)),
            shown=f"{len(slow):,} of {count:,} shards took more than twice the median{detail}",
            threshold=f"none (of {MIN_SLOW_SECONDS:g} s or more)",
            n=count,
            fault="Some shards took far longer than the others of their stage.",
            means="Workers wait for a few slow shards. Use smaller shards, or check whether one node is slow.",
        )
    ]
