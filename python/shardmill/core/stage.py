"""What a stage is: a name, the columns that it reads and adds, and two functions. The shard runner does everything else.

A model stage asks and accepts, row by row. A table stage is one Polars expression over the shard.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, ClassVar, get_args

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from shardmill.core.fingerprint import combined, source_digests
from shardmill.core.seeding import rng_of
from shardmill.language.own_lexicon import own_text
from shardmill.models.contract import Finish, Reply, Request
from shardmill.models.registry import model_class, model_identity
from shardmill.store.cells import Kind, dump_cell
from shardmill.store.image_columns import RUN_IMAGES
from shardmill.store.layout import generated_image_path
from shardmill.store.plan import RESERVED_NAMES
from shardmill.util.errors import UserError, did_you_mean

Row = Mapping[str, Any]
Check = Callable[[Any], str | None]


class Options(BaseModel):
    """The options of a stage: a subclass with a default and a description for each."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Context:
    """What a stage may know besides the row.

    Attributes:
        seed: The run's seed.
        image_root: The folder that relative image paths start from.
        run_folder: The run's folder.
        pipeline: The run's pipeline.
        label: Tells apart a stage that is in a pipeline several times: `caption_images-qwen` has the label `qwen`.
        prompt: A prompt of the user's that replaces the stage's own.
    """

    seed: int = 0
    image_root: Path = Path()
    run_folder: Path = Path()
    pipeline: str = ""
    label: str = ""
    prompt: str | None = None

    def image_path(self, column: str, value: str) -> str:
        """The path of a row's image: one that the run made starts from its folder, any other from the image folder."""
        return generated_image_path(self.run_folder, value) if column in RUN_IMAGES else str(self.image_root / value)


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a row is rejected: a short stable reason, which is counted, and a detail for people."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a model for a row.

    Attributes:
        request: What is sent.
        check: Judges the parsed answer: None, or the reason to ask again with a new seed.
        share: Calls of a shard with the same text here are sent once; their seed comes from this text instead of the row.
        shorter: What to send instead when the token limit has cut the answer.
        whole: The part that can be used of an answer that was cut even so; None if there is none.
        check_retries: How often it is asked again at most for what `check` says; None: as often as the stage's attempts allow.
        parse: Reads a reply to it, where the stage's own `parse` reads those to its other calls.
        parts: The calls that it stands for; see `list_stage`.
    """

    request: Request
    check: Check | None = None
    share: str | None = None
    shorter: Request | None = None
    whole: Callable[[str], str | None] | None = None
    check_retries: int | None = None
    parse: Callable[[Reply], Any] | None = None
    parts: tuple[ModelCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The final answer to a model call: a parsed `value`, or the `problem` that was left after the last attempt.

    `finish` is how the reply ended; the tokens are those of the last attempt.
    """

    call: ModelCall
    value: Any = None
    problem: str | None = None
    detail: str = ""
    raw: str = ""
    attempts: int = 1
    finish: Finish = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Further calls of a row, made when its first answers are there; `accept` is then called again with all of its answers."""

    calls: list[ModelCall]


class Stage(ABC):
    """A worker script. Subclass TextStage, DetectStage, GenerateStage, CaptionStage, ScoreStage, RowStage, TableStage or
    FittedStage.

    Attributes:
        name: What the stage is called: in commands, and as the folder of its files.
        reads: The columns that it reads.
        optional: Columns of `reads` that may be missing or empty; without any that is required, a run needs no captions. One
            that neither a stage nor the input has is not in `row`.
        input_kinds: The kinds of columns of `reads` that may come from the input and are not text, or are optional.
        adds: The columns that it adds, and the kind of each: "text", "int", "float", "bool", "list" (of text) or "json".
        role: Which kind of model it calls; None for a stage without a model.
        Options: The class of its options.
    """

    name: str
    reads: tuple[str, ...]
    optional: tuple[str, ...] = ()
    input_kinds: Mapping[str, Kind] = {}
    adds: ClassVar[Mapping[str, Kind]]
    role: ClassVar[str | None] = None
    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        self.context = context or Context()
        self.label = self.context.label
        if self.label:
            self.name = f"{self.name}-{self.label}"
        try:
            self.options = self.Options.model_validate(dict(options or {}))
        except ValidationError as error:
            raise UserError(f"stage {self.name}: {_option_problem(error, self.Options)}") from error

    @property
    def fit_rows(self) -> int:
        """About how many rows it is fitted on at once; 0 for a stage that decides about each row by itself."""
        return 0

    @property
    def seed_label(self) -> str:
        """What random choices are drawn by besides the seed and the row: a stage used in two pipelines draws independently."""
        return f"{self.context.pipeline}.{self.name}" if self.context.pipeline else self.name

    def columns(self) -> dict[str, Kind]:
        """The columns that the stage adds with its options."""
        return dict(self.adds)

    def sources(self, model: Mapping[str, Any]) -> dict[str, str]:
        """The digests of the source files that shape its rows: its own and those of its model."""
        found = source_digests(type(self))
        return {**found, **source_digests(model_class(self.role, model))} if self.role and model else found

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        """All that shapes the stage's rows, by field, as text."""
        fields = {"options": dump_cell(self.options.model_dump(mode="json")), "code": combined(self.sources(model))}
        if own := own_text():
            fields["lexicon"] = sha256(own.encode()).hexdigest()
        if self.role:
            fields.update({f"model {field}": value for field, value in model_identity(self.role, model).items()})
        return fields

    def check_plan(self, before: Sequence[Stage], given: Collection[str]) -> None:  # noqa: B027 (most stages have nothing to check)
        """Raises UserError if the stages before it, or the columns that the input has, are not what its options need."""

    def rng(self, row: Row, *parts: object) -> Random:
        """Random choices for a row, from the run's seed, the stage, the row and what they are for."""
        return rng_of(self.context.seed, self.seed_label, row["row_id"], row.get("sub_id"), *parts)


