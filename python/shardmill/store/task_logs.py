"""Where the logs of a run's tasks are."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from shardmill.store.run_folder import RunFolder
from shardmill.store.tasks import Task
from shardmill.util.resources import logs_folder


class TaskLogs:
    """The log folder of one run. The digest in its name keeps runs of the same name apart and outlives new plan revisions."""

    def __init__(self, run: RunFolder, folder: Path | None = None):
        plan = run.plan
        identity = sha256(f"{run.path.resolve()} {plan.input.sha256} {plan.created}".encode()).hexdigest()
        self.folder = folder or (logs_folder() or run.path.resolve() / "logs") / f"{run.path.resolve().name}-{identity[:6]}"

    @property
    def startup(self) -> Path:
        """What workers print before their first task."""
        return self.folder / "workers.log"

    def log(self, task: Task) -> Path:
        return self.folder / f"{task.stage}-{task.shard:05d}.log"
