"""What a report says, as data: `report.json` is this model, and the page is rendered from it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shardmill.pages.cards import Card
from shardmill.pages.charts import Chart, FigureTable, PageData, ShardSpan

FORMAT = 2

Verdict = Literal["pass", "look", "fail"]
"""Whether the data keeps a rule: yes; a person should look; no."""


class RowExample(PageData):
    """A row that shows what a figure means."""

    row_id: int
    sub_id: int | None = None
    text: str


class QualityFinding(PageData):
    """The verdict on one rule: the figure, the threshold that it is held to, and the number of things that it was measured on."""

    id: str
    rule: str = Field(description="what good data is, in one sentence")
    verdict: Verdict
    value: float | None = None
    shown: str = Field(description="the figure as people read it: 31.2 %")
    threshold: str = Field(description="what it is held to: at most 28 %")
    n: int
    means: str = Field(description="what a bad value looks like, and what to do about it")
    examples: list[RowExample] = []


class FlowStep(PageData):
    """What a stage let through and what it rejected, by reason, with examples."""

    stage: str
    after: str | None
    rows_in: int
    rows_out: int
    lines_out: int
    rejected: dict[str, int]
    examples: dict[str, list[RowExample]] = {}


class ReportSection(PageData):
    """Charts and tables about one subject."""

    id: str
    title: str
    text: str = ""
    charts: list[Chart] = []
    tables: list[FigureTable] = []


class Report(PageData):
    """The whole report. `run` are facts about the run by name, `facts` the figures at the top of the page."""

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
