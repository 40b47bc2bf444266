"""Records that another user may have written, in a folder that a group shares or a run folder from somebody else.

Plans, manifests, records of jobs and announcements of servers are models whose fields have the types below, and are read by
`read_model`: numbers have bounds, and a name that becomes part of a path or an argument of a command is checked before anything
is done with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from shardmill.util.safe_files import MAX_RECORD_BYTES, PLAIN_NAME, read_untrusted

MAX_COUNT = 2**50

PlainName = Annotated[str, StringConstraints(pattern=PLAIN_NAME, max_length=200)]
NodeName = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.:@+-]*)?$", max_length=255)]
"""The name of a node or host, or nothing."""
JobId = Annotated[str, StringConstraints(pattern=r"^([0-9]{1,18}(_[0-9]{1,18})?)?$")]
"""A job id of SLURM, `12` or `12_3`, or nothing."""
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{0,128}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.+!_-]*$", max_length=60)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Seconds = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
"""Seconds of a clock or a duration."""

Record = TypeVar("Record", bound=BaseModel)


class CorruptRecord(ValueError):
    """A file is not the JSON that it should be; the message says where and why."""


def read_model(path: Path, kind: type[Record], most: int = MAX_RECORD_BYTES) -> Record:
    """The record in a JSON file.

    Args:
        path: The file; a link is not followed.
        kind: The model of the record.
        most: The maximum size of the file in bytes.

    Raises:
        FileNotFoundError: If there is no file of that name.
        UserError: If it is not a regular file, or too large.
        CorruptRecord: If its content is not a record of this kind.
    """
    try:
        return kind.model_validate_json(read_untrusted(path, most))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))[:200]
        message = first["msg"].removeprefix("Value error, ")
        raise CorruptRecord(f"{where}: {message}" if where else message) from None
