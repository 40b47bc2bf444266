"""Whether a multi-text file is fit for training: what makes a line unfit, and what is only worth knowing."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import numpy as np

from shardmill.export.multi_text_format import MultiTextHeader, read_header
from shardmill.export.multi_text_reader import UnreadableLine, parse_line, raw_lines
from shardmill.recaption.clip_tokens import LIMIT, ClipTokens, clip_tokens
from shardmill.recaption.image_keys import ImageKeys
from shardmill.tables import open_table
from shardmill.tables.columns import map_columns
from shardmill.tables.json_table import ID
from shardmill.util.errors import UserError, name_list

UNREADABLE, WRONG_NUMBER, EMPTY, UNKNOWN = "unreadable line", "wrong number of texts", "empty text", "unknown image"
CONTROL, REPEATED_IMAGE, REPEATED_TEXT, LONG = "control character", "repeated image", "repeated text", f"over {LIMIT} CLIP tokens"
OTHER_DATA = "not the file of its header"
UNFIT = (UNREADABLE, WRONG_NUMBER, EMPTY, UNKNOWN, OTHER_DATA)
"""These stop training, or make it learn from wrong pairs; the others do not."""
FIRST = 5
TOLD_EVERY = 5_000
LONGEST = 1_000
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

Hashes = np.ndarray[Any, np.dtype[np.int64]]


@dataclass
class LineProblem:
    """How often something was found, and the first few lines (from 1) where."""

    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        self.count += 1
        if len(self.lines) < FIRST:
            self.lines.append(line)


@dataclass
class Verdict:
    """What was found.

    Attributes:
        findings: By kind of problem.
        lengths: For each position of a line, how many texts have how many CLIP tokens (the last number: so many or more).
    """

    path: Path
    header: MultiTextHeader | None
    m: int
    m_from: str
    lines: int = 0
    findings: dict[str, LineProblem] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    lengths: list[Counter[int]] = field(default_factory=list)

    @property
    def fit(self) -> bool:
        return self.lines > 0 and not any(kind in self.findings for kind in UNFIT)

    @property
    def names(self) -> list[str]:
        """The names of the positions, by the header or by number."""
        return (
            [text.name for text in self.header.texts] if self.header else [f"text {position + 1}" for position in range(self.m)]
        )

    def found(self, kind: str, line: int, detail: str = "") -> None:
        self.findings.setdefault(kind, LineProblem()).add(line)
        if detail:
            self.details.setdefault(kind, detail)

    def share_over(self, position: int) -> float:
        """The share of a place's texts that the encoder cuts."""
        counts = self.lengths[position]
        return sum(count for length, count in counts.items() if length > LIMIT) / max(1, counts.total())

    def to_dict(self) -> dict[str, Any]:
        positions = zip(self.names, self.lengths, range(self.m), strict=False)
        return {
            "file": str(self.path),
            "fit": self.fit,
            "lines": self.lines,
            "m": self.m,
            "m_from": self.m_from,
            "findings": {
                kind: {"count": each.count, "first_lines": each.lines, "unfit": kind in UNFIT, "first": self.details.get(kind)}
                for kind, each in self.findings.items()
            },
            "lengths_exact": True,
            "lengths_by": "tokenizers",
            "texts": [
                {
                    "name": name,
                    "share_over_77": self.share_over(at),
                    **_quantiles(counts),
                    "lengths": dict(sorted(counts.items())),
                }
                for name, counts, at in positions
            ],
        }


def check_multitext(
    path: Path,
    m: int | None = None,
    images: Path | None = None,
    tokens: ClipTokens | None = None,
    report: Callable[[int, int], None] = lambda lines, total: None,
) -> Verdict:
    """Looks at each line once; 16 bytes of memory for a line. `m` None: as the header says, else as the first line has it.

    `images`: a folder or tar file of pictures, or a table with the images that there are. `report` gets lines, and an estimate of
    all. Raises UserError where the file or `images` cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path} was not found, or is not a file.")
    header = read_header_or_fault(path)
    verdict = Verdict(path, header if isinstance(header, MultiTextHeader) else None, m or 0, "--m" if m else "")
    if isinstance(header, str):
        verdict.found(OTHER_DATA, 0, header)
    elif header and m and header.m != m:
        raise UserError(f"--m {m} is asked for, and the header of {path} says {header.m}")
    elif header:
        verdict.m, verdict.m_from = header.m, "the header"
    tokens = tokens or clip_tokens()
    known = KnownImages(images, verdict.header.details.get("image_root") if verdict.header else None) if images else None
    key = known.key if known else ImageKeys()
    hashes, numbers, digest = array("q"), array("q"), sha256()
    size, done = path.stat().st_size, 0
    for number, data in raw_lines(path):
        verdict.lines = number
        done += len(data)
        digest.update(data)
        line = parse_line(number, data)
        if isinstance(line, UnreadableLine):
            verdict.found(UNREADABLE, number, line.detail)
        else:
            if not verdict.m:
                verdict.m, verdict.m_from = max(1, len(line.captions)), "the first line"
            _check_texts(verdict, number, line.captions, tokens)
            if CONTROLS.search(line.image):
                verdict.found(CONTROL, number)
            if known and known.lacks_file(line.image):
                verdict.found(UNKNOWN, number, line.image)
            hashes.append(image_hash(key(line.image)))
            numbers.append(number)
        if number % TOLD_EVERY == 0:
            report(number, max(number + 1, number * size // done))
    _check_images(verdict, np.frombuffer(hashes, np.int64), np.frombuffer(numbers, np.int64), known)
    if verdict.header and verdict.header.sha256 != digest.hexdigest():
        verdict.found(OTHER_DATA, 0, "the file is as long as the header says, and its content is another")
    return verdict


def read_header_or_fault(path: Path) -> MultiTextHeader | str | None:
    """The header, or why it is not this file's."""
    try:
        return read_header(path)
    except UserError as error:
        return str(error)


