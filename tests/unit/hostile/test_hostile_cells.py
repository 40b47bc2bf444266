"""Cells, parts and journals under hostile values: what is written is read again, and what no file can hold is refused."""

from __future__ import annotations

import math

import pytest

from fuzz.cells import TARGETS
from fuzz.target import Target
from shardmill.store.cells import Kind, encode, looks_like_formula, parse_json_cell


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_that_a_cell_or_a_journal_holds_breaks_it(target: Target) -> None:
    assert target.taken(examples=40), "all cases were refused: what comes behind that is not tried"


@pytest.mark.parametrize("cell", ["1j", "{1, 2}", "b'dog'", "...", "{(1, 2): 3}", "[" * 5_000, "-" * 50_000])
def test_python_literals_that_json_does_not_have_are_no_cells(cell: str) -> None:
    with pytest.raises(ValueError):
        parse_json_cell(cell)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (math.inf, "float"),
        (math.nan, "float"),
        (10**400, "float"),
        (2**63, "int"),
        (-(10**5_000), "int"),
        ({"score": math.nan}, "json"),
        ([10**5_000], "json"),
    ],
    ids=range(7),
)
def test_a_number_that_no_part_can_hold_is_refused_before_it_is_journaled(value: object, kind: Kind) -> None:
    with pytest.raises(TypeError):
        encode(value, kind)


def test_the_largest_numbers_are_kept() -> None:
    assert encode(2**63 - 1, "int") == 2**63 - 1 and encode(-(2**63), "int") == -(2**63) and encode(1e308, "float") == 1e308


@pytest.mark.parametrize(
    "text", ['=HYPERLINK("http://x.example")', "+1+1", "-2+3", "@SUM(A1)", "\t=1+1", "\r\n=1+1", "  =1", "＝1+1", "\ufeff=1"]
)
def test_what_a_spreadsheet_would_run_is_told(text: str) -> None:
    assert looks_like_formula(text)


@pytest.mark.parametrize("text", ["", "-", "a dog", "1-2", "dog=cat", "'=1", '"=1"', "3 + 4", "—no dog"])
def test_other_texts_are_no_formulas(text: str) -> None:
    assert not looks_like_formula(text)
