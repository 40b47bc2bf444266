"""Rows of the anyedit pipeline for tests, and stages driven on them with the embedded rules as the worker drives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from shardmill.core.seeding import rng_of, seed_of
from shardmill.core.stage import Answer, FollowUp, ModelCall, ModelStage, Reject
from shardmill.embedded.rules.engine import RulesModel
from shardmill.language.actions import actions
from shardmill.language.noun_phrases import extract_objects
from shardmill.models.contract import Reply, TextRequest

Outcome = dict[str, Any] | list[dict[str, Any]] | Reject
Model = Callable[[TextRequest], str]


def row_of(caption: str, row_id: int = 1, **columns: Any) -> dict[str, Any]:
    """A row as select_captions and ground_objects leave it, without a picture."""
    row = {
        "row_id": row_id,
        "input": caption,
        "input_objects": extract_objects(caption),
        "input_verbs": [action.verb for action in actions(caption)],
        "input_texts": [],
        "detections": {},
        "width": None,
        "height": None,
    }
    return {**row, **columns}


def rules(request: TextRequest) -> str:
    """The embedded rules' answer."""
    return next(iter(RulesModel().stream([request]))).result


def outcome(stage: ModelStage, row: dict[str, Any], model: Model = rules, attempts: int = 3) -> Outcome:
    """What becomes of a row: asked, asked again where an answer fails its check, and asked more."""
    key = (row["row_id"], row.get("sub_id"))
    asks = stage.ask(row, rng_of(0, stage.name, *key))
    answers: list[Answer] = []
    while True:
        answers += [answered(stage, ask, (*key, len(answers) + at), model, attempts) for at, ask in enumerate(asks)]
        problems = [answer.problem for answer in answers if answer.problem is not None]
        if answers and len(problems) == len(answers) and not stage.tolerant:
            return Reject(problems[0] or "")
        result = stage.accept(row, answers)
        if not isinstance(result, FollowUp):
            return result
        asks = result.calls


def answered(stage: ModelStage, ask: ModelCall, key: tuple[Any, ...], model: Model, attempts: int) -> Answer:
    """The last answer to an ask."""
    assert isinstance(ask.request, TextRequest)
    for attempt in range(attempts):
        text = model(replace(ask.request, key="1", seed=seed_of(0, *key, attempt)))
        try:
            value = stage.parse(Reply("1", text))
        except ValueError:
            answer = Answer(ask, problem="malformed answer", raw=text)
            continue
        answer = Answer(ask, value, ask.check(value) if ask.check else None, raw=text)
        if answer.problem is None:
            break
    return answer
