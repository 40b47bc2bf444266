"""Stages that call a model of one role: text, detect, generate, edit, caption, score."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, ClassVar, get_args, get_origin

from pydantic import BaseModel

from shardmill.core.answers import parse_answer, whole_items
from shardmill.core.prompts import Prompt, Template, is_prompt_file, load_template, parse_template, read_prompt
from shardmill.core.stage import Answer, Check, FollowUp, ModelCall, ModelStage, Reject, Row, Stage
from shardmill.models.contract import (
    CaptionRequest,
    DetectionResult,
    Detections,
    DetectRequest,
    EditRequest,
    GeneratedImage,
    GenerateRequest,
    Reply,
    Sampling,
    ScoreRequest,
    Scores,
    TextRequest,
)
from shardmill.store.cells import Kind, dump_cell
from shardmill.util.errors import UserError, did_you_mean
from shardmill.util.resources import PACKAGE
from shardmill.util.texts import text_of

SENTENCE_END = re.compile(r"[.!?][\"'”’)]*(?=\s|$)")
KINDS: Mapping[Any, Kind] = {str: "text", int: "int", float: "float", bool: "bool"}


def prompt_value(answer: Answer, name: str) -> Any:
    """The value that a prompt variable had in the call of a text stage's answer."""
    return asked_value(answer.call, name)


def asked_value(call: ModelCall, name: str) -> Any:
    """The value that a prompt variable has in a text stage's call."""
    assert isinstance(call.request, TextRequest)
    return call.request.chat.values[name]


@lru_cache(maxsize=256)
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of an answer: one mapping for all requests, not to be changed. Making it takes longer than the request."""
    return model.model_json_schema()


class TextStage(ModelStage):
    """A stage that asks a text model.

    Without `ask` and `accept` of its own, the prompt gets the columns of `reads` and the answer's fields become the columns.

    Attributes:
        prompt: The prompt: a file beside the stage's module (`count_colours.md`), a template that comes with Shardmill
            (`PIPELINE/STAGE.md`), or the text itself.
        answer: The pydantic model of the answer.
        adds: By default, the fields of the answer.
    """

    role = "text"
    prompt: ClassVar[str]
    answer: ClassVar[type[BaseModel]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not hasattr(cls, "adds") and hasattr(cls, "answer"):
            cls.adds = {name: _kind_of(field.annotation) for name, field in cls.answer.model_fields.items()}

    @cached_property
    def template(self) -> Template:
        """The prompt as a template. Raises UserError if it is missing or malformed."""
        short = self.name.partition("-")[0]
        if self.context.prompt is not None:
            return self._parse(self.context.prompt, f"the prompt given for {self.name}", short)
        if not is_prompt_file(self.prompt):
            return self._parse(self.prompt, f"the prompt of {type(self).__name__}", short)
        own = Path(inspect.getfile(type(self))).parent / self.prompt
        if own.is_relative_to(PACKAGE):
            return load_template(self.prompt.removesuffix(".md"))
        return self._parse(text_of(str(own), lambda: read_prompt(own)), str(own), short)

    @property
    def more_templates(self) -> Mapping[str, Template]:
        """Prompts that it uses beside its own, by the field of its fingerprint that has the digest."""
        return {}

    def _parse(self, text: str, where: str, task: str) -> Template:
        return parse_template(text, where, name=task, task=task, system=_system_for(self.answer))

    def check_plan(self, before: Sequence[Stage], given: Collection[str]) -> None:
        super().check_plan(before, given)
        kind = type(self)
        if kind.accept is TextStage.accept:
            unknown = [name for name in self.columns() if name not in self.answer.model_fields]
            if unknown:
                hint = did_you_mean(unknown[0], self.answer.model_fields)
                raise UserError(f"stage {self.name} adds {unknown[0]!r}, which its answer {self.answer.__name__} lacks; {hint}")
        known = set(self.reads) if kind.ask is TextStage.ask else None
        if known is None and self.context.prompt is not None:
            known = set(type(self)(self.options.model_dump(), replace(self.context, prompt=None)).template.variables)
        missing = sorted(self.template.variables - known) if known is not None else []
        if missing:
            raise UserError(
                f"the prompt of stage {self.name} uses {{{{ {missing[0]} }}}}, which the stage does not give; "
                f"{did_you_mean(missing[0], known or ())}"
            )

    def text_call(
        self, *, check: Check | None = None, share: str | None = None, check_retries: int | None = None, **values: Any
    ) -> ModelCall:
        """A call with the stage's prompt and these values.

        Args:
            check: See `ModelCall`.
            share: See `ModelCall`.
            check_retries: See `ModelCall`.
            values: The variables of the prompt.
        """
        request = TextRequest(Prompt(self.template, values), self.template.sampling, schema_of(self.answer))
        fields = [field.annotation for field in self.answer.model_fields.values()]
        whole = whole_items if fields == [list[str]] else None
        return ModelCall(request, check, share, whole=whole, check_retries=check_retries)

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        return [self.text_call(**{name: row[name] for name in self.reads})]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | list[dict[str, Any]] | Reject | FollowUp:
        values = answers[0].value.model_dump(mode="json")
        return {name: values[name] for name in self.columns()}

    def parse(self, reply: Reply) -> Any:
        return parse_answer(reply.result, self.answer)

    def fingerprint(self, model: Mapping[str, Any]) -> dict[str, str]:
        schema = dump_cell(schema_of(self.answer))
        return {
            **super().fingerprint(model),
            "template": self.template.digest,
            **{field: template.digest for field, template in self.more_templates.items()},
            "answer schema": sha256(schema.encode()).hexdigest(),
        }


def _kind_of(annotation: Any) -> Kind:
    """The kind of column for a field of an answer."""
    if get_origin(annotation) is list and get_args(annotation) == (str,):
        return "list"
    return KINDS.get(annotation, "json")


def _system_for(answer: type[BaseModel]) -> str:
    """The system message of a prompt without one: the form of the answer."""
    fields = ", ".join(f'"{name}": {_form_of(field.annotation)}' for name, field in answer.model_fields.items())
    return f"Answer with one JSON object of this form and nothing else: {{{fields}}}"


def _form_of(annotation: Any) -> str:
    forms = {"text": '"..."', "int": "0", "float": "0.0", "bool": "true", "list": '["...", "..."]', "json": "..."}
    return forms[_kind_of(annotation)]


class DetectStage(ModelStage):
    """A stage that calls a detector; an answer's value is `Detections`, scores to four digits and boxes to a tenth of a pixel.

    What is decided on is what is written: with the detections of rows that came out in a column `detections` and those of
    rejected rows in their `raw` text, another threshold can be tried without the detector.
    """

    role = "detect"

    def detect_call(self, image: str, names: list[str]) -> ModelCall:
        """Detect the named objects in an image; a relative path starts from the run's image folder."""
        return ModelCall(DetectRequest(str(self.context.image_root / image), tuple(names)))

    def parse(self, reply: Reply) -> Detections:
        return read_detections(write_detections(reply.result))

    def raw(self, reply: Reply) -> str:
        return dump_cell(write_detections(reply.result)) if reply.result else ""


