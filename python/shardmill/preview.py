"""What a stage would do with a few rows: the prompt as sent, the raw answer, the verdict. Nothing outlives the call."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from shardmill.errors import UserError
from shardmill.models.contract import CaptionRequest, DetectRequest, Model, Reply, Request, ScoreRequest, TextRequest
from shardmill.models.registry import open_model
from shardmill.planning import NewRun, reads_captions, start_run
from shardmill.seeding import rng_of
from shardmill.shard_work import origin_of, pool_key
from shardmill.shards.cells import decode
from shardmill.shards.explain import Chapter, explain
from shardmill.shards.ingest import map_columns
from shardmill.shards.run_folder import RunFolder
from shardmill.shards.tables import open_table
from shardmill.stage import ModelStage, stage_class
from shardmill.worker import open_stage, run_shard


@dataclass(frozen=True)
class Exchange:
    """One request as it was sent, role by role, and the raw answer."""

    sent: list[dict[str, str]]
    raw: str


@dataclass
class PreviewedRow:
    """A row, what was asked about it, and what became of it in the stage."""

    row_id: int
    before: dict[str, Any]
    exchanges: list[Exchange] = field(default_factory=list)
    verdict: Chapter | None = None


class TracingModel:
    """A model that also remembers every exchange, by the request's key."""

    def __init__(self, model: Model):
        self._model = model
        self.exchanges: dict[str, list[Exchange]] = {}

    def stream(self, requests: Iterable[Request]) -> Iterator[Reply]:
        sent: dict[str, Request] = {}

        def noting() -> Iterator[Request]:
            for request in requests:
                sent[request.key] = request
                yield request

        for reply in self._model.stream(noting()):
            raw = reply.result if isinstance(reply.result, str) else str(reply.result or f"{reply.problem}: {reply.detail}")
            self.exchanges.setdefault(reply.key, []).append(Exchange(_as_sent(sent[reply.key]), raw))
            yield reply


def _as_sent(request: Request) -> list[dict[str, str]]:
    if isinstance(request, TextRequest):
        return request.chat.messages(request.seed)
    if isinstance(request, DetectRequest):
        return [{"role": "image", "content": request.image}, {"role": "names", "content": ", ".join(request.names)}]
    if isinstance(request, CaptionRequest):
        return [{"role": "image", "content": request.image}, {"role": "user", "content": request.prompt}]
    if isinstance(request, ScoreRequest):
        return [{"role": "image", "content": request.image}, *({"role": "text", "content": text} for text in request.texts)]
    return [{"role": "prompt", "content": request.prompt}, {"role": "negative", "content": request.negative}]


def preview(stage: str, new: NewRun, rows: int) -> list[PreviewedRow]:
    """Run the pipeline up to `stage` over the first `rows` rows of an input, in a temporary folder, and show that stage.

    `stage` may bear its pipeline's name. Raises UserError as a real run would.
    """
    short = stage.removeprefix(f"{new.pipeline_file.pipeline}.")
    stage_class(f"{new.pipeline_file.pipeline}.{short}")
    with tempfile.TemporaryDirectory(prefix="shardmill-preview-") as folder:
        head = _first_rows(new, rows, Path(folder))
        run = start_run(
            Path(folder) / "run",
            replace(
                new,
                input=head,
                encoding=None,
                quoting="standard",
                image_root=new.image_root or new.input.parent,
                num_shards=1,
                rows_per_shard=None,
            ),
        )
        for above in _upstream(run, short):
            run_shard(run, above, 0)
        return _watch(run, short)


def _first_rows(new: NewRun, rows: int, folder: Path) -> Path:
    """A CSV of the first readable rows of the input. They keep their row_ids, and with them the seeds of a real run."""
    if rows < 1:
        raise UserError(f"--rows must be at least 1, not {rows}")
    table = open_table(new.input, encoding=new.encoding, quoting=new.quoting)
    captioned = reads_captions(new.pipeline_file)
    map_columns(table.columns, new.caption_column, new.image_column, new.list_columns, captioned=captioned)
    batch = next(iter(table.batches()), None)
    if batch is None or batch.frame.height == 0:
        raise UserError(f"{new.input} has no readable rows below its header")
    path = folder / "rows.csv"
    head = batch.frame.head(rows)
    numbers = pl.DataFrame({"row_id": range(head["row_id"][-1] + 1)}, schema={"row_id": pl.Int64})
    numbers.join(head, on="row_id", how="left", maintain_order="left").select(pl.col(table.columns).fill_null("")).write_csv(path)
    return path


def _upstream(run: RunFolder, stage: str) -> list[str]:
    chain: list[str] = []
    above = run.stage(stage).after
    while above != "ingest":
        chain.insert(0, above)
        above = run.stage(above).after
    return chain


def _watch(run: RunFolder, stage: str) -> list[PreviewedRow]:
    planned = run.stage(stage)
    role = stage_class(f"{run.plan.pipeline}.{stage}").role
    pool: dict[str, Model] = {}
    tracer = TracingModel(open_model(role, planned.model)) if role else None
    if role and tracer:
        pool[pool_key(role, planned.model)] = tracer
    before, _ = run.read_part(planned.after, 0)
    run_shard(run, stage, 0, models=pool)
    shown: dict[int, PreviewedRow] = {}
    for row in before.iter_rows(named=True):
        row_id = row["row_id"]
        if row_id not in shown:
            verdict = next(chapter for chapter in explain(run, row_id) if chapter.stage == stage)
            shown[row_id] = PreviewedRow(row_id, row, verdict=verdict)
        for origin in _origins(run, stage, row, tracer.exchanges) if tracer else ():
            shown[row_id].exchanges += tracer.exchanges.get(origin, []) if tracer else []
    return list(shown.values())


def _origins(run: RunFolder, name: str, row: dict[str, Any], asked: Iterable[str]) -> list[str]:
    """The keys of the requests that a row waited for: its own, those that it shares with other rows, and what it asked later."""
    stage = open_stage(run, name)
    assert isinstance(stage, ModelStage)
    kinds = run.kinds(run.stage(name).after)
    key = tuple(row[column] for column in ("row_id", "sub_id") if column in row)
    try:
        decoded = {column: decode(row[column], kinds[column]) for column in dict.fromkeys(("row_id", *stage.reads))}
    except ValueError:
        return []
    asks = stage.ask(decoded, rng_of(run.plan.seed, stage.name, *key, 0))
    first = [origin_of(key, index, ask) for index, ask in enumerate(asks)]
    own = "/".join(map(str, key)) + "/"
    return first + [origin for origin in asked if origin.startswith(own) and origin not in first]
