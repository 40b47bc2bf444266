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
    fault: str = Field(default="", description="what is wrong if the data does not keep the rule, in one sentence")
    stage: str = Field(default="", description="the stage that made what was measured; empty for findings about the whole run")
    verdict: Verdict
    value: float | None = None
    shown: str = Field(description="the figure as people read it: 31.2 %")
    threshold: str = Field(description="what it is held to: at most 28 %")
    n: int
    means: str = Field(description="what a bad value looks like, and what to do about it")
    examples: list[RowExample] = []

    @property
    def headline(self) -> str:
        """What the finding says in one sentence: the rule that is kept, or what is wrong."""
        return self.rule if self.verdict == "pass" else self.fault or f"This does not hold: {self.rule}"


class Fix(PageData):
    """What to do about the findings of one stage, or about the run as a whole, with commands to type."""

    id: str
    title: str
    text: str
    commands: list[str]


class ModelUse(PageData):
    """A model that made the data, and the stages that called it. Embedded ones need no weights and only stand in for others."""

    name: str
    role: str
    stages: list[str]
    embedded: bool


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
    models: list[ModelUse] = []
    findings: list[QualityFinding] = []
    fixes: list[Fix] = []
    flow: list[FlowStep] = []
    spans: list[ShardSpan] = []
    sections: list[ReportSection] = []
    cards: list[Card] = []
