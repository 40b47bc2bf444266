"""Charts and tables as data. A page draws them (`pages.plots`) or shows them as tables; report.json holds them as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

TableRow = list[str | float | int | None]


class PageData(BaseModel):
    """Anything a page shows: a model that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid")


class ChartSeries(PageData):
    """Values `y` by position `x`: categories (text) or numbers."""

    name: str
    x: list[str] | list[float]
    y: list[float]


class Mark(PageData):
    """A line across a chart, such as a threshold."""

    label: str
    at: float


class Chart(PageData):
    """A chart: bars by category, a histogram by number (x are the left edges of equal bins), or lines."""

    id: str
    title: str
    kind: Literal["bars", "histogram", "lines"]
    x_label: str
    y_label: str
    series: list[ChartSeries]
    marks: list[Mark] = []
    shares: bool = Field(default=False, description="the values are shares, shown in percent")
    log: bool = Field(default=False, description="both axes are logarithmic")
    note: str = Field("", description="what a bad one looks like")


class FigureTable(PageData):
    """A small table."""

    id: str
    title: str
    columns: list[str]
    rows: list[TableRow]
    shares: list[str] = Field(default=[], description="columns, or first cells of rows, with shares, shown in percent")
    note: str = ""


class ShardSpan(PageData):
    """When and where a shard of a stage was worked on. Times are seconds since the first of the run."""

    stage: str
    shard: int
    start: float
    end: float
    host: str
    gpus: int
    rows: int
    straggler: bool = False


def bars_chart(
    id: str, title: str, x_label: str, counts: Sequence[tuple[str, float]], note: str = "", name: str = "number"
) -> Chart:
    """A chart with one bar for each (category, value)."""
    series = ChartSeries(name=name, x=[value for value, _ in counts], y=[float(count) for _, count in counts])
    return Chart(id=id, title=title, kind="bars", x_label=x_label, y_label=name, series=[series], note=note)
