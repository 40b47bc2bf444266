"""One launch of a run at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager

from shardmill.store.exclusive import exclusive
from shardmill.store.jobs import JobsFolder


def one_launch_at_a_time(jobs: JobsFolder) -> AbstractContextManager[None]:
    """Keep other launches out: two at once would each submit everything.

    Raises:
        UserError: If another launch is under way, and its process is alive as far as can be seen from here.
    """
    return exclusive(jobs.path / "launching.json", "another launch of this run is under way")
