"""What the detector says of claimed objects: its scores beside the thresholds, and whether the lists keep to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import at_most, example, never
from shardmill.quality.measures import Histogram, histogram_chart
from shardmill.quality.model import Chart, ChartSeries, FigureTable, Mark, QualityFinding, ReportSection
from shardmill.quality.parts import Row, Rows

SAMPLED = 10_000
MARGIN = 0.05
MARGIN_LOOK, MARGIN_FAIL = 0.3, 0.6


@dataclass(frozen=True)
class GroundingClaims:
    """Which columns claim objects: before the detector looked (`there`, `not_there`), and after (`kept`, `kept_out`)."""

    there: str
    not_there: str
    kept: str
    kept_out: str
    present_above: float
    absent_below: float


class Grounding(Rows):
    """Scores for claimed-present and claimed-absent objects, on a sample of the rows of the stage that decided."""

    def __init__(self, standing: FinishedShards, stage: str, claims: GroundingClaims, seed: int) -> None:
        columns = ("detections", claims.there, claims.not_there, claims.kept, claims.kept_out)
        super().__init__(standing, stage, columns, SAMPLED, seed, "grounding")
        self._claims = claims

    def _scores(self, column: str) -> list[tuple[Row, str, float]]:
        return [
            (row, name, score) for row in self.rows for name in row[column] or [] if (score := score_of(row, name)) is not None
        ]

    def findings(self) -> list[QualityFinding]:
        if not self.rows:
            return []
        return [self._borne_out(), self._margin()]

    def _borne_out(self) -> QualityFinding:
        kept, out = self._scores(self._claims.kept), self._scores(self._claims.kept_out)
        wrong = [(row, f"{name} is said to be there and scores {score:g}") for row, name, score in kept
                 if score < self._claims.present_above]  # fmt: skip
        wrong += [(row, f"{name} is said not to be there and scores {score:g}") for row, name, score in out
                  if score >= self._claims.absent_below]  # fmt: skip
        return never(
            "detector.borne_out",
            "What a row says is there is seen by the detector, and what it says is not there is not.",
            len(wrong),
            len(kept) + len(out),
            means="Objects are on the wrong list, which teaches what is false. Do the stage that reads the detections again.",
            examples=[example(row["row_id"], text) for row, text in wrong[:5]],
        )

    def _margin(self) -> QualityFinding:
        claims = self._claims
        near: list[tuple[Row, str, float]] = []
        scores = [(each, claims.present_above) for each in self._scores(claims.kept)]
        scores += [(each, claims.absent_below) for each in self._scores(claims.kept_out)]
        near = [each for each, threshold in scores if abs(each[2] - threshold) < MARGIN]
        return at_most(
            "detector.margin",
            f"Few scores lie within {MARGIN:g} of the threshold that decides about them.",
            len(near),
            len(scores),
            look=MARGIN_LOOK,
            fail=MARGIN_FAIL,
            means="Much is decided by a hair: the threshold does not suit this detector. Look at the histogram, and try "
            "another with: shardmill rethreshold.",
            examples=[example(row["row_id"], f"{name} scores {score:g}") for row, name, score in near[:5]],
        )

    def sections(self) -> list[ReportSection]:
        if not self.rows:
            return []
        claims = self._claims
        sides = {"claimed to be there": claims.there, "claimed not to be there": claims.not_there}
        found = {side: [score for _, _, score in self._scores(column)] for side, column in sides.items()}
        histograms = {side: Histogram(0, 1, 50) for side in sides}
        for side, scores in found.items():
            histograms[side].look(scores)
        marks = [Mark(label=f"there from {claims.present_above:g}", at=claims.present_above)]
        if claims.absent_below != claims.present_above:
            marks.append(Mark(label=f"not there below {claims.absent_below:g}", at=claims.absent_below))
        chart = histogram_chart(
            "detector.scores",
            "Scores of claimed objects",
            "score",
            histograms,
            marks,
            note="Good: two humps with the thresholds in the valley between them. Bad: humps that overlap.",
        )
        text = "Of rows that came out of the stage; those that were rejected are not among them."
        tables = [self._dropped(found)]
        return [ReportSection(id="detector", title="Detector", text=text, charts=[chart, _curve(found, marks)], tables=tables)]

    def _dropped(self, found: dict[str, list[float]]) -> FigureTable:
        claims = self._claims
        pairs = (("there", claims.there, claims.kept), ("not there", claims.not_there, claims.kept_out))
        rows: list[list[Any]] = []
        for said, before, after in pairs:
            given = sum(len(row[before] or []) for row in self.rows)
            left = sum(len(row[after] or []) for row in self.rows)
            rows.append([said, given, left, round(left / given, 4) if given else None])
        return FigureTable(
            id="detector.lists",
            title="What the detector left of the lists",
            columns=["claimed to be", "named", "kept", "share"],
            rows=rows,
        )


def score_of(row: Row, name: str) -> float | None:
    """The detector's score of a name; None where it was not asked."""
    each = (row["detections"] or {}).get(name)
    score = each.get("score") if isinstance(each, dict) else None
    return float(score) if isinstance(score, (int, float)) else None


def _curve(found: dict[str, list[float]], marks: list[Mark]) -> Chart:
    """What other thresholds would keep."""
    places = [round(place * 0.02, 2) for place in range(51)]
    series = []
    for side, scores in found.items():
        total = max(len(scores), 1)
        kept = [sum(score >= at for score in scores) / total for at in places]
        share = kept if side == "claimed to be there" else [1 - each for each in kept]
        series.append(ChartSeries(name=side, x=places, y=[round(each, 4) for each in share]))
    return Chart(
        id="detector.yield",
        title="What a threshold would keep",
        kind="lines",
        x_label="threshold",
        y_label="share kept",
        series=series,
        marks=marks,
        note="Claims of presence are kept from the threshold on, claims of absence below it.",
    )


class ScoreHistogram(Rows):
    """Scores of the objects of captions, where the detector only looks and nothing is decided."""

    def __init__(self, standing: FinishedShards, stage: str, seed: int) -> None:
        super().__init__(standing, stage, ("detections",), SAMPLED, seed, "scores")

    def sections(self) -> list[ReportSection]:
        histogram, boxes = Histogram(0, 1, 50), Histogram(0, 10, 10)
        for row in self.rows:
            found = row["detections"] or {}
            histogram.look([score for name in found if (score := score_of(row, name)) is not None])
            boxes.look([float(len(each["boxes"])) for each in found.values() if isinstance(each, dict) and "boxes" in each])
        if not histogram.n:
            return []
        charts = [
            histogram_chart(
                "detector.scores",
                "Scores of named objects",
                "score",
                {"objects": histogram},
                note="Bad: most near 0; the pictures do not show what their captions name.",
            ),
            histogram_chart("detector.boxes", "Boxes of an object", "boxes", {"objects": boxes}),
        ]
        return [ReportSection(id="detector", title="Detector", charts=charts)]
