"""Watches the first rows of an attempt: when all of them are rejected for one reason, it is not the rows that are to blame."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from shardmill.core.stage import Reject
from shardmill.store.journal import read_records
from shardmill.store.shard import Shard
from shardmill.util.commands import command_line
from shardmill.util.errors import UserError

MAX_QUOTE = 300


class FirstRejects:
    """Rows whose model was called, from the start of an attempt.

    Args:
        shard: The shard that the attempt works on.
        limit: How many of them may be rejected for one reason; 0 for any number.
    """

    def __init__(self, shard: Shard, limit: int):
        self._shard, self._limit = shard, limit
        self._reason: str | None = None
        self._count = 0
        self._watching = limit > 0

    def note(self, outcome: Any, raw: str, attempts: int) -> None:
        """Take note of how a row ended. Raises UserError when it was one too many, and no row of the stage ever came out."""
        if not self._watching or (attempts == 0 and isinstance(outcome, Reject)):
            return
        if not isinstance(outcome, Reject) or self._reason not in (None, outcome.reason):
            self._watching = False
            return
        self._reason, self._count = outcome.reason, self._count + 1
        if self._count >= self._limit:
            self._watching = False
            if not self._some_came_out():
                raise UserError(self._message(outcome, raw))

    def _some_came_out(self) -> bool:
        """Whether a row of any shard of the stage came out; looked for only now, since it may take a while."""
        run, stage = self._shard.run, self._shard.stage
        for index in range(run.num_shards):
            with suppress(UserError):
                manifest = run.manifest(stage, index)
                if manifest is not None and manifest.rows_out:
                    return True
            if any(record.rows for record in read_records(run.files(stage, index).journals(), self._shard.digests)):
                return True
        return False

    def _message(self, outcome: Reject, raw: str) -> str:
        run, stage = self._shard.run.path, self._shard.stage
        said = f"; the last answer was: {raw[:MAX_QUOTE]!r}" if raw else ""
        why = f" ({outcome.detail[:MAX_QUOTE]})" if outcome.detail else ""
        go_on = command_line("run", run, stage, "--redo", "--set", f"{stage}.stop_after=0")
        return (
            f"the first {self._count} rows of {stage} were all rejected as {outcome.reason!r}{why}{said}. None was rejected for "
            f"good: change the model, the prompt or the input, and run it again. If the rows are to be rejected: {go_on}"
        )
