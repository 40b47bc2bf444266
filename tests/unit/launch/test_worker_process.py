"""What a launcher reads of the attempts at a shard while workers are at it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.launch.worker_process import HEADER_BYTES, journal_bytes
from shardmill.store.layout import ShardFiles
from shardmill.store.run_folder import RunFolder
from shardmill.store.tasks import Task


def test_a_journal_that_goes_while_it_is_looked_at_counts_as_nothing(
    make_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, task = make_run(), Task("extract_objects", 1)
    files = run.files(*task)
    files.folder.mkdir(exist_ok=True)
    for attempt in ("1-a-1-x", "2-b-2-y"):
        files.journal(attempt).write_bytes(b"x" * (HEADER_BYTES + 50))
    assert journal_bytes(run, task) == 2 * (HEADER_BYTES + 50)
    listed = files.journals()
    files.journal("1-a-1-x").unlink()

    def as_it_was(self: ShardFiles) -> list[Path]:
        return listed

    monkeypatch.setattr(ShardFiles, "journals", as_it_was)
    assert journal_bytes(run, task) == HEADER_BYTES + 50
