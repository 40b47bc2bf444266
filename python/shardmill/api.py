"""Shardmill in a notebook or a script: one stage over a data frame, the stages of a run as data frames."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from shardmill.core.model_files import allow_model
from shardmill.core.permissions import allow_models
from shardmill.core.pipeline_file import PipelineFile, StageEntry, plan_stages, prompt_text
from shardmill.core.registry import split_stage, stage_class
from shardmill.core.shard_runner import run_shard
from shardmill.core.stage import Context, Stage
from shardmill.core.user_code import allow_object
from shardmill.models.registry import DEFAULT_MODELS
from shardmill.store.cells import Kind, decode, encode
from shardmill.store.finish import ShardCounts, seal
from shardmill.store.frames import DTYPES, write_frame
from shardmill.store.layout import INGEST_REJECTS, REJECTS
from shardmill.store.manifest import InputRecord
from shardmill.store.plan import InputPlan, Plan, StagePlan, create_plan
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.store.trace import StageOutcome, explain
from shardmill.store.verify import check_lineage, refuse
from shardmill.tables.data_frames import as_polars
from shardmill.util.atomic import new_attempt
from shardmill.util.errors import UserError
from shardmill.util.progress import ProgressLine
from shardmill.util.texts import use_texts

if TYPE_CHECKING:
    import pandas as pd

Frame = TypeVar("Frame")
ROW = "row_id"
REJECTED_ROWS: dict[str, Kind] = {ROW: "int", **REJECTS}


def run_stage(
    stage: type[Stage] | str,
    frame: Frame,
    *,
    model: str | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    prompt: str | None = None,
    image_root: str | Path = ".",
    seed: int = 0,
    attempts: int = 3,
    progress: bool = False,
) -> Frame:
    """Run one stage over a data frame, in this process.

    Args:
        stage: A stage class, or its name: `pipeline.stage`, `module:Class`, `file.py:Class`.
        frame: A pandas or Polars frame with the columns that the stage reads.
        model: A model's kind (`rules`), a model file (`llama-3.1-8b`), or a mapping of kind and settings. By default the model of
            the stage's role that needs no weights.
        options: Options of the stage.
        prompt: For a text stage, another prompt: a file or the text itself.
        image_root: The folder that relative image paths start from.
        seed: The seed of all random choices.
        attempts: How often a model is called for an answer that can be used.
        progress: Whether to show progress on stderr.

    Returns:
        A frame of the same library with the same rows in their order, the columns that the stage adds, and `reject_reason` and
        `reject_detail`, which are null for rows that came out. A stage that makes several rows of one adds `sub_id` and rows.

    Raises:
        UserError: For an unknown stage, model or option, or a column that is missing or holds something else.
    """
    table, was_pandas = as_polars(frame)
    if not isinstance(stage, str):
        source, name = allow_object(stage), stage.name
    else:
        source, name = split_stage(stage, "")
    if not source:
        raise UserError(f"{stage!r} does not say which pipeline the stage is from; write pipeline.{stage}")
    kind = stage_class(source, name)
    chosen = allow_model(dict(model) if isinstance(model, Mapping) else model, Path.cwd())
    entry = StageEntry(
        stage=name,
        source=source,
        model=chosen or (DEFAULT_MODELS[kind.role] if kind.role else None),
        prompt=None if prompt is None else prompt_text(prompt, Path.cwd()),
        options=dict(options or {}),
        attempts=attempts,
        stop_after=0,
    )
    with tempfile.TemporaryDirectory(prefix="shardmill-") as folder:
        run = _plan_frame(Path(folder) / "run", table, entry, Path(image_root), seed)
        run_shard(run, name, 0, report=ProgressLine(name) if progress else None)
        done = _with_rejects(run, name, table)
    return _to_pandas(done) if was_pandas else done  # type: ignore[return-value]


def _plan_frame(folder: Path, table: pl.DataFrame, entry: StageEntry, image_root: Path, seed: int) -> RunFolder:
    """A run of one shard whose ingest part is the frame."""
    reserved = {ROW, "sub_id"} & set(table.columns)
    kinds: dict[str, Kind] = {ROW: "int", **{name: _kind_of(table[name]) for name in table.columns if name not in reserved}}
    cells = {name: pl.Series(name, _cells(table[name], kind), DTYPES[kind]) for name, kind in kinds.items() if name != ROW}
    part = pl.DataFrame({ROW: pl.Series(range(table.height), dtype=pl.Int64), **cells})
    file = PipelineFile(pipeline=entry.stage, source=entry.source, stages=[entry])
    context = Context(seed, image_root.resolve())
    use_texts({})
    texts: dict[str, str] = {}
    plan = Plan(
        pipeline=entry.stage,
        source=entry.source,
        seed=seed,
        input=InputPlan(
            path="a data frame", sha256="", bytes=0, rows=table.height, format="frame", columns=kinds, captioned=False,
            image_root=str(image_root.resolve()),
        ),
        shards=[(0, table.height)],
        stages=plan_stages(file, kinds, context, texts=texts),
        texts=texts,
        code_version="",
        created="",
    )  # fmt: skip
    allow_models(stage.model for stage in plan.stages)
    create_plan(folder, plan)
    run = RunFolder(folder)
    attempt = new_attempt()
    files = run.files(INGEST, 0)
    files.folder.mkdir()
    empty = pl.col("caption").is_null() if _needs_caption(plan.stages[0]) else pl.lit(False)
    rejects = _ingest_rejects(part.filter(empty))
    part = part.filter(~empty)
    write_frame(part, kinds, files.staged(attempt).part, run.plan.part_format)
    counts = ShardCounts(table.height, part.height, part.height)
    source = InputRecord(stage="input", sha256="")
    seal(run, INGEST, 0, attempt, counts, rejects, INGEST_REJECTS, source, columns=kinds, started=time.time())
    return run


def _needs_caption(stage: StagePlan) -> bool:
    return "caption" in stage.reads and "caption" not in stage_class(stage.source, stage.name).optional


def _ingest_rejects(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows without a caption, as ingest rejects them."""
    given = {"reason": "empty caption", "detail": "", "raw": "", "attempts": 0, "line": None}
    columns = [pl.lit(given[name], DTYPES[kind]).alias(name) for name, kind in INGEST_REJECTS.items() if name != ROW]
    return rows.select(ROW, *columns).select(list(INGEST_REJECTS))


