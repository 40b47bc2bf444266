"""Model-written instructions: what the checks let through and why they send the others back."""

from __future__ import annotations

from typing import Any

import pytest

from shardmill.anyedit.instruction_answers import ANSWERS, AnyInstruction, answer_schema, read_answer
from shardmill.anyedit.instruction_checks import EditRequest, instruction_problem
from shardmill.anyedit.instruction_form import VERBS, form_problem, quoted
from shardmill.anyedit.instruction_prompts import template_name
from shardmill.core.prompts import load_template
from shardmill.language.actions import actions, is_human, verb_stem
from shardmill.language.appearance import color_key, has_word, names_color
from shardmill.language.noun_phrases import extract_objects
from shardmill.models.text.schemas import closed_schema

SLED = "A dog rides downhill on a sled."
SOFA = "A bearded man plays the guitar on a green sofa."
SIGN = "A shop sign with the words 'open late'"


def problem(kind: str, caption: str, target: dict[str, Any] | None = None, **fields: Any) -> str | None:
    answer = read_answer(kind, AnyInstruction.model_validate(fields))
    assert answer is not None, fields
    return instruction_problem(kind, answer, EditRequest(caption, extract_objects(caption), target or {}))


def add(edit: str, name: str, output: str) -> str | None:
    return problem("add", SLED, edit=edit, edited_object=name, output=output)


@pytest.mark.parametrize(
    ("edit", "name", "output", "reason"),
    [
        ("Add a cat beside the dog", "cat", "A dog rides downhill on a sled beside a cat.", None),
        ("Place cats next to the sled", "cats", "A dog rides downhill on a sled next to two cats.", None),
        ("Please put a kitten on the sled.", "kitten", "A dog and a kitten ride downhill on a sled.", None),
        ("Add a puppy", "dog", "A dog rides downhill on a sled with a puppy.", "object already in the caption"),
        ("Add a hound on the left", "hound", "A dog and a hound ride on a sled.", "object already in the caption"),
        ("Add an animal to the scene", "cat", "A dog rides on a sled beside a cat.", "edit does not name the object"),
        ("Add a cat to the scene", "cat", "A dog rides downhill on a sled with an animal.", "object not in the output"),
        ("Add a cat to the scene", "cat", "A cat rides downhill on a sled.", "output drops an object"),
        ("Add a cat to the scene", "cat", "A dog rides on a sled with a cat and a lantern.", "output adds another object"),
        ("Add a sense of joy", "happiness", "A dog rides downhill on a sled in happiness.", "not a visible object"),
        ("Delete the sled and add a cat", "cat", "A dog and a cat on a sled.", "edit takes something away"),
        ("Add a cat to the background", "cat", "A dog rides on a sled before a cat.", "local edit of the background"),
    ],
)
def test_add(edit: str, name: str, output: str, reason: str | None) -> None:
    assert add(edit, name, output) == reason


@pytest.mark.parametrize(
    ("edit", "name", "output", "reason"),
    [
        ("Remove the sled", "sled", "A dog runs downhill.", None),
        ("Erase the sleds from the image", "the sled", "A dog is going downhill", None),
        ("Remove the sled", "sled", "A dog rides downhill on a small sled.", "object still in the output"),
        ("Remove the sled", "sled", "A dog rides downhill without a sled.", "object still in the output"),
        ("Make the sled blue", "sled", "A dog runs downhill.", "edit takes nothing away"),
        ("Remove the lamp", "lamp", "A dog rides downhill.", "object not in the caption"),
        ("Remove the thing", "sled", "A dog rides downhill.", "edit does not name the object"),
        ("Remove the dog from the picture", "dog", "Somebody rides on a sled.", "other object than asked"),
        ("Remove the sled", "sled", "Somebody is going downhill.", "output drops an object"),
        ("Remove the sled", "sled", "A dog rides downhill on a bicycle.", "output adds another object"),
        ("Remove the sled", "sled", "The sled has been removed from under the dog.", "output speaks of the edit"),
    ],
)
def test_remove(edit: str, name: str, output: str, reason: str | None) -> None:
    assert problem("remove", SLED, {"object": "sled"}, edit=edit, edited_object=name, output=output) == reason


