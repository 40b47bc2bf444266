"""Reports and comparisons written by hand, for tests of their pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from shardmill.compare.model import Balance, Comparison, PlanDifference, RunCounts, StageCounts, StageRows
from shardmill.pages.cards import BoxView, Card, TextView
from shardmill.pages.charts import Chart, ChartSeries, FigureTable, Mark, ShardSpan
from shardmill.quality.model import FlowStep, QualityFinding, Report, ReportSection, RowExample

HOSTILE = (
    "</script><script>document.title='taken'</script>",
    '"onerror="document.title=1" x="',
    "<img src=x onerror=document.title=1>",
    "a\u202eevil\u2066 b",
    "nul\x00bell\x07 lone \ud800",
    "{{ 7 * 7 }} {% raw %} $x^2$ &lt;b&gt;",
)


def save_image(path: Path, size: tuple[int, int] = (640, 480)) -> Path:
    """An image with two patches."""
    image = Image.new("RGB", size, (200, 215, 230))
    image.paste((190, 60, 40), (60, 80, 260, 300))
    image.paste((40, 110, 70), (380, 200, 600, 440))
    image.save(path)
    return path


def sample_report(picture: Path | None = None, caption: str = "A red block beside a green one.") -> Report:
    """A report with one of everything; `caption` and the picture go into its cards."""
    accepted = Card(
        row_id=42,
        sub_id=0,
        stage="create_mcq",
        outcome="accepted",
        objects=["red block", "green block"],
        image=str(picture) if picture else None,
        boxes=[
            BoxView(name="red block", score=0.96, box=(60, 80, 260, 300), kind="kept"),
            BoxView(name="green block", score=0.08, box=(380, 200, 600, 440), kind="dropped"),
            BoxView(name="lamp", score=0.02, box=(300, 20, 380, 90), kind="absent"),
        ],
        texts=[
            TextView(label="caption", text=caption),
            TextView(label="negated", text="A red block, and no lamp.", kept=True),
            TextView(label="paraphrase", text="No lamp.", kept=False, why="the block is not named"),
        ],
    )
    rejected = Card(
        row_id=7, stage="filter_objects", outcome="rejected", reason="no object seen", detail="scores: cat 0.031",
        objects=["cat"], image="/nowhere/7.png", texts=[TextView(label="caption", text="A cat sleeps.")],
    )  # fmt: skip
    empty = Card(
        row_id=8, stage="extract_objects", outcome="rejected", reason="no object", texts=[TextView(label="caption", text="Joy")]
    )
    position = Chart(
        id="position", title="Where the answer stands", kind="bars", x_label="position", y_label="share",
        series=[ChartSeries(name="all", x=["A", "B", "C", "D"], y=[0.2, 0.3, 0.25, 0.25])],
        marks=[Mark(label="at most 28 %", at=0.28)], note="One high bar: a model can learn the letter.",
    )  # fmt: skip
    scores = Chart(
        id="scores", title="Scores of the detector", kind="histogram", x_label="score", y_label="names",
        series=[
            ChartSeries(name="claimed there", x=[0.0, 0.25, 0.5, 0.75], y=[1, 2, 3, 90]),
            ChartSeries(name="claimed absent", x=[0.0, 0.25, 0.5, 0.75], y=[120, 6, 0, 0]),
        ],
        marks=[Mark(label="present from 0.35", at=0.35)],
    )  # fmt: skip
    ranks = Chart(
        id="ranks", title="Objects by rank", kind="lines", x_label="rank", y_label="rows",
        series=[ChartSeries(name="positives", x=[1.0, 10.0, 100.0, 1000.0], y=[900, 80, 7, 1])],
    )  # fmt: skip
    head = FigureTable(id="head", title="Most frequent", columns=["object", "rows"], rows=[["dog", 90], ["cat", None]])
    return Report(
        created="2026-01-02T03:04:05+00:00",
        pipeline="negbench",
        run={"folder": "/data/runs/demo", "seed": 0, "models": {"filter_objects": "scene"}},
        facts={"rows in": "542", "rows out": "342", "GPU-hours": "0"},
        findings=[
            _finding("kept", "pass"),
            _finding("position", "fail", [RowExample(row_id=42, sub_id=0, text=caption), RowExample(row_id=99, text="there")]),
            _finding("lengths", "look"),
        ],
        flow=[
            FlowStep(
                stage="extract_objects", after=None, rows_in=542, rows_out=519, lines_out=519,
                rejected={"no object": 21, "empty": 2},
                examples={"no object": [RowExample(row_id=8, text="Joy")]},
            ),
            FlowStep(stage="create_mcq", after="extract_objects", rows_in=519, rows_out=342, lines_out=684,
                     rejected={"too few": 177}),
        ],
        spans=[
            ShardSpan(stage=stage, shard=shard, start=10.0 * place + shard, end=10.0 * place + shard + 4, host="n1", gpus=1,
                      rows=50, straggler=shard == 3)
            for place, stage in enumerate(["extract_objects", "create_mcq"])
            for shard in range(4)
        ],
        sections=[
            ReportSection(id="balance", title="Balance", text="What a blind model could learn.", charts=[position, scores]),
            ReportSection(id="objects", title="Objects", charts=[ranks], tables=[head]),
        ],
        cards=[accepted, rejected, empty],
    )  # fmt: skip


def _finding(name: str, verdict: str, examples: list[RowExample] | None = None) -> QualityFinding:
    return QualityFinding(
        id=name, rule=f"The rule of {name}.", verdict=verdict, value=0.31, shown="31.0 %", threshold="at most 28 %", n=342,
        means="One place is right far too often; look at the drawing of positions.", examples=examples or [],
    )  # fmt: skip


def sample_comparison(**changes: Any) -> Comparison:
    """A comparison of two runs over 342 rows, all of which differ, with `changes`."""
    rows = StageRows(
        stage="create_mcq", both=342, only_a=0, only_b=0, differ=342, columns={}, examples_a=[], examples_b=[], not_compared=0
    )
    fields = [PlanDifference(field="seed", a=0, b=1), PlanDifference(field="shards", a=8, b=4)]
    counts = RunCounts(shards=8, rows_in=400, rows_out=342, lines_out=342, rejected={"too dark": 58})
    stage = StageCounts(stage="create_mcq", a=counts, b=counts.model_copy(update={"shards": 4}), p=1.0)
    balance = Balance(name="true cell", stage="create_mcq", a={"both": 9}, b={"both": 8, "neither": 1}, p=0.99)
    made: dict[str, Any] = {
        "a": "/runs/first", "b": "/runs/second", "pipeline": "negbench", "same_input": True, "tests": 1, "plan": fields,
        "stages": [stage], "balances": [balance], "frequencies": [], "rows": [rows], "sample": [], "sample_seed": 0,
    }  # fmt: skip
    return Comparison(**(made | changes))
