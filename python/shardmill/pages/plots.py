"""Charts as inline SVG, by matplotlib: `pip install 'shardmill[report]'`. Without it the page shows the same figures as tables.

Colours are those of Okabe and Ito (2008), which people of any colour vision tell apart; each series also has a hatch or a marker
of its own, for paper and projectors. Text, grid and background take the page's colours, so one drawing serves light and dark.
"""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from shardmill.pages.charts import Chart, ChartSeries, ShardSpan
from shardmill.pages.shown import shortened, shown_text
from shardmill.util.words import whole_percent

INSTALL = "pip install 'shardmill[report]'"
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "---")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
MARK_DASHES = ((0, (4, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
INK, GRID, PAPER = "#010203", "#040506", "#070809"
"""Placeholders, replaced by the page's own colours."""
PAGE_COLOURS = {INK: "currentColor", GRID: "var(--line)", PAPER: "var(--paper)"}
WIDTH = 4.8
"""Inches: on a phone the text is still readable, in two columns on a laptop not yet large."""
MAX_BARS = 40
MAX_SPANS = 1_500
UPRIGHT_BARS, UPRIGHT_CHARACTERS = 6, 30
SHORT_LABEL = 17
"""Two columns of longer labels would be cut off at the right edge."""
LEGEND: dict[str, Any] = {
    "loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "frameon": False, "borderaxespad": 0.2, "handlelength": 1.8
}  # fmt: skip
LABEL = 26
TAG = re.compile("<[^>]*>")


@cache
def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(chart: Chart) -> str:
    """A chart as an <svg> element. A mark is a line at a value of bars, else at a position on the x axis; the legend names it.

    Needs `can_draw`.
    """
    kinds: dict[str, Callable[[Any, Chart], None]] = {"bars": _bars, "histogram": _histogram, "lines": _lines}

    def fill(axes: Any) -> None:
        kinds[chart.kind](axes, chart)
        if len(chart.series) > 1 or chart.marks:
            longest = max(map(len, axes.get_legend_handles_labels()[1]), default=0)
            axes.legend(**LEGEND | {"ncols": 2 if longest <= SHORT_LABEL else 1})

    return _svg(chart.id, chart.title, _height(chart), fill)


def draw_spans(spans: Sequence[ShardSpan]) -> str:
    """The timeline: a bar per shard, stage under stage; for more than 1,500 shards, how many of each stage ran at a time."""
    stages = list(dict.fromkeys(span.stage for span in spans))
    if len(spans) > MAX_SPANS:
        return _svg("timeline", "shards running over time", 3.2, lambda axes: _running(axes, spans, stages))
    return _svg("timeline", "when each shard was worked on", 0.9 + 0.42 * len(stages), lambda axes: _gantt(axes, spans, stages))


def _height(chart: Chart) -> float:
    if chart.kind == "bars" and _lying(chart):
        bars = min(max(len(series.x) for series in chart.series), MAX_BARS)
        return 0.9 + bars * (0.14 + 0.1 * len(chart.series))
    return 3.0


def _lying(chart: Chart) -> bool:
    """Whether bars lie: many bars, or long names, are easier to read that way."""
    names = [str(name) for series in chart.series for name in series.x]
    return len(set(names)) > UPRIGHT_BARS or sum(map(len, set(names))) > UPRIGHT_CHARACTERS


def _bars(axes: Any, chart: Chart) -> None:
    names = list(dict.fromkeys(str(name) for series in chart.series for name in series.x))
    left_out, names = len(names) - MAX_BARS, names[:MAX_BARS]
    lying, thick = _lying(chart), 0.8 / max(len(chart.series), 1)
    positions = range(len(names))
    for index, series in enumerate(chart.series):
        values = dict(zip(map(str, series.x), series.y, strict=True))
        at = [position + (index - (len(chart.series) - 1) / 2) * thick for position in positions]
        draw_bar = axes.barh if lying else axes.bar
        size = {"height" if lying else "width": thick}
        draw_bar(at, [values.get(name, 0.0) for name in names], **size, **_style(index), label=_name(chart, series))
    ticks = [shortened(name, LABEL) for name in names]
    if lying:
        axes.set_yticks(list(positions), ticks)
        axes.invert_yaxis()
        axes.margins(y=0.01)
    else:
        axes.set_xticks(list(positions), ticks)
    more = f" ({left_out} more not drawn)" if left_out > 0 else ""
    _label(axes, *((chart.y_label, chart.x_label + more) if lying else (chart.x_label + more, chart.y_label)))
    axes.grid(axis="x" if lying else "y")
    _value_axis(axes.xaxis if lying else axes.yaxis, chart)
    _marks(axes, chart, upright=lying)


def _histogram(axes: Any, chart: Chart) -> None:
    for index, series in enumerate(chart.series):
        left = [float(x) for x in series.x]
        width = left[1] - left[0] if len(left) > 1 else 1.0
        if len(chart.series) == 1:
            axes.bar(left, series.y, width=width, align="edge", **_style(index), label=_name(chart, series))
        else:  # outlines: bars in front of others would hide them
            axes.stairs(series.y, [*left, left[-1] + width], label=_name(chart, series), **_stroke(index))
    _label(axes, chart.x_label, chart.y_label)
    axes.grid(axis="y")
    _value_axis(axes.yaxis, chart)
    _marks(axes, chart, upright=True)


def _lines(axes: Any, chart: Chart) -> None:
    numeric = all(not isinstance(x, str) for series in chart.series for x in series.x)
    for index, series in enumerate(chart.series):
        marker = MARKERS[index % len(MARKERS)] if len(series.y) <= 60 else ""
        xs = series.x if numeric else [shortened(str(x), LABEL) for x in series.x]
        axes.plot(xs, series.y, marker=marker, markersize=4, label=_name(chart, series), **_stroke(index))
    _label(axes, chart.x_label, chart.y_label)
    axes.grid()
    if chart.log:
        _log_axes(axes)
    else:
        _value_axis(axes.yaxis, chart)
    _marks(axes, chart, upright=True)


def _log_axes(axes: Any) -> None:
    """Logarithmic axes with ticks at 1, 10, 100; where a single one of them would be seen, at 2 and 5 as well."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        axis.set_major_locator(LogLocator(10, subs=(1.0,) if high >= 50 * low else (1.0, 2.0, 5.0)))
        axis.set_major_formatter(lambda value, position: f"{value:,.9g}")
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())


def _value_axis(axis: Any, chart: Chart) -> None:
    """Shares in percent, counts at whole numbers, with separators."""
    from matplotlib.ticker import MaxNLocator

    values = [y for series in chart.series for y in series.y]
    if chart.shares:
        axis.set_major_formatter(lambda value, position: whole_percent(value))
    elif all(float(value).is_integer() for value in values):
        axis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
        axis.set_major_formatter(lambda value, position: f"{value:,.0f}")


def _stroke(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)], "linewidth": 1.8}


def _name(chart: Chart, series: ChartSeries) -> str:
    """What the legend calls a series; nothing if it is the only one."""
    return shortened(series.name, LABEL) if len(chart.series) > 1 else ""


def _style(index: int) -> dict[str, Any]:
    return {
        "color": COLOURS[index % len(COLOURS)],
        "hatch": HATCHES[index % len(HATCHES)],
        "edgecolor": PAPER,
        "linewidth": 0.5,
    }


def _label(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(shortened(x, 60))
    axes.set_ylabel(shortened(y, 44))


def _marks(axes: Any, chart: Chart, upright: bool) -> None:
    """Thresholds: a line each, dashed in its own way, which the legend names."""
    draw_line = axes.axvline if upright else axes.axhline
    for index, mark in enumerate(chart.marks):
        dashes = MARK_DASHES[index % len(MARK_DASHES)]
        draw_line(mark.at, color=INK, linestyle=dashes, linewidth=1.4, label=shortened(mark.label, LABEL))


def _gantt(axes: Any, spans: Sequence[ShardSpan], stages: list[str]) -> None:
    unit, seconds = _unit(max(span.end for span in spans))
    for index, stage in enumerate(stages):
        for lane, lanes, span in _lanes([span for span in spans if span.stage == stage]):
            height = 0.8 / lanes
            style = {"facecolor": COLOURS[3], "hatch": "////"} if span.straggler else {"facecolor": COLOURS[0]}
            wide = max(span.end - span.start, 0) / seconds
            where = (index - 0.4 + lane * height, height * 0.9)
            axes.broken_barh([(span.start / seconds, wide)], where, edgecolor=PAPER, linewidth=0.3, **style)
    axes.set_yticks(range(len(stages)), [shortened(stage, LABEL) for stage in stages])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{unit} since the start" + (" (hatched: stragglers)" if any(span.straggler for span in spans) else ""))
    axes.grid(axis="x")


def _lanes(spans: Sequence[ShardSpan]) -> list[tuple[int, int, ShardSpan]]:
    """(lane, number of lanes, span) of each, such that spans of a lane do not overlap."""
    ends: list[float] = []
    placed = []
    for span in sorted(spans, key=lambda span: (span.start, span.shard)):
        lane = next((index for index, end in enumerate(ends) if end <= span.start), len(ends))
        ends[lane : lane + 1] = [span.end]
        placed.append((lane, span))
    return [(lane, len(ends), span) for lane, span in placed]


def _running(axes: Any, spans: Sequence[ShardSpan], stages: list[str]) -> None:
    unit, seconds = _unit(max(span.end for span in spans))
    for index, stage in enumerate(stages):
        own = [span for span in spans if span.stage == stage]
        changes = sorted([(span.start, 1) for span in own] + [(span.end, -1) for span in own])
        count, xs, ys = 0, [0.0], [0]
        for at, change in changes:
            count += change
            xs.append(at / seconds)
            ys.append(count)
        style = {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}
        axes.step(xs, ys, where="post", label=shortened(stage, LABEL), linewidth=1.6, **style)
    axes.set_xlabel(f"{unit} since the start")
    axes.set_ylabel("shards running")
    axes.legend(**LEGEND)
    axes.grid()


def _unit(longest: float) -> tuple[str, float]:
    return ("hours", 3600.0) if longest > 3 * 3600 else ("minutes", 60.0) if longest > 300 else ("seconds", 1.0)


def _svg(name: str, title: str, height: float, fill: Callable[[Any], None]) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {
        "svg.hashsalt": name, "svg.fonttype": "none", "font.family": ["DejaVu Sans"], "font.size": 10, "text.parse_math": False,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GRID, "xtick.color": INK, "ytick.color": INK,
        "grid.color": GRID, "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
        "hatch.linewidth": 0.9, "xtick.bottom": False, "ytick.left": False, "axes.formatter.useoffset": False,
    }  # fmt: skip
    out = io.StringIO()
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that DejaVu lacks: the browser has them
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        fill(figure.add_subplot())
        figure.savefig(
            out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return _fit_in(out.getvalue(), title)


def _fit_in(svg: str, title: str) -> str:
    """The <svg> element alone, for use inside a page: no style of its own, no unused ids, the page's colours."""
    from markupsafe import escape

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", svg, flags=re.S)
    wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    head, rest = TAG.sub(lambda found: _tag(found[0], wanted), svg).split(">", 1)
    sizes = re.search(r'viewBox="[^"]*"', head)
    return f'<svg {sizes[0] if sizes else ""} role="img" aria-label="{escape(shown_text(title))}" class="chart">{rest.strip()}'


def _tag(tag: str, wanted: set[str]) -> str:
    """A tag in the page's form. Text between tags is data and is never changed."""
    tag = re.sub(r' xmlns(:\w+)?="[^"]*"', "", tag)
    tag = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in wanted else "", tag)
    tag = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", tag)
    tag = re.sub(r" ?font-family: [^;\"]*;?", "", tag)
    for placeholder, colour in PAGE_COLOURS.items():
        tag = tag.replace(placeholder, colour)
    return " ".join(tag.split())
