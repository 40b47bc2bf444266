"""What submitted jobs are to do: a JSON file in `RUN/jobs/arrays/`, whose digest is in the job script.

SLURM keeps a script as it was submitted. The digest in it makes sure that the file, which others may be able to write to, still
says what the launching command said; and there is nothing in it that is run, as there is in a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from shardmill.launch.assignment import Assignment
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError
from shardmill.util.safe_files import read_untrusted

MAX_BYTES = 200_000_000


@dataclass(frozen=True)
class NextWave:
    """The launch that is continued by the last job of a wave.

    Attributes:
        site: The site, as `Site.packed` gives it.
        logs: The folder of the run's logs.
        finished: The shards that were finished in all stages together when the wave was submitted; None if the queue had no room
            for a single job of it.
        build: Whether datasets are built at the end.
    """

    site: str
    logs: str
    group: int
    max_parallel: int | None
    by_stage: bool
    finished: int | None
    build: bool


@dataclass(frozen=True)
class FinishWork:
    """The job after all others: builds the datasets of `run` if every shard is finished, and prints to `log`.

    With a `wave` it first submits what could not be submitted before.
    """

    run: str
    log: str
    wave: NextWave | None = None


@dataclass(frozen=True)
class JobFile:
    """The work of a job array, or of the job at the end.

    Attributes:
        elements: The work of each element of the array.
        finish: The work of the job at the end.
        code: The references and permissions that the launching command named (see `core.user_code`). They travel with the job,
            which the user's own command made; the plan, which may be a stranger's, is never consulted.
    """

    elements: tuple[Assignment, ...] = ()
    finish: FinishWork | None = None
    code: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        return _JOB_FILE.dump_json(self)

    @property
    def digest(self) -> str:
        """The digest of its bytes, which is also its name."""
        return sha256(self.to_bytes()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write it into a folder; returns its path."""
        path = folder / f"{self.digest}.json"
        with replacing(path) as file:
            file.write(self.to_bytes())
        return path


_JOB_FILE = TypeAdapter(JobFile)


def read_job_file(path: Path, digest: str) -> JobFile:
    """The work in a file. Raises UserError if it was removed, or changed since the job was submitted."""
    again = "cancel the job and launch again"
    try:
        content = read_untrusted(path, MAX_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path}, which says what this job is to do, was not found; {again}") from None
    if sha256(content).hexdigest() != digest:
        raise UserError(f"{path} was changed since this job was submitted; {again}")
    try:
        return _JOB_FILE.validate_json(content)
    except ValidationError:
        raise UserError(f"{path} is of another version of Shardmill than this job runs; {again}") from None
