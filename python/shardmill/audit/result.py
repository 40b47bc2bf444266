"""What ticked sheets say: error rates for the whole dataset with their intervals, and how far the people agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shardmill.audit.agreement import cohen_kappa, fleiss_kappa, raw_agreement
from shardmill.audit.draw import FORMAT, RESULT, AuditSample, SampledClaim
from shardmill.audit.sheet import RIGHT, UNCLEAR, WRONG, Sheet
from shardmill.quality.significance import wilson_interval
from shardmill.store.atomic import replacing
from shardmill.util.errors import UserError


class AuditPart(BaseModel):
    """A part of a result."""

    model_config = ConfigDict(extra="forbid")


class ErrorRate(AuditPart):
    """How often claims are wrong. `error_rate` is weighted to the whole dataset; `low` and `high` bound it with 95 % confidence.

    The counts are of claims: most sheets say right, or wrong, or as many the one as the other (`disputed`); all say `unclear`,
    which is in no rate; or nobody has judged it yet (`open`). `worth` is how many claims, drawn evenly and each from another row,
    would tell as much as the right and wrong ones here do.
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
    """How far the sheets agree on the claims that all of them judged. `kappa` is Cohen's for two sheets, Fleiss' for more."""

    method: str
    sheets: int
    claims: int
    same: float | None = Field(description="share of pairs of verdicts that are the same")
    kappa: float | None


class Disagreement(AuditPart):
    """A claim that the sheets judged differently, with each verdict by sheet."""

    claim_id: str
    row_id: int
    sub_id: int | None
    kind: str
    claim: str
    verdicts: dict[str, str]
    notes: dict[str, str]


class SheetFigures(AuditPart):
    """One sheet: whose, and how much of it was ticked."""

    annotator: str
    file: str
    right: int
    wrong: int
    unclear: int


class AuditResult(AuditPart):
    """All of it, as `audit.json` holds it."""

    format: int = FORMAT
    created: str
    sample: str
    seed: int
    claims: int
    units_judged: int
    unseen: dict[str, int] = Field(description="strata of which no line was judged, with the number of their lines")
    changed_since: list[str] = Field(description="stages that were done otherwise after the sample was drawn")
    sheets: list[SheetFigures]
    overall: ErrorRate
    kinds: list[ErrorRate]
    agreement: Agreement | None
    disagreements: list[Disagreement]


def result_of(sample: AuditSample, sheets: Sequence[Sheet], changed: Sequence[str] = ()) -> AuditResult:
    """The figures of one sheet or several. With several, a claim is as wrong as the share of them that say so, so that the error
    rate is that of an average person of theirs.

    Raises UserError for the same sheet twice.
    """
    names = _names(sheets)
    said = {
        claim.claim_id: [sheet.ticks[claim.claim_id].verdict for sheet in sheets if claim.claim_id in sheet.ticks]
        for claim in sample.claims
    }
    judged = {claim.unit: claim.stratum for claim in sample.claims if said[claim.claim_id]}
    weights = _weights(sample, judged)
    by_kind: defaultdict[str, list[SampledClaim]] = defaultdict(list)
    for claim in sample.claims:
        by_kind[claim.kind].append(claim)
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
        sheets=[_figures(name, sheet) for name, sheet in zip(names, sheets, strict=True)],
        overall=_rate("all claims", sample.claims, said, judged, weights),
        kinds=[_rate(kind, claims, said, judged, weights) for kind, claims in sorted(by_kind.items())],
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
    """The result of an audit that was read back, for the report; None if there was none. Raises UserError for a damaged one."""
    path = folder / RESULT
    try:
        return AuditResult.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(f"{path} is damaged ({error.error_count()} faults); read the sheets again: audit --read") from error


def _weights(sample: AuditSample, judged: Mapping[int, int]) -> dict[int, float]:
    """How many lines of the dataset a judged line of each stratum stands for."""
    seen = Counter(judged.values())
    return {stratum: sample.strata[stratum].lines / count for stratum, count in seen.items()}


