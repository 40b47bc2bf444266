"""One launch of a run at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from shardmill.store.jobs import JobsFolder
from shardmill.store.leases import read_owner, this_process
from shardmill.util.atomic import create_if_absent
from shardmill.util.errors import UserError


@contextmanager
def one_launch_at_a_time(jobs: JobsFolder) -> Iterator[None]:
    """Keep other launches out: two at once would each submit everything.

    Raises:
        UserError: If another launch is under way, and its process is alive as far as can be seen from here.
    """
    path = jobs.path / "launching.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    me = this_process()
    while not create_if_absent(path, json.dumps(asdict(me)).encode()):
        try:
            other = read_owner(path)
        except FileNotFoundError:
            continue
        except ValueError:
            raise UserError(f"{path} is corrupt; remove it if no other launch of this run is under way") from None
        if not other.is_dead(me):
            raise UserError(f"another launch of this run is under way (process {other.pid}); if it is not, remove {path}")
        path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