def _kind_of(column: pl.Series) -> Kind:
    """What a column of a frame holds; a column without any value holds text."""
    dtype = column.dtype
    if dtype == pl.Boolean:
        return "bool"
    if dtype.is_integer():
        return "int"
    if dtype.is_numeric():
        return "float"
    if dtype in (pl.String, pl.Null, pl.Categorical) or isinstance(dtype, pl.Enum):
        return "text"
    return "list" if dtype == pl.List(pl.String) else "json"


def _cells(column: pl.Series, kind: Kind) -> list[Any]:
    values = column.cast(pl.String).to_list() if kind == "text" else column.to_list()
    try:
        return [encode(value, kind) for value in values]
    except TypeError as error:
        raise UserError(f"the column {column.name!r} holds a value that a table cannot hold: {error}") from error


def _with_rejects(run: RunFolder, stage: str, table: pl.DataFrame) -> pl.DataFrame:
    """The user's frame with what the stage added and why rows were rejected."""
    part, manifest = run.read_part(stage, 0)
    adds = run.stage(stage).adds
    added = _decoded(part.select(ROW, *adds), {ROW: "int", **adds})
    ingested = run.manifest(INGEST, 0)
    assert ingested is not None
    rejects = [run.read_rejects(INGEST, 0, ingested, INGEST_REJECTS), run.read_rejects(stage, 0, manifest, REJECTED_ROWS)]
    refused = pl.concat([each.select(ROW, "reason", "detail") for each in rejects])
    refused = refused.select(ROW, reject_reason="reason", reject_detail=pl.col("detail").fill_null(""))
    known = table.drop([name for name in (ROW, *adds) if name in table.columns]).with_row_index(ROW)
    whole = known.with_columns(pl.col(ROW).cast(pl.Int64)).join(added, on=ROW, how="left", maintain_order="left_right")
    return whole.join(refused, on=ROW, how="left", maintain_order="left").drop(ROW)


