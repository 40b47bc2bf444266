"""What models say, and what people write as prompts: read as what was asked for or refused, and never as anything else."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st
from pydantic import BaseModel, RootModel

from fuzz.hostile import CODE, TEMPLATES, million, pick, texts, values
from fuzz.target import Target
from shardmill.anyedit.instruction_answers import ANSWERS, AnyInstruction, read_answer
from shardmill.anyedit.instruction_checks import EditRequest, instruction_problem
from shardmill.core.answers import Malformed, parse_answer
from shardmill.core.model_stages import whole_sentences
from shardmill.core.prompts import load_template
from shardmill.models.generate.prompt_weights import LARGEST_PRODUCT, fragments, plain
from shardmill.recaption.caption_faults import fault_of, without_opening
from shardmill.store.cells import dump_cell, encode
from shardmill.util.resources import resource_path

KINDS = sorted(ANSWERS)
WRAPPERS = ["{}", "```json\n{}\n```", "<think>x</think>{}", "Sure! {} I hope that helps.", "{}<|im_end|>", "{},", "\ufeff{}"]
TEMPLATES_FOLDER = resource_path("templates/recaption/perspectives.yaml").parents[1]
TEMPLATE_NAMES = sorted(
    path.relative_to(TEMPLATES_FOLDER).with_suffix("").as_posix() for path in TEMPLATES_FOLDER.glob("*/**/*.md")
)
PLAIN, OWN = "plain words", ("type", "form")
"""A value to compare with; variables whose values are none of the data's."""
IMPLICIT = {"examples": [{"edit": "x"}], "found": ["x"], "topic": "x", "count": 2}
"""The values of the template that has no fixed examples."""


class Objects(BaseModel):
    """A list of texts, the commonest answer."""

    objects: list[str]


class Caption(BaseModel):
    """One text."""

    caption: str


class Verdict(BaseModel):
    """Several fields."""

    good: bool
    score: float
    count: int
    why: str | None = None


class Choice(RootModel[Literal["yes", "no", "unsure"]]):
    """A choice between words."""


MODELS: list[type[BaseModel]] = [Objects, Caption, Verdict, Choice]


def answers(case: tuple[str, int], folder: Path) -> None:
    """An instance of the model whose texts a CSV cell can hold, or ValueError."""
    text, which = case
    try:
        found = parse_answer(text, MODELS[which])
    except Malformed as error:
        encode(str(error), "text")
        return
    written = json.dumps(found.model_dump(), ensure_ascii=False)
    written.encode("utf-8")
    assert not any(ord(mark) < 32 and mark not in "\t\n\r" for mark in "".join(_texts_of(found.model_dump())))
    assert type(found) is MODELS[which]


def answers_in_wrappers(case: tuple[list[str], str], folder: Path) -> None:
    """JSON comes back whatever models put around it."""
    objects, wrapper = case
    found = parse_answer(wrapper.replace("{}", dump_cell({"objects": objects})), Objects)
    assert found.objects == objects


def weights(case: str, folder: Path) -> None:
    """Any string is a prompt; its texts are the prompt without the marks, and no weight is out of bounds."""
    found = fragments(case)
    assert all(text and 0 <= weight <= LARGEST_PRODUCT for text, weight in found)
    assert all(one[1] != other[1] for one, other in pairwise(found))
    joined = plain(case)
    letters = iter(case)
    assert all(letter in letters for letter in joined), "the texts are no part of the prompt, in its order"
    if not any(mark in case for mark in "()\\"):
        assert joined == case


def prompts(case: tuple[str, str], folder: Path) -> None:
    """A value is shown as it is, in JSON: never parsed as a template, and nothing else of the chat changes with it."""
    name, hostile = case
    template = load_template(name)
    values_of = template.header.bundles[0][0].values if template.header.bundles else IMPLICIT
    before = template.body.render(_with(values_of, PLAIN))
    after = template.body.render(_with(values_of, hostile))
    inner = dump_cell(hostile)[1:-1]
    assert after == before.replace(PLAIN, inner)


def _with(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {key: item if key in OWN else _with(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [_with(item, text) for item in value]
    return text if isinstance(value, str) else value


def _texts_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts_of(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts_of(item)]
    return [value] if isinstance(value, str) else []


def captions(case: tuple[str, str], folder: Path) -> None:
    """A caption is looked at in time that does not run away with its length."""
    text, prompt = case
    fault = fault_of(text, prompt, "any" if len(text) % 2 else "LATIN")
    assert fault is None or (fault and len(fault) < 80)
    without_opening(text)
    whole_sentences(text)


def instructions(case: tuple[str, dict[str, Any], str, list[str], dict[str, str]], folder: Path) -> None:
    """An answer of any type is judged, whatever it holds and whatever caption it is about."""
    kind, fields, caption, objects, target = case
    answer = read_answer(kind, AnyInstruction.model_validate(fields))
    if answer is not None:
        problem = instruction_problem(kind, answer, EditRequest(caption, objects, target))
        assert problem is None or (problem and len(problem) < 80)


_ANSWER = million(
    st.one_of(
        texts(12, halves=True),
        st.builds(lambda wrapper, value: wrapper.replace("{}", value), pick(WRAPPERS), values(halves=True).map(json.dumps)),
        st.builds(
            lambda wrapper, field, value: wrapper.replace("{}", json.dumps({field: value})),
            pick(WRAPPERS),
            st.sampled_from(["objects", "caption", "good", "score", "count", "why"]),
            values(halves=True),
        ),
    )
)
_WEIGHT_PARTS = ["(", ")", "\\(", "\\)", "\\", ":", "1.3", ".5", "(a:2)", "(b:99)", " ", "(:1)", "a red tram", "1.3)"]
_WEIGHT_PARTS += [":3.0)", "\n"]
_WEIGHTED = million(
    st.one_of(st.lists(pick(_WEIGHT_PARTS), max_size=20).map("".join), texts(), st.just("(" * 9_000 + "a:1.1)" * 9_000))
)
_WORDS = ["dog", "dogs", "a", "the", "sled", "red", "Remove", "Add", "cat", "to", "wooden", "background", '"open"', "'late'"]
_WORDS += [".", "snow", "no", "runs"]
_PHRASE = st.lists(pick(_WORDS), min_size=1, max_size=9).map(" ".join) | texts(3, long=False).map(lambda text: text + " x")
_QUOTABLE = st.text("abz \\\"'[]{},:()-.*1é犬", max_size=12)
_FIELDS = st.fixed_dictionaries(
    {"edit": _PHRASE, "output": _PHRASE},
    optional=dict.fromkeys(
        ("edited_object", "new_object", "color", "appearance", "material", "new_action", "new_background", "new_state", "input"),
        _PHRASE,
    ),
)

TARGETS = [
    Target("answers", st.tuples(_ANSWER, st.integers(0, len(MODELS) - 1)), answers),
    Target("answers-in-wrappers", st.tuples(st.lists(_QUOTABLE, max_size=3), pick(WRAPPERS)), answers_in_wrappers),
    Target("prompt-weights", _WEIGHTED, weights),
    Target(
        "prompts",
        st.tuples(pick(TEMPLATE_NAMES), million(texts() | pick([*TEMPLATES, *CODE]))),
        prompts,
    ),
    Target("captions", st.tuples(million(texts(14)), texts(4)), captions),
    Target(
        "instructions",
        st.tuples(
            st.sampled_from(KINDS),
            _FIELDS,
            _PHRASE,
            st.lists(_PHRASE, max_size=3),
            st.dictionaries(pick(["object", "color", "text"]), _PHRASE),
        ),
        instructions,
    ),
]
