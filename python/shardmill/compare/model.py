"""What changed between two runs, as data: the terminal and the page render it, `--json` is it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FORMAT = 1


class BalancePart(BaseModel):
    """A part of a comparison; `a` and `b` are the two runs everywhere."""

    model_config = ConfigDict(extra="forbid")


class PlanDifference(BalancePart):
    """A field of the two plans that is not the same; null where a plan has no such field."""

    field: str
    a: Any
    b: Any


class RunCounts(BalancePart):
    """What a stage let through and rejected, over the shards that are finished."""

    shards: int
    rows_in: int
    rows_out: int
    lines_out: int
    rejected: dict[str, int]


class StageCounts(BalancePart):
    """The counts of a stage; null for a run that has no such stage. `p` is for the share of rows that it lets through."""

    stage: str
    a: RunCounts | None
    b: RunCounts | None
    p: float | None = None
    beyond_chance: bool = False


class Balance(BalancePart):
    """How the lines of a stage spread over categories; `p` is that of a chi-square test."""

    name: str
    stage: str
    a: dict[str, int]
    b: dict[str, int]
    statistic: float | None = None
    df: int | None = None
    p: float | None = None
    beyond_chance: bool = False


class ObjectShift(BalancePart):
    """An object that is named in another share of the rows; `z` is that of a two-proportion test, positive where b has more."""

    name: str
    a: float
    b: float
    z: float


class Frequencies(BalancePart):
    """How often objects are named in a list of a stage: rows, different objects, and those that moved most."""

    name: str
    stage: str
    rows_a: int
    rows_b: int
    distinct_a: int
    distinct_b: int
    moved: list[ObjectShift]


class StageRows(BalancePart):
    """The rows of a stage, by row_id. `differ` have another number of lines, or other values in `columns`, which count rows."""

    stage: str
    both: int
    only_a: int
    only_b: int
    differ: int
    columns: dict[str, int]
    examples_a: list[int] = Field(description="rows that only run a has")
    examples_b: list[int] = Field(description="rows that only run b has")
    not_compared: int = Field(description="rows of the input in shards that one of the runs has not finished")


class CellDifference(BalancePart):
    """A value of a row that is not the same. The column `fate` says what became of the row in a stage."""

    stage: str
    sub_id: int | None
    column: str
    a: Any
    b: Any


class RowDifference(BalancePart):
    """A row that differs, and where."""

    row_id: int
    cells: list[CellDifference]


class Comparison(BalancePart):
    """All of it. Without one input (`same_input`) row_ids name other rows, and no rows are compared."""

    format: int = FORMAT
    a: str
    b: str
    pipeline: str
    same_input: bool
    tests: int = Field(description="statistical tests made; what counts as beyond chance allows for their number")
    plan: list[PlanDifference]
    stages: list[StageCounts]
    balances: list[Balance]
    frequencies: list[Frequencies]
    rows: list[StageRows]
    sample: list[RowDifference]
    sample_seed: int
