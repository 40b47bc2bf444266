"""What ticked sheets say: error rates for the whole dataset with their intervals, and how far the annotators agree.

The names of the fields are those of `audit.json`, where a statement is a claim.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shardmill.audit.agreement import cohen_kappa, fleiss_kappa, raw_agreement
from shardmill.audit.sample import FORMAT, RESULT, AuditSample, SampledStatement
from shardmill.audit.sheet import RIGHT, UNCLEAR, WRONG, Sheet
from shardmill.quality.significance import wilson_interval
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError
from shardmill.util.words import count_of


class AuditPart(BaseModel):
    """A part of a result."""

    model_config = ConfigDict(extra="forbid")


class ErrorRate(AuditPart):
    """How often statements are wrong. `error_rate` is weighted to the whole dataset; `low` and `high` are its 95 % interval.

    The counts are of statements: most sheets say right, or wrong, or as many one as the other (`disputed`); all say `unclear`,
    which is in no rate; or nobody has judged it yet (`open`). `worth` is the effective sample size: how many statements, drawn
    at random and each from another row, would give an interval as narrow.
    """

    kind: str
    right: int
    wrong: int
    disputed: int
    unclear: int
    open: int
    error_rate: float | None
    low: float
    high: float
    worth: float


class Agreement(AuditPart):
    """How far the sheets agree on the statements that all of them judged. `kappa` is Cohen's for two sheets, Fleiss' for more."""

    method: str
    sheets: int
    claims: int
    same: float | None = Field(description="share of pairs of verdicts that are the same")
    kappa: float | None


class Disagreement(AuditPart):
    """A statement that the sheets judged differently, with each verdict by sheet."""

    claim_id: str
    row_id: int
    sub_id: int | None
    kind: str
    claim: str
    verdicts: dict[str, str]
    notes: dict[str, str]


class SheetFigures(AuditPart):
    """One sheet: who ticked it, and its verdicts."""

    annotator: str
    file: str
    right: int
    wrong: int
    unclear: int


class AuditResult(AuditPart):
    """All figures, as written to `audit.json`."""

    format: int = FORMAT
    created: str
    sample: str
    seed: int
    claims: int
    units_judged: int
    unseen: dict[str, int] = Field(description="strata without a judged line, with the number of their lines")
    changed_since: list[str] = Field(description="stages that were changed after the sample was drawn")
    sheets: list[SheetFigures]
    overall: ErrorRate
    kinds: list[ErrorRate]
    agreement: Agreement | None
    disagreements: list[Disagreement]


def summarize_sheets(sample: AuditSample, sheets: Sequence[Sheet], changed: Sequence[str] = ()) -> AuditResult:
    """The figures of one sheet or several.

    With several, a statement is as wrong as the share of sheets that say so: the error rate is that of an average annotator.

    Args:
        sample: what was drawn.
        sheets: the sheets, one for each annotator.
        changed: stages that were changed since, to be noted.

    Raises:
        UserError: the same sheet was given twice.
    """
    names = _annotators(sheets)
    verdicts = {
        each.claim_id: [sheet.ticks[each.claim_id].verdict for sheet in sheets if each.claim_id in sheet.ticks]
        for each in sample.claims
    }
    judged = {each.unit: each.stratum for each in sample.claims if verdicts[each.claim_id]}
    weights = _weights(sample, judged)
    by_kind: defaultdict[str, list[SampledStatement]] = defaultdict(list)
    for statement in sample.claims:
        by_kind[statement.kind].append(statement)
    return AuditResult(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        sample=sample.id,
        seed=sample.seed,
        claims=len(sample.claims),
        units_judged=len(judged),
        unseen={
            f"{each.output}: {each.name}": each.lines
            for stratum, each in enumerate(sample.strata)
            if each.lines and stratum not in judged.values()
        },
        changed_since=list(changed),
        sheets=[_sheet_figures(name, sheet) for name, sheet in zip(names, sheets, strict=True)],
        overall=_error_rate("all statements", sample.claims, verdicts, judged, weights),
        kinds=[_error_rate(kind, found, verdicts, judged, weights) for kind, found in sorted(by_kind.items())],
        agreement=_agreement(sample, sheets),
        disagreements=_disagreements(sample, names, sheets),
    )


def save_result(result: AuditResult, folder: Path) -> Path:
    """Write `audit.json`; returns its path."""
    path = folder / RESULT
    with replacing(path) as file:
        file.write((result.model_dump_json(indent=1) + "\n").encode("utf-8"))
    return path


def load_result(folder: Path) -> AuditResult | None:
    """The result of an audit, for the report; None if there is none. Raises UserError for a corrupt one."""
    path = folder / RESULT
    try:
        return AuditResult.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(
            f"{path} is corrupt ({count_of(error.error_count(), 'error')}); read the sheets again: audit --read"
        ) from error


def _weights(sample: AuditSample, judged: Mapping[int, int]) -> dict[int, float]:
    """How many lines of the dataset a judged line of each stratum represents."""
    seen = Counter(judged.values())
    return {stratum: sample.strata[stratum].lines / count for stratum, count in seen.items()}


def _error_rate(
    kind: str,
    statements: Iterable[SampledStatement],
    verdicts: Mapping[str, Sequence[str]],
    judged: Mapping[int, int],
    weights: Mapping[int, float],
) -> ErrorRate:
    """A weighted error rate and its interval.

    The rate is a ratio of weighted sums. Its variance is linearised, with the statements of a row as one cluster, since they
    are about one image and tend to be wrong together (Särndal, Swensson & Wretman, "Model Assisted Survey Sampling", 1992,
    ch. 5). The interval is Wilson's for as many statements as give that variance (Korn & Graubard, "Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data", Survey Methodology 24, 1998), but
    for no more than there are.
    """
    decided: list[tuple[SampledStatement, float]] = []
    counts: Counter[str] = Counter()
    for statement in statements:
        found = Counter(verdicts[statement.claim_id])
        if known := found[RIGHT] + found[WRONG]:
            wrong = found[WRONG] / known
            decided.append((statement, wrong))
            counts["disputed" if wrong == 0.5 else WRONG if wrong > 0.5 else RIGHT] += 1
        else:
            counts[UNCLEAR if found else "open"] += 1
    share, worth = _weighted_share(decided, judged, weights) if decided else (None, 0.0)
    low, high = wilson_interval(share or 0.0, worth)
    numbers = {name: counts[name] for name in (RIGHT, WRONG, "disputed", UNCLEAR, "open")}
    return ErrorRate(kind=kind, **numbers, error_rate=share, low=low, high=high, worth=worth)


def _weighted_share(
    decided: Sequence[tuple[SampledStatement, float]], judged: Mapping[int, int], weights: Mapping[int, float]
) -> tuple[float, float]:
    """The weighted share of wrong statements, and its effective sample size."""
    mass = sum(weights[each.stratum] for each, _ in decided)
    share = sum(weights[each.stratum] * wrong for each, wrong in decided) / mass
    variance = _variance(share, decided, judged, weights) / mass**2
    if 0 < share < 1 and variance > 0:
        return share, min(float(len(decided)), share * (1 - share) / variance)
    return share, mass**2 / sum(weights[each.stratum] ** 2 for each, _ in decided)


def _variance(
    share: float, decided: Iterable[tuple[SampledStatement, float]], judged: Mapping[int, int], weights: Mapping[int, float]
) -> float:
    """The variance of the weighted sum of each line's departures from the share, stratum by stratum."""
    departures = dict.fromkeys(judged, 0.0)
    for statement, wrong in decided:
        departures[statement.unit] += wrong - share
    by_stratum: defaultdict[int, list[float]] = defaultdict(list)
    for unit, departure in departures.items():
        by_stratum[judged[unit]].append(departure)
    total = 0.0
    for stratum, values in by_stratum.items():
        n = len(values)
        # With a single row in a stratum its mean is unknown; 0 (the overall share) errs towards a wider interval.
        mean = sum(values) / n if n > 1 else 0.0
        total += weights[stratum] ** 2 * n / max(n - 1, 1) * sum((value - mean) ** 2 for value in values)
    return total


