"""From a share to a verdict: what is surely too much fails, what may be too much is for a person to look at, the rest passes."""

from __future__ import annotations

from collections.abc import Sequence

from shardmill.quality.model import QualityFinding, RowExample, Verdict
from shardmill.quality.rules import Limits
from shardmill.quality.significance import wilson_interval

MAX_EXAMPLES = 5
MAX_CHARACTERS = 300


def percent(share: float) -> str:
    """A share as people read it; a small one that is not zero keeps a digit that shows it.

    >>> percent(0.312), percent(0), percent(0.00042), percent(0.0000001)
    ('31.2 %', '0 %', '0.04 %', 'under 0.01 %')
    """
    if not share:
        return "0 %"
    if share < 0.0001:
        return "under 0.01 %"
    return f"{100 * share:.2f} %" if share < 0.001 else f"{100 * share:.1f} %"


def verdict_on(limits: Limits, found: int, n: int) -> Verdict:
    """The verdict on `found` of `n` things; without any thing a person should look."""
    if not n:
        return "look"
    look, fail = limits.look, limits.fail
    if limits.is_least:
        found, look, fail = n - found, 1 - look, 1 - fail
    if wilson_interval(found / n, n)[0] > fail:
        return "fail"
    return "look" if found / n > look + 1e-9 else "pass"


def threshold_text(limits: Limits) -> str:
    """The limits in words.

    >>> threshold_text(Limits(0.28, 0.32))
    'at most 28.0 %; fails if surely above 32.0 %'
    """
    if limits.is_least:
        wanted, beyond, can_fail = f"at least {percent(limits.look)}", "below", limits.fail > 0
    else:
        wanted, beyond, can_fail = f"at most {percent(limits.look)}" if limits.look else "none", "above", limits.fail < 1
    return wanted + (f"; fails if surely {beyond} {percent(limits.fail)}" if can_fail else "")


def judged(
    id: str,
    meaning: str,
    limits: Limits,
    found: int,
    n: int,
    *,
    advice: str,
    examples: Sequence[RowExample] = (),
    detail: str = "",
    enough: int = 0,
) -> QualityFinding:
    """The finding on a share of `found` among `n` things; `detail` is appended to the figure.

    Fewer than `enough` things fail nothing: the finding then says that they are too few to judge.
    """
    shown = f"{percent(found / n)} ({found:,} of {n:,})" if n else "nothing to measure yet"
    verdict = verdict_on(limits, found, n)
    if 0 < n < enough and verdict != "pass":
        verdict, detail = "look", "too few to judge" + (f"; {detail}" if detail else "")
    return QualityFinding(
        id=id,
        rule=meaning,
        verdict=verdict,
        value=round(found / n, 6) if n else None,
        shown=f"{shown}: {detail}" if detail and n else shown,
        threshold=threshold_text(limits),
        n=n,
        means=advice,
        examples=list(examples)[:MAX_EXAMPLES],
    )


def example(row_id: int, text: str, sub_id: int | None = None) -> RowExample:
    """A row that shows something; a long text is cut."""
    cut = text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
    return RowExample(row_id=row_id, sub_id=sub_id, text=cut)
