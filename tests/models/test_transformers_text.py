"""The transformers engine with a small random model: answers in form, each row as if alone, shared prompts computed once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models.tiny import build_llama, without_system_role
from shardmill.core.answers import parse_answer
from shardmill.core.prompts import Prompt, load_template
from shardmill.core.shard_runner import run_shard
from shardmill.models.contract import Reply, Sampling, TextRequest
from shardmill.models.text.transformers import WINDOW, TransformersModel
from shardmill.negbench.caption_negated import CaptionNegated
from shardmill.negbench.extract_objects import ExtractObjects
from shardmill.negbench.paraphrase_mcq import ParaphraseMcq
from shardmill.negbench.propose_negatives import ProposeNegatives
from shardmill.negbench.validate_objects import ValidateObjects
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError
from shardmill.util.signals import stopping_when

SHORT = {
    "type": "object",
    "properties": {"objects": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 4}},
    "required": ["objects"],
    "additionalProperties": False,
}
CAPTIONS = ["a dog", "two cats on a sofa next to a lamp", "a kite", "children in the park near a tree " * 3, "a red boat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_llama(tmp_path_factory.mktemp("transformers") / "llama")


@pytest.fixture(scope="module")
def model(folder: Path) -> TransformersModel:
    return TransformersModel(model=str(folder), max_batch_size=8)


def ask(key: str, caption: str = "a dog and a kite", schema: Any = SHORT, seed: int = 0, **sampling: Any) -> TextRequest:
    chat = Prompt(load_template("negbench/extract_objects"), {"caption": caption})
    return TextRequest(chat, Sampling(**{"max_tokens": 80, **sampling}), schema, key, seed)


def replies(model: TransformersModel, *requests: TextRequest) -> dict[str, Reply]:
    return {reply.key: reply for reply in model.stream(requests)}


@pytest.mark.parametrize("stage", [ExtractObjects, ProposeNegatives, ValidateObjects, CaptionNegated, ParaphraseMcq])
def test_answers_follow_the_schema_of_every_task(model: TransformersModel, stage: Any) -> None:
    schema = stage.answer.model_json_schema()
    found = replies(model, *(ask(str(seed), schema=schema, seed=seed, temperature=1.0, max_tokens=60) for seed in range(24)))
    assert len(found) == 24
    for reply in found.values():
        if reply.finish == "stop":
            assert isinstance(parse_answer(reply.result, stage.answer), stage.answer)
        else:
            assert (reply.finish, reply.usage.completion_tokens) == ("length", 60)


def test_short_answers_end_in_form(model: TransformersModel) -> None:
    found = replies(model, *(ask(str(seed), seed=seed, temperature=1.0, max_tokens=200) for seed in range(40)))
    assert {reply.finish for reply in found.values()} == {"stop"}
    assert all(len(json.loads(reply.result, strict=False)["objects"]) <= 4 for reply in found.values())
    assert all(reply.result.startswith('{"objects": [') for reply in found.values()), "spaced as the examples of prompts are"


@pytest.fixture(scope="module")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> TransformersModel:
    """A model that sees no further back than 48 tokens."""
    path = build_llama(
        tmp_path_factory.mktemp("transformers") / "mistral", family="mistral", sliding_window=48, initializer_range=0.3
    )
    return TransformersModel(model=str(path), max_batch_size=8)


@pytest.mark.parametrize("which", ["model", "windowed"])
def test_greedy_answers_are_those_of_plain_generation(which: str, request: pytest.FixtureRequest) -> None:
    model: TransformersModel = request.getfixturevalue(which)
    requests = [ask(str(number), caption, schema=None, seed=3, max_tokens=24) for number, caption in enumerate(CAPTIONS)]
    found = replies(model, *requests)
    tokenizer, plain = model._tokenizer, model._model
    for asked in requests:
        ids = tokenizer.apply_chat_template(
            asked.chat.messages(asked.seed), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            out = plain.generate(**ids, max_new_tokens=24, do_sample=False)
        assert found[asked.key].result == tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


def test_a_row_has_the_same_answer_alone_and_in_any_batch(model: TransformersModel) -> None:
    requests = [ask(str(number), CAPTIONS[number % 5], seed=number, temperature=0.9, top_p=0.9) for number in range(30)]
    together = replies(model, *requests)
    for number in (0, 7, 13, 29):
        alone = replies(model, requests[number])[str(number)]
        assert alone.result == together[str(number)].result
    assert len({reply.result for reply in together.values()}) > 20


def test_what_prompts_share_is_computed_once(folder: Path) -> None:
    model = TransformersModel(model=str(folder), max_batch_size=4)
    found = replies(model, *(ask(str(number), CAPTIONS[number % 5], seed=3, max_tokens=4) for number in range(40)))
    prompt = sum(reply.usage.prompt_tokens for reply in found.values())
    cached = sum(reply.usage.cached_tokens for reply in found.values())
    assert cached / prompt > 0.8
    assert len(model._prefixes) <= 3


def test_requests_are_taken_no_further_ahead_than_the_window(model: TransformersModel) -> None:
    taken = 0

    def source() -> Iterator[TextRequest]:
        nonlocal taken
        for taken in range(1, 201):
            yield ask(str(taken), schema=None, max_tokens=2)

    stream = model.stream(source())
    seen = [next(stream).key]
    assert taken <= WINDOW * 8
    seen += [reply.key for reply in stream]
    assert sorted(map(int, seen)) == list(range(1, 201))


def test_a_worker_that_is_to_stop_gets_the_batch_in_progress_and_no_other(model: TransformersModel) -> None:
    found: list[str] = []
    stop = False
    with stopping_when(lambda: stop):
        for reply in model.stream(ask(str(number), schema=None, max_tokens=2) for number in range(200)):
            found.append(reply.key)
            stop = True
    assert len(found) == 8


def test_rows_end_at_their_own_length_and_stop_strings(model: TransformersModel) -> None:
    long = replies(model, ask("x", schema=None, max_tokens=40))["x"]
    assert (long.finish, long.usage.completion_tokens) == ("length", 40)
    word = str(long.result)[6:9]
    found = replies(
        model,
        ask("x", schema=None, max_tokens=40, stop=(word,)),
        ask("short", schema=None, max_tokens=5),
        ask("long", schema=None, max_tokens=30),
    )
    assert (found["x"].finish, found["x"].result) == ("stop", str(long.result).split(word)[0])
    assert [found[key].usage.completion_tokens for key in ("short", "long")] == [5, 30]


def test_a_choice_is_answered_with_the_bare_word(model: TransformersModel) -> None:
    schema = {"enum": ["yes", "no", "(perhaps)"]}
    found = replies(model, *(ask(str(seed), schema=schema, seed=seed, temperature=1.0) for seed in range(20)))
    assert {reply.result for reply in found.values()} <= set(schema["enum"]) and len({r.result for r in found.values()}) > 1


def test_what_cannot_be_asked_is_told_and_the_rest_goes_on(model: TransformersModel) -> None:
    broken = {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}
    found = replies(model, ask("long", "word " * 5000), ask("schema", schema=broken), ask("good"))
    assert [found[key].problem for key in ("long", "schema", "good")] == ["prompt too long", "impossible schema", ""]
    assert found["good"].finish == "stop"


def test_a_batch_that_does_not_fit_is_done_in_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TransformersModel(model=str(folder), max_batch_size=16)
    plain = replies(model, *(ask(str(number), seed=number, temperature=1.0) for number in range(16)))
    generate = model._model.generate

    def small(**arguments: Any) -> Any:
        if len(arguments["input_ids"]) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return generate(**arguments)

    monkeypatch.setattr(model._model, "generate", small)
    parts = replies(model, *(ask(str(number), seed=number, temperature=1.0) for number in range(16)))
    assert {key: reply.result for key, reply in parts.items()} == {key: reply.result for key, reply in plain.items()}
    assert model._batch_size == 4


def test_a_model_that_is_not_there_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model in the folder"):
        TransformersModel(model=str(tmp_path))
    with pytest.raises(UserError, match="cannot load nobody/nothing"):
        TransformersModel(model="nobody/nothing")


def test_a_template_that_knows_no_system_role_says_what_to_set(folder: Path, tmp_path: Path) -> None:
    strict = without_system_role(folder, tmp_path / "strict")
    with pytest.raises(UserError, match="set system_role: false"):
        replies(TransformersModel(model=str(strict)), ask("x"))
    assert replies(TransformersModel(model=str(strict), system_role=False), ask("x"))["x"].finish == "stop"


def test_a_shard_through_the_worker_conserves_its_rows(folder: Path, make_run: Callable[..., RunFolder]) -> None:
    spec = json.dumps({"kind": "transformers", "model": str(folder), "max_batch_size": 8})
    made = run_shard(make_run(settings=[f"extract_objects.model={spec}"]), "extract_objects", 0)
    assert made.conserved() and made.usage["requests"] >= made.rows_in
    assert made.usage["prompt_tokens"] > made.usage["cached_tokens"] > 0
