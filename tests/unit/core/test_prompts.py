"""Prompts: rendered as chats with the row last, and whatever a caption holds stays a value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardmill.core.model_stages import TextStage
from shardmill.core.prompts import Prompt, load_template
from shardmill.core.registry import find_pipeline, stage_class
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_path

STAGES = [kind for each in find_pipeline("negbench").stages if issubclass(kind := stage_class("negbench", each), TextStage)]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_example_is_an_answer_in_form(stage: type[TextStage]) -> None:
    template = load_template(stage.prompt.removesuffix(".md"))
    assert len(template.header.bundles) >= 2
    for bundle in template.header.bundles:
        for example in bundle:
            assert stage.answer.model_validate(example.answer)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_all_that_is_the_same_for_every_row_comes_first(stage: type[TextStage]) -> None:
    template = load_template(stage.prompt.removesuffix(".md"))
    values = template.header.bundles[0][0].values
    chats = [Prompt(template, {**values, "caption": caption, "sentence": caption}).messages(0) for caption in ("first", "second")]
    assert chats[0][:-1] == chats[1][:-1]
    assert chats[0][0]["role"] == "system" and chats[0][-1]["role"] == "user"


TEMPLATES = resource_path("templates/recaption/perspectives.yaml").parents[1]
NAMES = sorted(path.relative_to(TEMPLATES).with_suffix("").as_posix() for path in TEMPLATES.glob("*/**/*.md"))


@pytest.mark.parametrize("name", NAMES)
def test_no_example_is_empty_and_the_last_one_of_a_set_is_ordinary(name: str) -> None:
    """Small models copy the last example, and an empty one wherever it stands."""
    for bundle in load_template(name).header.bundles:
        assert all(value not in ([], "", {}) for example in bundle for value in example.answer.values())
        assert bundle[-1].answer.get("verdict", "pass") in ("pass", "yes"), bundle[-1].answer


@pytest.mark.parametrize(
    ("stage", "asked"),
    [
        ("negbench.propose_negatives", {"count": "count"}),
        ("antidote.parse_captions", {"max_present": "max_present", "absent_count": "absent_count"}),
        ("anyedit.propose_backgrounds", {"count": "wanted"}),
    ],
)
def test_the_last_example_asks_for_as_many_as_the_stage_does(stage: str, asked: dict[str, str]) -> None:
    kind = stage_class(*stage.split("."))
    options = kind.Options()
    for bundle in load_template(stage.replace(".", "/")).header.bundles:
        values, answer = bundle[-1].values, bundle[-1].answer
        assert {name: values[name] for name in asked} == {name: getattr(options, option) for name, option in asked.items()}
        counted = next(answer[name] for name in ("objects", "absent", "backgrounds") if name in answer)
        assert len(counted) == values.get("count", values.get("absent_count"))


def test_a_seed_picks_one_of_the_bundles() -> None:
    prompt = Prompt(load_template("negbench/extract_objects"), {"caption": "x"})
    count = len(prompt.template.header.bundles)
    assert len({json.dumps(prompt.messages(seed)) for seed in range(20)}) == count
    assert prompt.messages(1) == prompt.messages(1 + count)


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["{{ 7 * 7 }}", "{% raw %}", '"}}', "\u202e\x00", "x" * 10_000])
)
def test_a_caption_is_never_parsed_as_a_template(caption: str) -> None:
    rendered = Prompt(load_template("negbench/extract_objects"), {"caption": caption}).messages(0)[-1]["content"]
    assert json.loads(rendered.removeprefix("Caption: "), strict=False) == caption


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("---\ntask: x\nno end", "does not end"),
        ("---\ntask: x\n---\n   ", "empty"),
        ("---\ntask: x\nsystem: s\nsampling: {heat: 1}\n---\nbody", "heat"),
        ("---\ntask: x\nsystem: s\n---\n{{ oops", "unexpected"),
        ("---\ntask: [\n---\nbody", "while parsing"),
        ("---\ntask: x\nsystem: s\nbundles: [[{values: {}, answer: {}}]]\n---\n{{ missing }}", "missing"),
    ],
)
def test_a_malformed_template_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, fault: str) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "mine.md").write_text(text)
    monkeypatch.setattr("shardmill.util.resources.REPOSITORY", tmp_path)
    load_template.cache_clear()
    with pytest.raises(UserError, match=rf"templates/mine\.md.*{fault}"):
        load_template("mine")
    load_template.cache_clear()


def test_an_unknown_template_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match="did you mean 'extract_objects'"):
        load_template("negbench/extract_object")