@pytest.mark.parametrize(
    ("edit", "name", "new", "output", "reason"),
    [
        ("Replace the sled with a surfboard", "sled", "surfboard", "A dog rides downhill on a surfboard.", None),
        ("Swap the dog for a cat", "dog", "cat", "A cat rides downhill on a sled.", None),
        ("Replace the dog with a flower", "dog", "flower", "A flower rides downhill on a sled.", None),
        ("Replace the sled with a door", "sled", "door", "A dog rides downhill on a door.", None),
        ("Replace the sled with a tree", "sled", "tree", "A dog rides downhill on a tree.", None),
        ("Replace the dog with a teacher", "dog", "teacher", "A teacher rides on a sled.", "replaces or makes a person"),
        ("Remove the dog and add a cat", "dog", "cat", "A cat rides on a sled.", "edit takes something away"),
        ("Replace the dog with a puppy", "dog", "puppy", "A puppy rides on a sled.", "new object is the old one or kin to it"),
        ("Replace the dog with a sled", "dog", "sled", "A sled rides on a sled.", "new object already in the caption"),
        ("Replace the sled with a board", "sled", "surfboard", "A dog on a surfboard.", "edit does not name the new object"),
        ("Replace the sled with a kayak", "sled", "kayak", "A dog rides on a sled and a kayak.", "object still in the output"),
        ("Replace the sled with a kayak", "sled", "kayak", "A dog rides downhill.", "new object not in the output"),
        ("Replace the sled with a kayak", "sled", "kayak", "A cat rides downhill on a kayak.", "output drops an object"),
    ],
)
def test_replace(edit: str, name: str, new: str, output: str, reason: str | None) -> None:
    assert problem("replace", SLED, edit=edit, edited_object=name, new_object=new, output=output) == reason


def test_people_are_not_replaced() -> None:
    fields = {"edit": "Replace the man with a robot", "edited_object": "man", "new_object": "robot"}
    output = "A bearded robot plays the guitar on a green sofa."
    assert problem("replace", SOFA, **fields, output=output) == "replaces or makes a person"


@pytest.mark.parametrize(
    ("edit", "color", "output", "reason"),
    [
        ("Change the color of the sofa to blue", "blue", "A bearded man plays the guitar on a blue sofa.", None),
        ("Paint the sofa light grey.", "light gray", "A bearded man plays the guitar on a light gray sofa.", None),
        ("Make the sofa gray", "grey", "A bearded man plays the guitar on a grey sofa.", None),
        ("Make the sofa red", "red", "A bearded man plays the guitar on a covered sofa.", "colour not in the output"),
        (
            "Make the sofa blue and nice",
            "blue",
            "A bearded man plays the guitar on a blue sofa.",
            "edit does not end with the colour",
        ),
        ("Make the sofa green", "green", "A man with a guitar sits on a green sofa.", "colour already in the caption"),
        ("Make the sofa shiny", "shiny", "A bearded man plays the guitar on a shiny sofa.", "not a colour"),
        ("Make the sofa tired", "tired", "A bearded man plays the guitar on a tired sofa.", "not a colour"),
        ("Make the guitar blue", "blue", "A bearded man plays the blue guitar on a green sofa.", "other object than asked"),
        ("Make the sofa blue", "blue", "A man plays the guitar on a blue bench.", "object not in the output"),
        ("Make the sofa blue", "blue", "A bearded man sits on a blue sofa.", "output drops an object"),
    ],
)
def test_color_alter(edit: str, color: str, output: str, reason: str | None) -> None:
    name = "guitar" if "guitar" in edit else "sofa"
    target = {"object": "sofa"}
    assert problem("color_alter", SOFA, target, edit=edit, edited_object=name, color=color, output=output) == reason


