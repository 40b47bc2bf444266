"""What the detector says of claimed objects: its scores beside the thresholds, and whether the lists keep to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shardmill.pages.charts import Chart, ChartSeries, FigureTable, Mark, TableRow
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.measures import Histogram, histogram_chart
from shardmill.quality.model import ReportSection
from shardmill.quality.parts import SampledRows
from shardmill.quality.rules import CHECKED_ROWS, NEVER, QualityRule, Row, at_most, at_stage

DETECTIONS = "detections"
MARGIN = 0.05
CURVE_STEPS = 50
PRESENT, ABSENT = "claimed to be there", "claimed not to be there"


@dataclass(frozen=True)
class GroundingClaims:
    """Which list columns claim objects before detection (`present`, `absent`) and after it (`kept_present`, `kept_absent`), and
    the scores that decide: present from `present_above` on, absent below `absent_below`.
    """

    present: str
    absent: str
    kept_present: str
    kept_absent: str
    present_above: float
    absent_below: float

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        return (DETECTIONS, self.present, self.absent, self.kept_present, self.kept_absent)


def grounding_rules(stage: str, claims: GroundingClaims) -> list[QualityRule]:
    """The rules on the lists that a stage kept after detection."""

    def contradicted(row: Row) -> Iterator[str | None]:
        for name, score in scores_of(row, claims.kept_present):
            yield f"{name} is said to be there and scores {score:g}" if score < claims.present_above else None
        for name, score in scores_of(row, claims.kept_absent):
            yield f"{name} is said not to be there and scores {score:g}" if score >= claims.absent_below else None

    def marginal(row: Row) -> Iterator[str | None]:
        kept = ((claims.kept_present, claims.present_above), (claims.kept_absent, claims.absent_below))
        for column, threshold in kept:
            for name, score in scores_of(row, column):
                yield f"{name} scores {score:g}" if abs(score - threshold) < MARGIN else None

    return at_stage(
        stage,
        QualityRule(
            "detector.borne_out",
            "The detector sees what a row says is there, and does not see what it says is not there.",
            NEVER,
            claims.columns,
            contradicted,
            fault="Some objects are on the wrong list: the detector decided otherwise.",
            advice="Objects are on the wrong list, which teaches what is false. Run the stage that reads the detections again.",
        ),
        QualityRule(
            "detector.margin",
            f"Few scores lie within {MARGIN:g} of the threshold that decides about them.",
            at_most(0.3, 0.6),
            claims.columns,
            marginal,
            fault=f"Many scores lie within {MARGIN:g} of the threshold that decides about them.",
            advice="Many decisions are close: the threshold does not suit this detector. See the histogram of scores, and try "
            "another threshold with: shardmill rethreshold",
        ),
    )


class GroundingScores(SampledRows):
    """A section on the scores of claimed objects, on a sample of the rows of the stage that decided."""

    def __init__(self, finished: FinishedShards, stage: str, claims: GroundingClaims, seed: int) -> None:
        super().__init__(finished, stage, claims.columns, CHECKED_ROWS, seed, "grounding")
        self._claims = claims

    def sections(self) -> list[ReportSection]:
        if not self.rows:
            return []
        claims = self._claims
        sides = {PRESENT: claims.present, ABSENT: claims.absent}
        scores = {side: [score for row in self.rows for _, score in scores_of(row, column)] for side, column in sides.items()}
        marks = [Mark(label=f"there from {claims.present_above:g}", at=claims.present_above)]
        if claims.absent_below != claims.present_above:
            marks.append(Mark(label=f"not there below {claims.absent_below:g}", at=claims.absent_below))
        note = "Good: two humps with the thresholds in the valley between them. Bad: humps that overlap."
        histograms = {side: _histogram(own) for side, own in scores.items()}
        charts = [
            histogram_chart("detector.scores", "Scores of claimed objects", "score", histograms, marks, note),
            _kept_by_threshold(scores, marks),
        ]
        text = "Rows that the stage rejected are not counted here."
        return [ReportSection(id="detector", title="Detector", text=text, charts=charts, tables=[self._kept_table()])]

    def _kept_table(self) -> FigureTable:
        claims = self._claims
        pairs = (("there", claims.present, claims.kept_present), ("not there", claims.absent, claims.kept_absent))
        rows: list[TableRow] = []
        for label, before, after in pairs:
            named = sum(len(row[before] or []) for row in self.rows)
            kept = sum(name in (row[after] or []) for row in self.rows for name in row[before] or [])
            rows.append([label, named, kept, round(kept / named, 4) if named else None])
        columns = ["claimed to be", "named", "kept", "share"]
        title = "What the detector kept of the lists"
        return FigureTable(id="detector.lists", title=title, columns=columns, rows=rows, shares=["share"])


class DetectionScores(SampledRows):
    """A section on the scores of all detected objects, where nothing is decided by them."""

    def __init__(self, finished: FinishedShards, stage: str, seed: int) -> None:
        super().__init__(finished, stage, (DETECTIONS,), CHECKED_ROWS, seed, "scores")

    def sections(self) -> list[ReportSection]:
        found = [row[DETECTIONS] or {} for row in self.rows]
        scores = _histogram([score for each in found for name in each if (score := score_of(each, name)) is not None])
        if not scores.n:
            return []
        boxes = Histogram(0, 10, 10)
        results = [each for detections in found for each in detections.values()]
        boxes.add_numbers([float(len(each["boxes"])) for each in results if isinstance(each, dict) and "boxes" in each])
        note = "Bad: most near 0, because the images do not show what their captions name."
        charts = [
            histogram_chart("detector.scores", "Scores of named objects", "score", {"objects": scores}, note=note),
            histogram_chart("detector.boxes", "Boxes per object", "boxes", {"objects": boxes}),
        ]
        return [ReportSection(id="detector", title="Detector", charts=charts)]


def scores_of(row: Row, column: str) -> list[tuple[str, float]]:
    """The objects of a list column that the detector was asked about, each with its score."""
    detections = row[DETECTIONS] or {}
    return [(name, score) for name in row[column] or [] if (score := score_of(detections, name)) is not None]


def score_of(detections: Mapping[str, object], name: str) -> float | None:
    """The detector's score of a name, from 0 to 1; None if it was not asked about it."""
    each = detections.get(name)
    score = each.get("score") if isinstance(each, dict) else None
    return float(score) if isinstance(score, (int, float)) else None


def _histogram(scores: list[float]) -> Histogram:
    histogram = Histogram(0, 1, 50)
    histogram.add_numbers(scores)
    return histogram


def _kept_by_threshold(scores: Mapping[str, list[float]], marks: list[Mark]) -> Chart:
    """The share of claims that each threshold would keep."""
    thresholds = [round(step / CURVE_STEPS, 2) for step in range(CURVE_STEPS + 1)]
    series = []
    for side, own in scores.items():
        above = [sum(score >= threshold for score in own) / max(len(own), 1) for threshold in thresholds]
        kept = above if side == PRESENT else [1 - share for share in above]
        series.append(ChartSeries(name=side, x=thresholds, y=[round(share, 4) for share in kept]))
    return Chart(
        id="detector.yield",
        title="What a threshold would keep",
        kind="lines",
        x_label="threshold",
        y_label="share kept",
        shares=True,
        series=series,
        marks=marks,
        note="Objects claimed to be there are kept from the threshold on, objects claimed not to be there below it.",
    )
