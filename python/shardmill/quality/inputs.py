"""What the input holds: doubles among its captions and its images, and texts that a spreadsheet would run."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.judging import at_most, example
from shardmill.quality.measures import Repeats
from shardmill.quality.model import QualityFinding, RowExample
from shardmill.quality.parts import ColumnReading, QualityPart
from shardmill.store.cells import looks_like_formula
from shardmill.store.run_folder import INGEST

COPIES_LOOK, COPIES_FAIL = 0.02, 0.1
ODD_START = r"^\s*[^\p{L}\p{N}\s]"
"""What few texts begin with, and all formulas."""


class Inputs(QualityPart):
    """Rows of the input that repeat another's caption or image, or that look like a formula."""

    def __init__(self, standing: FinishedShards, columns: Sequence[str] = ("caption", "image")) -> None:
        self._stage = INGEST
        self._repeats = {name: Repeats() for name in columns if name in standing.run.plan.input.columns}
        self._formulas, self._texts = 0, 0
        self._shown: list[RowExample] = []

    def readings(self) -> list[ColumnReading]:
        return [ColumnReading(self._stage, list(self._repeats), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        for name, repeats in self._repeats.items():
            if frame.schema[name] == pl.String:
                repeats.look(frame["row_id"], frame[name])
                self._look_for_formulas(frame.select("row_id", name))

    def _look_for_formulas(self, frame: pl.DataFrame) -> None:
        name = frame.columns[1]
        self._texts += frame.height - frame[name].null_count()
        for row_id, text in frame.filter(pl.col(name).str.contains(ODD_START)).iter_rows():
            if looks_like_formula(text):
                self._formulas += 1
                if len(self._shown) < 3:
                    self._shown.append(example(row_id, text))

    def findings(self) -> list[QualityFinding]:
        found = [self._finding(name, repeats) for name, repeats in self._repeats.items() if repeats.total]
        return [*found, self._of_formulas()] if self._texts else found

    def _of_formulas(self) -> QualityFinding:
        return QualityFinding(
            id="input.formulas",
            rule="No caption or image path is one that a spreadsheet would run as a formula.",
            verdict="look" if self._formulas else "pass",
            value=float(self._formulas),
            shown=f"{self._formulas:,} of {self._texts:,}",
            threshold="none",
            n=self._texts,
            means="Such texts are kept as they are. Do not open the CSV files of this run in a spreadsheet that runs formulas.",
            examples=self._shown,
        )

    def _finding(self, name: str, repeats: Repeats) -> QualityFinding:
        shown: list[RowExample] = []
        for each in repeats.most(3):
            shown += [example(row, f"{each.times:,} times: {each.text}") for row in dict.fromkeys(each.rows)]
        return at_most(
            f"input.{name}.copies",
            f"No two rows of the input have the same {name}.",
            repeats.extra,
            repeats.total,
            look=COPIES_LOOK,
            fail=COPIES_FAIL,
            means="Doubled rows weigh more in training, and may stand in both halves of a split. Take them out of the input.",
            examples=shown,
        )