def test_the_color_is_the_one_that_was_drawn() -> None:
    fields = {"edit": "Make the sofa blue", "edited_object": "sofa", "color": "blue"}
    output = "A bearded man plays the guitar on a blue sofa."
    assert problem("color_alter", SOFA, {"color": "pink"}, **fields, output=output) == "other colour than asked"
    assert problem("color_alter", SOFA, {"color": "blue"}, **fields, output=output) is None


@pytest.mark.parametrize(
    ("edit", "look", "output", "reason"),
    [
        ("Make the sofa striped", "striped", "A bearded man plays the guitar on a green striped sofa.", None),
        ("Turn the sofa into a torn and worn one", "torn and worn", "A bearded man plays the guitar on a torn green sofa.", None),
        ("Make the sofa red", "red", "A bearded man plays the guitar on a red sofa.", "appearance is a colour"),
        ("Make the sofa huge", "huge", "A bearded man plays the guitar on a huge green sofa.", "appearance is a size"),
        ("Make the sofa wooden", "wooden", "A bearded man plays the guitar on a wooden sofa.", "appearance is a material"),
        ("Make the sofa nicer", "nicer", "A bearded man plays the guitar on a nicer sofa.", "appearance too vague"),
        (
            "Make the sofa another",
            "striped",
            "A bearded man plays the guitar on a striped sofa.",
            "edit does not name the appearance",
        ),
        ("Make the sofa striped", "striped", "A bearded man plays the guitar on a fine sofa.", "appearance not in the output"),
        ("Make the sofa covered", "covered", "A bearded man plays the guitar on a covered green sofa.", None),
        ("Make the man bearded", "tattooed", "A tattooed man plays the guitar on a green sofa.", "alters a person"),
    ],
)
def test_appearance_alter(edit: str, look: str, output: str, reason: str | None) -> None:
    name = "man" if "man" in edit else "sofa"
    assert problem("appearance_alter", SOFA, edit=edit, edited_object=name, appearance=look, output=output) == reason


@pytest.mark.parametrize(
    ("edit", "material", "output", "reason"),
    [
        ("Make the sled out of glass", "glass", "A dog rides downhill on a glass sled.", None),
        ("Make the sled out of wood", "wood", "A dog rides downhill on a wooden sled.", None),
        ("Make the sled out of joy", "joy", "A dog rides downhill on a sled of joy.", "not a material"),
        ("Make the sled look better", "glass", "A dog rides downhill on a glass sled.", "edit does not name the material"),
        ("Make the sled out of glass", "glass", "A dog rides downhill on a see-through sled.", "material not in the output"),
        ("Make the sled out of glass", "glass", "A glass dog rides downhill.", "object not in the output"),
    ],
)
def test_material_change(edit: str, material: str, output: str, reason: str | None) -> None:
    fields = {"edit": edit, "edited_object": "sled", "material": material, "output": output}
    assert problem("material_change", SLED, {"object": "sled"}, **fields) == reason


def test_a_material_is_the_one_drawn_and_a_new_one() -> None:
    fields = {"edit": "Make the chair out of wood", "edited_object": "chair", "material": "wood"}
    assert problem("material_change", "A wooden chair in a hall", **fields, output="A chair of wood in a hall") == (
        "material already in the caption"
    )
    output = "A chair of wood in a hall"
    assert problem("material_change", "A chair in a hall", {"material": "paper"}, **fields, output=output) == (
        "other material than asked"
    )


