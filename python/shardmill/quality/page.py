"""A report as one self-contained HTML page: the verdict first, then figures, then rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from markupsafe import Markup

from shardmill.pages import plots
from shardmill.pages.charts import Chart, FigureTable, ShardSpan
from shardmill.pages.gallery import anchors, views
from shardmill.pages.html import render
from shardmill.quality.fixes import fix_id
from shardmill.quality.model import FlowStep, Report
from shardmill.quality.model_uses import embedded_note
from shardmill.util.atomic import replacing

ORDER = ("fail", "look", "pass")
MAX_LINES = 60
"""Lines of the table beside a chart; report.json has the rest."""


def write_report(report: Report, out: Path, image_root: Path | None = None) -> Path:
    """Write the page of a report. The same report gives the same bytes.

    Args:
        report: The report.
        out: Where the page goes.
        image_root: The folder that relative image references start from. An image that cannot be read becomes a note.

    Returns:
        `out`.
    """
    with replacing(out) as file:
        file.write(report_page(report, image_root).encode("utf-8"))
    return out


def report_page(report: Report, image_root: Path | None = None) -> str:
    """The page of a report, as text."""
    cards = views(report.cards, image_root)
    known = anchors(cards)
    in_gallery = Counter((view.card.stage, view.card.reason) for view in cards)
    return render(
        "report.html.j2",
        title=title(report),
        report=report,
        wrong=[finding for verdict in ORDER[:2] for finding in report.findings if finding.verdict == verdict],
        passed=[finding for finding in report.findings if finding.verdict == "pass"],
        fixes={finding.id: fix_id(finding) for finding in report.findings},
        models=list(dict.fromkeys(use.name for use in report.models)),
        embedded=embedded_note(report.models),
        headline=headline(report),
        worst=next((verdict for verdict in ORDER if any(f.verdict == verdict for f in report.findings)), None),
        flow=[_step(step, report.flow, index) for index, step in enumerate(report.flow)],
        timeline=_timeline(report.spans),
        span_table=span_table(report.spans) if report.spans and not _has_time(report) else None,
        charts={chart.id: _drawn(chart) for section in report.sections for chart in section.charts},
        chart_tables={chart.id: chart_table(chart) for section in report.sections for chart in section.charts},
        install="" if plots.can_draw() else plots.INSTALL,
        cards=cards,
        anchor_of=lambda example: known.get((example.row_id, example.sub_id)) or known.get((example.row_id, None)),
        in_gallery=lambda stage, reason: in_gallery[stage, reason],
    )


def title(report: Report) -> str:
    """The pipeline, and the name of the run if the report has it: `captions: demo`."""
    named = report.run.get("name") or report.run.get("folder")
    return f"{report.pipeline}: {Path(str(named)).name}" if named else report.pipeline


def headline(report: Report) -> str:
    """`Of 12 rules 1 fails, 2 need a look`: the verdict in a sentence."""
    counts = Counter(finding.verdict for finding in report.findings)
    total = len(report.findings)
    if not total:
        return "No rule could be checked on this run"
    if counts["pass"] == total:
        return f"All {total} rules pass" if total > 1 else "The only rule passes"
    fails, looks = counts["fail"], counts["look"]
    if total == 1:
        return "The only rule fails" if fails else "The only rule needs a look"
    looked = f"{looks} {'needs' if looks == 1 else 'need'} a look"
    if not fails:
        return f"Of {total} rules none fails, {looked}"
    failed = f"Of {total} rules {fails} {'fails' if fails == 1 else 'fail'}"
    return f"{failed}, {looked}" if looks else failed


def _step(step: FlowStep, flow: Sequence[FlowStep], index: int) -> dict[str, Any]:
    """A stage's line of the flow, with bar widths in percent of the widest stage."""
    widest = max((other.rows_in for other in flow), default=0) or 1
    rejected = sum(step.rejected.values())
    before = flow[index - 1].stage if index else None
    return {
        "step": step,
        "rejected": rejected,
        "out_width": round(100 * step.rows_out / widest, 2),
        "rejected_width": round(100 * rejected / widest, 2),
        "missing": step.rows_in - step.rows_out - rejected,
        "branches": step.after is not None and before is not None and step.after != before,
        "reasons": sorted(step.rejected.items(), key=lambda pair: (-pair[1], pair[0])),
    }


def _has_time(report: Report) -> bool:
    """Whether the report has a section about time, which then shows the drawing."""
    return any(section.id == "time" for section in report.sections)


def _timeline(spans: Sequence[ShardSpan]) -> Markup | None:
    return Markup(plots.draw_spans(spans)) if spans and plots.can_draw() else None


def _drawn(chart: Chart) -> Markup | None:
    """The drawing of a chart; None without matplotlib or without figures."""
    has_figures = any(series.y for series in chart.series)
    return Markup(plots.draw(chart)) if has_figures and plots.can_draw() else None


def span_table(spans: Sequence[ShardSpan]) -> FigureTable:
    """What each stage took, from the spans of its shards."""
    stages: dict[str, list[ShardSpan]] = {}
    for span in spans:
        stages.setdefault(span.stage, []).append(span)
    columns = ["stage", "shards", "machines", "from s", "to s", "rows/s of a shard", "GPU-hours", "median s", "slowest s", "late"]
    rows = [_span_line(stage, own) for stage, own in stages.items()]
    note = "A shard is late if it took far longer than the others of its stage. Check its machine and its rows."
    return FigureTable(id="time-by-stage", title="By stage", columns=columns, rows=rows, note=note)


def _span_line(stage: str, spans: Sequence[ShardSpan]) -> list[str | float | int | None]:
    took = [span.end - span.start for span in spans]
    late = [str(span.shard) for span in spans if span.straggler]
    return [
        stage,
        len(spans),
        len({span.host for span in spans}),
        round(min(span.start for span in spans), 1),
        round(max(span.end for span in spans), 1),
        round(sum(span.rows for span in spans) / sum(took), 1) if sum(took) > 0 else None,
        round(sum((span.end - span.start) * span.gpus for span in spans) / 3600, 3),
        round(median(took), 1),
        round(max(took), 1),
        ", ".join(late[:8]) + (" …" if len(late) > 8 else ""),
    ]


def chart_table(chart: Chart) -> FigureTable:
    """The figures of a chart as a table: a line per x, a column per series."""
    values: list[Mapping[str | float, float]] = [dict(zip(series.x, series.y, strict=False)) for series in chart.series]
    xs = list(dict.fromkeys(x for series in chart.series for x in series.x))
    rows: list[list[str | float | int | None]] = [[x, *(by_x.get(x) for by_x in values)] for x in xs[:MAX_LINES]]
    more = len(xs) - MAX_LINES
    names = [chart.y_label] if len(values) == 1 else [series.name for series in chart.series]
    note = f"{more:,} more lines are in report.json" if more > 0 else ""
    columns, shares = [chart.x_label, *names], names if chart.shares else []
    return FigureTable(id=chart.id, title=chart.title, columns=columns, rows=rows, shares=shares, note=note)
