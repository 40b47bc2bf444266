"""Step 1: the visible objects that a caption names.

python -m shardmill.negbench.extract_objects --run RUN --shard-index 3
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.answers import parse_answer
from shardmill.core.model_stages import TextStage, schema_of
from shardmill.core.prompts import Prompt, Template, load_template
from shardmill.core.stage import Answer, FollowUp, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.object_names import distinct, form_problem, is_denied, is_named
from shardmill.language.prose import prose_problem
from shardmill.models.contract import Reply, TextRequest
from shardmill.negbench.answers import NamedAndMissing, ObjectList
from shardmill.store.cells import Kind

BOTH_TEMPLATE = "template with proposals"
"""The field of the fingerprint with the digest of the prompt for objects and proposals."""
PROPOSALS = 5
"""How many missing things are asked for beside the objects; `propose_negatives` asks for more where more are wanted."""


class ExtractOptions(Options):
    """Options of `extract_objects`."""

    max_objects: int = Field(12, ge=1, description="keep at most this many objects of a caption, in the order of the caption")
    proposals: bool = Field(
        False,
        description="also ask for things that are missing, in the same request: `propose_negatives` then asks only where too few "
        "are usable. A model file sets it for a model that can; a prompt of your own asks for objects alone",
    )
    max_characters: int = Field(2_000, ge=100, description="read no more than this of a caption; long alt text repeats itself")


class ExtractObjects(TextStage):
    """Visible objects that a caption names.

    caption (text) -> objects (list): each is named in the caption by itself, misspelled or by a listed synonym, none twice after
    folding case, article and plural, and none that the caption says is absent. Advice, questions, opinions and headlines, which
    show nothing, are rejected. The rules are those of NegBench, step 1, held by code instead of hope.

    With the option `proposals` also proposals (list): objects that would fit the scene, as the model gave them. Where that answer
    names no object of the caption, it is asked about the caption again, for its objects alone.
    """

    name = "extract_objects"
    reads = ("caption",)
    adds = {"objects": "list"}
    prompt = "negbench/extract_objects.md"
    prompt_with_proposals = "negbench/extract_and_propose"
    answer = ObjectList
    Options = ExtractOptions
    options: ExtractOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        if prose_problem(row["caption"]) is not None:
            return []
        return [self.both_call(row) if self.asks_both else self.objects_call(row)]

    def objects_call(self, row: Row) -> ModelCall:
        """The call for the objects alone."""
        return self.text_call(caption=self.read(row), check=_no_object_named, check_retries=1)

    def both_call(self, row: Row) -> ModelCall:
        """The call for the objects and for others that are missing."""
        prompt = Prompt(self.both_template, {"caption": self.read(row), "count": PROPOSALS})
        request = TextRequest(prompt, self.both_template.sampling, schema_of(NamedAndMissing))
        return ModelCall(request, whole=str, parse=_named_and_missing)

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject | FollowUp:
        if not answers:
            return Reject("text shows nothing", str(prose_problem(row["caption"])))
        last = answers[-1]
        if last.problem is not None:
            return Reject(last.problem, last.detail)
        offered = distinct(last.value.objects)
        named = [name for name in offered if form_problem(name) is None and is_named(name, row["caption"])]
        objects = [name for name in named if not is_denied(name, row["caption"])]
        if not objects and self.asks_both and len(answers) == 1:
            return FollowUp([self.objects_call(row)])
        if not objects:
            return Reject("no object", _detail(offered, named))
        proposals = {"proposals": answers[0].value.missing if self.asks_both else []} if self.options.proposals else {}
        return {"objects": objects[: self.options.max_objects], **proposals}

    def columns(self) -> dict[str, Kind]:
        return {**self.adds, "proposals": "list"} if self.options.proposals else dict(self.adds)

    @property
    def more_templates(self) -> Mapping[str, Template]:
        return {BOTH_TEMPLATE: self.both_template} if self.asks_both else {}

    @cached_property
    def both_template(self) -> Template:
        """The prompt for objects and proposals as a template."""
        return load_template(self.prompt_with_proposals)

    @property
    def asks_both(self) -> bool:
        """Whether objects and proposals are asked for in one request."""
        return self.options.proposals and self.context.prompt is None

    def read(self, row: Row) -> str:
        """What is read of the caption."""
        return str(row["caption"][: self.options.max_characters])


def _named_and_missing(reply: Reply) -> NamedAndMissing:
    """The answer; an empty one if it cannot be read, for the caption to be asked about again for its objects alone."""
    try:
        return parse_answer(reply.result, NamedAndMissing)
    except ValueError:
        return NamedAndMissing()


def _no_object_named(answer: ObjectList) -> str | None:
    """A small model says so of many a caption with objects: one more set of examples is worth the price."""
    return None if answer.objects else "the model named none"


def _detail(offered: list[str], named: list[str]) -> str:
    if named:
        return f"the caption says that none of {named} is there"
    return f"none of {offered} is named in the caption"


if __name__ == "__main__":
    main(ExtractObjects)