@pytest.mark.parametrize(
    ("edit", "action", "output", "reason"),
    [
        ("Make the dog sleep on the sled", "sleep", "A dog sleeps on a sled.", None),
        ("Change the action of the dog to jumping", "to jump", "A dog jumps over a sled.", None),
        ("Make the dog ride", "ride fast", "A dog is riding fast on a sled.", "same action as before"),
        ("Make the dog be happy", "be", "A dog is happy on a sled.", "no new action"),
        ("Make the dog rest", "sleep", "A dog sleeps on a sled.", "edit does not name the action"),
        ("Make the dog sleep", "sleep", "A dog rests on a sled.", "action not in the output"),
        ("Make the dog sleep", "sleep", "A dog sleeps and rides on a sled.", "old action still in the output"),
        ("Make the dog sleep", "sleep", "A cat sleeps on a sled.", "object not in the output"),
    ],
)
def test_action_change(edit: str, action: str, output: str, reason: str | None) -> None:
    target = {"object": "dog", "action": "rides"}
    fields = {"edit": edit, "edited_object": "dog", "new_action": action, "output": output}
    assert problem("action_change", SLED, target, **fields) == reason


@pytest.mark.parametrize(
    ("edit", "new", "old", "output", "reason"),
    [
        ("Change the background to a snowy valley", "a snowy valley", None, "A dog rides on a sled in a snowy valley.", None),
        ("Set the scene in a desert", "a desert", "none", "A dog rides downhill on a sled in a desert.", None),
        ("Change it to a desert", "a desert", None, "A dog rides on a sled in a desert.", "edit does not name the background"),
        (
            "Change the background to a park",
            "a desert",
            None,
            "A dog on a sled in a park.",
            "edit does not name the new background",
        ),
        ("Change the background to a desert", "a desert", None, "A dog on a sled in a park.", "new background not in the output"),
        ("Change the background to another place", "another place", None, "A dog on a sled in a park.", "background too vague"),
        ("Change the background to a sled", "a sled", None, "A dog on a big sled.", "background already in the caption"),
        (
            "Change the background to a desert",
            "a desert",
            "a lake",
            "A dog on a sled in a desert.",
            "old background not in the caption",
        ),
        ("Change the background to a desert", "a desert", None, "A dog in a desert.", "output drops an object"),
    ],
)
def test_background_change(edit: str, new: str, old: str | None, output: str, reason: str | None) -> None:
    fields = {"edit": edit, "new_background": new, "original_background": old, "output": output}
    assert problem("background_change", SLED, **fields) == reason


def test_the_old_background_goes_and_something_stands_before_the_new_one() -> None:
    fields = {"edit": "Change the background to a desert", "new_background": "a desert"}
    assert problem(
        "background_change", "A crab on a beach", **fields, original_background="a beach", output="A crab on a beach in a desert"
    ) == ("old background still in the output")
    assert (
        problem("background_change", "A beach", **fields, original_background="a beach", output="An empty desert")
        == "no foreground"
    )


@pytest.mark.parametrize(
    ("edit", "state", "output", "reason"),
    [
        ("Change the weather to heavy rain", "heavy rain", "A dog rides downhill on a sled in heavy rain.", None),
        ("Make it rain", "rain", "A dog rides downhill on a sled in the rain.", None),
        ("Make it winter", "winter", "A dog rides downhill on a sled in winter.", "other change than asked"),
        ("Make it sadder", "sadness", "A dog rides downhill on a sled in sadness.", "other change than asked"),
        ("Change the weather", "heavy rain", "A dog rides on a sled in heavy rain.", "edit does not name the new state"),
        ("Change the weather to rain", "rain", "A dog rides on a wet sled.", "new state not in the output"),
        ("Change the weather to rain", "rain", "A dog in the rain.", "output drops an object"),
    ],
)
def test_tune_transfer(edit: str, state: str, output: str, reason: str | None) -> None:
    fields = {"edit": edit, "new_state": state, "output": output}
    if reason == "edit does not name the new state":
        fields["edit"] = "Change the mood of it"
    assert problem("tune_transfer", SLED, {"aspect": "weather"}, **fields) == reason


