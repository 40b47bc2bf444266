"""Samples and sheets for the tests of audits."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

from shardmill.audit.sample import AuditSample, SampledStatement, Stratum
from shardmill.audit.sheet import COLUMNS


def sample_of(lines: list[int], units: list[int], claims_each: int = 1) -> AuditSample:
    """A sample of strata with so many lines, so many units drawn of each, and so many claims per unit."""
    made = [(unit, stratum) for unit, stratum in enumerate(stratum for stratum, count in enumerate(units) for _ in range(count))]
    claims = [
        SampledStatement(
            claim_id=f"s0000000000-{unit:04d}-{number:02d}",
            unit=unit,
            stratum=stratum,
            kind="k",
            claim="c",
            row_id=unit,
            sub_id=None,
            image=None,
        )
        for unit, stratum in made
        for number in range(claims_each)
    ]
    return AuditSample(
        id="s0000000000",
        pipeline="negbench",
        input_sha256="",
        run_seed=0,
        seed=0,
        rows=sum(units),
        missing_shards=[],
        fingerprints={},
        strata=[Stratum(output="o", name=str(at), lines=n, drawn=units[at]) for at, n in enumerate(lines)],
        claims=claims,
    )


def sheet_text(sample: AuditSample, verdicts: Callable[[int], str], delimiter: str = ",", **more: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(COLUMNS)
    for at, claim in enumerate(sample.claims):
        said = {"claim_id": claim.claim_id, "verdict": verdicts(at), "row_id": claim.row_id, "claim": claim.claim, **more}
        writer.writerow([said.get(name, "") for name in COLUMNS])
    return text.getvalue()


def sheet_file(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path
