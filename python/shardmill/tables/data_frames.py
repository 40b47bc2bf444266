"""Data frames of the user's: pandas or Polars."""

from __future__ import annotations

from typing import Any

import polars as pl

from shardmill.util.errors import UserError


def as_polars(frame: Any) -> tuple[pl.DataFrame, bool]:
    """The frame in Polars, and whether it was one of pandas."""
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame, False
    if type(frame).__module__.partition(".")[0] == "pandas":
        return _from_pandas(frame), True
    raise UserError(f"a data frame of pandas or Polars is needed, not {type(frame).__name__}")


def _from_pandas(frame: Any) -> pl.DataFrame:
    """Column by column, so that no further library is needed for columns of Python objects."""
    import pandas as pd

    columns = {}
    for name in frame.columns:
        missing = (False if isinstance(value, (list, dict)) else bool(pd.isna(value)) for value in frame[name])
        columns[str(name)] = [None if gone else value for value, gone in zip(frame[name].tolist(), missing, strict=True)]
    return pl.DataFrame(columns, strict=False)
