"""The sheet that people tick: a CSV for spreadsheets, written so that no cell runs as a formula, and read back strictly.

Its columns claim_id and claim hold the ID and the text of a statement.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardmill.audit.sample import AuditSample, SampledStatement
from shardmill.pages.label_studio import VERDICTS
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError, did_you_mean

COLUMNS = ("row_id", "sub_id", "claim_id", "claim", "kind", "image", "verdict", "annotator", "note")
RIGHT, WRONG, UNCLEAR = VERDICTS
FORMULA_START = re.compile(r"['=+\-@＝＋－＠\t\r\n]")
"""First characters that make a spreadsheet take a cell for a formula (OWASP, "CSV injection"), and the guard itself."""
CLAIM_ID = re.compile(r"(s[0-9a-f]{10})-[0-9]{4,}-[0-9]{2,}")
DELIMITERS = ",;\t"
BOM = "\ufeff"
MAX_CELL = 1 << 24


@dataclass(frozen=True)
class Tick:
    """What one person said of one statement."""

    verdict: str
    note: str


@dataclass(frozen=True)
class Sheet:
    """A sheet as it came back: who ticked it, and the ticks by claim_id. Statements without a verdict are not in it."""

    path: Path
    annotator: str
    ticks: dict[str, Tick]


def guard(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula; `unguard` gives the text back.

    >>> guard("=1+1"), guard("'tis"), guard("a dog")
    ("'=1+1", "''tis", 'a dog')
    """
    return f"'{text}" if FORMULA_START.match(text) else text


def unguard(cell: str) -> str:
    """The text of a cell."""
    return cell.removeprefix("'")


def sheet_rows(statements: Iterable[SampledStatement]) -> list[list[str]]:
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
        for each in statements
    ]


def write_sheet(sample: AuditSample, path: Path) -> None:
    """Write an unticked sheet. Raises UserError rather than overwrite one that has ticks in it."""
    if path.exists() and has_ticks(path):
        raise UserError(f"{path} already has verdicts in it; move it away, or draw into another folder with --out")
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    writer.writerows([guard(cell) for cell in row] for row in sheet_rows(sample.claims))
    with replacing(path) as file:
        file.write((BOM + text.getvalue()).encode("utf-8"))


def has_ticks(path: Path) -> bool:
    """Whether a sheet has a verdict or a note in it; one that cannot be read may have one."""
    try:
        return any(line["verdict"].strip() or line["note"].strip() for _, line in _read_lines(path))
    except UserError:
        return True


def read_sheet(path: Path, sample: AuditSample) -> Sheet:
    """Read the ticks of a sheet.

    Rows and columns may be missing or in another order, as long as claim_id and verdict are there. A byte order mark and
    semicolons or tabs between the cells, as spreadsheets write them, are understood.

    Raises:
        UserError: a statement is not in the sample or is there twice, or a verdict is not one of `VERDICTS`; names the line.
    """
    known = {each.claim_id for each in sample.claims}
    lines_of: dict[str, int] = {}
    ticks: dict[str, Tick] = {}
    annotators: dict[str, int] = {}
    for number, line in _read_lines(path):
        claim_id, verdict = unguard(line["claim_id"]).strip(), _parse_verdict(path, number, line["verdict"])
        if claim_id not in known:
            raise UserError(f"{path}, line {number}: {explain_unknown(claim_id, sample)}")
        if claim_id in lines_of:
            raise UserError(
                f"{path}, line {number}: statement {claim_id} is also in line {lines_of[claim_id]}; delete one of the two"
            )
        lines_of[claim_id] = number
        if verdict:
            ticks[claim_id] = Tick(verdict, unguard(line["note"]).strip())
            name = unguard(line["annotator"]).strip()
            annotators[name] = annotators.get(name, 0) + 1
    names = sorted(name for name in annotators if name)
    return Sheet(path, " and ".join(names) or path.stem, ticks)


def explain_unknown(claim_id: str, sample: AuditSample) -> str:
    """Why a statement is not of this sample."""
    found = CLAIM_ID.fullmatch(claim_id)
    if found and found[1] != sample.id:
        return f"statement {claim_id[:60]} is from sample {found[1]}, but this folder has {sample.id}; name the other with --out"
    return f"the sample has no statement {claim_id[:40]!r}; leave the column claim_id as it was written"


def _parse_verdict(path: Path, number: int, cell: str) -> str:
    word = unguard(cell.strip()).strip().casefold()
    if word and word not in VERDICTS:
        hint = did_you_mean(word, VERDICTS)
        raise UserError(f"{path}, line {number}: the verdict {cell.strip()[:40]!r} is not one of {', '.join(VERDICTS)}; {hint}")
    return word


def _read_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The number of the line on which each row starts, and its cells by column."""
    text = _read_text(path)
    delimiter = _find_delimiter(path, text.partition("\n")[0])
    limit = csv.field_size_limit(MAX_CELL)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header = [name.strip().casefold() for name in next(reader)]
        end = reader.line_num
        for cells in reader:
            start, end = end + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                yield start, _by_column(path, start, header, cells)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error}); save the sheet as CSV again") from error
    finally:
        csv.field_size_limit(limit)


def _by_column(path: Path, number: int, header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
        raise UserError(
            f"{path}, line {number}: {len(cells)} cells, but the header has {len(header)}; save the sheet as CSV with commas "
            "and quotes around text"
        )
    return {**dict.fromkeys(COLUMNS, ""), **dict(zip(header, cells, strict=False))}


def _read_text(path: Path) -> str:
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


def _find_delimiter(path: Path, header: str) -> str:
    """The character between the cells, found from the header."""
    for delimiter in DELIMITERS:
        names = {name.strip().casefold() for name in next(csv.reader([header], delimiter=delimiter), [])}
        if {"claim_id", "verdict"} <= names:
            return delimiter
    raise UserError(f"{path}, line 1: not a sheet of an audit; the header must be {', '.join(COLUMNS)}, separated by commas")
