"""What a stage is: a name, the columns it reads and adds, and two functions. The worker does everything else.

A model stage asks and accepts, row by row. A table stage is one Polars expression over the shard.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from random import Random
from typing import Any, ClassVar, get_origin

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from shardmill.core.answers import parse_answer
from shardmill.core.prompts import Prompt, load_template
from shardmill.core.seeding import rng_of
from shardmill.models.contract import (
    CaptionRequest,
    DetectionResult,
    Detections,
    DetectRequest,
    Finish,
    GeneratedImage,
    GenerateRequest,
    Reply,
    Request,
    Sampling,
    ScoreRequest,
    Scores,
    TextRequest,
)
from shardmill.models.registry import model_identity
from shardmill.store.cells import Kind, dump_cell
from shardmill.util.errors import UserError, did_you_mean

SENTENCE_END = re.compile(r"[.!?][\"'”’)]*(?=\s|$)")

Row = Mapping[str, Any]
Check = Callable[[Any], str | None]


class Options(BaseModel):
    """The options of a stage: a subclass with a default and a description for each."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Context:
    """What a stage may know besides the row: the run's seed, the folder that relative image paths start from, and the run's.

    `label` tells a stage apart that is in a pipeline several times: `caption_images-qwen` has the label `qwen`.
    """

    seed: int = 0
    image_root: Path = Path(".")
    run_folder: Path = Path(".")
    label: str = ""


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a row does not come out: a short stable reason, which is counted, and a detail for people."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request of a row. `check` judges the parsed answer: None, or the reason to ask again with a new seed.

    Asks of a shard with the same `share` text are sent once; their seed comes from that text instead of the row. An answer that
    the token limit has cut is asked again as `shorter`; of one that is cut then too (or at once, without `shorter`), `whole`
    gives the part that can be used, or None.
    """

    request: Request
    check: Check | None = None
    share: str | None = None
    shorter: Request | None = None
    whole: Callable[[str], str | None] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The final answer to an ask: a parsed `value`, or the `problem` that was left after the last attempt.

    `finish` is how the reply ended, the tokens are those of the last attempt.
    """

    ask: ModelCall
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
    """What a row has to ask besides, now that its first answers are there; `accept` is called again with all of its answers."""

    asks: list[ModelCall]


class Stage(ABC):
    """A worker script. Subclass ModelStage (Text-, Detect-, Paint-, Caption-, ScoreStage) or TableStage, not this."""

    name: str
    version: ClassVar[int] = 1
    reads: tuple[str, ...]
    optional: ClassVar[tuple[str, ...]] = ()
    """Columns of `reads` that may be empty; a run in which none has to be there does without captions."""
    adds: ClassVar[Mapping[str, Kind]]
    role: ClassVar[str | None] = None
    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Mapping[str, Any] | None = None, context: Context | None = None):
        self.context = context or Context()
        self.label = self.context.label
        if self.label:
            self.name = f"{self.name}{LABEL}{self.label}"
        try:
            self.options = self.Options.model_validate(dict(options or {}))
        except ValidationError as error:
            raise UserError(f"stage {self.name}: {_option_problem(error, self.Options)}") from error

    def columns(self) -> dict[str, Kind]:
        """The columns that the stage adds with its options."""
        return dict(self.adds)

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        """All that shapes the stage's rows, by field, as text."""
        fields = {"version": str(self.version), "options": dump_cell(self.options.model_dump(mode="json"))}
        if self.role:
            fields.update({f"model {field}": value for field, value in model_identity(self.role, model).items()})
        return fields

    def check_place(self, before: Sequence[Stage], given: Collection[str]) -> None:  # noqa: B027 (most stages fit anywhere)
        """Raises UserError when the stages before it, or the columns that the input has, are not what its options need."""

    def rng(self, row: Row, *parts: object) -> Random:
        """Random choices for a row, from the run's seed, the stage, the row and what they are for."""
        return rng_of(self.context.seed, self.name, row["row_id"], row.get("sub_id"), *parts)


class ModelStage(Stage):
    """A stage that asks a model about each row.

    A row of which every answer has a problem is rejected with the first of them, unless the stage is `tolerant`: then `accept`
    decides about that too.
    """

    tolerant: ClassVar[bool] = False
    grows: ClassVar[tuple[str, ...]] = ()
    """Options that may name more (or fewer) things than before: what was answered is kept then; see `recall`."""

    @abstractmethod
    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        """The requests that a row needs: none, one or several. `row` has `row_id` and the columns of `reads`."""

    @abstractmethod
    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | list[dict[str, Any]] | Reject | FollowUp:
        """The values of the columns in `adds` (a list of dicts for several rows), why the row is rejected, or what more to ask.

        Called with as many answers as there were asks, in their order. It depends on nothing but the row and the answers.
        """

    def recall(self, asks: list[ModelCall], kept: Mapping[str, Any]) -> list[Answer | None]:
        """For each of a row's asks the answer that `kept` holds: the row as the stage had finished it before it grew."""
        return [None] * len(asks)

    def parse(self, reply: Reply) -> Any:
        """The value of a reply. Raises ValueError when it is malformed."""
        return reply.result

    def raw(self, reply: Reply) -> str:
        """A reply as text, which is kept with a row that is rejected."""
        return reply.result if isinstance(reply.result, str) else ""


