"""The options of an export."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from shardmill.util.errors import UserError

Images = Literal["copy", "reference"]
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)
MIN_SIZE = 10_000


@dataclass(frozen=True)
class ExportOptions:
    """The options; each format uses some of them.

    Attributes:
        images: Whether images are copied (into tars and tables: embedded) or only referenced.
        max_size: Of a tar or Parquet file, in bytes.
        texts: jsonl: how many texts an image has.
        missing: jsonl: what to do with an image that lacks a text.
        every_text: webdataset: a sample for each text of an image.
        form: dpo: the trainer.
    """

    images: Images
    max_size: int = 10**9
    texts: int | None = None
    missing: Literal["drop", "pad"] = "drop"
    every_text: bool = False
    form: Literal["trl", "swift", "llamafactory"] = "trl"

    def named(self, *names: str) -> dict[str, Any]:
        """The values of the options of these names."""
        return {name: value for name, value in asdict(self).items() if name in names}


def size_of(text: str) -> int:
    """Bytes of a size as people write it.

    >>> size_of("1GB"), size_of("1.5 MiB"), size_of("64k")
    (1000000000, 1572864, 64000)
    """
    found = SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * UNITS[(found[2] or "").lower()]) if found else 0
    if size < MIN_SIZE:
        raise UserError(f"{text!r} is not a file size of at least 10 kB; write it like 1GB, 500MB or 64k")
    return size
