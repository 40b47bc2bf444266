"""A sheet is written so that nothing in it runs, and read back strictly, by whatever spreadsheet it was saved."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from audited import sample_of, sheet_file, sheet_text
from shardmill.audit.sample import AuditSample
from shardmill.audit.sheet import COLUMNS, guard, read_sheet, unguard, write_sheet
from shardmill.util.errors import UserError


@pytest.fixture
def drawn() -> AuditSample:
    return sample_of([900, 100], [10, 10], claims_each=2)


def test_a_sheet_has_every_claim_and_empty_places_for_what_people_say(drawn: AuditSample, tmp_path: Path) -> None:
    write_sheet(drawn, tmp_path / "audit.csv")
    rows = pl.read_csv(tmp_path / "audit.csv", infer_schema=False).to_dicts()
    assert tuple(rows[0]) == COLUMNS
    assert [row["claim_id"] for row in rows] == [claim.claim_id for claim in drawn.claims]
    assert {row[name] for row in rows for name in ("verdict", "annotator", "note")} <= {"", None}
    assert read_sheet(tmp_path / "audit.csv", drawn).ticks == {}


@pytest.mark.parametrize("text", ["=1+1", "+49 dogs", "-dog", "@cat", "'tis", "''", "\t=x", "＝1", "a dog", "", "\n=2"])
def test_no_cell_is_a_formula_and_every_cell_can_be_had_back(text: str) -> None:
    assert unguard(guard(text)) == text
    assert not re.match(r"[=+\-@＝\t\r\n]", guard(text))


def test_formulas_in_the_data_are_guarded_in_the_sheet(drawn: AuditSample, tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://x.example","dog")'
    claims = [drawn.claims[0].model_copy(update={"claim": formula, "image": "@x.png"}), *drawn.claims[1:]]
    write_sheet(drawn.model_copy(update={"claims": claims}), tmp_path / "audit.csv")
    row = next(csv.DictReader(io.StringIO((tmp_path / "audit.csv").read_text("utf-8-sig"), newline="")))
    assert (row["claim"], row["image"]) == ("'" + formula, "'@x.png")


def test_a_sheet_that_somebody_began_to_tick_is_never_overwritten(drawn: AuditSample, tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    write_sheet(drawn, path)
    write_sheet(drawn, path)
    ticked = sheet_text(drawn, lambda at: "right" if at == 3 else "")
    path.write_text(ticked, encoding="utf-8")
    with pytest.raises(UserError, match="already has verdicts"):
        write_sheet(drawn, path)
    assert path.read_text(encoding="utf-8") == ticked.replace("\r\n", "\n")


def test_verdicts_are_read_in_any_case_and_rows_may_be_missing_or_moved(drawn: AuditSample, tmp_path: Path) -> None:
    words = ["Right", " WRONG ", "unclear", ""]
    lines = sheet_text(drawn, lambda at: words[at % 4], annotator="Ann", note="'=hm").splitlines()
    path = sheet_file(tmp_path / "s.csv", "\n".join([lines[0], *reversed(lines[1:9])]))
    sheet = read_sheet(path, drawn)
    ids = [claim.claim_id for claim in drawn.claims]
    assert sheet.annotator == "Ann"
    assert {key: tick.verdict for key, tick in sheet.ticks.items()} == {
        ids[at]: words[at % 4].strip().lower() for at in range(8) if at % 4 != 3
    }
    assert sheet.ticks[ids[0]].note == "=hm"


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8-sig")])
def test_sheets_that_a_spreadsheet_saved_its_own_way_are_understood(
    drawn: AuditSample, tmp_path: Path, delimiter: str, encoding: str
) -> None:
    path = sheet_file(tmp_path / "s.csv", sheet_text(drawn, lambda at: "wrong", delimiter), encoding)
    assert len(read_sheet(path, drawn).ticks) == len(drawn.claims)


def changed(line: int, **cells: str) -> Callable[[str], str]:
    """A sheet with cells of a line replaced."""

    def change(text: str) -> str:
        rows = list(csv.reader(io.StringIO(text, newline="")))
        for name, cell in cells.items():
            rows[line - 1][COLUMNS.index(name)] = cell
        out = io.StringIO()
        csv.writer(out).writerows(rows)
        return out.getvalue()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(4, verdict="rihgt"), r"line 4: the verdict 'rihgt' is not one of right, wrong, unclear; did you mean 'right'\?"),
        (changed(4, verdict="yes"), r"line 4: the verdict 'yes' is not one of"),
        (changed(5, claim_id="dog-1"), r"line 5: the sample has no statement 'dog-1'; leave the column claim_id"),
        (changed(5, claim_id=""), r"line 5: the sample has no statement ''"),
        (changed(2, claim_id="s0123456789-0001-01"), r"line 2: statement s0123456789-0001-01 is from sample s0123456789"),
        (lambda text: "\n".join([*text.splitlines()[:3], text.splitlines()[2]]), r"line 4: statement s\S+ is also in line 3"),
        (lambda text: text.replace(",", "|"), r"line 1: not a sheet of an audit; the header must be row_id, sub_id"),
        (lambda text: "", r"line 1: not a sheet of an audit"),
        (lambda text: "\n".join([text.splitlines()[0], "1,,2;3"]), r"line 2: 3 cells, but the header has 9"),
        (lambda text: text.splitlines()[0] + '\n1,,"s', r"line 2: not CSV"),
    ],
)
def test_a_bad_sheet_is_refused_by_its_line(
    drawn: AuditSample, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    path = sheet_file(tmp_path / "s.csv", change(sheet_text(drawn, lambda at: "right")))
    with pytest.raises(UserError, match=message):
        read_sheet(path, drawn)


def test_the_line_that_is_named_is_that_of_the_file_though_cells_have_line_breaks(drawn: AuditSample, tmp_path: Path) -> None:
    text = sheet_text(drawn, lambda at: "right" if at < 3 else "maybe", note="one\ntwo\nthree")
    path = sheet_file(tmp_path / "s.csv", text)
    with pytest.raises(UserError, match=r"line 11: the verdict 'maybe'"):
        read_sheet(path, drawn)
    assert path.read_text(encoding="utf-8").splitlines()[10].endswith('maybe,,"one')


def test_a_sheet_in_another_encoding_or_format_is_told_how_to_be_saved(drawn: AuditSample, tmp_path: Path) -> None:
    path = sheet_file(tmp_path / "s.csv", sheet_text(drawn, lambda at: "right", note="größer"), "latin-1")
    with pytest.raises(UserError, match=r"line 2: not UTF-8; save the sheet as CSV UTF-8"):
        read_sheet(path, drawn)
    path.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(UserError, match="is a spreadsheet, not a CSV"):
        read_sheet(path, drawn)
    with pytest.raises(UserError, match="No such file"):
        read_sheet(tmp_path / "none.csv", drawn)