def prompt_value(answer: Answer, name: str) -> Any:
    """The value that a prompt variable had in the ask of a text stage's answer."""
    assert isinstance(answer.ask.request, TextRequest)
    return answer.ask.request.chat.values[name]


@lru_cache(maxsize=256)
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of an answer: one mapping for all requests, not to be changed. To make it takes longer than to ask."""
    return model.model_json_schema()


class TextStage(ModelStage):
    """A stage that asks a text model. `template` names its prompt, `answer` is the pydantic model of the answer."""

    role = "text"
    template: ClassVar[str]
    answer: ClassVar[type[BaseModel]]

    def prompt(self, *, check: Check | None = None, share: str | None = None, **values: Any) -> ModelCall:
        """An ask with the stage's template and these values."""
        template = load_template(self.template)
        return ModelCall(TextRequest(Prompt(template, values), template.sampling, schema_of(self.answer)), check, share)

    def parse(self, reply: Reply) -> Any:
        return parse_answer(reply.result, self.answer)

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        schema = dump_cell(schema_of(self.answer))
        return {
            **super().fingerprint(model),
            "template": load_template(self.template).digest,
            "answer schema": sha256(schema.encode()).hexdigest(),
        }


class RowStage(ModelStage):
    """A stage without a model that decides row by row, where whole columns at once (TableStage) will not do."""

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        return []

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | list[dict[str, Any]] | Reject | FollowUp:
        return self.decide(row, rng_of(self.context.seed, self.name, row["row_id"]))

    @abstractmethod
    def decide(self, row: Row, rng: Random) -> dict[str, Any] | list[dict[str, Any]] | Reject:
        """The values of the columns in `adds`, or why the row is rejected. `rng` is the row's own."""


class DetectStage(ModelStage):
    """A stage that asks a detector; an answer's value is `Detections`, scores to four digits and boxes to a tenth of a pixel.

    What is decided on is what is written: with the detections of rows that came out in a column `detections` and those of
    rejected rows in their `raw` text, another threshold can be tried without the detector.
    """

    role = "detect"

    def look(self, image: str, names: list[str]) -> ModelCall:
        """Look for the names in an image; a relative path starts from the run's image folder."""
        return ModelCall(DetectRequest(str(self.context.image_root / image), tuple(names)))

    def parse(self, reply: Reply) -> Detections:
        return read_detections(write_detections(reply.result))

    def raw(self, reply: Reply) -> str:
        return dump_cell(write_detections(reply.result)) if reply.result else ""


def is_detectable(name: str) -> bool:
    """Whether a name has anything that a detector can look for; one that has not scores 0, which says nothing."""
    return any(character.isalnum() for character in name)


def write_detections(found: Detections) -> dict[str, Any]:
    """Detections as they stand in a cell: {name: {"score": float, "boxes": [[x0, y0, x1, y1], ...]}}."""
    return {
        name: {"score": round(finding.score, 4), "boxes": [[round(side, 1) for side in box] for box in finding.boxes]}
        for name, finding in found.items()
    }


def read_detections(cell: Mapping[str, Any]) -> Detections:
    """The detections of a cell. Raises ValueError when it holds something else."""
    try:
        return {
            str(name): DetectionResult(float(each["score"]), tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in each["boxes"]))
            for name, each in cell.items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not detections: {str(cell)[:80]!r}") from error


class GenerateStage(ModelStage):
    """A stage that asks a painter. Pictures go into the folder `images` of the stage; an answer's value is `GeneratedImage`."""

    role = "generate"

    def paint(self, prompt: str, negative: str) -> ModelCall:
        """Paint a picture; words of both prompts may be weighted, `(word:1.3)`."""
        return ModelCall(GenerateRequest(prompt, negative, str(self.context.run_folder / self._images)))

    def path_of(self, painted: GeneratedImage) -> str:
        """The path of a picture, from the run's folder."""
        return str(self._images / painted.file)

    @property
    def _images(self) -> Path:
        return Path(self.name.partition(".")[2]) / "images"