def _annotators(sheets: Sequence[Sheet]) -> list[str]:
    """A name for each sheet: its annotator, with the file where two have the same name."""
    if len({(sheet.path.resolve(), sheet.annotator) for sheet in sheets}) < len(sheets):
        raise UserError("the same sheet was given twice; agreement is between the sheets of different annotators")
    counts = Counter(sheet.annotator for sheet in sheets)
    return [sheet.annotator if counts[sheet.annotator] == 1 else f"{sheet.annotator} ({sheet.path})" for sheet in sheets]


def _sheet_figures(name: str, sheet: Sheet) -> SheetFigures:
    counts = Counter(tick.verdict for tick in sheet.ticks.values())
    return SheetFigures(annotator=name, file=sheet.path.name, right=counts[RIGHT], wrong=counts[WRONG], unclear=counts[UNCLEAR])


def _agreement(sample: AuditSample, sheets: Sequence[Sheet]) -> Agreement | None:
    if len(sheets) < 2:
        return None
    shared = [each.claim_id for each in sample.claims if all(each.claim_id in sheet.ticks for sheet in sheets)]
    ratings = [[sheet.ticks[claim_id].verdict for sheet in sheets] for claim_id in shared]
    two = len(sheets) == 2
    kappa = cohen_kappa([one for one, _ in ratings], [other for _, other in ratings]) if two else fleiss_kappa(ratings)
    return Agreement(
        method="Cohen's kappa" if two else "Fleiss' kappa",
        sheets=len(sheets),
        claims=len(shared),
        same=raw_agreement(ratings),
        kappa=kappa,
    )


def _disagreements(sample: AuditSample, names: Sequence[str], sheets: Sequence[Sheet]) -> list[Disagreement]:
    found = []
    for each in sample.claims:
        ticks = {
            name: sheet.ticks[each.claim_id] for name, sheet in zip(names, sheets, strict=True) if each.claim_id in sheet.ticks
        }
        if len({tick.verdict for tick in ticks.values()}) > 1:
            found.append(
                Disagreement(
                    **each.model_dump(include={"claim_id", "row_id", "sub_id", "kind", "claim"}),
                    verdicts={name: tick.verdict for name, tick in ticks.items()},
                    notes={name: tick.note for name, tick in ticks.items() if tick.note},
                )
            )
    return found
