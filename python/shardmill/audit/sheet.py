"""The sheet that people tick: a CSV for spreadsheets, written so that no cell runs as a formula, and read back strictly."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardmill.audit.draw import AuditSample, SampledClaim
from shardmill.store.atomic import replacing
from shardmill.util.errors import UserError, did_you_mean

COLUMNS = ("row_id", "sub_id", "claim_id", "claim", "kind", "image", "verdict", "annotator", "note")
RIGHT, WRONG, UNCLEAR = "right", "wrong", "unclear"
VERDICTS = (RIGHT, WRONG, UNCLEAR)
GUARDED = re.compile(r"['=+\-@＝＋－＠\t\r\n]")
"""First characters that make a spreadsheet take a cell for a formula (OWASP, "CSV injection"), and the guard itself."""
CLAIM_ID = re.compile(r"(s[0-9a-f]{10})-[0-9]{4,}-[0-9]{2,}")
DELIMITERS = ",;\t"
BOM = "\ufeff"
LONGEST_CELL = 1 << 24


@dataclass(frozen=True)
class Tick:
    """What was said of one claim."""

    verdict: str
    note: str


@dataclass(frozen=True)
class Sheet:
    """A sheet as it came back: whose it is, and the ticks by claim_id. Claims without a verdict are not in it."""

    path: Path
    annotator: str
    ticks: dict[str, Tick]


def guard(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula; `unguard` gives the text back.

    >>> guard("=1+1"), guard("'tis"), guard("a dog")
    ("'=1+1", "''tis", 'a dog')
    """
    return f"'{text}" if GUARDED.match(text) else text


def unguard(cell: str) -> str:
    """The text of a cell."""
    return cell.removeprefix("'")


def sheet_rows(claims: Iterable[SampledClaim]) -> list[list[str]]:
    """The rows below the header of an unticked sheet, unguarded; the page exports the same."""
    return [
        [
            str(each.row_id),
            "" if each.sub_id is None else str(each.sub_id),
            each.claim_id,
            each.claim,
            each.kind,
            each.image or "",
        ]
        + [""] * 3
        for each in claims
    ]


def write_sheet(sample: AuditSample, path: Path) -> None:
    """Write an unticked sheet. Raises UserError rather than overwrite one that somebody has begun to tick."""
    if path.exists() and begun(path):
        raise UserError(f"{path} has verdicts in it already; move it away, or draw into another folder with --out")
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerows([guard(cell) for cell in row] for row in sheet_rows(sample.claims))
    with replacing(path) as file:
        file.write((BOM + text.getvalue()).encode("utf-8"))


def begun(path: Path) -> bool:
    """Whether a sheet has a verdict or a note in it; one that cannot be read may have."""
    try:
        return any(line["verdict"].strip() or line["note"].strip() for _, line in _lines(path))
    except UserError:
        return True


def read_sheet(path: Path, sample: AuditSample) -> Sheet:
    """The ticks of a sheet. Rows may be missing or in another order, columns too, as long as claim_id and verdict are there.

    A byte order mark and semicolons or tabs between the cells, as spreadsheets write them, are understood. Raises UserError
    naming the line of a claim that is not in the sample, of one that comes twice, and of a verdict that is no such word.
    """
    known = {each.claim_id for each in sample.claims}
    lines_of: dict[str, int] = {}
    ticks: dict[str, Tick] = {}
    annotators: dict[str, int] = {}
    for number, line in _lines(path):
        claim_id, verdict = unguard(line["claim_id"]).strip(), _verdict(path, number, line["verdict"])
        if claim_id not in known:
            raise UserError(f"{path}, line {number}: {_unknown(claim_id, sample)}")
        if claim_id in lines_of:
            raise UserError(
                f"{path}, line {number}: claim {claim_id} is also in line {lines_of[claim_id]}; delete one of the two"
            )
        lines_of[claim_id] = number
        if verdict:
            ticks[claim_id] = Tick(verdict, unguard(line["note"]).strip())
            name = unguard(line["annotator"]).strip()
            annotators[name] = annotators.get(name, 0) + 1
    names = sorted(name for name in annotators if name)
    return Sheet(path, " and ".join(names) or path.stem, ticks)


def _unknown(claim_id: str, sample: AuditSample) -> str:
    found = CLAIM_ID.fullmatch(claim_id)
    if found and found[1] != sample.id:
        return f"claim {claim_id} is of sample {found[1]}, and this run's folder has {sample.id}; name its folder with --out"
    return f"there is no claim {claim_id!r} in the sample; leave the column claim_id as it was written"


def _verdict(path: Path, number: int, cell: str) -> str:
    word = unguard(cell.strip()).strip().casefold()
    if word and word not in VERDICTS:
        hint = did_you_mean(word, VERDICTS)
        raise UserError(f"{path}, line {number}: the verdict {cell.strip()[:40]!r} is none of {', '.join(VERDICTS)}; {hint}")
    return word


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The number of the line that each row starts in, and its cells by column."""
    text = _text(path)
    delimiter = _delimiter(path, text.partition("\n")[0])
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = [name.strip().casefold() for name in next(reader)]
        end = reader.line_num
        for cells in reader:
            start, end = end + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                yield start, _named(path, start, header, cells)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error}); save the sheet as CSV again") from error
    finally:
        csv.field_size_limit(limit)


def _named(path: Path, number: int, header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
        raise UserError(
            f"{path}, line {number}: {len(cells)} cells, and the header has {len(header)}; save the sheet as CSV with commas "
            "and with quotes around text"
        )
    return {**dict.fromkeys(COLUMNS, ""), **dict(zip(header, cells, strict=False))}


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise UserError(f"{path} is a spreadsheet, not a CSV; save it as CSV (UTF-8)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {number}: not UTF-8; save the sheet as CSV UTF-8") from error


def _delimiter(path: Path, header: str) -> str:
    """What stands between the cells, as the header tells."""
    for delimiter in DELIMITERS:
        names = {name.strip().casefold() for name in next(csv.reader([header], delimiter=delimiter), [])}
        if {"claim_id", "verdict"} <= names:
            return delimiter
    raise UserError(f"{path}, line 1: no sheet of an audit; the header must have {', '.join(COLUMNS)} with commas between")
