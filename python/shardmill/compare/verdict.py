"""A comparison in words: what the runs are called, what differs, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shardmill.compare.model import Comparison, StageRows
from shardmill.util.words import count_of

MAX_FIELDS = 3
"""More settings that differ are counted in the headline, not named."""
MAX_SHOWN_P = 0.1


def names_of(found: Comparison) -> tuple[str, str]:
    """What the two runs are called: by their folders, with as much of the paths as tells them apart."""
    parts = [Path(found.a).parts, Path(found.b).parts]
    count = next((count for count in (1, 2, 3) if parts[0][-count:] != parts[1][-count:]), max(map(len, parts)))
    one, other = ("/".join(own[-count:]) for own in parts)
    return one, other


def headline(found: Comparison) -> str:
    """The comparison in a sentence: what of the plans differs, and how many of the last rows do."""
    if not found.same_input:
        return "The runs have different inputs: rows cannot be matched, so only counts and balances are compared."
    if not found.plan and not any(each.differ + each.only_a + each.only_b for each in found.rows):
        return "The plans are the same, and so are all rows."
    rows = _rows_in_words(found.rows[-1], names_of(found)) if found.rows else "the runs have no stage in common"
    return f"{_plan_in_words([each.field for each in found.plan])}; {rows}."


def _plan_in_words(fields: Sequence[str]) -> str:
    if not fields:
        return "The plans are the same"
    named = [{"shards": "the number of shards", "seed": "the seed"}.get(field, field) for field in fields]
    if len(named) > MAX_FIELDS:
        return f"The plans differ in {len(named):,} settings, such as {named[0]}"
    listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    return f"Of the plans only {listed} {'differs' if len(named) == 1 else 'differ'}"


def _rows_in_words(found: StageRows, names: tuple[str, str]) -> str:
    """`all 342 rows of paraphrase_mcq that both runs have differ; 3 are only in first`."""
    if not found.both:
        said = f"no row of {found.stage} is in both runs"
    elif found.differ == found.both:
        said = f"all {count_of(found.both, 'row')} of {found.stage} that both runs have differ"
    elif found.differ:
        said = f"{found.differ:,} of the {count_of(found.both, 'row')} of {found.stage} that both runs have differ"
    else:
        said = f"the {count_of(found.both, 'row')} of {found.stage} that both runs have are the same"
    alone = [(count, name) for count, name in zip((found.only_a, found.only_b), names, strict=True) if count]
    return "; ".join([said, *(f"{count_of(count, 'row')} only in {name}" for count, name in alone)])


def format_p(p: float | None, beyond: bool) -> str:
    """Whether a difference is beyond chance, with its p-value where that says anything.

    >>> format_p(1.0, False), format_p(0.0123, False), format_p(1e-9, True)
    ('may be chance', 'may be chance (p = 0.012)', 'beyond chance (p < 0.0001)')
    """
    if p is None:
        return "–"
    if p > MAX_SHOWN_P:
        return "may be chance"
    shown = "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"
    return f"{'beyond' if beyond else 'may be'} chance ({shown})"
