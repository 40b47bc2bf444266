"""How an export is made."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shardmill.util.errors import UserError

Images = Literal["copy", "reference"]
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)
LEAST = 10_000


@dataclass(frozen=True)
class ExportOptions:
    """`images` are copied (into tars and tables: embedded) or only named; `max_size` is that of a tar or table, in bytes.

    `texts` and `missing` are for jsonl: how many texts an image has, and what becomes of an image that lacks one. `every_text`
    makes a WebDataset sample of each text of a picture, `form` is that of preference pairs.
    """

    images: Images
    max_size: int = 10**9
    texts: int | None = None
    missing: Literal["drop", "pad"] = "drop"
    every_text: bool = False
    form: Literal["trl", "swift", "llava"] = "trl"

    def named(self, *names: str) -> dict[str, Any]:
        """The options that a format heeds."""
        return {name: value for name, value in asdict(self).items() if name in names}


def size_of(text: str) -> int:
    """Bytes of a size as people write it.

    >>> size_of("1GB"), size_of("1.5 MiB"), size_of("64k")
    (1000000000, 1572864, 64000)
    """
    found = SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * UNITS[(found[2] or "").lower()]) if found else 0
    if size < LEAST:
        raise UserError(f"{text!r} is no size of a file; write it like 1GB, 500MB or 64k")
    return size
