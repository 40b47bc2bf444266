"""The result of an audit for a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from shardmill.audit.result import AuditResult, ErrorRate
from shardmill.util.words import count_of

SHOWN = 12


def render_result(result: AuditResult) -> RenderableType:
    """A table of error rates, the agreement, and what to know about both."""
    table = Table(title="error rates, weighted to the whole dataset", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("statements", "right", "wrong", "disputed", "unclear", "open", "error rate"):
        table.add_column(name, no_wrap=True, justify="left" if name == "statements" else "right")
    for rate in [*result.kinds, result.overall]:
        table.add_row(*_cells(rate), end_section=rate is result.kinds[-1])
    return Group(table, *(escape(line) for line in notes(result)))


def _cells(rate: ErrorRate) -> list[str]:
    interval = "–" if rate.error_rate is None else f"{rate.error_rate:.1%} ({rate.low:.1%} - {rate.high:.1%})"
    counts = (rate.right, rate.wrong, rate.disputed, rate.unclear, rate.open)
    return [escape(rate.kind), *(f"{count:,}" for count in counts), interval]


def notes(result: AuditResult) -> list[str]:
    """One line for each thing to know about the figures."""
    lines = []
    if (agreement := result.agreement) is not None:
        kappa = "not defined (one verdict only)" if agreement.kappa is None else f"{agreement.kappa:.2f}"
        same = "–" if agreement.same is None else f"{agreement.same:.1%}"
        lines.append(
            f"{agreement.method} {kappa}; {same} of the verdicts of {agreement.sheets} sheets are the same, on "
            f"{count_of(agreement.claims, 'statement')} that all of them judged"
        )
    for each in result.disagreements[:SHOWN]:
        said = ", ".join(f"{name}: {verdict}" for name, verdict in each.verdicts.items())
        lines.append(f"row {each.row_id}, {each.kind} ({said}): {each.claim[:160]}")
    if len(result.disagreements) > SHOWN:
        lines.append(f"and {count_of(len(result.disagreements) - SHOWN, 'more disagreement')} in audit.json")
    if result.overall.open:
        lines.append(f"{result.overall.open:,} of {count_of(result.claims, 'statement')} without a verdict")
    lines += [
        f"no row of {name} was judged ({count:,} in the dataset): no rate covers it" for name, count in result.unseen.items()
    ]
    if result.changed_since:
        changed = ", ".join(result.changed_since)
        lines.append(f"{changed} changed since the sample was drawn: the rates are those of the rows before the change")
    return lines