def image_hash(image: str) -> int:
    """64 bits that distinguish images."""
    return int.from_bytes(blake2b(image.encode("utf-8"), digest_size=8).digest(), "little", signed=True)


class KnownImages:
    """The images that there are: files below a folder, or those that a table (or a tar file) names.

    The names in a table start from `root`, or else from the table's folder.
    """

    def __init__(self, source: Path, root: str | None = None) -> None:
        self._folder = source if source.is_dir() else None
        self.key = ImageKeys(self._folder or Path(root or source.absolute().parent))
        self._tars: dict[str, set[str]] = {}
        self.listed: Hashes | None = None
        if self._folder is None:
            self.listed = np.sort(np.frombuffer(array("q", map(image_hash, map(self.key, _images_of(source)))), np.int64))

    def lacks_file(self, image: str) -> bool:
        """Whether a file is missing below the folder; False where a table names the images."""
        if self._folder is None:
            return False
        tar, separator, _ = image.partition(".tar::")
        if not separator:
            return not (self._folder / image).is_file()
        tar += ".tar"
        if tar not in self._tars:
            path = self._folder / tar
            self._tars[tar] = {name.partition("::")[2] for name in _images_of(path)} if path.is_file() else set()
        return image.partition("::")[2] not in self._tars[tar]

    def not_listed(self, hashes: Hashes) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """For each hash whether the table has no such image."""
        if self.listed is None:
            return np.zeros(len(hashes), np.bool_)
        if not len(self.listed):
            return np.ones(len(hashes), np.bool_)
        at = np.minimum(np.searchsorted(self.listed, hashes), len(self.listed) - 1)
        return self.listed[at] != hashes


def _images_of(source: Path) -> Iterator[str]:
    table = open_table(source)
    mapping, _ = map_columns(table.columns, None, None, captioned=False)
    index_key = ID if table.format == "json" and ID in table.columns else None  # of {path: caption}
    column = next((column for column, name in mapping.items() if name == "image"), index_key)
    if column is None:
        raise UserError(f"{source} has no column of images (its columns: {name_list(table.columns)})")
    for batch in table.batches():
        yield from (image for image in batch.frame[column] if image)


def _check_texts(verdict: Verdict, number: int, captions: Sequence[str], tokens: ClipTokens) -> None:
    if len(captions) != verdict.m:
        verdict.found(WRONG_NUMBER, number, f"{len(captions)} where {verdict.m} are due")
    blank = [position for position, text in enumerate(captions, 1) if not text.strip()]
    if blank:
        verdict.found(EMPTY, number, f"text {blank[0]}")
    if any(map(CONTROLS.search, captions)):
        verdict.found(CONTROL, number)
    if len({text.strip().casefold() for text in captions}) < len(captions):
        verdict.found(REPEATED_TEXT, number)
    lengths = [min(tokens.length(text), LONGEST) for text in captions]
    if lengths and max(lengths) > LIMIT:
        verdict.found(LONG, number)
    while len(verdict.lengths) < verdict.m:
        verdict.lengths.append(Counter())
    for counts, length in zip(verdict.lengths, lengths, strict=False):
        counts[length] += 1


def _check_images(verdict: Verdict, hashes: Hashes, numbers: Hashes, known: KnownImages | None) -> None:
    """Repeated images (each line but the first of an image), and those that a table does not have."""
    order = np.argsort(hashes, kind="stable")
    again = order[1:][hashes[order[1:]] == hashes[order[:-1]]]
    for line in numbers[np.sort(again)].tolist():
        verdict.found(REPEATED_IMAGE, line)
    if known is not None:
        for line in numbers[known.not_listed(hashes)].tolist():
            verdict.found(UNKNOWN, line)


def _quantiles(counts: Counter[int]) -> dict[str, int]:
    """The median, the 95th of 100, and the longest."""
    total, below, found = counts.total(), 0, {}
    for length, count in sorted(counts.items()):
        below += count
        for name, share in (("median", 0.5), ("p95", 0.95), ("longest", 1.0)):
            if name not in found and below >= share * total:
                found[name] = length
    return found
