"""Text stages that ask for several texts of a row in one request.

A request has a cost of its own beside its answer: what every row shares, as far as it does not fill a block of the prefix cache,
the caption, the words around it. One that asks for a list pays that once. Each item is judged as if it had been asked for alone,
and what fails is asked for alone, so a list can cost a model that cannot write one some tokens, but no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from shardmill.core.answers import parse_answer, whole_items
from shardmill.core.model_stages import TextStage
from shardmill.core.prompts import Prompt, Template, load_template
from shardmill.core.stage import Answer, FollowUp, ModelCall, Options
from shardmill.models.contract import Reply, TextRequest

MAX_ITEMS = 8
"""Longer lists are asked for in pieces: models lose count, and each item may be compared with each call."""

LIST_TEMPLATE = "list template"
"""The field of a fingerprint with the digest of the prompt for lists."""


class ListOptions(Options):
    """Options of a stage that can ask for lists."""

    together: bool = Field(
        True,
        description="ask for all texts of a row in one request, and one by one for those that fail; false for models, mostly "
        "small ones, whose lists seldom hold. A prompt of your own is always asked one by one",
    )


class TextList(BaseModel):
    """Texts, in the order of what was asked for."""

    captions: list[str]


@lru_cache(maxsize=MAX_ITEMS)
def list_schema(items: int) -> dict[str, Any]:
    """The JSON schema of a list of so many texts: one mapping for all requests, not to be changed."""
    schema = TextList.model_json_schema()
    texts = {**schema["properties"]["captions"], "minItems": items, "maxItems": items}
    return {**schema, "properties": {"captions": texts}}


class ListStage(TextStage):
    """A text stage whose `answer` has one text, of which a row needs several.

    `ask` makes the calls for the single texts and returns `list_calls` of them; `accept` reads its answers by `single_answers`.
    It is called even if every answer has a problem.

    Attributes:
        list_prompt: The template that asks for several texts, as `{"captions": [...]}`. Its `max_tokens` are those of one text.
    """

    list_prompt: ClassVar[str]
    tolerant = True
    options: ListOptions

    @cached_property
    def list_template(self) -> Template:
        """The prompt for lists as a template."""
        return load_template(self.list_prompt.removesuffix(".md"))

    @property
    def more_templates(self) -> Mapping[str, Template]:
        return {LIST_TEMPLATE: self.list_template} if self.asks_lists else {}

    @property
    def asks_lists(self) -> bool:
        """Whether several texts are asked for in one request; a prompt of the user's knows one text only."""
        return self.options.together and self.context.prompt is None

    def list_call(self, calls: Sequence[ModelCall], *, share: str | None = None, **values: Any) -> ModelCall:
        """A call that stands for several.

        Args:
            calls: The calls for the single texts, in the order of the list.
            share: See `ModelCall`. Equal ones must stand for equal calls.
            values: The variables of the prompt for lists.
        """
        sampling = self.list_template.sampling
        sampling = replace(sampling, max_tokens=sampling.max_tokens * len(calls))
        request = TextRequest(Prompt(self.list_template, values), sampling, list_schema(len(calls)))
        return ModelCall(request, share=share, whole=_whole_texts, parse=_texts_of, parts=tuple(calls))

    def single_answers(self, answers: Sequence[Answer]) -> list[Answer] | FollowUp:
        """The answers to the single calls, in their order; or the calls to make one by one, as their items failed.

        Depends on nothing but the answers: those to lists come first, then those to the calls that were made one by one.
        """
        lists = [answer for answer in answers if answer.call.parts]
        if not lists:
            return list(answers)
        found = [pair for answer in lists for pair in self._judged(answer)]
        failed = [call for call, answer in found if answer is None]
        if failed and len(answers) == len(lists):
            return FollowUp(failed)
        alone = iter(answers[len(lists) :])
        return [next(alone) if answer is None else answer for _, answer in found]

    def _judged(self, answer: Answer) -> Iterable[tuple[ModelCall, Answer | None]]:
        """Each call that a list stands for, with its answer; None where no item of the list is one.

        An item belongs to the call at its position, or, where a model has left one out or changed the order, to any that it
        answers.
        """
        (field,) = self.answer.model_fields
        values = [self.answer(**{field: text}) for text in answer.value or ()]
        calls = answer.call.parts
        chosen = {index: index for index, (call, value) in enumerate(zip(calls, values, strict=False)) if _fits(call, value)}
        for index, call in enumerate(calls):
            if index not in chosen:
                free = (at for at, value in enumerate(values) if at not in chosen.values() and _fits(call, value))
                if (at := next(free, None)) is not None:
                    chosen[index] = at
        for index, call in enumerate(calls):
            yield call, replace(answer, call=call, value=values[chosen[index]], problem=None) if index in chosen else None


def pieces(calls: Sequence[ModelCall]) -> list[Sequence[ModelCall]]:
    """Calls in pieces of about equal length, none longer than a list may be.

    >>> [len(piece) for piece in pieces(range(18))]
    [6, 6, 6]
    """
    count = -(-len(calls) // MAX_ITEMS)
    bounds = [len(calls) * number // count for number in range(count + 1)] if count else [0]
    return [calls[start:end] for start, end in pairwise(bounds)]


def _fits(call: ModelCall, value: Any) -> bool:
    return call.check is None or call.check(value) is None


def _texts_of(reply: Reply) -> list[str]:
    """The items of a list; none of an answer that is not a list, which is then asked for one by one instead of again."""
    try:
        return parse_answer(reply.result, TextList).captions
    except ValueError:
        return []


def _whole_texts(text: str) -> str:
    """The items before the one at which the token limit has cut a list."""
    return whole_items(text) or "[]"
