"""From a share to a verdict: what is surely too much fails, what may be too much is for a person to look at, the rest passes."""

from __future__ import annotations

from collections.abc import Sequence

from shardmill.quality.model import QualityFinding, RowExample, Verdict
from shardmill.quality.rules import Limits
from shardmill.quality.significance import wilson_interval
from shardmill.util.words import percent, whole_percent

MAX_EXAMPLES = 5
MAX_CHARACTERS = 300
TOO_FEW = "Too few rows to be sure: "


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
    'at most 28 %; fails if surely above 32 %'
    """
    if limits.is_least:
        wanted, beyond, can_fail = f"at least {whole_percent(limits.look)}", "below", limits.fail > 0
    else:
        wanted, beyond, can_fail = f"at most {whole_percent(limits.look)}" if limits.look else "none", "above", limits.fail < 1
    return wanted + (f"; fails if surely {beyond} {whole_percent(limits.fail)}" if can_fail else "")


def judged(
    id: str,
    meaning: str,
    limits: Limits,
    found: int,
    n: int,
    *,
    fault: str = "",
    advice: str,
    examples: Sequence[RowExample] = (),
    detail: str = "",
    enough: int = 0,
) -> QualityFinding:
    """The finding on a share of `found` among `n` things; `detail` is appended to the figure.

    Fewer than `enough` things fail nothing: the finding then says that they are too few to be sure.
    """
    shown = f"{percent(found / n)} ({found:,} of {n:,})" if n else "nothing to measure yet"
    verdict = verdict_on(limits, found, n)
    if 0 < n < enough and verdict != "pass":
        verdict, fault = "look", f"{TOO_FEW}{fault or meaning}"
    return QualityFinding(
        id=id,
        rule=meaning,
        fault=fault,
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