class CaptionStage(ModelStage):
    """A stage that asks a captioner; an answer's value is text. Of one that was cut the whole sentences are taken."""

    role = "caption"

    def describe(
        self,
        image: str,
        prompt: str,
        sampling: Sampling,
        check: Check | None = None,
        *,
        max_tiles: int | None = None,
        shorter: str | None = None,
        whole: Callable[[str], str | None] | None = None,
    ) -> ModelCall:
        """Answer a prompt about an image; a relative path starts from the run's image folder.

        The image is cut into `max_tiles` tiles at most, where the model cuts it. `shorter` is the prompt for an answer that was
        too long, `whole` what can be used of one.
        """
        request = CaptionRequest(str(self.context.image_root / image), prompt, sampling, max_tiles=max_tiles)
        again = None if shorter is None else replace(request, prompt=shorter)
        return ModelCall(request, check, shorter=again, whole=whole or whole_sentences)

    def parse(self, reply: Reply) -> str:
        return str(reply.result).strip()


def whole_sentences(text: str) -> str | None:
    """The sentences of a text that was cut off somewhere; None if not one is whole."""
    ends = [found.end() for found in SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else None


class ScoreStage(ModelStage):
    """A stage that asks how well texts fit an image; an answer's value is a list of cosine similarities, one for each text.

    They have four digits: what is decided on is what is written. A stage that wants the image's aesthetic score too has
    `round_scores` for its `parse`.
    """

    role = "score"

    def score(self, image: str, texts: Sequence[str]) -> ModelCall:
        """Compare texts with an image; a relative path starts from the run's image folder."""
        return ModelCall(ScoreRequest(str(self.context.image_root / image), tuple(texts)))

    def parse(self, reply: Reply) -> Any:
        return [*round_scores(reply.result).cosines]

    def raw(self, reply: Reply) -> str:
        if not isinstance(reply.result, Scores):
            return ""
        scores = round_scores(reply.result)
        return dump_cell({"cosines": scores.cosines, "aesthetic": scores.aesthetic})


def round_scores(scores: Scores) -> Scores:
    """Scores with four digits, as they are written."""
    aesthetic = None if scores.aesthetic is None else round(scores.aesthetic, 4)
    return Scores(tuple(round(cosine, 4) for cosine in scores.cosines), aesthetic)


class TableStage(Stage):
    """A stage without a model: whole columns at once. What becomes of a row must not depend on the other rows."""

    @abstractmethod
    def transform(self, table: pl.DataFrame) -> pl.DataFrame:
        """A frame with `row_id`, a text column `reject_reason` (null for rows that come out) and the columns of `adds`.

        `table` has `row_id` and the columns of `reads`; list and json columns are JSON text there and in the result. A stage
        that adds `sub_id` may return several rows of one row_id.
        """


def _option_problem(error: ValidationError, options: type[Options]) -> str:
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"no option {name!r}; {did_you_mean(name, options.model_fields)}"
    return f"option {name}: {first['msg']}" if name else first["msg"].removeprefix("Value error, ")


LABEL = "-"
"""What stands between the name of a stage and its label, where a pipeline has the stage several times."""
PIPELINES = ("negbench", "antidote", "recaption", "anyedit")


def stage_modules(pipeline: str) -> list[str]:
    """The names of the modules of a pipeline."""
    package = import_module(f"shardmill.{pipeline}")
    return sorted(module.name for module in iter_modules(package.__path__))


def stage_class(name: str) -> type[Stage]:
    """The stage `pipeline.stage`, or `pipeline.stage-label`. Raises UserError with a hint for an unknown one."""
    pipeline, _, labelled = name.partition(".")
    short, dash, label = labelled.partition(LABEL)
    if dash and not re.fullmatch(r"[a-z0-9_]{1,40}", label):
        raise UserError(f"{labelled}: behind the hyphen stands a label of small letters, digits and underscores")
    if pipeline not in PIPELINES:
        raise UserError(f"there is no pipeline {pipeline!r}; {did_you_mean(pipeline, PIPELINES)}")
    if re.fullmatch(r"[a-z_]+", short) and short in stage_modules(pipeline):
        for stage in _stages_in(pipeline, short):
            if stage.name == f"{pipeline}.{short}":
                return stage
    names = [stage.name.partition(".")[2] for module in stage_modules(pipeline) for stage in _stages_in(pipeline, module)]
    raise UserError(f"the pipeline {pipeline} has no stage {short!r}; {did_you_mean(short, names)}")


def make_stage(name: str, options: Mapping[str, Any], context: Context) -> Stage:
    """The stage `pipeline.stage` or `pipeline.stage-label` with its options. Raises UserError for what there is not."""
    return stage_class(name)(options, replace(context, label=name.partition(LABEL)[2]))


def _stages_in(pipeline: str, module: str) -> list[type[Stage]]:
    """The stages that a module of a pipeline defines."""
    values = vars(import_module(f"shardmill.{pipeline}.{module}")).values()
    classes = [value for value in values if isinstance(value, type) and get_origin(value) is None]
    return [value for value in classes if issubclass(value, Stage) and hasattr(value, "name")]
