"""Captions of scenes: what one must be, how a row asks for one, and where a place is added."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from shardmill.anyedit.scene_captions import caption_problem, has_place, tidy_caption, with_place
from shardmill.anyedit.write_captions import MODES, SceneCaption, WriteCaptions
from shardmill.core.prompts import load_template
from shardmill.core.seeding import seed_of
from shardmill.core.stage import Answer, ModelCall, Reject
from shardmill.embedded.rules.engine import RulesModel
from shardmill.embedded.rules.phrases import patterns
from shardmill.language.lexicon import lexicon
from shardmill.language.locatives import locative
from shardmill.language.named_objects import named_objects
from shardmill.language.numbers import has_number
from shardmill.language.relations import mentions
from shardmill.util.errors import UserError


def row_of(mode: str, concept: str = "kettle", concept2: str = "", background: str = "", row_id: int = 0) -> dict[str, Any]:
    return {"row_id": row_id, "concept": concept, "concept2": concept2, "background": background, "mode": mode}


def written(row: dict[str, Any], caption: str, **options: Any) -> Any:
    """What the stage makes of a caption: the problem of the answer, or what `accept` says."""
    stage = WriteCaptions(options)
    (ask,) = stage.ask(row, Random(0))
    value = SceneCaption(caption=caption)
    return ask.check(value) or stage.accept(row, [Answer(ask, value)])


@pytest.mark.parametrize(
    ("caption", "things", "place", "problem"),
    [
        ("A kettle boils.", ["kettle"], "", None),
        ("Kettles boil on a stove.", ["kettle"], "on a stove", None),
        ("An otter sits beside a kettle.", ["kettle", "otter"], "", None),
        ("A heron stands in the shallow water of a pond.", ["heron"], "", None),  # a place is no object
        ("A four-leaf clover grows.", ["four-leaf clover"], "", None),
        ("A shed stands in a vegetable garden.", ["shed"], "in a vegetable garden", None),
        ("A kettle.", ["kettle"], "", "too short"),
        ("A kettle on a stove.", ["kettle"], "", "no verb"),
        ("A kettle boils slowly on top of an old iron stove in a large kitchen.", ["kettle"], "", "too long"),
        ("A pot boils.", ["kettle"], "", "does not name its thing"),
        ("A hot dog lies there.", ["dog"], "", "does not name its thing"),
        ("An otter sits beside a bowl.", ["kettle", "otter"], "", "does not name its thing"),
        ("A kettle boils.", ["kettle"], "in a kitchen", "does not name its place"),
        ("A kettle stands next to a cup.", ["kettle"], "", "names another object"),
        ("A woman fills a kettle.", ["kettle"], "", "names another object"),
        ("Two kettles boil.", ["kettle"], "", "numbers"),
        ("A kettle from 1950 boils.", ["kettle"], "", "numbers"),
        ("Dozens of kettles boil.", ["kettle"], "", "numbers"),
        ("A beautiful kettle boils.", ["kettle"], "", "opinion"),
        ("A kettle boils. It is full.", ["kettle"], "", "not one sentence"),
        ("Does a kettle boil?", ["kettle"], "", "not one sentence"),
        ("A photo of a kettle boiling.", ["kettle"], "", "speaks of the picture"),
        ("The image shows a kettle boiling.", ["kettle"], "", "speaks of the picture"),
        ("Here is a caption: a kettle boils.", ["kettle"], "", "preamble or refusal"),
        ("Sure, a kettle boils.", ["kettle"], "", "preamble or refusal"),
        ("I cannot write about a kettle.", ["kettle"], "", "preamble or refusal"),
        ("I'm sorry, a kettle is not allowed.", ["kettle"], "", "preamble or refusal"),
        ("Caption: a kettle boils.", ["kettle"], "", "preamble or refusal"),
        ("A kettle boils <b>now</b>.", ["kettle"], "", "stray marks"),
        ("A kettle {boils}.", ["kettle"], "", "stray marks"),
        ("一个 kettle 烧开.", ["kettle"], "", "stray marks"),
        ("", ["kettle"], "", "too short"),
    ],
)
def test_what_a_caption_must_be(caption: str, things: list[str], place: str, problem: str | None) -> None:
    assert caption_problem(caption, things, place, 12) == problem


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ('"a kettle boils."', "A kettle boils."),
        ("A kettle\n boils (3 words)", "A kettle boils."),
        ("A kettle boils (3 words).", "A kettle boils."),
        ("“A kettle boils”", "A kettle boils."),
        ("  ", ""),
    ],
)
def test_quotes_and_word_counts_of_an_answer_go(answer: str, caption: str) -> None:
    assert tidy_caption(answer) == caption


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("An otter sits beside a kettle.", False),
        ("An otter sits next to a kettle.", False),
        ("An otter looks at the kettle", False),
        ("An otter sits beside a kettle in the garage.", True),
        ("In a very large and rather dusty old garage, an otter sits beside a kettle.", True),
        ("An otter sits with a kettle near a stove.", True),
        ("An otter sits on a rug beside a kettle.", True),
        ("An otter and a kettle stand next to a wall.", True),
    ],
)
def test_a_place_is_told_by_what_follows_the_preposition(caption: str, expected: bool) -> None:
    assert has_place(caption, ["otter", "kettle"]) is expected


@pytest.mark.parametrize("end", ["", ".", '."', ".\n", "!", ".”  "])
def test_a_place_is_put_at_the_end_of_the_sentence(end: str) -> None:
    assert with_place(f"An otter sits{end}", "in the garage.") == "An otter sits in the garage."


def test_two_concepts_get_their_background_where_the_sentence_names_no_place() -> None:
    row = row_of("cc2cap", "kettle", "otter", "in the garage")
    made = written(row, "An otter sits beside a kettle")
    assert made == {
        "scene_caption": "An otter sits beside a kettle in the garage.",
        "caption_objects": ["otter", "kettle", "garage"],
    }
    assert written(row, "An otter sits beside a kettle on a rug.") == "names a place of its own"
    alone = written({**row, "background": ""}, "An otter sits beside a kettle on a rug.")
    assert alone["scene_caption"] == "An otter sits beside a kettle on a rug."
    assert written({**row, "background": ""}, "An otter sits beside a kettle.")["scene_caption"].endswith("a kettle.")
    assert written({**row, "background": "garage"}, "An otter sits beside a kettle.")["scene_caption"].endswith("in a garage.")


def test_a_share_of_captions_speaks_of_several_things() -> None:
    rows = [row_of("cb2cap", "otter", background="on a pier", row_id=row_id) for row_id in range(400)]
    asked = [WriteCaptions({"counted": 0.25}).ask(row, Random(0))[0].request.chat.values["concept"] for row in rows]
    several = [name for name in asked if name != "otter"]
    assert 60 < len(several) < 140
    assert set(several) == {f"{number} otters" for number in ("two", "three", "four", "five", "six")}
    row = rows[asked.index("three otters")]
    assert written(row, "Three otters rest on a pier.", counted=0.25)["caption_objects"][0] == "otter"
    assert written(row, "Three otters and two gulls rest on a pier.", counted=0.25) == "numbers"
    for name in ("water", "scissors"):
        assert all(WriteCaptions({"counted": 1})._things(row_of("c2cap", name, row_id=at))[0] == name for at in range(9)), name


def test_the_place_counts_as_words_of_the_caption() -> None:
    row = row_of("cc2cap", "kettle", "otter", "under the roof of an old barn")
    assert written(row, "An otter sits still beside a kettle.") == "too long"
    assert written(row, "An otter is near a kettle.") == Reject(
        "too long with its location", "An otter is near a kettle under the roof of an old barn."
    )
    made = written(row, "An otter is near a kettle.", max_words=14)
    assert made["scene_caption"] == "An otter is near a kettle under the roof of an old barn."


def test_a_pair_of_concepts_is_asked_once_for_all_its_backgrounds() -> None:
    stage = WriteCaptions({"counted": 0})
    rows = [row_of("cc2cap", "kettle", "otter", place, row_id) for row_id, place in enumerate(["in a garage", "on a pier"])]
    asks = [stage.ask(row, Random(row["row_id"]))[0] for row in rows]
    assert asks[0].share is not None and asks[0].share == asks[1].share
    assert asks[0].request == asks[1].request
    assert stage.ask(row_of("cc2cap", "otter", "lamp", "on a pier"), Random(0))[0].share != asks[0].share
    assert stage.ask(row_of("cb2cap", background="on a pier"), Random(0))[0].share is None


def test_a_concept_that_no_word_list_knows_stays_among_the_objects() -> None:
    made = written(row_of("c2cap", "zorkmid"), "A zorkmid glitters.")
    assert made["caption_objects"] == ["zorkmid"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (row_of("cap"), "unknown mode"),
        (row_of("c2cap", " "), "no concept"),
        (row_of("cc2cap", "kettle"), "no second concept"),
        (row_of("cb2cap", "kettle"), "no background"),
        ({**row_of("c2cap"), "concept": None}, "no concept"),
        ({**row_of("c2cap"), "mode": None}, "unknown mode"),
    ],
)
def test_rows_that_lack_something_are_rejected_unasked(row: dict[str, Any], reason: str) -> None:
    stage = WriteCaptions()
    assert stage.ask(row, Random(0)) == []
    assert stage.accept(row, []).reason == reason


def test_examples_of_the_template_keep_the_rules() -> None:
    bundles = load_template("anyedit/write_captions").header.bundles
    assert len(bundles) == 2
    for example in (example for bundle in bundles for example in bundle):
        values = example.values
        things = [name for name in (values["concept"], values["other"]) if name]
        caption = example.answer["caption"]
        assert caption == tidy_caption(caption)
        assert caption_problem(caption, things, values["place"] or "", values["max_words"]) is None, caption


def by_rules(stage: WriteCaptions, ask: ModelCall, *parts: object) -> Answer:
    for attempt in range(3):
        request = replace(ask.request, seed=seed_of(*parts, attempt))
        value = stage.parse(next(iter(RulesModel().stream([request]))))
        if (problem := ask.check(value)) is None:
            break
    return Answer(ask, value, problem)


@pytest.mark.parametrize("mode", MODES)
def test_rules_caption_nearly_everything(mode: str) -> None:
    stage, names = WriteCaptions({"counted": 0}), list(lexicon().entries)
    captions, failed = set(), []
    for row_id, name in enumerate(names[::3]):
        rng = Random(row_id)
        background = locative(rng.choice(lexicon().entries[name].scenes or ("kitchen",)))
        row = row_of(mode, name, rng.choice(names), background, row_id)
        (ask,) = stage.ask(row, rng)
        answer = by_rules(stage, ask, mode, row_id)
        made = None if answer.problem else stage.accept(row, [answer])
        if not isinstance(made, dict):
            failed.append((name, answer.value.caption, answer.problem))
            continue
        caption = made["scene_caption"]
        captions.add(caption.replace(name, "X"))
        assert len(caption.split()) <= 12 and caption[0].isupper() and caption.endswith(".") and not has_number(caption)
        assert mentions(caption, name) and (mode == "c2cap" or background.split()[-1] in caption)
    assert len(failed) < 0.02 * len(names[::3]), failed[:10]
    assert len(captions) > 20


def test_no_pattern_of_the_rules_names_a_thing_of_its_own() -> None:
    for kinds in patterns("scene_captions").values():
        for wordings in kinds.values():
            assert len(set(wordings)) == len(wordings) >= 3
            for wording in wordings:
                assert not named_objects(wording), wording


def test_options_are_checked() -> None:
    for options in ({"max_words": 3}, {"words": 12}):
        with pytest.raises(UserError):
            WriteCaptions(options)
