"""What changed between two runs, as data: the terminal and the page render it, `--json` prints it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FORMAT = 1


class ComparisonPart(BaseModel):
    """A part of a comparison; `a` and `b` are the two runs everywhere."""

    model_config = ConfigDict(extra="forbid")


class PlanDifference(ComparisonPart):
    """A field that differs between the two plans; null where a plan does not have it."""

    field: str
    a: Any
    b: Any


class RunCounts(ComparisonPart):
    """What a stage let through and rejected, over the shards that are finished."""

    shards: int
    rows_in: int
    rows_out: int
    lines_out: int
    rejected: dict[str, int]


class StageCounts(ComparisonPart):
    """The counts of a stage; null for a run that does not have it. `p` is for the share of rows that it lets through."""

    stage: str
    a: RunCounts | None
    b: RunCounts | None
    p: float | None = None
    beyond_chance: bool = False

    @property
    def is_same(self) -> bool:
        """Whether both runs have the same counts, in however many shards."""
        one, other = (each.model_dump(exclude={"shards"}) if each else None for each in (self.a, self.b))
        return one == other


class Balance(ComparisonPart):
    """How the lines of a stage are distributed over categories, with a chi-square test."""

    name: str
    stage: str
    a: dict[str, int]
    b: dict[str, int]
    statistic: float | None = None
    df: int | None = None
    p: float | None = None
    beyond_chance: bool = False

    @property
    def is_same(self) -> bool:
        """Whether both runs have the same counts."""
        return self.a == self.b


class ObjectShift(ComparisonPart):
    """An object with its share of the rows in each run; `z` is that of a two-proportion test, positive if b has more."""

    name: str
    a: float
    b: float
    z: float


class Frequencies(ComparisonPart):
    """How often objects are named in a list of a stage: rows, distinct objects, and those whose share moved most."""

    name: str
    stage: str
    rows_a: int
    rows_b: int
    distinct_a: int
    distinct_b: int
    moved: list[ObjectShift]


class StageRows(ComparisonPart):
    """The rows of a stage, by row_id. Rows `differ` by their number of lines or their values; `columns` counts rows by column."""

    stage: str
    both: int
    only_a: int
    only_b: int
    differ: int
    columns: dict[str, int]
    examples_a: list[int] = Field(description="rows that only run a has")
    examples_b: list[int] = Field(description="rows that only run b has")
    not_compared: int = Field(description="rows of the input in shards that are unfinished in one of the runs")


class CellDifference(ComparisonPart):
    """A value of a row that differs. The column `outcome` says what became of the row in a stage."""

    stage: str
    sub_id: int | None
    column: str
    a: Any
    b: Any


class RowDifference(ComparisonPart):
    """A row that differs, and its values that do."""

    row_id: int
    cells: list[CellDifference]


class Comparison(ComparisonPart):
    """The whole comparison. If the inputs differ (not `same_input`), row_ids name other rows, and no rows are compared."""

    format: int = FORMAT
    a: str
    b: str
    pipeline: str
    same_input: bool
    tests: int = Field(description="number of statistical tests; the threshold of `beyond_chance` allows for it")
    plan: list[PlanDifference]
    stages: list[StageCounts]
    balances: list[Balance]
    frequencies: list[Frequencies]
    rows: list[StageRows]
    sample: list[RowDifference]
    sample_seed: int
