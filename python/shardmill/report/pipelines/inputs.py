"""What the input holds: doubles among its captions and its images."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from shardmill.report.judging import at_most, example
from shardmill.report.measures import Repeats
from shardmill.report.model import Example, Finding
from shardmill.report.pipelines.base import Part, Reading
from shardmill.report.standing import Standing
from shardmill.shards.run_folder import INGEST

COPIES_LOOK, COPIES_FAIL = 0.02, 0.1


class Inputs(Part):
    """Rows of the input that repeat another's caption or image."""

    def __init__(self, standing: Standing, columns: Sequence[str] = ("caption", "image")) -> None:
        self._stage = INGEST
        self._repeats = {name: Repeats() for name in columns if name in standing.run.plan.input.columns}

    def readings(self) -> list[Reading]:
        return [Reading(self._stage, list(self._repeats), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        for name, repeats in self._repeats.items():
            if frame.schema[name] == pl.String:
                repeats.look(frame["row_id"], frame[name])

    def findings(self) -> list[Finding]:
        return [self._finding(name, repeats) for name, repeats in self._repeats.items() if repeats.total]

    def _finding(self, name: str, repeats: Repeats) -> Finding:
        shown: list[Example] = []
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