def test_a_state_that_is_there_already_is_no_change() -> None:
    fields = {"edit": "Make it winter", "new_state": "winter", "output": "A small fox in winter"}
    assert problem("tune_transfer", "A fox in winter", **fields) == "new state already in the caption"
    mood = {"edit": "Make it gloomy", "new_state": "gloom", "output": "A fox in winter gloom"}
    assert problem("tune_transfer", "A fox in winter", **mood) == "neither weather nor time of day nor season"


@pytest.mark.parametrize(
    ("edit", "output", "reason"),
    [
        ("Turn the text 'open late' into 'open early'", "A shop sign with the words 'open early'", None),
        ("Turn the text ‘open late’ into ’open early’", "A shop sign with the words “open early”", None),
        ('Change it to "open early"', "A shop sign with the words 'open early'", None),
        (
            "Turn 'open late' into 'open early'",
            "A shop sign with the words 'closed today'",
            "quoted texts of edit and captions differ",
        ),
        (
            "Turn 'Open late' into 'open early'",
            "A shop sign with the words 'open early'",
            "quoted texts of edit and captions differ",
        ),
        ("Turn 'open late' into 'closed'", "A shop sign with the words 'closed'", "other number of words"),
        ("Turn 'open late' into 'OPEN LATE'", "A shop sign with the words 'OPEN LATE'", "output same as input"),
        (
            "Turn 'open late' into 'open early'",
            "A shop sign with the words open early",
            "not one quoted text in input and output",
        ),
        ("Turn 'open late' into 'open early'", "A bar sign with the words 'open early'", "output changes more than the text"),
    ],
)
def test_textual_change(edit: str, output: str, reason: str | None) -> None:
    assert problem("textual_change", "", input=SIGN, edit=edit, output=output) == reason


def test_the_text_is_the_given_one_and_stands_on_the_given_object() -> None:
    fields = {"edit": "Turn 'open late' into 'open early'", "output": "A shop sign with the words 'open early'", "input": SIGN}
    assert problem("textual_change", "", {"text": "open late"}, **fields) is None
    assert problem("textual_change", "", {"text": "Open late"}, **fields) == "other text than given"
    assert problem("textual_change", "", {"object": "sign"}, **fields) is None
    assert problem("textual_change", "", {"object": "mug"}, **fields) == "input does not name the object"


def test_texts_in_quotes_are_found_whatever_the_quotes() -> None:
    assert quoted("the word 'Joe's Bar' and “last call”") == ["Joe's Bar", "last call"]
    assert quoted("the dogs' sign, a woman's hat and Ann's 'no entry'") == ["no entry"]
    assert quoted("it isn't a sign") == []


@pytest.mark.parametrize(
    ("edit", "output", "reason"),
    [
        ("Sure, here is the edit: add a cat", "A dog and a cat", "preamble or refusal"),
        ("I'm sorry, I can't do that", "A dog and a cat", "preamble or refusal"),
        ("Add a cat", "I cannot imagine this scene", "preamble or refusal"),
        ("Add a cat", "Output: a dog and a cat", "stray marks"),
        ("Add a cat", 'A dog and a cat", "x": {', "stray marks"),
        ("Add a cat\nAdd a lamp", "A dog and a cat", "stray marks"),
        ("Add a cat", "一只狗和一只猫", "another script"),
        ("The cat is added", "A dog and a cat", "not an instruction"),
        ("Could you add a cat?", "A dog and a cat", "not an instruction"),
        ("Add it", "A dog and a cat", "instruction too short or too long"),
        ("Add a cat " + "and a cat " * 10, "A dog and a cat", "instruction too short or too long"),
        ("Add a cat. Remove the dog.", "A dog and a cat", "several sentences"),
        ("Add a cat", "A dog and a cat " + "on a long road " * 10, "output is not a caption"),
        ("Add a cat", "Cat", "output is not a caption"),
        ("Add a cat", "The edited image shows a dog and a cat", "output speaks of the edit"),
        ("Add a cat", "add a cat.", "output speaks of the edit"),
        ("Add a cat", "a DOG on a mat", "output same as input"),
        ("Add a cat", "A dog on a mat beside a cat", None),
        ("Now add a cat.", "A dog on a mat beside a cat", None),
    ],
)
def test_form_of_any_instruction(edit: str, output: str, reason: str | None) -> None:
    assert form_problem(edit, output, "A dog on a mat.") == reason


