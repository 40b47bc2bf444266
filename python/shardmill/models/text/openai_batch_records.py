"""What a run knows of its batches, in files: which requests went into which, and their results once these were fetched.

A record is written before its batch is made. So after a kill at any moment it is known which requests may be paid for already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError
from shardmill.util.safe_files import read_untrusted

MAX_REQUESTS, MAX_REQUEST_BYTES = 50_000, 100_000_000
"""Of one batch. Providers take 50,000 requests in a file of 100 to 200 MB."""
MAX_RECORD_BYTES, MAX_LINE, MAX_RESULT_BYTES = 8_000_000, 4_000_000, 4_000_000_000

ServerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")]
"""An id that a server gave, which becomes part of an address."""
RequestId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class BatchRecord(BaseModel):
    """The requests of a batch by their ids, the server's address, and the server's id of the batch; None before it has one."""

    model_config = ConfigDict(extra="forbid")
    url: Annotated[str, StringConstraints(max_length=2_000)]
    ids: list[RequestId] = Field(max_length=MAX_REQUESTS)
    batch: ServerId | None = None

    @property
    def label(self) -> str:
        """What the record and its batch are called by: a digest of the requests."""
        return blake2b(" ".join(sorted(self.ids)).encode(), digest_size=16).hexdigest()


def digest_of(body: Mapping[str, Any], schema: Mapping[str, Any] | None, schema_mode: str) -> str:
    """A digest of what is asked, before it is fitted to a server, of which a worker that begins knows nothing yet."""
    return blake2b(json.dumps([body, schema, schema_mode], sort_keys=True).encode(), digest_size=16).hexdigest()


def request_id(key: str, asked: str, attempt: int) -> str:
    """The id of a request in a batch: a digest of what is asked, for which row, and in which attempt."""
    return blake2b(json.dumps([key, asked, attempt]).encode(), digest_size=16).hexdigest()


class BatchFolder:
    """The records of a run, its files of requests, and its results."""

    def __init__(self, path: Path):
        self.path = path
        self._offsets: dict[str, dict[str, int]] = {}

    def requests_file(self, label: str) -> Path:
        return self.path / f"{label}.requests.jsonl"

    def results_file(self, label: str) -> Path:
        return self.path / f"{label}.results.jsonl"

    def record_file(self, label: str) -> Path:
        return self.path / f"{label}.json"

    def save(self, record: BatchRecord) -> None:
        """Write a record in place of what is there of it."""
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.record_file(record.label)) as file:
            file.write(record.model_dump_json().encode())

    def forget(self, record: BatchRecord) -> None:
        """Remove a batch that was never made, or failed before anything of it was paid for."""
        for path in (self.record_file(record.label), self.requests_file(record.label), self.results_file(record.label)):
            path.unlink(missing_ok=True)

    def records(self) -> Iterator[BatchRecord]:
        """All records that can be read."""
        for path in sorted(self.path.glob("*.json")):
            with suppress(OSError, UserError, ValidationError):
                record = BatchRecord.model_validate_json(read_untrusted(path, MAX_RECORD_BYTES))
                if path == self.record_file(record.label):
                    yield record

    def write_requests(self, label: str, lines: Sequence[bytes]) -> None:
        """Write the file of requests that is uploaded."""
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.requests_file(label)) as file:
            file.writelines(lines)

    def body(self, label: str, name: str) -> dict[str, Any] | None:
        """The body of a request in a file of requests; None if the file is gone or lacks it."""
        with suppress(OSError, ValueError, KeyError, TypeError), open(self.requests_file(label), "rb") as file:
            if label not in self._offsets:
                self._offsets[label] = dict(_offsets(file))
            file.seek(self._offsets[label][name])
            return dict(json.loads(file.readline())["body"])
        return None

    def results(self, record: BatchRecord) -> Iterator[tuple[str, dict[str, Any]]]:
        """The results that were fetched, by request; a line that is not one of its results, or comes twice, is left out."""
        waiting = set(record.ids)
        with open(self.results_file(record.label), "rb") as file:
            while line := file.readline(MAX_LINE):
                with suppress(ValueError, RecursionError):
                    found = json.loads(line)
                    name = found.get("custom_id") if isinstance(found, dict) else None
                    if isinstance(name, str) and name in waiting:
                        waiting.discard(name)
                        yield name, found


def _offsets(file: IO[bytes]) -> Iterator[tuple[str, int]]:
    """Where each request begins in a file of requests."""
    start = 0
    for line in file:
        yield str(json.loads(line)["custom_id"]), start
        start += len(line)
