"""What an audit found, for a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from shardmill.audit.result import AuditResult, ErrorRate

SHOWN = 12


def render_result(result: AuditResult) -> RenderableType:
    """A table of error rates, the agreement, and what to know about both."""
    table = Table(title="wrong in the whole dataset", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in ("claims", "right", "wrong", "disputed", "unclear", "open", "error rate"):
        table.add_column(name, no_wrap=True, justify="left" if name == "claims" else "right")
    for rate in [*result.kinds, result.overall]:
        table.add_row(*_cells(rate), end_section=rate is result.kinds[-1])
    return Group(table, *(escape(line) for line in notes(result)))


def _cells(rate: ErrorRate) -> list[str]:
    told = "–" if rate.error_rate is None else f"{rate.error_rate:.1%} ({rate.low:.1%} - {rate.high:.1%})"
    counts = (rate.right, rate.wrong, rate.disputed, rate.unclear, rate.open)
    return [escape(rate.kind), *(f"{count:,}" for count in counts), told]


def notes(result: AuditResult) -> list[str]:
    """One line for each thing that is to be known about the figures."""
    told = []
    if (agreement := result.agreement) is not None:
        kappa = "not defined (one verdict only)" if agreement.kappa is None else f"{agreement.kappa:.2f}"
        same = "–" if agreement.same is None else f"{agreement.same:.1%}"
        told.append(
            f"{agreement.method} {kappa}; {same} of the verdicts of {agreement.sheets} sheets are the same, on "
            f"{agreement.claims:,} claims that all judged"
        )
    for each in result.disagreements[:SHOWN]:
        said = ", ".join(f"{name}: {verdict}" for name, verdict in each.verdicts.items())
        told.append(f"row {each.row_id}, {each.kind} ({said}): {each.claim[:160]}")
    if len(result.disagreements) > SHOWN:
        told.append(f"and {len(result.disagreements) - SHOWN:,} more disagreements in audit.json")
    if result.overall.open:
        told.append(f"{result.overall.open:,} of {result.claims:,} claims have no verdict")
    told += [f"no row of {name} was judged ({lines:,} in the dataset): it is in no rate" for name, lines in result.unseen.items()]
    if result.changed_since:
        told.append(f"since the sample was drawn, {', '.join(result.changed_since)} changed: the rates are of the rows of then")
    return told