def test_what_the_caption_has_itself_is_no_fault_of_the_output() -> None:
    assert form_problem("Add a cat", "Here is café #4 with a cat", "Here is café #4") is None


def test_schemas_are_strict_and_read_published_spellings() -> None:
    given = {"edit": "Add a cat", "edited object": " cat ", "output": "A dog and a cat"}
    assert read_answer("add", AnyInstruction.model_validate(given)).edited_object == "cat"
    for wrong in ({"edited_object": ""}, {"edited_object": None}, {"edited_object": "x" * 61}, {"edited_object": ["cat"]}, {}):
        assert read_answer("add", AnyInstruction.model_validate({"edit": "Add", "output": "A", **wrong})) is None
    extra = {"edit": "Add a cat", "edited_object": "cat", "output": "A cat", "thought": "hm"}
    assert read_answer("add", AnyInstruction.model_validate(extra)) is None


def test_every_type_has_a_template_whose_examples_pass_its_own_checks() -> None:
    for kind in ANSWERS:
        header = load_template(template_name(kind)).header
        assert header.task == f"edit_{kind}"
        assert len(header.bundles) >= 2
        for example in [example for bundle in header.bundles for example in bundle]:
            caption = example.values["caption"]
            assert example.values["verb"] in VERBS[kind]
            target = {
                name: value for name, value in example.values.items() if name not in ("caption", "verb") and value is not None
            }
            assert problem(kind, caption, target, **example.answer) is None, (kind, example)


def test_schemas_ask_for_the_fields_in_the_order_of_the_examples_and_for_all_of_them() -> None:
    for kind in ANSWERS:
        schema = answer_schema(kind)
        assert schema["required"] == list(schema["properties"]) and schema["additionalProperties"] is False
        assert closed_schema(schema) is not None
        for bundle in load_template(template_name(kind)).header.bundles:
            for example in bundle:
                assert list(example.answer) == schema["required"], (kind, example)


def test_colours_are_whole_words_and_gray_is_grey() -> None:
    assert not has_word("a covered, tired hundred", {"red"})
    assert names_color("a grey cat", "gray") and names_color("a Gray cat", "grey")
    assert not names_color("a bluebird", "blue")
    assert color_key("Dark Grey") == "dark gray"
    assert color_key("tired") is None and color_key("red hot chili pepper") is None


@pytest.mark.parametrize(
    "name", ["flower", "door", "tree", "tower", "printer", "employee badge", "wrist", "violin", "bee", "dog"]
)
def test_what_only_looks_like_a_word_for_people_is_none(name: str) -> None:
    assert not is_human(name)


@pytest.mark.parametrize(
    "name", ["woman", "bride", "firefighter", "old fisherman", "runners", "guitarist", "policewoman", "kids"]
)
def test_people_are_told(name: str) -> None:
    assert is_human(name)


def test_forms_of_a_verb_share_a_stem() -> None:
    for forms in (
        "ride rides riding rode",
        "sit sits sitting sat",
        "carry carries carrying carried",
        "watch watches watching watched",
        "lie lies lying",
        "run runs running ran",
        "make makes making made",
        "dance dances dancing danced",
    ):
        assert len({verb_stem(form) for form in forms.split()}) == 1, forms
    assert verb_stem("sleep") != verb_stem("slide")


def test_actions_are_those_of_people_and_animals() -> None:
    assert [(each.agent, each.verb) for each in actions("A dog rides downhill while a lamp glows.")] == [("dog", "rides")]
    assert actions("A lamp stands on a table.") == []
    assert actions("A man is old and has a beard.") == []
