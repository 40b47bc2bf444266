"""Parsed captions: how weighted prompts are composed, which answers are asked for again, and what rules make of captions."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardmill.antidote.answers import MAX_OBJECTS, ParsedCaption
from shardmill.antidote.parse_captions import ParseCaptions, problem
from shardmill.antidote.weighting import in_range, negative_prompt, weight_spans, weighted_caption
from shardmill.core.answers import Malformed, parse_answer
from shardmill.core.prompts import load_template
from shardmill.core.stage import Answer, Reject
from shardmill.embedded.rules.scenes import parse_caption
from shardmill.language.object_names import conflict
from shardmill.models.generate.prompt_weights import fragments, plain
from shardmill.util.errors import UserError

SAMPLES = Path(__file__).parents[3] / "data" / "samples" / "antidote.json"
SOURCE = "Anna's red tram passes an old bakery in Lisbon"
CAPTION = "A red tram passes an old bakery"


def parsed(
    caption: str = CAPTION,
    present: dict[str, float] | None = None,
    absent: dict[str, float] | None = None,
) -> ParsedCaption:
    present = {"tram": 1.3, "bakery": 1.2} if present is None else present
    absent = {"umbrella": 1.1, "pigeon": 1.2} if absent is None else absent
    return ParsedCaption.model_validate(
        {
            "caption": caption,
            "present": [{"object": name, "weight": weight} for name, weight in present.items()],
            "absent": [{"object": name, "weight": weight} for name, weight in absent.items()],
        }
    )


def accept(answer: ParsedCaption, source: str = SOURCE, **options: Any) -> dict[str, Any]:
    stage = ParseCaptions(options)
    row = {"row_id": 0, "caption": source}
    asked = stage.ask(row, Random(0))
    result = stage.accept(row, [Answer(asked[0], answer)])
    assert isinstance(result, dict)
    return result


class TestComposing:
    @pytest.mark.parametrize(
        ("caption", "weights", "prompt"),
        [
            ("a red tram passing a bakery", {"tram": 1.3, "bakery": 1.2}, "a red (tram:1.3) passing a (bakery:1.2)"),
            ("Trams and two BUSES", {"tram": 1.3, "bus": 1.0}, "(Trams:1.3) and two (BUSES:1.0)"),
            ("three women with knives", {"woman": 1.2, "knife": 1.1}, "three (women:1.2) with (knives:1.1)"),
            ("a dog beside a dog house", {"dog": 1.3}, "a (dog:1.3) beside a dog house"),
            ("a dog eats a hot dog", {"dog": 1.3, "hot dog": 1.1}, "a (dog:1.3) eats a (hot dog:1.1)"),
            ("a category for a cat", {"cat": 1.3}, "a category for a (cat:1.3)"),
            ("a cat looks at a second cat", {"cat": 1.3}, "a (cat:1.3) looks at a second (cat:1.3)"),
            ("a red dog and a dog", {"dog": 1.1, "red dog": 1.3}, "a (red dog:1.3) and a (dog:1.1)"),
            ("a cup of tea and a cup", {"cup": 1.1, "cup of tea": 1.3}, "a (cup of tea:1.3) and a (cup:1.1)"),
            ("a dog (brown) sleeps", {"dog": 1.3}, "a (dog:1.3) \\(brown\\) sleeps"),
            ("a (dog) sleeps", {"dog": 1.3}, "a \\((dog:1.3)\\) sleeps"),
            ("a bat (animal) hangs", {"bat (animal)": 1.3}, "a (bat \\(animal\\):1.3) hangs"),
            ("crêpe et café, a café", {"café": 1.2, "crêpe": 1.3}, "(crêpe:1.3) et (café:1.2), a (café:1.2)"),
            ("a child's dog", {"child": 1.4}, "a (child:1.4)'s dog"),
            ("nothing of it", {"dog": 1.3}, "nothing of it"),
            ("", {"dog": 1.3}, ""),
        ],
    )
    def test_every_mention_is_weighted_in_place(self, caption: str, weights: dict[str, float], prompt: str) -> None:
        assert weighted_caption(caption, weights) == prompt
        assert plain(prompt) == caption

    def test_the_weights_are_those_that_a_painter_reads(self) -> None:
        prompt = weighted_caption("a (small) tram by a bakery", {"tram": 1.3, "bakery": 1.2})

        assert fragments(prompt) == [("a (small) ", 1.0), ("tram", 1.3), (" by a ", 1.0), ("bakery", 1.2)]

    @given(st.text(alphabet=st.sampled_from("\\(): 1.3dogcat\nİß-'") | st.characters(exclude_categories=("Cs",)), max_size=60))
    def test_without_its_marks_a_prompt_is_any_caption_again(self, noise: str) -> None:
        for caption in (noise, f"a dog{noise}dog", f"{noise} dog {noise} cat", f"dogs\\{noise}\\dog(cat:1.2){noise}"):
            assert plain(weighted_caption(caption, {"dog": 1.3, "cat": 1.1})) == caption

    @given(st.lists(st.sampled_from(["dog", "(cat", "cats)", "\\dog", "dog\\", "(dog:1.2)", "hot dog", "a", "\\("]), max_size=12))
    def test_every_place_gets_its_weight(self, words: list[str]) -> None:
        caption = " ".join(words)
        found = weight_spans(caption, ["dog", "cat"])
        weighted = [text for text, weight in fragments(weighted_caption(caption, {"dog": 1.3, "cat": 1.1})) if weight != 1.0]

        assert [text.lstrip("\\") for text in weighted] == [caption[place.start : place.end] for place in found]

    def test_negatives_stand_in_order_of_weight(self) -> None:
        assert negative_prompt({"cup": 1.1, "traffic light": 1.3, "dog": 1.1}) == "(traffic light:1.3), (cup:1.1), (dog:1.1)"

    def test_brackets_in_a_negative_are_text(self) -> None:
        assert plain(negative_prompt({"bat (animal)": 1.2})) == "bat (animal)"

    @pytest.mark.parametrize(("given", "used"), [(0.8, 1.0), (1.0, 1.0), (1.26, 1.3), (1.5, 1.5), (1.6, 1.5)])
    def test_weights_have_one_decimal_between_bounds(self, given: float, used: float) -> None:
        assert in_range(given) == used


class TestAnswers:
    @pytest.mark.parametrize("weight", ["-1", "3.5", '"much"', "null"])
    def test_a_weight_out_of_bounds_is_malformed(self, weight: str) -> None:
        with pytest.raises(Malformed):
            parse_answer(f'{{"caption": "x", "present": [{{"object": "dog", "weight": {weight}}}], "absent": []}}', ParsedCaption)

    def test_an_endless_list_is_malformed(self) -> None:
        endless = [{"object": f"thing {number}", "weight": 1.0} for number in range(MAX_OBJECTS + 1)]
        with pytest.raises(Malformed):
            parse_answer(json.dumps({"caption": "x", "present": endless, "absent": []}), ParsedCaption)

    def test_a_good_answer_has_no_problem(self) -> None:
        assert problem(parsed(), SOURCE) is None

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (parsed(caption="A red tram"), "caption too short"),
            (parsed(caption=CAPTION + " and" * 54), "caption too long"),
            (parsed(caption="A red tram\npasses an old bakery"), "caption of several lines"),
            (parsed(caption="A red {tram} passes an old bakery"), "marks in the caption"),
            (parsed(caption="A red (tram:1.3) passes an old bakery"), "marks in the caption"),
            (parsed(present={}), "no present object"),
            (parsed(present={"note: none": 1.2, "…": 1.0}), "no present object"),
            (parsed(present={"conductor": 1.1}), "present object not in the caption"),
            (parsed(present={"tram": 1.3, "conductor": 1.1}), None),
            (parsed(absent={}), "no absent object"),
            (parsed(absent={"tram": 1.1}), "no absent object"),
            (parsed(absent={"bakeries": 1.1}), "no absent object"),
            (parsed(absent={"<b>": 1.1}), "no absent object"),
        ],
    )
    def test_a_broken_rule_is_told(self, answer: ParsedCaption, reason: str) -> None:
        assert problem(answer, SOURCE) == reason

    @pytest.mark.parametrize("name", ["couch", "sofas", "furniture", "cushion", "vase", "lamp", "leather sofa"])
    def test_what_is_related_or_named_is_not_absent(self, name: str) -> None:
        answer = parsed("A cat on a sofa by a lamp", {"sofa": 1.3, "cat": 1.2}, {name: 1.2, "clock": 1.1})
        source = "A cat on a sofa by a lamp without a vase"

        assert accept(answer, source)["absent"] == ["clock"]
        assert problem(parsed("A cat on a sofa by a lamp", {"sofa": 1.3}, {name: 1.2}), source) == "no absent object"

    def test_a_caption_of_60_words_is_not_too_long(self) -> None:
        assert problem(parsed(caption=CAPTION + " and" * 53), SOURCE) is None


class TestRows:
    def test_a_row_has_the_prompts_of_its_lists(self) -> None:
        row = accept(parsed(present={"bakery": 0.8, "tram": 1.6}))

        assert row == {
            "scene_caption": CAPTION,
            "present": ["tram", "bakery"],
            "absent": ["pigeon", "umbrella"],
            "prompt": "A red (tram:1.5) passes an old (bakery:1.0)",
            "prompt_neg": "(pigeon:1.2), (umbrella:1.1)",
        }

    def test_the_most_weighted_are_kept(self) -> None:
        answer = parsed(absent={"umbrella": 1.0, "pigeon": 1.2, "bench": 1.1})
        row = accept(answer, max_present=1, absent_count=2)

        assert row["present"] == ["tram"]
        assert row["absent"] == ["pigeon", "bench"]
        assert row["prompt"] == "A red (tram:1.3) passes an old bakery"

    def test_what_is_cut_from_the_present_is_still_not_absent(self) -> None:
        answer = parsed("A cat on a sofa by a lamp", {"cat": 1.4, "sofa": 1.0}, {"couch": 1.4, "clock": 1.1})

        assert accept(answer, "A cat on some old furniture", max_present=1)["absent"] == ["clock"]

    def test_names_for_the_same_thing_count_once(self) -> None:
        answer = parsed(
            "A cat on a sofa", {"the cat": 1.4, "cats": 1.1, "sofa": 1.2, "couch": 1.5}, {"mug": 1.0, "cups": 1.3, "mugs": 1.2}
        )
        row = accept(answer, "A cat on a sofa")

        assert row["present"] == ["cat", "sofa"]
        assert row["absent"].count("mug") == 1
        assert "mugs" not in row["absent"]

    def test_a_source_of_a_few_words_is_not_asked_about(self) -> None:
        for caption in ("a black dog", "", None):
            row = {"row_id": 0, "caption": caption}
            assert ParseCaptions().ask(row, Random(0)) == []
            rejected = ParseCaptions().accept(row, [])
            assert isinstance(rejected, Reject)
            assert rejected.reason == "caption too short"

    def test_bad_options_are_refused(self) -> None:
        for options in ({"absent_count": 0}, {"max_present": 0}, {"count": 3}):
            with pytest.raises(UserError):
                ParseCaptions(options)


def test_the_template_keeps_its_own_rules() -> None:
    header = load_template("antidote/parse_captions").header
    for bundle in header.bundles:
        for example in bundle:
            answer = ParsedCaption.model_validate(example.answer)
            row = accept(answer, example.values["caption"])
            assert problem(answer, example.values["caption"]) is None
            assert len(row["present"]) == len(answer.present) <= example.values["max_present"]
            assert len(row["absent"]) == len(answer.absent) == example.values["absent_count"]


class TestRules:
    def test_names_are_left_out(self) -> None:
        def rewritten(caption: str) -> str:
            return str(parse_caption({"caption": caption, "max_present": 6, "absent_count": 3}, Random(0))["caption"])

        assert rewritten("A gondola with a red cushion on a canal in Venice") == "A gondola with a red cushion on a canal"
        assert rewritten("An Olivetti typewriter stands on a desk") == "A typewriter stands on a desk"
        assert rewritten("Anna's dog sleeps beside Tom on a rug") == "A person's dog sleeps beside a person on a rug"
        assert rewritten("A Christmas tree stands beside a sofa") == "A Christmas tree stands beside a sofa"

    def test_what_is_denied_is_not_present(self) -> None:
        answer = parse_caption({"caption": "A cat on a sofa without a dog", "max_present": 6, "absent_count": 3}, Random(0))

        assert [each["object"] for each in answer["present"]] == ["cat", "sofa"]
        assert "dog" not in [each["object"] for each in answer["absent"]]

    def test_the_samples_become_prompts(self) -> None:
        captions = json.loads(SAMPLES.read_text(encoding="utf-8"))
        stage = ParseCaptions()
        passed = 0
        for row_id, caption in enumerate(captions.values()):
            row = {"row_id": row_id, "caption": caption}
            for ask in stage.ask(row, Random(row_id)):
                values = {"caption": caption, "max_present": 6, "absent_count": 3}
                answer = ParsedCaption.model_validate(parse_caption(values, Random(row_id)))
                if problem(answer, caption) is not None:
                    continue
                passed += 1
                made = stage.accept(row, [Answer(ask, answer)])
                assert isinstance(made, dict)
                assert plain(made["prompt"]) == made["scene_caption"]
                assert len(made["absent"]) == made["prompt_neg"].count("(") <= 3
                assert not any(conflict(name, made["present"], caption) for name in made["absent"])
        assert len(captions) == 320
        assert 300 <= passed < 320
