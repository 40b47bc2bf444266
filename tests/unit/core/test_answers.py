"""Answers as models really give them, read as what was asked for, or refused with the reason."""

from __future__ import annotations

import time
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import RootModel

from shardmill.core.answers import Malformed, parse_answer
from shardmill.negbench.answers import NewCaption, ObjectList

LISTS = [
    '{"objects": ["dog", "red ball"]}',
    ' \n{"objects": ["dog", "red ball"]}\n\n',
    '{"objects":["dog","red ball"],"note":"two things"}',
    '```json\n{"objects": ["dog", "red ball"]}\n```',
    '```\n{"objects": ["dog", "red ball"]}\n```',
    'Sure! Here it is:\n```json\n{"objects": ["dog", "red ball"]}\n```\nAnything else?',
    'Here is the list: {"objects": ["dog", "red ball"]} I hope it helps.',
    '{"objects": ["dog", "red ball",]}',
    '{"objects": ["dog", "red ball"],}',
    '{\n  "objects": [\n    "dog",\n    "red ball",\n  ],\n}',
    '["dog", "red ball"]',
    'Answer: ["dog", "red ball"]',
    '```python\n["dog", "red ball"]\n```',
    "dog, red ball",
    "dog, red ball.",
    "dog,red ball,",
    "Objects: dog, red ball",
    '"dog", "red ball"',
    "'dog', 'red ball'",
    "1. dog\n2. red ball",
    "1) dog\n2) red ball",
    "(1) dog\n(2) red ball",
    "- dog\n- red ball",
    "* dog\n* red ball\n",
    "• dog\n\n• red ball",
    "  1. dog.\n  2. red ball.",
    "dog, red ball\n\nNext caption: a cat",
    '{"objects": ["dog", "red ball"]}{"objects": ["cat"]}',
    '{"objects": ["dog", "red ball"]}\n{"objects": ["dog", "red ball"]}',
    "dog, “red ball”",
    "Objects:\n- dog\n- red ball",
    "Here are the objects that I found:\n\n1. dog\n2. red ball\n\nLet me know if you need more.",
    "**Objects:**\n* **dog**\n* **red ball**",
    "dog\nred ball",
    "dog, and red ball",
    "\ufeff" + '{"objects": ["dog", "red ball"]}',
    '```json {"objects": ["dog", "red ball"]} ```',
    '~~~json\n{"objects": ["dog", "red ball"]}\n~~~',
    '```json\n{"objects": ["dog", "red ball"]}\n',
    "{'objects': ['dog', 'red ball']}",
    "['dog', 'red ball']",
    "Sure:\n```\n{'objects': ['dog', 'red ball']}\n```",
    '<think>The caption names a dog and ["a cat"]?</think>\n{"objects": ["dog", "red ball"]}',
    '<thinking>\nhm\n</thinking>["dog", "red ball"]',
    'so the answer is clear.</think>{"objects": ["dog", "red ball"]}',
    '{"objects": ["dog", "red ball"]}<|eot_id|>',
    '{"objects": ["dog", "red ball"]}</s></s>',
    '{"objects": ["dog", "red ball"]}<|im_end|>\n<|im_start|>user\nCaption: "a cat"',
    '<|im_start|>{"objects": ["dog", "red ball"]}',
    "dog, red ball</s>",
    '{"objects": ["dog",\r\n"red ball"]}\r\n',
    "1. dog\r\n2. red ball\r\n",
    '{"objects": ["cat"], "objects": ["dog", "red ball"]}',
    '{"objects": ["dog\x00", "\x1fred\x07 ball"]}',
    '{"objects": ["dog", "red\\u0000 ball"]}',
    '\n\n\t{"objects": ["dog", "red ball"]}',
    '{"objects": ["dog", "red ball"]}\n\nNote: I left out the sky.',
    '<|channel|>analysis<|message|>The caption: ["cat"]?<|end|><|start|>assistant<|channel|>final<|message|>["dog", "red ball"]',
    '<|channel|>analysis<|message|>hm<|end|><|channel|>final <|constrain|>JSON<|message|>["dog", "red ball"]<|return|>',
    'analysisWe need JSON: ["cat"].assistantfinal{"objects": ["dog", "red ball"]}',
    '[THINK]is it ["cat"]?[/THINK]{"objects": ["dog", "red ball"]}',
    'is it ["cat"]?[/THINK]{"objects": ["dog", "red ball"]}',
    '◁think▷["cat"]◁/think▷["dog", "red ball"]',
    '<seed:think>["cat"]</seed:think>["dog", "red ball"]',
    '<|START_THINKING|>["cat"]<|END_THINKING|><|START_RESPONSE|>["dog", "red ball"]<|END_RESPONSE|>',
    'Here is my thought process:\n["cat"]\n\nHere is my response:\n["dog", "red ball"]',
    '<thought>["cat"]</thought><answer>["dog", "red ball"]</answer>',
    '<reasoning>\n["cat"]\n</reasoning>\n<response>\ndog, red ball\n</response>',
    '<|inner_prefix|>["cat"]<|inner_suffix|>["dog", "red ball"]',
    '<unused94>thought\n["cat"]<unused95>["dog", "red ball"]',
    '{"objects": ["dog", "red ball"]}<｜end▁of▁sentence｜>',
    "<bos>dog, red ball<eos>",
    '[The caption has two objects.] {"objects": ["dog", "red ball"]}',
    '[1] {"objects": ["dog", "red ball"]}',
    '{sic} ["dog", "red ball"]',
    '{"Objects": ["dog", "red ball"]}',
    '{"answer": {"objects": ["dog", "red ball"]}}',
    "Sure! Here are the objects: dog, red ball",
    "Certainly!\n\nHere are the objects in the caption:\n- dog\n- red ball\n\nI hope this helps!",
    "The objects in the caption are dog and red ball.",
    "The main objects are: dog, red ball",
    "**Objects:** dog, red ball",
    "# Objects\ndog\nred ball\nNote: I left out the sky",
    "dog and red ball",
    "`dog`, `red ball`",
]
CHOICES = [
    "yes", "Yes", "YES.", '"yes"', "'yes'", " yes\n", "**yes**", '{"answer": "yes"}', '["yes"]', '```json\n"yes"\n```',
    "Yes, the dog is visible.", "<think>no?</think>yes", "yes</s>", "yes!", "{'verdict': 'yes'}",
    "Answer: yes", "**Answer:** Yes.", "The answer is yes.", "Sure! Yes.", "[THINK]no?[/THINK]yes", "`yes`",
    "<answer>yes</answer>",
]  # fmt: skip
NO_CHOICES = [
    "",
    "maybe",
    "yes or no",
    "Yes and no.",
    "yesterday",
    "It is a yes",
    '{"answer": 1}',
    "I cannot say",
    "no, yes",
    "y",
]
SENTENCES = [
    ('{"caption": "A dog, no cat."}', "A dog, no cat."),
    ('```json\n{"caption": "A dog, no cat."}\n```', "A dog, no cat."),
    ('{"caption": "A dog,\x01 no cat."}', "A dog, no cat."),
    ('{"caption": "A dog,\x00\x1b[31m no cat."}', "A dog, [31m no cat."),
    ('{"caption": "A dog, \\ud83d no cat."}', "A dog, \ufffd no cat."),
    ('{"caption": "A dog, \\ud83d\\ude00 no cat."}', "A dog, 😀 no cat."),
    ('<think>{"caption": "wrong"}</think>A dog, no cat.', "A dog, no cat."),
    ("{'caption': \"A dog's, no cat.\"}", "A dog's, no cat."),
    ('{"caption": "A dog, no cat."}<|end_of_text|>', "A dog, no cat."),
    ('{"caption": "a < b && <PERSON>"}', "a < b && <PERSON>"),
    ('{"caption": "A dog,\n no cat."}', "A dog,\n no cat."),
    ('{"caption": "A dog, \\"no\\" cat."}', 'A dog, "no" cat.'),
    ("A dog, no cat.", "A dog, no cat."),
    ('"A dog, no cat."', "A dog, no cat."),
    ("Caption: A dog, no cat.", "A dog, no cat."),
    ("New caption: “A dog, no cat.”", "A dog, no cat."),
    ("A dog, no cat.\nA cat, no dog.", "A dog, no cat."),
    ('Here: {"caption": "A dog, no cat."}', "A dog, no cat."),
    ("Here is the caption:\nA dog, no cat.", "A dog, no cat."),
    ("Caption:\n\n“A dog, no cat.”\n\nIt names both.", "A dog, no cat."),
    ('{"caption": "un chien \\u00e9"}', "un chien é"),
    *(
        (text, "A dog, no cat.")
        for text in (
            "Sure! A dog, no cat.",
            "Sure! Here is the new caption: A dog, no cat.",
            "Here's a negated version:\n\nA dog, no cat.\n\nLet me know if you need more.",
            "Certainly!\n\nCaption: A dog, no cat.",
            "**A dog, no cat.**",
            "`A dog, no cat.`",
            "**Caption:** A dog, no cat.",
            "## Caption\nA dog, no cat.",
            "1. A dog, no cat.\n2. A cat, no dog.",
            "- A dog, no cat.",
            "A dog, no cat. (Note: the cat is not there.)",
            "A dog, no cat.\nNote: the cat is not there.",
            "A dog, no cat. I hope this helps!",
            "<answer>A dog, no cat.</answer>",
            "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>A dog, no cat.<|return|>",
        )
    ),
    ("The park: a dog, no cat", None),
    ("I changed the caption as you asked.\nA dog, no cat.", None),
    ('"The dog" and "the cat"', '"The dog" and "the cat"'),
    ("Okay-looking dog", "Okay-looking dog"),
    ("OKAY corral sign, no horse", "OKAY corral sign, no horse"),
    ("Here is a dog, no cat.", "Here is a dog, no cat."),
]
REFUSED = [
    "",
    "   \n",
    "{",
    '{"objects": ["dog", "red b',
    '{"objects": "dog"}',
    '{"objects": [1, 2]}',
    '{"objects": [["dog"]]}',
    '{"objects": null}',
    "['dog' 'red ball']",
    "{'objects': ['dog' 'red ball']}",
    '["dog" "red ball"]',
    '{"things": ["dog"]}',
    "null",
    "[1, 2]",
    "{}",
    "I am sorry, but I cannot see any picture here and so I cannot list what is in it for you today",
    "```json\n```",
    "[" * 10_000,
    '{"a":' * 10_000,
    "I'm sorry, I can't do that.",
    "I cannot help with this, sorry",
    "Unfortunately, no",
    "{'objects': ['dog', 'red ball'",
    "{'objects': __import__('os').listdir()}",
    "{'objects': {'dog', 'cat'}}",
    "['" * 5_000,
    "<think>the caption names a dog and so",
    "<think></think>",
    "<|eot_id|>",
    "~~~\n~~~",
    'Objects: {"objects": ["dog", "red b',
    "Objects:",
    "<|channel|>analysis<|message|>The caption names a dog",
    "analysisWe need to list the objects: dog",
    "[THINK]the caption names a dog",
    "[THINK]the caption names a dog[/THINK]",
    '[note] {"objects": ["dog", "red b',
    '{"objects": [["dog"]',
    "I see a dog.",
    "There is a dog, a ball",
    "I apologize, but I see no dog",
]
NO_SENTENCES = [
    "",
    "none",
    "I’m sorry, I can’t write that.",
    "As an AI, I have no opinion on dogs.",
    'Here is the JSON: {"caption": "A dog, no c',
    '```json\n{"caption": "A dog, no c',
    '{"caption": ["A dog, no cat."]}',
    '["A dog, no cat."]',
    '{"caption": null}',
    '{"text": "A dog, no cat."}',
    '"”"',
]


