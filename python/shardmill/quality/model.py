"""What a report says, as data: the page renders it, `report.json` is it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT = 1

Verdict = Literal["pass", "look", "fail"]
"""Whether a rule is kept: yes; a person should look; no."""


class ReportPart(BaseModel):
    """A part of a report."""

    model_config = ConfigDict(extra="forbid")


class RowExample(ReportPart):
    """A row that shows what a figure means."""

    row_id: int
    sub_id: int | None = None
    text: str


class QualityFinding(ReportPart):
    """The verdict on one rule: its figure, the threshold that it is held to, and the number of rows that it was measured on."""

    id: str
    rule: str = Field(description="what good data is, in one sentence")
    verdict: Verdict
    value: float | None = None
    shown: str = Field(description="the figure as people read it: 31.2 %")
    threshold: str = Field(description="what it is held to: at most 28 %")
    n: int
    means: str = Field(description="what a bad value looks like, and what to do about it")
    examples: list[RowExample] = []


class ChartSeries(ReportPart):
    """Values by place: the x are categories (text) or numbers."""

    name: str
    x: list[str] | list[float]
    y: list[float]


class Mark(ReportPart):
    """A line across a chart, such as a threshold."""

    label: str
    at: float


class Chart(ReportPart):
    """A chart: bars by category, a histogram by number (x are the left edges of equal bins), or lines."""

    id: str
    title: str
    kind: Literal["bars", "histogram", "lines"]
    x_label: str
    y_label: str
    series: list[ChartSeries]
    marks: list[Mark] = []
    note: str = Field("", description="what a bad one looks like")


class FigureTable(ReportPart):
    """A small table."""

    id: str
    title: str
    columns: list[str]
    rows: list[list[str | float | int | None]]
    note: str = ""


class FlowStep(ReportPart):
    """What a stage let through and what it rejected, by reason, with examples."""

    stage: str
    after: str | None
    rows_in: int
    rows_out: int
    lines_out: int
    rejected: dict[str, int]
    examples: dict[str, list[RowExample]] = {}


class ShardSpan(ReportPart):
    """When and where a shard of a stage was worked on. Times are seconds since the first of the run."""

    stage: str
    shard: int
    start: float
    end: float
    host: str
    gpus: int
    rows: int
    straggler: bool = False


class ReportSection(ReportPart):
    """Charts and tables about one matter."""

    id: str
    title: str
    text: str = ""
    charts: list[Chart] = []
    tables: list[FigureTable] = []


class BoxView(ReportPart):
    """A box in pixels of the upright image; `kind` says what became of the object."""

    name: str
    score: float
    box: tuple[float, float, float, float]
    kind: Literal["kept", "dropped", "absent"]


class TextView(ReportPart):
    """One text of a row: which it is, what it says, and whether it was taken."""

    label: str
    text: str
    kept: bool = True
    why: str = ""


class Card(ReportPart):
    """A row of the gallery. `image` is the reference that `models.images` opens; `boxes` are drawn over it."""

    row_id: int
    sub_id: int | None = None
    stage: str
    fate: Literal["out", "rejected"]
    reason: str = ""
    detail: str = ""
    objects: list[str] = []
    image: str | None = None
    boxes: list[BoxView] = []
    texts: list[TextView] = []


class Report(ReportPart):
    """All of it. `run` are facts by name, `facts` the figures that stand at the top."""

    format: int = FORMAT
    created: str
    pipeline: str
    run: dict[str, Any]
    facts: dict[str, str] = {}
    findings: list[QualityFinding] = []
    flow: list[FlowStep] = []
    spans: list[ShardSpan] = []
    sections: list[ReportSection] = []
    cards: list[Card] = []