def is_detectable(name: str) -> bool:
    """Whether a name has a letter or digit that a detector can search for; without one its score of 0 means nothing."""
    return any(character.isalnum() for character in name)


def write_detections(found: Detections) -> dict[str, Any]:
    """Detections as a cell holds them: {name: {"score": float, "boxes": [[x0, y0, x1, y1], ...]}}."""
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
    """A stage that calls a text-to-image model. Images go into the stage's folder `images`; a value is a `GeneratedImage`."""

    role = "generate"

    def generate_call(self, prompt: str, negative: str = "") -> ModelCall:
        """Generate an image; words of both prompts may be weighted, `(word:1.3)`."""
        return ModelCall(GenerateRequest(prompt, negative, str(self.context.run_folder / self._images)))

    def path_of(self, generated: GeneratedImage) -> str:
        """The path of an image, from the run's folder."""
        return str(self._images / generated.file)

    @property
    def _images(self) -> Path:
        return Path(self.name) / "images"


class EditStage(GenerateStage):
    """A stage that calls an image editor. Edited images go into the stage's folder `images`; a value is a `GeneratedImage`."""

    role = "edit"

    def edit_call(self, image: str, instruction: str, *, before: str = "", after: str = "", kind: str = "") -> ModelCall:
        """Edit an image as an instruction says; see `EditRequest` for what else may be known of the edit."""
        folder = str(self.context.run_folder / self._images)
        return ModelCall(EditRequest(str(self.context.image_root / image), instruction, before, after, kind, folder))


class CaptionStage(ModelStage):
    """A stage that calls a captioner; an answer's value is text. Of an answer that was cut, the whole sentences are taken."""

    role = "caption"

    def caption_call(
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
    """The complete sentences of a text that was cut off; None if there is none."""
    ends = [found.end() for found in SENTENCE_END.finditer(text)]
    return text[: ends[-1]].strip() if ends else None


class ScoreStage(ModelStage):
    """A stage that measures how well texts fit an image; an answer's value is a list of cosine similarities, one for each text.

    They have four digits: what is decided on is what is written. A stage that wants the image's aesthetic score too has
    `round_scores` for its `parse`.
    """

    role = "score"

    def score_call(self, image: str, texts: Sequence[str]) -> ModelCall:
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
