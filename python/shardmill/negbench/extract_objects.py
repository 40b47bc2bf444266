"""Step 1: the visible objects that a caption names.

python -m shardmill.negbench.extract_objects --run RUN --shard-index 3
"""

from __future__ import annotations

from random import Random
from typing import Any

from pydantic import Field

from shardmill.core.model_stages import TextStage
from shardmill.core.stage import Answer, ModelCall, Options, Reject, Row
from shardmill.core.stage_main import main
from shardmill.language.object_names import distinct, form_problem, is_denied, is_named
from shardmill.language.prose import prose_problem
from shardmill.negbench.answers import ObjectList


class ExtractOptions(Options):
    """Options of `extract_objects`."""

    max_objects: int = Field(12, ge=1, description="keep at most this many objects of a caption, in the order of the caption")
    max_characters: int = Field(2_000, ge=100, description="read no more than this of a caption; long alt text repeats itself")


class ExtractObjects(TextStage):
    """Visible objects that a caption names.

    caption (text) -> objects (list): each is named in the caption by itself, misspelled or by a listed synonym, none twice after
    folding case, article and plural, and none that the caption says is absent. Advice, questions, opinions and headlines, which
    show nothing, are rejected. The rules are those of NegBench, step 1, held by code instead of hope.
    """

    name = "extract_objects"
    reads = ("caption",)
    adds = {"objects": "list"}
    prompt = "negbench/extract_objects.md"
    answer = ObjectList
    Options = ExtractOptions
    options: ExtractOptions

    def ask(self, row: Row, rng: Random) -> list[ModelCall]:
        if prose_problem(row["caption"]) is not None:
            return []
        caption = row["caption"][: self.options.max_characters]
        return [self.text_call(caption=caption, check=_no_object_named, check_retries=1)]

    def accept(self, row: Row, answers: list[Answer]) -> dict[str, Any] | Reject:
        if not answers:
            return Reject("text shows nothing", str(prose_problem(row["caption"])))
        offered = distinct(answers[0].value.objects)
        named = [name for name in offered if form_problem(name) is None and is_named(name, row["caption"])]
        objects = [name for name in named if not is_denied(name, row["caption"])]
        if not objects:
            return Reject("no object", _detail(offered, named))
        return {"objects": objects[: self.options.max_objects]}


def _no_object_named(answer: ObjectList) -> str | None:
    """A small model says so of many a caption with objects: one more set of examples is worth the price."""
    return None if answer.objects else "the model named none"


def _detail(offered: list[str], named: list[str]) -> str:
    if named:
        return f"the caption says that none of {named} is there"
    return f"none of {offered} is named in the caption"


if __name__ == "__main__":
    main(ExtractObjects)