def _rate(
    kind: str,
    claims: Iterable[SampledClaim],
    said: Mapping[str, Sequence[str]],
    judged: Mapping[int, int],
    weights: Mapping[int, float],
) -> ErrorRate:
    """A weighted error rate and its interval.

    The rate is a ratio of weighted sums. Its variance is linearised, with the claims of a line as one cluster, since they are
    about one picture and tend to be wrong together (Särndal, Swensson & Wretman, "Model Assisted Survey Sampling", 1992, ch. 5).
    The interval is Wilson's for as many claims as give that variance (Korn & Graubard, "Confidence intervals for proportions with
    small expected number of positive counts estimated from survey data", Survey Methodology 24, 1998), never more than there are.
    """
    told: list[tuple[SampledClaim, float]] = []
    counts: Counter[str] = Counter()
    for claim in claims:
        verdicts = Counter(said[claim.claim_id])
        if known := verdicts[RIGHT] + verdicts[WRONG]:
            told.append((claim, verdicts[WRONG] / known))
            counts["disputed" if told[-1][1] == 0.5 else WRONG if told[-1][1] > 0.5 else RIGHT] += 1
        else:
            counts[UNCLEAR if verdicts else "open"] += 1
    share, worth = _weighted(told, judged, weights) if told else (None, 0.0)
    low, high = wilson_interval(share or 0.0, worth)
    numbers = {name: counts[name] for name in (RIGHT, WRONG, "disputed", UNCLEAR, "open")}
    return ErrorRate(kind=kind, **numbers, error_rate=share, low=low, high=high, worth=worth)


def _weighted(
    told: Sequence[tuple[SampledClaim, float]], judged: Mapping[int, int], weights: Mapping[int, float]
) -> tuple[float, float]:
    """The weighted share of wrong claims, and how many claims it is worth."""
    mass = sum(weights[claim.stratum] for claim, _ in told)
    share = sum(weights[claim.stratum] * wrong for claim, wrong in told) / mass
    variance = _variance(share, told, judged, weights) / mass**2
    if 0 < share < 1 and variance > 0:
        return share, min(float(len(told)), share * (1 - share) / variance)
    return share, mass**2 / sum(weights[claim.stratum] ** 2 for claim, _ in told)


def _variance(
    share: float, told: Iterable[tuple[SampledClaim, float]], judged: Mapping[int, int], weights: Mapping[int, float]
) -> float:
    """The variance of the weighted sum of each line's departures from the share, stratum by stratum."""
    departures = dict.fromkeys(judged, 0.0)
    for claim, wrong in told:
        departures[claim.unit] += wrong - share
    by_stratum: defaultdict[int, list[float]] = defaultdict(list)
    for unit, departure in departures.items():
        by_stratum[judged[unit]].append(departure)
    total = 0.0
    for stratum, values in by_stratum.items():
        n = len(values)
        mean = sum(values) / n if n > 1 else 0.0  # of a single line nothing is known but its distance from the share
        total += weights[stratum] ** 2 * n / max(n - 1, 1) * sum((value - mean) ** 2 for value in values)
    return total


def _names(sheets: Sequence[Sheet]) -> list[str]:
    """A name for each sheet: its annotator, with the file beside it where two have the same."""
    if len({sheet.path.resolve() for sheet in sheets}) < len(sheets):
        raise UserError("the same sheet was given twice; agreement is between the sheets of different people")
    counts = Counter(sheet.annotator for sheet in sheets)
    return [sheet.annotator if counts[sheet.annotator] == 1 else f"{sheet.annotator} ({sheet.path})" for sheet in sheets]


def _figures(name: str, sheet: Sheet) -> SheetFigures:
    counts = Counter(tick.verdict for tick in sheet.ticks.values())
    return SheetFigures(annotator=name, file=sheet.path.name, right=counts[RIGHT], wrong=counts[WRONG], unclear=counts[UNCLEAR])


def _agreement(sample: AuditSample, sheets: Sequence[Sheet]) -> Agreement | None:
    if len(sheets) < 2:
        return None
    shared = [claim.claim_id for claim in sample.claims if all(claim.claim_id in sheet.ticks for sheet in sheets)]
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
    for claim in sample.claims:
        ticks = {
            name: sheet.ticks[claim.claim_id] for name, sheet in zip(names, sheets, strict=True) if claim.claim_id in sheet.ticks
        }
        if len({tick.verdict for tick in ticks.values()}) > 1:
            found.append(
                Disagreement(
                    **claim.model_dump(include={"claim_id", "row_id", "sub_id", "kind", "claim"}),
                    verdicts={name: tick.verdict for name, tick in ticks.items()},
                    notes={name: tick.note for name, tick in ticks.items() if tick.note},
                )
            )
    return found
