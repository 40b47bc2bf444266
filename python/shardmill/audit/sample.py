"""Draw what people are to check of a run: a seeded, stratified sample of its rows, and what each of them states.

The same rows are drawn for any number of shards. Each output of the pipeline gets an equal share of the sample, and within it
each stratum does, so that rare ones are seen too; error rates are weighted back to the whole dataset afterwards.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from shardmill.audit.statements import AuditOutput, AuditRow, require_outputs
from shardmill.core.seeding import seed_of, uniform
from shardmill.store.cells import decode
from shardmill.store.frames import scan_frame
from shardmill.store.image_columns import image_reference
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import choose_shards
from shardmill.tables.parquet_images import check_embedded
from shardmill.util.atomic import replacing
from shardmill.util.errors import UserError
from shardmill.util.words import count_of

FOLDER, SAMPLE, SHEET, PAGE, RESULT = "audit", "sample.json", "audit.csv", "audit.html", "audit.json"
FORMAT = 1
MAX_SUB_IDS = 1 << 16
"""More lines than a row has in any stage: row_id * MAX_SUB_IDS + sub_id is a key of its own for each line."""


class Stratum(BaseModel):
    """A group of lines: how many the run has, and how many of them are in the sample."""

    model_config = ConfigDict(extra="forbid")
    output: str
    name: str
    lines: int
    drawn: int


class SampledStatement(BaseModel):
    """A statement of the sample: which row of the sample (`unit`) and which of its strata it belongs to.

    The names of the fields are those of the files; `claim` is the statement's text.
    """

    model_config = ConfigDict(extra="forbid")
    claim_id: str
    unit: int
    stratum: int
    kind: str
    claim: str
    row_id: int
    sub_id: int | None
    image: str | None


class AuditSample(BaseModel):
    """What was drawn, kept beside the sheet: it says what the ticks in a sheet are worth."""

    model_config = ConfigDict(extra="forbid")
    format: int = FORMAT
    id: str
    pipeline: str
    input_sha256: str
    run_seed: int
    seed: int
    rows: int
    missing_shards: list[int]
    fingerprints: dict[str, dict[str, str]]
    strata: list[Stratum]
    claims: list[SampledStatement]


@dataclass(frozen=True)
class SampledRow:
    """One row of the sample: where it comes from, its image, and what it shows and states."""

    output: AuditOutput
    stratum: int
    row_id: int
    sub_id: int | None
    image: str | None
    shown: AuditRow


def draw_sample(
    run: RunFolder, rows: int = 200, seed: int = 0, *, allow_missing: bool = False
) -> tuple[AuditSample, list[SampledRow]]:
    """Draw a sample of `rows` rows.

    Returns:
        The sample, and its rows in the order in which they are to be judged. That order is random, so that the first part of
        the sheet is a sample too.

    Raises:
        UserError: shards are not finished, unless `allow_missing` leaves them out.
    """
    outputs = require_outputs(run)
    shards, missing = choose_shards(run, [output.stage for output in outputs], allow_missing)
    found = [_first_drawn(run, output, shards, rows, seed) for output in outputs]
    quotas = share_out(rows, [sum(lines.values()) for lines, _ in found])
    strata: list[Stratum] = []
    chosen: list[SampledRow] = []
    for output, (lines, first), quota in zip(outputs, found, quotas, strict=True):
        names = sorted(lines)
        for name, count in zip(names, share_out(quota, [lines[each] for each in names]), strict=True):
            keys = first.filter(pl.col("stratum") == name).head(count).select("row_id", "sub_id").rows()
            chosen += _read_rows(run, output, len(strata), keys)
            strata.append(Stratum(output=output.kind, name=name, lines=lines[name], drawn=count))
    chosen.sort(key=lambda row: (seed_of(seed, "audit order", row.output.kind, row.row_id, row.sub_id), row.stratum))
    return _make_sample(run, rows, seed, missing, strata, chosen), chosen


def share_out(total: int, sizes: Sequence[int]) -> list[int]:
    """Divide `total` as evenly as the sizes allow: no share above its size, what small ones leave goes to the others."""
    shares = [0] * len(sizes)
    while (room := [at for at, size in enumerate(sizes) if shares[at] < size]) and (left := total - sum(shares)) > 0:
        for at in room[:left]:
            shares[at] += min(max(left // len(room), 1), sizes[at] - shares[at])
    return shares


def _first_drawn(
    run: RunFolder, output: AuditOutput, shards: Sequence[int], rows: int, seed: int
) -> tuple[dict[str, int], pl.DataFrame]:
    """The number of lines of each stratum, and the `rows` of them with the lowest draws. One shard is in memory at a time."""
    kinds = run.kinds(output.stage)
    sub_id = pl.col("sub_id") if "sub_id" in kinds else pl.lit(None, pl.Int64).alias("sub_id")
    key = pl.col("row_id") * MAX_SUB_IDS + pl.col("sub_id").fill_null(0)
    counts: defaultdict[str, int] = defaultdict(int)
    first = pl.DataFrame(schema={"row_id": pl.Int64, "sub_id": pl.Int64, "stratum": pl.String, "draw": pl.Float64})
    for shard in shards:
        part = scan_frame(run.files(output.stage, shard).part, kinds, run.plan.part_format)
        table = part.select("row_id", sub_id, stratum=output.stratum).filter(pl.col("stratum").is_not_null())
        table = table.with_columns(draw=uniform(key, seed, "audit", output.kind))
        lines = table.collect()
        for name, count in lines.group_by("stratum").len().iter_rows():
            counts[name] += count
        ordered = pl.concat([first, lines]).sort("draw", "row_id", "sub_id")
        first = ordered.group_by("stratum", maintain_order=True).head(rows).select(first.columns)
    return dict(counts), first


def _read_rows(run: RunFolder, output: AuditOutput, stratum: int, keys: Sequence[tuple[int, int | None]]) -> Iterator[SampledRow]:
    """The rows of the sample, shard by shard."""
    kinds = run.kinds(output.stage)
    by_shard: defaultdict[int, set[tuple[int, int | None]]] = defaultdict(set)
    for row_id, sub_id in keys:
        by_shard[run.plan.shard_of(row_id)].add((row_id, sub_id))
    for shard, wanted in sorted(by_shard.items()):
        table = run.read_part(output.stage, shard)[0].filter(pl.col("row_id").is_in([row_id for row_id, _ in wanted]))
        for line in table.iter_rows(named=True):
            if (line["row_id"], line.get("sub_id")) in wanted:
                row: dict[str, Any] = {name: decode(value, kinds[name]) for name, value in line.items()}
                image = _image_of(run, output, row)
                yield SampledRow(output, stratum, row["row_id"], row.get("sub_id"), image, output.show(row))


def _image_of(run: RunFolder, output: AuditOutput, row: dict[str, Any]) -> str | None:
    """What opens the image of a row; None if it has none."""
    value = row.get(output.image_column) if output.image_column else None
    if not output.image_column or not value:
        return None
    check_embedded(run.plan, [value], must_exist=False)
    return image_reference(run, output.image_column, value)


def _make_sample(
    run: RunFolder, rows: int, seed: int, missing: list[int], strata: list[Stratum], chosen: Sequence[SampledRow]
) -> AuditSample:
    statements = [
        SampledStatement(
            claim_id=f"-{unit + 1:04d}-{number + 1:02d}",
            unit=unit,
            stratum=row.stratum,
            kind=statement.kind,
            claim=statement.text,
            row_id=row.row_id,
            sub_id=row.sub_id,
            image=row.image,
        )
        for unit, row in enumerate(chosen)
        for number, statement in enumerate(row.shown.statements)
    ]
    plan = run.plan
    identity = [
        plan.pipeline,
        plan.input.sha256,
        plan.seed,
        seed,
        rows,
        [[each.claim_id, each.row_id, each.claim] for each in statements],
    ]
    digest = "s" + blake2b(json.dumps(identity).encode(), digest_size=5).hexdigest()
    return AuditSample(
        id=digest,
        pipeline=plan.pipeline,
        input_sha256=plan.input.sha256,
        run_seed=plan.seed,
        seed=seed,
        rows=rows,
        missing_shards=missing,
        fingerprints={stage: run.fingerprint(stage) for stage in sorted({row.output.stage for row in chosen})},
        strata=strata,
        claims=[each.model_copy(update={"claim_id": digest + each.claim_id}) for each in statements],
    )


def save_sample(sample: AuditSample, folder: Path) -> Path:
    """Keep the sample in a folder; returns its file."""
    path = folder / SAMPLE
    with replacing(path) as file:
        file.write((sample.model_dump_json(indent=1) + "\n").encode("utf-8"))
    return path


def load_sample(run: RunFolder, folder: Path) -> AuditSample:
    """The sample that was drawn into a folder. Raises UserError if there is none, or if it is of another run."""
    path = folder / SAMPLE
    try:
        sample = AuditSample.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} was not found; draw a sample first with: shardmill audit {run.path}") from None
    except ValidationError as error:
        raise UserError(
            f"{path} is corrupt ({count_of(error.error_count(), 'error')}); draw the sample again, the same rows will be drawn"
        ) from error
    if (sample.pipeline, sample.input_sha256, sample.run_seed) != (run.plan.pipeline, run.plan.input.sha256, run.plan.seed):
        raise UserError(f"{path} was drawn from another run than {run.path}; name that run, or the right folder with --out")
    return sample


def changed_stages(run: RunFolder, sample: AuditSample) -> list[str]:
    """The stages that were changed after the sample was drawn: its ticks are about rows that may no longer exist."""
    return [
        stage
        for stage, fingerprint in sample.fingerprints.items()
        if stage not in run.stages or run.fingerprint(stage) != fingerprint
    ]