@pytest.mark.parametrize("text", LISTS)
def test_lists_are_read(text: str) -> None:
    assert parse_answer(text, ObjectList).objects == ["dog", "red ball"]


@pytest.mark.parametrize(("text", "caption"), SENTENCES)
def test_sentences_are_read(text: str, caption: str | None) -> None:
    if caption is None:  # it is not certain which part is the answer
        with pytest.raises(Malformed):
            parse_answer(text, NewCaption)
        return
    assert parse_answer(text, NewCaption).caption == caption


class Verdict(RootModel[Literal["yes", "no"]]):
    """A choice."""


@pytest.mark.parametrize("text", CHOICES)
def test_choices_are_read(text: str) -> None:
    assert parse_answer(text, Verdict).root == "yes"


@pytest.mark.parametrize("text", NO_CHOICES)
def test_what_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_answer(text, Verdict)


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_answer(text, ObjectList)


@pytest.mark.parametrize("text", NO_SENTENCES)
def test_what_is_no_sentence_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_answer(text, NewCaption)


def test_an_answer_that_is_no_text_at_all_is_malformed() -> None:
    with pytest.raises(Malformed):
        parse_answer(None, ObjectList)  # type: ignore[arg-type]


def test_a_megabyte_is_refused_at_once() -> None:
    started = time.process_time()
    for text in ("x" * 1_000_000, "[{" * 500_000, '{"objects": ["' + "a" * 1_000_000):
        with pytest.raises(Malformed):
            parse_answer(text, ObjectList)
    assert time.process_time() - started < 2


@given(st.text())
def test_no_text_does_more_than_parse_or_be_refused(text: str) -> None:
    for model in (ObjectList, NewCaption):
        try:
            assert isinstance(parse_answer(text, model), model)
        except Malformed as error:
            assert str(error)
