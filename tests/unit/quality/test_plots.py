"""Charts are the same bytes each time, in the page's colours, and hold data as text."""

from __future__ import annotations

import re

import pytest

from report_samples import HOSTILE, sample_report
from shardmill.pages.charts import Chart, ChartSeries, Mark, ShardSpan
from shardmill.pages.plots import COLOURS, HATCHES, MAX_BARS, MAX_SPANS, can_draw, draw, draw_spans

pytestmark = pytest.mark.skipif(not can_draw(), reason="matplotlib is not installed")


def bars(names: list[str], values: list[float] | None = None, **more: object) -> Chart:
    series = [ChartSeries(name="all", x=names, y=values or [1.0] * len(names))]
    return Chart(**{"id": "c", "title": "t", "kind": "bars", "x_label": "x", "y_label": "y", "series": series, **more})  # type: ignore[arg-type]


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def tags(svg: str) -> set[str]:
    return set(re.findall(r"<(/?[A-Za-z!][\w-]*)", svg))


def every_chart() -> list[Chart]:
    return [chart for section in sample_report().sections for chart in section.charts]


@pytest.mark.parametrize("chart", every_chart(), ids=lambda chart: chart.kind)
def test_a_drawing_is_the_same_each_time_and_refers_to_nothing_outside(chart: Chart) -> None:
    svg = draw(chart)
    assert draw(chart) == svg
    assert svg.startswith("<svg viewBox=") and svg.rstrip().endswith("</svg>")
    assert "http" not in svg and "<style" not in svg and "<metadata" not in svg and "<!" not in svg
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg)) == set(re.findall(r' id="([^"]*)"', svg))


def test_names_are_text_and_never_mathematics_or_markup() -> None:
    for hostile in HOSTILE:
        svg = draw(bars([hostile, "b"], marks=[Mark(label=hostile, at=0.5)], title=hostile, x_label=hostile))
        assert tags(svg) == tags(draw(bars(["a", "b"], marks=[Mark(label="a", at=0.5)])))
    assert "$x_1$ &lt;b&gt;" in draw(bars(["$x_1$ <b>", "b"]))


def test_text_that_looks_like_our_own_stand_ins_stays() -> None:
    name = '#010203 id="a"'
    assert name in texts(draw(bars([name, "b"])))[0].replace("&quot;", '"')


def test_a_threshold_is_a_line_with_its_name_and_value_in_place() -> None:
    chart = bars(["A", "B"], [0.2, 0.3], marks=[Mark(label="at most 28 %", at=0.28)])
    assert "at most 28 %" in texts(draw(chart))
    assert draw(chart).count("stroke-dasharray") == 2  # the line, and its sample in the legend
    assert draw(bars(["A", "B"], [0.2, 0.3])).count("stroke-dasharray") == 0


def test_series_differ_in_more_than_colour() -> None:
    histogram, lines = (next(chart for chart in every_chart() if chart.kind == kind) for kind in ("histogram", "lines"))
    assert draw(histogram).count("stroke-dasharray") >= 2  # the second outline, and the line of the mark
    both = lines.model_copy(update={"series": [*lines.series, lines.series[0].model_copy(update={"name": "more"})]})
    dashes = set(re.findall(r"stroke-dasharray: ([^;\"]+)", draw(both)))
    assert len(dashes) == 1
    assert len(set(HATCHES)) == len(HATCHES) == len(COLOURS) == len(set(COLOURS))


def test_text_and_grid_take_the_colours_of_the_page() -> None:
    svg = draw(bars(["A", "B"]))
    assert "currentColor" in svg and "var(--line)" in svg
    assert {colour.upper() for colour in re.findall(r"#[0-9a-fA-F]{6}", svg)} <= {COLOURS[0].upper()}


def test_of_very_many_bars_the_first_are_drawn_and_the_rest_counted() -> None:
    svg = draw(bars([f"name {index}" for index in range(MAX_BARS + 12)]))
    assert "name 0" in svg and f"name {MAX_BARS - 1}" in svg and f"name {MAX_BARS}" not in svg
    assert any("12 more not drawn" in text for text in texts(svg))


def test_a_long_tail_is_drawn_on_logarithmic_axes() -> None:
    chart = Chart(id="r", title="t", kind="lines", x_label="rank", y_label="rows", log=True, series=[
        ChartSeries(name="a", x=[float(rank) for rank in range(1, 2000)], y=[9000 / rank for rank in range(1, 2000)])
    ])  # fmt: skip
    labels = texts(draw(chart))
    assert labels.count("1") == 1 and labels.count("10") == 2 and labels.count("100") == 2 and labels.count("1,000") == 2


def test_a_short_logarithmic_axis_has_ticks_between_the_powers_of_ten() -> None:
    chart = Chart(id="r", title="t", kind="lines", x_label="rank", y_label="rows", log=True, series=[
        ChartSeries(name="a", x=[1.0, 2.0, 4.0, 7.0], y=[9.0, 5.0, 3.0, 2.0])
    ])  # fmt: skip
    assert {"2", "5"} <= set(texts(draw(chart)))


def test_counts_have_whole_ticks_and_shares_are_in_percent() -> None:
    counts = [text for text in texts(draw(bars(["A", "B"], [3.0, 5.0]))) if text[0].isdigit()]
    assert counts == ["0", "1", "2", "3", "4", "5"]
    shares = [text for text in texts(draw(bars(["A", "B"], [0.1, 0.3], shares=True))) if text[0].isdigit()]
    assert "30 %" in shares and all(text.endswith(" %") for text in shares)


def test_thresholds_are_named_in_the_legend_each_with_dashes_of_its_own() -> None:
    marks = [Mark(label="chance", at=0.25), Mark(label="too much", at=0.28)]
    svg = draw(bars(["A", "B"], [0.2, 0.3], marks=marks))
    assert {"chance", "too much"} <= set(texts(svg)) and "all" not in texts(svg)
    assert len(set(re.findall(r"stroke-dasharray: ([^;\"]+)", svg))) == 2


def test_histograms_that_overlap_are_outlines() -> None:
    histogram = next(chart for chart in every_chart() if chart.kind == "histogram")
    assert "opacity" not in draw(histogram) and "<pattern" not in draw(histogram)


def spans(count: int, late: int = -1) -> list[ShardSpan]:
    return [
        ShardSpan(stage="filter_objects", shard=i, start=float(i), end=i + 1.5, host="n", gpus=1, rows=9, straggler=i == late)
        for i in range(count)
    ]


def test_the_time_line_has_a_bar_for_each_shard_and_marks_stragglers() -> None:
    few, late = draw_spans(spans(5)), draw_spans(spans(5, late=2))
    assert few.count(COLOURS[0].lower()) == 5 and "hatched" not in few
    assert "hatched" in late and late.count("<pattern") == 1


def test_of_very_many_shards_it_shows_how_many_ran() -> None:
    svg = draw_spans(spans(MAX_SPANS + 1))
    assert "shards running" in texts(svg)
    assert len(svg) < 300_000


def test_charts_without_figures_are_no_accident() -> None:
    assert "<svg" in draw(bars([], []))
    assert "<svg" in draw_spans(spans(1))
