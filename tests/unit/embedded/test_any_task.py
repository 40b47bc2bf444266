"""`rules` answers tasks that it has no rule for: by the JSON schema of the answer and the values of the prompt."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, create_model

from shardmill.core.answers import parse_answer
from shardmill.embedded.rules.engine import RulesModel
from shardmill.models.contract import Reply, TextRequest

CAPTION = "Two brown dogs chase a red ball past three parked cars on a sunny beach. A man sleeps."


class Chat:
    """A prompt by its task and values alone."""

    def __init__(self, values: Mapping[str, Any], task: str = "mine"):
        self.values, self.task = values, task

    def messages(self, seed: int) -> list[dict[str, str]]:
        raise AssertionError("the rules read no prose")


def reply_to(answer: type[BaseModel], values: Mapping[str, Any], task: str = "mine", seed: int = 0) -> Reply:
    """What `rules` replies to a request for such an answer."""
    (reply,) = RulesModel().stream([TextRequest(Chat(values, task), schema=answer.model_json_schema(), seed=seed)])
    return reply


def answered(answer: type[BaseModel], caption: str = CAPTION, task: str = "mine") -> dict[str, Any]:
    """The fields of an answer that was read as a stage reads it."""
    return parse_answer(reply_to(answer, {"caption": caption}, task).result, answer).model_dump()


def field_of(kind: Any, name: str, caption: str = CAPTION, **limits: Any) -> Any:
    """The value of the only field of an answer."""
    return answered(create_model("Answer", **{name: (kind, Field(**limits))}), caption)[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("colours", ["brown", "red"]),
        ("object_colors", ["brown", "red"]),
        ("animals", ["dog"]),
        ("people", ["man"]),
        ("vehicles", ["car"]),
        ("places", ["beach"]),
        ("numbers", ["Two", "three"]),
        ("actions", ["chase", "sleeps"]),
        ("weather", ["sunny"]),
        ("objects", ["dog", "ball", "car", "beach", "man"]),
        ("anything_else", ["dog", "ball", "car", "beach", "man"]),
    ],
)
def test_a_list_holds_the_words_of_the_category_that_its_name_says(name: str, expected: list[str]) -> None:
    assert field_of(list[str], name) == expected


def test_a_description_names_the_category_where_the_name_does_not() -> None:
    assert field_of(list[str], "found", description="every colour that the caption names") == ["brown", "red"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("color", "brown"),
        ("main_object", "dog"),
        ("material", "none"),
        ("summary", "Two brown dogs chase a red ball past three parked cars on a sunny beach."),
        ("question", "Is there a dog in the image?"),
    ],
)
def test_a_text_is_the_first_such_word_or_the_first_sentence(name: str, expected: str) -> None:
    assert field_of(str, name) == expected


@pytest.mark.parametrize(("name", "expected"), [("number_of_dogs", 2), ("cars", 3), ("animals", 2), ("cats", 0), ("count", 8)])
def test_a_number_counts_what_its_name_says(name: str, expected: int) -> None:
    assert field_of(int, name) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("has_dog", True), ("is_sunny", True), ("has_cat", False), ("mentions_color", True)]
)
def test_true_is_what_the_text_mentions(name: str, expected: bool) -> None:
    assert field_of(bool, name) is expected


def test_a_choice_is_the_one_that_the_text_mentions_else_one_by_the_seed() -> None:
    assert field_of(Literal["blue", "red"], "color") == "red"
    model = create_model("Answer", mood=(Literal["calm", "busy", "sad"], ...))
    told = {seed: reply_to(model, {"caption": CAPTION}, seed=seed).result for seed in range(20)}
    assert len(set(told.values())) == 3
    assert told[3] == reply_to(model, {"caption": CAPTION}, seed=3).result


def test_a_choice_alone_is_read_as_a_word() -> None:
    class Verdict(RootModel[Literal["yes", "no"]]):
        pass

    assert parse_answer(reply_to(Verdict, {"caption": "yes, a dog"}).result, Verdict).root == "yes"


class Thing(BaseModel):
    name: str
    colour: str | None
    count: int


def test_a_list_of_models_has_one_for_each_object_from_the_words_around_it() -> None:
    assert field_of(list[Thing], "things", "Two brown dogs and a red ball on grass") == [
        {"name": "dog", "colour": "brown", "count": 2},
        {"name": "ball", "colour": "red", "count": 1},
        {"name": "grass", "colour": None, "count": 1},
    ]


def test_texts_in_lists_and_mappings_are_read_and_none_at_all_is_no_fault() -> None:
    model = create_model("Answer", objects=(list[str], ...))
    nested = {"count": 3, "rows": [{"text": "a dog"}, {"text": "a kite"}]}
    assert json.loads(reply_to(model, nested).result) == {"objects": ["dog", "kite"]}
    assert json.loads(reply_to(model, {}).result) == {"objects": []}


def test_a_task_of_the_same_name_with_other_values_or_another_answer_is_somebody_elses() -> None:
    class Rewritten(BaseModel):
        caption: str

    assert answered(Rewritten, "A dog.", task="paraphrase") == {"caption": "A dog."}, "its values are others"
    assert field_of(list[str], "colours", "A red dog.") == ["red"]
    assert answered(create_model("Answer", colours=(list[str], ...)), "A red dog.", task="extract_objects") == {
        "colours": ["red"]
    }


def test_what_cannot_be_met_is_named() -> None:
    reply = reply_to(create_model("Answer", code=(str, Field(pattern=r"^[0-9]{9}$"))), {"caption": CAPTION})
    assert reply.finish == "unusable" and "code" in reply.detail and "pattern" in reply.detail


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


def test_a_schema_that_refers_to_itself_ends() -> None:
    assert answered(Tree)["name"] == "dog"


TEXTS = st.sampled_from(["", CAPTION, "a", "日本語 \ud800 \x00 text", "x" * 3_000, "No dogs, 12 red kites!"])


def lengths(draw: st.DrawFn, low: str, high: str, most: int) -> dict[str, Any]:
    least = draw(st.none() | st.integers(0, most))
    return {
        **({low: least} if least else {}),
        **({high: (least or 0) + draw(st.integers(0, most))} if draw(st.booleans()) else {}),
    }


@st.composite
def simple_types(draw: st.DrawFn) -> Any:
    """A type of a field without others in it, with limits."""
    kind = draw(st.sampled_from(["str", "int", "float", "bool", "literal", "date", "uuid", "none"]))
    if kind == "str":
        return Annotated[str, Field(**lengths(draw, "min_length", "max_length", 40))]
    if kind in ("int", "float"):
        low = draw(st.none() | st.integers(-50, 50))
        high = draw(st.none() | st.integers(low + 10 if low is not None else -50, 100))
        limits = {draw(st.sampled_from(["ge", "gt"])): low, draw(st.sampled_from(["le", "lt"])): high}
        step = {"multiple_of": draw(st.sampled_from([None, 1, 2, 5]))} if kind == "int" else {}
        chosen = {name: value for name, value in {**limits, **step}.items() if value is not None}
        return Annotated[int if kind == "int" else float, Field(**chosen)]
    if kind == "literal":
        return Literal[tuple(draw(st.lists(st.sampled_from(["red", "a b", "no", 3, 4]), min_size=1, max_size=4, unique=True)))]  # type: ignore[misc]
    return {"bool": bool, "date": datetime.date, "uuid": UUID, "none": None}[kind]


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Types that hold others."""

    @st.composite
    def made(draw: st.DrawFn) -> Any:
        kind = draw(st.sampled_from(["list", "optional", "union", "dict", "tuple", "model"]))
        one, other = draw(inner), draw(inner)
        if kind == "list":
            return Annotated[list[one], Field(**lengths(draw, "min_length", "max_length", 6))]  # type: ignore[valid-type]
        if kind == "model":
            return create_model("Inner", subject=(one, ...), notes=(other, ...))
        return {"optional": one | None if one is not None else None, "union": one | other if one is not other else one,
                "dict": dict[str, one], "tuple": tuple[one, other]}[kind]  # type: ignore[valid-type] # fmt: skip

    return made()


NAMES = st.sampled_from(["colours", "count", "main_object", "has_dog", "caption", "x", "things", "weirdWord", "question"])


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(NAMES, st.recursive(simple_types(), containers, max_leaves=5), min_size=1, max_size=4), TEXTS, st.integers()
)
def test_every_answer_fits_its_schema(fields: dict[str, Any], text: str, seed: int) -> None:
    model = create_model("Answer", **{name: (kind, ...) for name, kind in fields.items()})
    reply = reply_to(model, {"caption": text}, seed=seed)
    assert reply.finish == "stop", reply.detail
    parse_answer(reply.result, model)
    assert reply == reply_to(model, {"caption": text}, seed=seed)
