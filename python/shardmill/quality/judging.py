"""From a figure to a verdict: what is surely too much fails, what may be is to be looked at, the rest passes."""

from __future__ import annotations

from collections.abc import Sequence

from shardmill.quality.blind import wilson
from shardmill.quality.model import QualityFinding, RowExample, Verdict

MAX_EXAMPLES = 5
SHORT = 300


def percent(share: float) -> str:
    """31.2 %; a small share that is not nothing keeps a digit that shows it.

    >>> percent(0.312), percent(0), percent(0.00042), percent(0.0000001)
    ('31.2 %', '0 %', '0.04 %', 'under 0.01 %')
    """
    if not share:
        return "0 %"
    if share < 0.0001:
        return "under 0.01 %"
    return f"{100 * share:.2f} %" if share < 0.001 else f"{100 * share:.1f} %"


def at_most(
    id: str,
    rule: str,
    bad: int,
    n: int,
    *,
    look: float,
    fail: float,
    means: str,
    examples: Sequence[RowExample] = (),
    told: str = "",
) -> QualityFinding:
    """A rule by which a share is to be small. It is held to `look`; if it is surely (Wilson, 95 %) above `fail`, it fails."""
    share = bad / n if n else 0.0
    verdict: Verdict = "pass"
    if n == 0 or share > look + 1e-9:
        verdict = "look"
    if n and wilson(bad, n)[0] > fail:
        verdict = "fail"
    shown = f"{percent(share)} ({bad:,} of {n:,})" if n else "nothing to measure yet"
    return QualityFinding(
        id=id,
        rule=rule,
        verdict=verdict,
        value=round(share, 6) if n else None,
        shown=f"{shown}{': ' + told if told and n else ''}",
        threshold=("none" if look == 0 else f"at most {percent(look)}") + f", fails surely above {percent(fail)}",
        n=n,
        means=means,
        examples=list(examples)[:MAX_EXAMPLES],
    )


def never(
    id: str, rule: str, bad: int, n: int, *, means: str, examples: Sequence[RowExample] = (), told: str = ""
) -> QualityFinding:
    """A rule that every row keeps: one that does not is to be looked at, more than surely 0.5 % fail."""
    return at_most(id, rule, bad, n, look=0.0, fail=0.005, means=means, examples=examples, told=told)


def at_least(
    id: str,
    rule: str,
    good: int,
    n: int,
    *,
    look: float,
    fail: float,
    means: str,
    examples: Sequence[RowExample] = (),
    told: str = "",
) -> QualityFinding:
    """A rule by which a share is to be large. It is held to `look`; if it is surely below `fail`, it fails."""
    turned = at_most("", "", n - good, n, look=1 - look, fail=1 - fail, means="")
    shown = f"{percent(good / n)} ({good:,} of {n:,})" if n else "nothing to measure yet"
    return turned.model_copy(
        update={
            "id": id,
            "rule": rule,
            "value": round(good / n, 6) if n else None,
            "shown": f"{shown}{': ' + told if told and n else ''}",
            "threshold": f"at least {percent(look)}, fails surely below {percent(fail)}",
            "means": means,
            "examples": list(examples)[:MAX_EXAMPLES],
        }
    )


def example(row_id: int, text: str, sub_id: int | None = None) -> RowExample:
    """A row that shows something; a long text is cut."""
    return RowExample(row_id=row_id, sub_id=sub_id, text=text if len(text) <= SHORT else text[: SHORT - 1] + "…")
