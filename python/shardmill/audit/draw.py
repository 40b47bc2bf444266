"""Draw what people are to check of a run: a seeded, stratified sample of its rows, and what each of them claims.

The same rows for any number of shards. Each kind of thing that the pipeline makes gets an equal part of the sample, and within
it each stratum does, so that rare ones are seen too; the error rates are weighted back to the whole dataset afterwards.
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

from shardmill.anyedit.images import image_path
from shardmill.audit.statements import Item, Output, outputs_of
from shardmill.core.seeding import seed_of, uniform
from shardmill.core.stage import Context
from shardmill.store.atomic import replacing
from shardmill.store.cells import decode
from shardmill.store.frames import scan_frame
from shardmill.store.run_folder import RunFolder
from shardmill.store.verify import choose_shards
from shardmill.tables.parquet_images import check_embedded
from shardmill.util.errors import UserError

FOLDER, SAMPLE, SHEET, PAGE, RESULT = "audit", "sample.json", "audit.csv", "audit.html", "audit.json"
FORMAT = 1
SUB_IDS = 1 << 16
"""More lines than a row has in any stage."""


class Stratum(BaseModel):
    """A group of lines: how many the run has, and how many of them are in the sample."""

    model_config = ConfigDict(extra="forbid")
    output: str
    name: str
    lines: int
    drawn: int


class SampledClaim(BaseModel):
    """A claim of the sample: which line of the sample (`unit`) and which of its strata it belongs to."""

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
    """What was drawn, kept beside the sheet: it tells what the ticks in a sheet are worth."""

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
    claims: list[SampledClaim]


@dataclass(frozen=True)
class Drawn:
    """One line of the sample: where it comes from, its picture, and what it shows and claims."""

    output: Output
    stratum: int
    row_id: int
    sub_id: int | None
    image: str | None
    item: Item


def draw(run: RunFolder, rows: int = 200, seed: int = 0, *, allow_missing: bool = False) -> tuple[AuditSample, list[Drawn]]:
    """The sample, and its lines in the order in which they are to be judged.

    That order is random, so that the first part of the sheet is a sample too. Raises UserError when shards are not finished,
    unless these may be left out.
    """
    outputs = outputs_of(run)
    shards, missing = choose_shards(run, [output.stage for output in outputs], allow_missing)
    found = [_best(run, output, shards, rows, seed) for output in outputs]
    parts = shares(rows, [sum(lines.values()) for lines, _ in found])
    strata: list[Stratum] = []
    chosen: list[Drawn] = []
    for output, (lines, best), part in zip(outputs, found, parts, strict=True):
        names = sorted(lines)
        for name, count in zip(names, shares(part, [lines[each] for each in names]), strict=True):
            keys = best.filter(pl.col("stratum") == name).head(count).select("row_id", "sub_id").rows()
            chosen += _read(run, output, len(strata), keys)
            strata.append(Stratum(output=output.kind, name=name, lines=lines[name], drawn=count))
    chosen.sort(key=lambda each: (seed_of(seed, "audit order", each.output.kind, each.row_id, each.sub_id), each.stratum))
    return _sample(run, rows, seed, missing, strata, chosen), chosen


def shares(total: int, sizes: Sequence[int]) -> list[int]:
    """`total` divided as evenly as the sizes allow: no part above its size, what small ones leave goes to the others."""
    parts = [0] * len(sizes)
    while (room := [at for at, size in enumerate(sizes) if parts[at] < size]) and (left := total - sum(parts)) > 0:
        for at in room[:left]:
            parts[at] += min(max(left // len(room), 1), sizes[at] - parts[at])
    return parts


def _best(run: RunFolder, output: Output, shards: Sequence[int], rows: int, seed: int) -> tuple[dict[str, int], pl.DataFrame]:
    """The number of lines of each stratum, and the first `rows` of them by their draws. One shard is in memory at a time."""
    kinds = run.kinds(output.stage)
    sub_id = pl.col("sub_id") if "sub_id" in kinds else pl.lit(None, pl.Int64).alias("sub_id")
    key = pl.col("row_id") * SUB_IDS + pl.col("sub_id").fill_null(0)
    counts: defaultdict[str, int] = defaultdict(int)
    best = pl.DataFrame(schema={"row_id": pl.Int64, "sub_id": pl.Int64, "stratum": pl.String, "draw": pl.Float64})
    for shard in shards:
        part = scan_frame(run.files(output.stage, shard).part, kinds, run.plan.part_format)
        table = part.select("row_id", sub_id, stratum=output.stratum).filter(pl.col("stratum").is_not_null())
        table = table.with_columns(draw=uniform(key, seed, "audit", output.kind))
        lines = table.collect()
        for name, count in lines.group_by("stratum").len().iter_rows():
            counts[name] += count
        ordered = pl.concat([best, lines]).sort("draw", "row_id", "sub_id")
        best = ordered.group_by("stratum", maintain_order=True).head(rows).select(best.columns)
    return dict(counts), best


def _read(run: RunFolder, output: Output, stratum: int, keys: Sequence[tuple[int, int | None]]) -> Iterator[Drawn]:
    """The lines of the sample, shard by shard."""
    kinds = run.kinds(output.stage)
    context = Context(run.plan.seed, Path(run.plan.input.image_root), run.path)
    by_shard: defaultdict[int, set[tuple[int, int | None]]] = defaultdict(set)
    for row_id, sub_id in keys:
        by_shard[run.plan.shard_of(row_id)].add((row_id, sub_id))
    for shard, wanted in sorted(by_shard.items()):
        table = run.read_part(output.stage, shard)[0].filter(pl.col("row_id").is_in([row_id for row_id, _ in wanted]))
        for line in table.iter_rows(named=True):
            if (line["row_id"], line.get("sub_id")) in wanted:
                row: dict[str, Any] = {name: decode(value, kinds[name]) for name, value in line.items()}
                picture = row.get(output.picture)
                check_embedded(run.plan, [picture], must_exist=False)
                image = image_path(context, output.picture, picture) if picture else None
                yield Drawn(output, stratum, row["row_id"], row.get("sub_id"), image, output.show(row))


def _sample(
    run: RunFolder, rows: int, seed: int, missing: list[int], strata: list[Stratum], chosen: Sequence[Drawn]
) -> AuditSample:
    claims = [
        SampledClaim(
            claim_id=f"-{unit + 1:04d}-{number + 1:02d}",
            unit=unit,
            stratum=drawn.stratum,
            kind=claim.kind,
            claim=claim.text,
            row_id=drawn.row_id,
            sub_id=drawn.sub_id,
            image=drawn.image,
        )
        for unit, drawn in enumerate(chosen)
        for number, claim in enumerate(drawn.item.claims)
    ]
    plan = run.plan
    told = [
        plan.pipeline,
        plan.input.sha256,
        plan.seed,
        seed,
        rows,
        [[each.claim_id, each.row_id, each.claim] for each in claims],
    ]
    digest = "s" + blake2b(json.dumps(told).encode(), digest_size=5).hexdigest()
    return AuditSample(
        id=digest,
        pipeline=plan.pipeline,
        input_sha256=plan.input.sha256,
        run_seed=plan.seed,
        seed=seed,
        rows=rows,
        missing_shards=missing,
        fingerprints={stage: run.fingerprint(stage) for stage in sorted({drawn.output.stage for drawn in chosen})},
        strata=strata,
        claims=[each.model_copy(update={"claim_id": digest + each.claim_id}) for each in claims],
    )


def save_sample(sample: AuditSample, folder: Path) -> Path:
    """Keep the sample in a folder; returns its file."""
    path = folder / SAMPLE
    with replacing(path) as file:
        file.write((sample.model_dump_json(indent=1) + "\n").encode("utf-8"))
    return path


def load_sample(run: RunFolder, folder: Path) -> AuditSample:
    """The sample that was drawn into a folder. Raises UserError when there is none, or when it is of another run."""
    path = folder / SAMPLE
    try:
        sample = AuditSample.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"there is no {path}; draw a sample first with: shardmill audit {run.path}") from None
    except ValidationError as error:
        raise UserError(
            f"{path} is damaged ({error.error_count()} faults); draw the sample again, it comes out the same"
        ) from error
    if (sample.pipeline, sample.input_sha256, sample.run_seed) != (run.plan.pipeline, run.plan.input.sha256, run.plan.seed):
        raise UserError(f"{path} was drawn from another run than {run.path}; name that run, or the right folder with --out")
    return sample


def changed_since(run: RunFolder, sample: AuditSample) -> list[str]:
    """The stages that were done otherwise after the sample was drawn: its ticks are about rows that may be gone."""
    return [
        stage
        for stage, fingerprint in sample.fingerprints.items()
        if stage not in run.stages or run.fingerprint(stage) != fingerprint
    ]
