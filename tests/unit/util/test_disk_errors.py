"""What a failing disk is called: one line for people, and whether another try may go well."""

from __future__ import annotations

import errno

import polars as pl
import pytest

from shardmill.util.disk_errors import disk_problem, is_transient


@pytest.mark.parametrize(
    ("error", "told", "passes"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "part.csv"), "no space left: part.csv", False),
        (OSError(errno.EPERM, "Operation not permitted", "run/ingest"), "no permission: run/ingest", False),
        (OSError(errno.EIO, "Input/output error"), "input/output error on the run folder's disk", True),
        (OSError(errno.ESTALE, "Stale file handle", "part.csv"), "stale handle): part.csv", True),
        (pl.exceptions.ComputeError("Input/output error (os error 5)"), "input/output error", True),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "part.csv"), "the run meanwhile: part.csv", True),
        (
            FileNotFoundError("No such file or directory (os error 2): ...n/a/part.csv (set POLARS_VERBOSE=1 to see full path)"),
            "another command may have changed the run meanwhile: ...n/a/part.csv",
            True,
        ),
        (pl.exceptions.ComputeError("parquet: File out of specification: Invalid thrift: transport error"), "Parquet file", True),
    ],
)
def test_a_disk_problem_is_told_and_it_is_known_whether_it_may_pass(error: Exception, told: str, passes: bool) -> None:
    assert told in (disk_problem(error) or "")
    assert is_transient(error) is passes


@pytest.mark.parametrize(
    "error", [ValueError("7"), OSError(errno.ECHILD, "No child processes"), pl.exceptions.ComputeError("no")]
)
def test_other_errors_are_none_of_the_disk(error: Exception) -> None:
    assert disk_problem(error) is None
    assert not is_transient(error)
