"""A comparison for a terminal, and as a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from shardmill.compare.model import Balance, CellDifference, Comparison, RunCounts
from shardmill.pages.html import flat, render
from shardmill.pages.shown import shortened

CATEGORIES, OBJECTS, CELLS, WIDTH, LEAD = 6, 8, 6, 60, 12

DIGEST = re.compile(r"\b[0-9a-f]{40,64}\b")


def headline(found: Comparison) -> str:
    """The comparison in a sentence."""
    if not found.same_input:
        return "The runs have different inputs: their rows cannot be matched, only counts and balances compare"
    last = found.rows[-1] if found.rows else None
    differing = sum(each.differ + each.only_a + each.only_b for each in found.rows)
    if not found.plan and not differing:
        return "Nothing that shapes the data differs, and no row does"
    told = f"{len(found.plan):,} fields of the plans differ"
    if last is None:
        return f"{told}; the runs have no stage in common"
    return (
        f"{told}; of the rows of {last.stage} {last.differ:,} of {last.both:,} differ, {last.only_a:,} are only in A and "
        f"{last.only_b:,} only in B"
    )


def render_comparison(found: Comparison) -> RenderableType:
    """Tables for a terminal; `--json` and the page have all of it."""
    parts: list[RenderableType] = [f"A {escape(found.a)}\nB {escape(found.b)}\n{escape(headline(found))}"]
    for title, table in (_plan(found), _stages(found), _balances(found), _objects(found), _rows(found), _sample(found)):
        if table.row_count:
            parts += [f"\n[bold]{title}[/]", table]
    return Group(*parts)


def page_of(found: Comparison) -> str:
    """The page of a comparison, as text."""
    balances = [(each, [*rows_of(each)]) for each in found.balances if each.a or each.b]
    title = f"{found.pipeline}: {Path(found.a).name} and {Path(found.b).name}"
    return render("compare.html.j2", title=title, found=found, headline=headline(found), balances=balances, yields=_counts)


def rows_of(balance: Balance) -> Iterator[tuple[str, int, float, int, float]]:
    """Category, count and share in A, count and share in B; what moved most comes first."""
    n, m = max(sum(balance.a.values()), 1), max(sum(balance.b.values()), 1)
    counts = {name: (balance.a.get(name, 0), balance.b.get(name, 0)) for name in balance.a.keys() | balance.b.keys()}
    rows = [(name, one, one / n, other, other / m) for name, (one, other) in counts.items()]
    yield from sorted(rows, key=lambda row: (-abs(row[4] - row[2]), row[0]))


def told_p(p: float | None, beyond: bool) -> str:
    """How likely a difference is by chance."""
    if p is None:
        return "–"
    return f"{'p < 0.0001' if p < 0.0001 else f'p = {p:.4f}'}{', beyond chance' if beyond else ''}"


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _shorts(first: Any, second: Any) -> list[str]:
    """Two values from a little before where they begin to differ."""
    texts = ["–" if value is None else DIGEST.sub(lambda found: found[0][:12], flat(value)) for value in (first, second)]
    unlike = (at for at, (one, other) in enumerate(zip(*texts, strict=False)) if one != other)
    start = next(unlike, min(map(len, texts))) - LEAD
    return [escape(shortened(f"…{text[start:]}" if start > LEAD and len(text) > WIDTH else text, WIDTH)) for text in texts]


def _plan(found: Comparison) -> tuple[str, Table]:
    table = _table("field", "A", "B")
    for each in found.plan:
        table.add_row(escape(each.field), *_shorts(each.a, each.b))
    return "what differs between the plans", table


def _counts(counts: RunCounts | None) -> str:
    if counts is None:
        return "no such stage"
    share = f" ({counts.rows_out / counts.rows_in:.1%})" if counts.rows_in else ""
    lines = f", {counts.lines_out:,} lines" if counts.lines_out != counts.rows_out else ""
    return f"{counts.rows_out:,} of {counts.rows_in:,}{share}{lines}"


def _stages(found: Comparison) -> tuple[str, Table]:
    table = _table("stage", "A", "B", "")
    for each in found.stages:
        table.add_row(
            escape(each.stage),
            _counts(each.a),
            _counts(each.b),
            "the same" if each.a == each.b else told_p(each.p, each.beyond_chance),
        )
        reasons = {**(each.a.rejected if each.a else {}), **(each.b.rejected if each.b else {})}
        for reason in sorted(reasons):
            one, other = (counts.rejected.get(reason, 0) if counts else 0 for counts in (each.a, each.b))
            if one != other:
                table.add_row(f"  {escape(reason)}", f"{one:,}", f"{other:,}", "")
    return "rows that each stage lets through, and what it rejects otherwise", table


def _balances(found: Comparison) -> tuple[str, Table]:
    changed = [each for each in found.balances if any(row[2] != row[4] for row in rows_of(each))]
    table = _table("", "A", "B", "")
    for balance in changed:
        rows = [row for row in rows_of(balance) if row[2] != row[4]]
        table.add_row(f"[bold]{escape(balance.name)}[/]", "", "", told_p(balance.p, balance.beyond_chance))
        for name, _, one, _, other in rows[:CATEGORIES]:
            table.add_row(
                f"  {escape(shortened(name, WIDTH))}", f"{one:.1%}", f"{other:.1%}", f"{100 * (other - one):+.1f} points"
            )
    return "balances that moved", table


def _objects(found: Comparison) -> tuple[str, Table]:
    moved = [each for each in found.frequencies if each.moved]
    table = _table("", "A", "B", "z")
    for each in moved:
        table.add_row(f"[bold]{escape(each.name)}[/]", f"{each.distinct_a:,} different", f"{each.distinct_b:,} different", "")
        for shift in each.moved[:OBJECTS]:
            table.add_row(f"  {escape(shortened(shift.name, WIDTH))}", f"{shift.a:.2%}", f"{shift.b:.2%}", f"{shift.z:+.1f}")
    return "objects that moved most, as a share of the rows", table


def _rows(found: Comparison) -> tuple[str, Table]:
    table = _table("stage", "in both", "only A", "only B", "differ", "in")
    for each in found.rows:
        alone = ((each.only_a, each.examples_a), (each.only_b, each.examples_b))
        told = [f"{count:,}" + (f" ({', '.join(map(str, rows))} …)" if rows else "") for count, rows in alone]
        columns = ", ".join(f"{name} {count:,}" for name, count in each.columns.items())
        skipped = f"{each.not_compared:,} rows not compared: unfinished" if each.not_compared else ""
        where = escape("; ".join(filter(None, [columns, skipped])))
        table.add_row(escape(each.stage), f"{each.both:,}", *told, f"{each.differ:,}", where)
    return "rows by row_id", table


def _sample(found: Comparison) -> tuple[str, Table]:
    table = _table("row", "where", "A", "B")
    for row in found.sample:
        for at, cell in enumerate(row.cells[:CELLS]):
            table.add_row("" if at else str(row.row_id), escape(place(cell)), *_shorts(cell.a, cell.b))
        if len(row.cells) > CELLS:
            table.add_row("", f"and {len(row.cells) - CELLS} more", "", "")
    return f"rows that differ, drawn by seed {found.sample_seed}", table


def place(cell: CellDifference) -> str:
    """Where a value stands: stage, line, column."""
    return f"{cell.stage} {cell.column}" + (f" of line {cell.sub_id}" if cell.sub_id is not None else "")