def _decoded(frame: pl.DataFrame, kinds: Mapping[str, Kind]) -> pl.DataFrame:
    """List and json cells as values; a column whose values differ in type stays JSON text."""
    columns = []
    for name in frame.columns:
        values = frame[name]
        if kinds.get(name) == "list":
            decoded = [decode(value, "list") if value is not None else None for value in values]
            values = pl.Series(name, decoded, pl.List(pl.String))
        elif kinds.get(name) == "json":
            values = _json_values(values)
        columns.append(values)
    return pl.DataFrame(columns)


def _json_values(cells: pl.Series) -> pl.Series:
    """The values of json cells, with the fields of all of them; the cells where that would lose or change any."""
    try:
        found = cells.str.json_decode(infer_schema_length=None)
    except pl.exceptions.PolarsError:
        return cells
    pairs = zip(cells, found.to_list(), strict=True)
    is_whole = all(cell is None or _given(decode(cell, "json")) == _given(value) for cell, value in pairs)
    return found if is_whole else cells


def _given(value: Any) -> Any:
    """A JSON value without fields that are null."""
    if isinstance(value, dict):
        return {name: _given(each) for name, each in value.items() if each is not None}
    return [_given(each) for each in value] if isinstance(value, list) else value


class StageFrames:
    """What a stage of a run has made so far, as data frames."""

    def __init__(self, run: RunFolder, name: str):
        self._run = run
        self.name = name if name == INGEST else run.stage(name).name

    def finished_shards(self) -> list[int]:
        """The shards that are finished. Raises UserError if one is of another origin than planned."""
        check = check_lineage(self._run, [self.name], depth="origin")
        refuse(self._run, check, allow_missing=True)
        return check.finished

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows that came out, one finished shard at a time; lists and JSON as values."""
        kinds = self._run.kinds(self.name)
        for shard in self.finished_shards():
            yield _decoded(self._run.read_part(self.name, shard)[0], kinds)

    def to_polars(self) -> pl.DataFrame:
        """All rows that came out, in the order of the input."""
        found = list(self.batches())
        return pl.concat(found, how="vertical_relaxed") if found else pl.DataFrame(schema=list(self._run.kinds(self.name)))

    def to_pandas(self) -> pd.DataFrame:
        """All rows that came out, in the order of the input."""
        return _to_pandas(self.to_polars())

    def rejects(self) -> pl.DataFrame:
        """The rejected rows: row_id, reason, detail, the raw answer, attempts."""
        frames = []
        for shard in self.finished_shards():
            manifest = self._run.manifest(self.name, shard)
            assert manifest is not None
            frames.append(self._run.read_rejects(self.name, shard, manifest, REJECTED_ROWS))
        return pl.concat(frames) if frames else pl.DataFrame(schema={name: DTYPES[kind] for name, kind in REJECTED_ROWS.items()})


class Run:
    """A run folder to look at: its stages as data frames, its rows explained. It is only read."""

    def __init__(self, path: str | Path):
        self._run = RunFolder(Path(path))
        self.path = self._run.path
        self.plan = self._run.plan

    @property
    def stages(self) -> list[str]:
        """The stages in their order, after ingest."""
        return self._run.stages

    def stage(self, name: str) -> StageFrames:
        """A stage of the run, or `ingest`. Raises UserError with a hint for an unknown one."""
        return StageFrames(self._run, name)

    def explain(self, row_id: int) -> list[StageOutcome]:
        """What every stage made of a row."""
        return explain(self._run, row_id)


def open_run(path: str | Path) -> Run:
    """A run folder, finished or not. Raises UserError if it is not one."""
    return Run(path)


def _to_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """A pandas frame; columns of lists hold Python lists."""
    import pandas as pd

    return pd.DataFrame({name: frame[name].to_list() for name in frame.columns})
