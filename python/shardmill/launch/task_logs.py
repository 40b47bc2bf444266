"""Where the logs of a run's tasks are, and the notes about tasks that failed, which `shardmill status` reads."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from shardmill.launch.tasks import Task
from shardmill.resources import logs_folder
from shardmill.shards.run_folder import RunFolder


class TaskLogs:
    """The log folder of one run. The digest in its name keeps runs of the same name apart and outlives new plan revisions."""

    def __init__(self, run: RunFolder, folder: Path | None = None):
        plan = run.plan
        identity = sha256(f"{run.path.resolve()} {plan.input.sha256} {plan.created}".encode()).hexdigest()
        self.folder = folder or logs_folder() / f"{run.path.resolve().name}-{identity[:6]}"

    @property
    def startup(self) -> Path:
        """What workers say before their first task."""
        return self.folder / "workers.log"

    def log(self, task: Task) -> Path:
        return self.folder / f"{task.stage}-{task.shard:05d}.log"

    def _note(self, task: Task) -> Path:
        return self.folder / f"{task.stage}-{task.shard:05d}.failed"

    def note_failure(self, task: Task, message: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._note(task).write_text(message + "\n", encoding="utf-8")

    def forget_failure(self, task: Task) -> None:
        self._note(task).unlink(missing_ok=True)

    def failure(self, task: Task) -> str | None:
        """Why the last attempt at a task failed, if it did."""
        try:
            return self._note(task).read_text(encoding="utf-8").rstrip("\n")
        except FileNotFoundError:
            return None
