"""A comparison for a terminal, and as a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from shardmill.compare.model import Balance, CellDifference, Comparison, RunCounts
from shardmill.compare.verdict import format_p, headline, names_of
from shardmill.pages.html import flat, render
from shardmill.pages.shown import shortened
from shardmill.util.words import count_of, percent

MAX_CATEGORIES, MAX_OBJECTS, MAX_CELLS, WIDTH = 6, 8, 6, 60
MAX_HEADING = 24
LEAD = 12
"""Characters that are shown before the point where two values begin to differ."""

DIGEST = re.compile(r"\b[0-9a-f]{40,64}\b")


def render_comparison(found: Comparison) -> RenderableType:
    """Tables for a terminal, shortened; `--json` and the page have everything."""
    parts: list[RenderableType] = [f"[bold]{escape(headline(found))}[/]"]
    for title, table in (
        _plan_table(found),
        _stage_table(found),
        _balance_table(found),
        _object_table(found),
        _row_table(found),
        _sample_table(found),
    ):
        if table.row_count:
            parts += [f"\n[bold]{title}[/]", table]
    return Group(*parts)


def page_of(found: Comparison) -> str:
    """The page of a comparison, as text."""
    balances = [(each, [*balance_rows(each)]) for each in found.balances if each.a or each.b]
    one, other = names_of(found)
    return render(
        "compare.html.j2",
        title=f"{one} and {other}",
        names=(one, other),
        found=found,
        headline=headline(found),
        balances=balances,
        yields=_format_counts,
        chance=format_p,
        short=_short_digests,
    )


def balance_rows(balance: Balance) -> Iterator[tuple[str, int, float, int, float]]:
    """Category, count and share in A, count and share in B; what moved most comes first."""
    n, m = max(sum(balance.a.values()), 1), max(sum(balance.b.values()), 1)
    counts = {name: (balance.a.get(name, 0), balance.b.get(name, 0)) for name in balance.a.keys() | balance.b.keys()}
    rows = [(name, one, one / n, other, other / m) for name, (one, other) in counts.items()]
    yield from sorted(rows, key=lambda row: (-abs(row[4] - row[2]), row[0]))


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _headings(found: Comparison) -> list[str]:
    return [escape(shortened(name, MAX_HEADING)) for name in names_of(found)]


def _shorten_pair(first: Any, second: Any) -> list[str]:
    """Two values, from a little before the point where they begin to differ."""
    texts = ["–" if value is None else _short_digests(flat(value)) for value in (first, second)]
    unlike = (at for at, (one, other) in enumerate(zip(*texts, strict=False)) if one != other)
    start = next(unlike, min(map(len, texts))) - LEAD
    return [escape(shortened(f"…{text[start:]}" if start > LEAD and len(text) > WIDTH else text, WIDTH)) for text in texts]


def _short_digests(text: str) -> str:
    return DIGEST.sub(lambda found: found[0][:12], text)


def _plan_table(found: Comparison) -> tuple[str, Table]:
    table = _table("field", *_headings(found))
    for each in found.plan:
        table.add_row(escape(each.field), *_shorten_pair(each.a, each.b))
    return "differences between the plans", table


def _format_counts(counts: RunCounts | None) -> str:
    if counts is None:
        return "not in this run"
    share = f" ({percent(counts.rows_out / counts.rows_in)})" if counts.rows_in else ""
    lines = f", {count_of(counts.lines_out, 'line')}" if counts.lines_out != counts.rows_out else ""
    return f"{counts.rows_out:,} of {counts.rows_in:,}{share}{lines}"


def _stage_table(found: Comparison) -> tuple[str, Table]:
    table = _table("stage", *_headings(found), "")
    for each in found.stages:
        table.add_row(
            escape(each.stage),
            _format_counts(each.a),
            _format_counts(each.b),
            "the same" if each.is_same else format_p(each.p, each.beyond_chance),
        )
        reasons = {**(each.a.rejected if each.a else {}), **(each.b.rejected if each.b else {})}
        for reason in sorted(reasons):
            one, other = (counts.rejected.get(reason, 0) if counts else 0 for counts in (each.a, each.b))
            if one != other:
                table.add_row(f"  {escape(reason)}", f"{one:,}", f"{other:,}", "")
    return "rows that each stage accepts, and rejects that differ", table


def _balance_table(found: Comparison) -> tuple[str, Table]:
    changed = [each for each in found.balances if any(row[2] != row[4] for row in balance_rows(each))]
    table = _table("", *_headings(found), "")
    for balance in changed:
        rows = [row for row in balance_rows(balance) if row[2] != row[4]]
        table.add_row(f"[bold]{escape(balance.name)}[/]", "", "", format_p(balance.p, balance.beyond_chance))
        for name, _, one, _, other in rows[:MAX_CATEGORIES]:
            table.add_row(
                f"  {escape(shortened(name, WIDTH))}", f"{one:.1%}", f"{other:.1%}", f"{100 * (other - one):+.1f} points"
            )
    return "balances that changed", table


def _object_table(found: Comparison) -> tuple[str, Table]:
    moved = [each for each in found.frequencies if each.moved]
    table = _table("", *_headings(found), "z")
    for each in moved:
        table.add_row(f"[bold]{escape(each.name)}[/]", f"{each.distinct_a:,} distinct", f"{each.distinct_b:,} distinct", "")
        for shift in each.moved[:MAX_OBJECTS]:
            table.add_row(f"  {escape(shortened(shift.name, WIDTH))}", f"{shift.a:.2%}", f"{shift.b:.2%}", f"{shift.z:+.1f}")
    return "objects whose share of the rows moved most", table


def _row_table(found: Comparison) -> tuple[str, Table]:
    table = _table("stage", "in both", *(f"only in {name}" for name in _headings(found)), "differ", "in")
    for each in found.rows:
        alone = ((each.only_a, each.examples_a), (each.only_b, each.examples_b))
        counts = [f"{count:,}" + (f" ({', '.join(map(str, rows))} …)" if rows else "") for count, rows in alone]
        columns = ", ".join(f"{name} {count:,}" for name, count in each.columns.items())
        skipped = f"{count_of(each.not_compared, 'row')} not compared: unfinished" if each.not_compared else ""
        where = escape("; ".join(filter(None, [columns, skipped])))
        table.add_row(escape(each.stage), f"{each.both:,}", *counts, f"{each.differ:,}", where)
    return "rows by row_id", table


def _sample_table(found: Comparison) -> tuple[str, Table]:
    table = _table("row", "where", *_headings(found))
    for row in found.sample:
        for at, cell in enumerate(row.cells[:MAX_CELLS]):
            table.add_row("" if at else str(row.row_id), escape(cell_location(cell)), *_shorten_pair(cell.a, cell.b))
        if len(row.cells) > MAX_CELLS:
            table.add_row("", f"and {len(row.cells) - MAX_CELLS} more", "", "")
    return f"rows that differ, drawn by seed {found.sample_seed}", table


def cell_location(cell: CellDifference) -> str:
    """Where a value is: stage, column, line."""
    return f"{cell.stage} {cell.column}" + (f" of line {cell.sub_id}" if cell.sub_id is not None else "")