class ModelStage(Stage):
    """A stage that calls a model for each row.

    A row of which every answer has a problem is rejected with the first of them, unless the stage is `tolerant`: then `accept`
    decides about that too.

    Attributes:
        tolerant: Whether `accept` is called even if every answer has a problem.
        extendable: Options that may name more (or fewer) things than before: what was answered is kept then, see `reuse`.
    """

    tolerant: ClassVar[bool] = False
    extendable: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        """The model calls that a row needs: none, one or several. `row` has `row_id` and the columns of `reads`."""

    @abstractmethod
    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | list[dict[str, Any]] | Reject | FollowUp:
        """The values of the columns in `adds` (a list of dicts for several rows), why the row is rejected, or further calls.

        Called with as many answers as there were calls, in their order. It depends on nothing but the row and the answers.
        """

    def reuse(self, calls: list[ModelCall], kept: Mapping[str, Any]) -> list[Answer | None]:
        """For each of a row's calls the answer that `kept` holds: the row as the stage had finished it before it was extended."""
        return [None] * len(calls)

    def parse(self, reply: Reply) -> Any:
        """The value of a reply. Raises ValueError when it is malformed."""
        return reply.result

    def raw(self, reply: Reply) -> str:
        """A reply as text, which is kept with a row that is rejected."""
        return reply.result if isinstance(reply.result, str) else ""


class RowStage(ModelStage):
    """A stage without a model that decides row by row, where expressions over whole columns (TableStage) are not enough."""

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        return []

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | list[dict[str, Any]] | Reject | FollowUp:
        return self.decide(row, rng_of(self.context.seed, self.seed_label, row["row_id"]))

    @abstractmethod
    def decide(self, row: Row, rng: Random) -> dict[str, Any] | list[dict[str, Any]] | Reject:
        """The values of the columns in `adds`, or why the row is rejected. `rng` is the row's own."""


class TableStage(Stage):
    """A stage without a model: whole columns at once. The outcome of a row must not depend on the other rows."""

    @abstractmethod
    def transform(self, table: pl.DataFrame) -> pl.DataFrame:
        """A frame with `row_id`, a text column `reject_reason` (null for rows that come out) and the columns of `adds`.

        `table` has `row_id` and the columns of `reads`; list and json columns are JSON text there and in the result. A stage
        that adds `sub_id` may return several rows of one row_id.
        """


class FittedStage(TableStage):
    """A table stage that learns from many rows before it decides about each: frequencies, quotas, duplicates.

    The input is cut into blocks of about `block_rows` rows by row_id. `fit` gets the rows of a whole block, of all its shards,
    once the stage before has finished them; whoever comes first computes it, and the result is kept in the run folder.
    `transform` then gets rows of that block, as in any table stage, with `fitted`: the table that `fit` returned. Blocks and
    results do not depend on the shards.

    Attributes:
        block_rows: What fits in memory at once.
        fitted: What `fit` returned for the block of the rows that `transform` gets.
    """

    block_rows: ClassVar[int] = 250_000
    fitted: pl.DataFrame

    @property
    def fit_rows(self) -> int:
        return self.block_rows

    @abstractmethod
    def fit(self, table: pl.DataFrame) -> pl.DataFrame:
        """What is learned from the rows of a block, as a table. `table` has the columns that `transform` gets, in order of
        row_id.
        """

    def facts(self, fitted: pl.DataFrame) -> dict[str, float]:
        """What people should know of a fit, in a few numbers by name."""
        return {}


NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
"""Folders of a run that a stage cannot be called by."""


def check_declaration(stage: Stage) -> None:
    """Raises UserError, naming the class, for a stage that does not say what every stage must say."""
    kind = type(stage)
    short = stage.name.partition("-")[0]
    if not NAME.fullmatch(short) or short in RESERVED_NAMES:
        raise UserError(
            f"{kind.__name__}.name is {short!r}; a stage is named by lower-case letters, digits and underscores, "
            f"and not {', '.join(RESERVED_NAMES)}"
        )
    for field in ("reads", "adds"):
        if not hasattr(stage, field):
            raise UserError(f"{kind.__name__} (stage {short}) does not say which columns it {field}; add `{field} = ...`")
    if isinstance(stage.reads, str):
        raise UserError(f"{kind.__name__}.reads is a text; write a tuple: reads = ({stage.reads!r},)")
    for column, kind_of_column in stage.columns().items():
        if kind_of_column not in get_args(Kind):
            raise UserError(
                f"{kind.__name__}.adds: {column!r} is {kind_of_column!r}; a column is one of {', '.join(get_args(Kind))}"
            )


def _option_problem(error: ValidationError, options: type[Options]) -> str:
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"no option {name!r}; {did_you_mean(name, options.model_fields)}"
    return f"option {name}: {first['msg']}" if name else first["msg"].removeprefix("Value error, ")
