"""Rules on the language of presupposition questions: number, sense, and patterns of what nobody would ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from shardmill.antidote.question_forms import LOOKS, OWN_FORMS, PLACES
from shardmill.language.named_number import names_several
from shardmill.language.nouns import INVARIANT, is_mass, is_plural, singular
from shardmill.language.relations import as_worded, mentions
from shardmill.language.word_lists import word_lists
from shardmill.quality.rules import QualityRule, Row, at_most

_LISTS = word_lists("shardmill.antidote", "quality_sentences.yaml")
_FORMS = {form.name: form for form in (*OWN_FORMS, *LOOKS, *PLACES)}
_VERB_BEFORE = re.compile(r"\b(is|are|does|do|has|have|was|were) the $", re.IGNORECASE)
_OF_ONE = frozenset({"is", "does", "has", "was"})


def number_problems(row: Row) -> Iterator[str | None]:
    """For each used question, whether its verb and its object agree, and a present object is as many as in the caption."""
    for each in _passing(row):
        question, name = each["question"], each["object"]
        spans = mentions(question, name)
        if not spans:
            continue
        asked = question[slice(*spans[0])].lower()
        verb = _VERB_BEFORE.search(question[: spans[0][0]])
        caption = row["verified_caption"] or ""
        if asked.rpartition(" ")[2] in INVARIANT and not mentions(caption, name):
            continue  # one absent sheep, or several
        many = (is_plural(asked) or (asked.rpartition(" ")[2] in INVARIANT and names_several(caption, name))) and not is_mass(
            asked
        )
        worded = as_worded(caption, name)
        is_split = each["kind"] == "tpq" and is_plural(worded) and not is_plural(asked) and singular(worded) == asked
        disagrees = verb is not None and (verb[1].lower() in _OF_ONE) == many
        yield f"{worded}: {question}" if is_split else question if disagrees else None


def senseless_questions(row: Row) -> Iterator[str | None]:
    """For each used question, whether people would ask such a thing that."""
    for each in _passing(row):
        form = _FORMS.get(each["form"])
        yield (
            f"{each['form']} of {each['object']}: {each['question']}" if form is None or not form.suits(each["object"]) else None
        )


def awkward_questions(row: Row) -> Iterator[str | None]:
    """For each used question, whether it has a pattern of what nobody would ask."""
    for each in _passing(row):
        yield each["question"] if any(pattern.search(each["question"]) for pattern in _patterns()) else None


def _passing(row: Row) -> list[Row]:
    return [each for each in row["questions"] or [] if each["verdict"] == "pass" and each["question"]]


@cache
def _patterns() -> list[re.Pattern[str]]:
    return [re.compile(text, re.IGNORECASE) for text in _LISTS.phrases("awkward")]


SENTENCE_RULES = [
    QualityRule(
        "questions.number",
        "Verbs agree with their object, and several things are asked about as several.",
        at_most(0.01, 0.03),
        ("questions", "verified_caption"),
        number_problems,
        fault="Some verbs do not agree with their object, or several things are asked about as one.",
        advice="“The zebra” of two zebras can be answered in two ways, and tells that the question was not made from the image.",
    ),
    QualityRule(
        "questions.sense",
        "Questions ask of a thing what people would ask of it.",
        at_most(0.02, 0.1),
        ("questions",),
        senseless_questions,
        fault="Some questions ask of a thing what nobody would ask of it.",
        advice="Nobody asks how big a boy is: a model learns to decline such questions for their oddness. "
        "What suits what is in antidote/question_forms.yaml.",
    ),
    QualityRule(
        "questions.wording",
        "Few questions have a pattern of what nobody would ask.",
        at_most(0.03, 0.1),
        ("questions",),
        awkward_questions,
        fault="Some questions are worded as nobody would word them.",
        advice="The text model falls back on odd phrases: change the prompt, or templates/rules/questions.yaml.",
    ),
]
"""Measured over the questions that are used, whoever wrote them."""
