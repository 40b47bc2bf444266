"""Rules on the language of negated captions and options: what is left of the caption, spelling, number, stiff wording."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

from shardmill.language.agreement import agreement_problem
from shardmill.language.noun_phrases import denied_objects
from shardmill.language.nouns import fold, singular
from shardmill.language.relations import mentions
from shardmill.language.spelling import corrected
from shardmill.language.word_lists import word_lists
from shardmill.quality.rules import NEVER, QualityRule, Row, at_most, at_stage
from shardmill.quality.text_patterns import words

_LISTS = word_lists("shardmill.negbench", "quality_sentences.yaml")
_FRAMING = _LISTS.words("framing")
CHECKED = 3_000
"""Rows that checks read which tag or spell every word."""
ENOUGH = 30
MIN_OWN_WORDS = 2
"""A caption with fewer words beside its objects has nothing to lose."""


def replaced_captions(row: Row) -> Iterator[str | None]:
    """For each negated caption, whether nothing but the objects is left of a caption that says more.

    A caption that names what the detector did not see cannot be kept, and is not counted.
    """
    own = _own_words(row["caption"] or "", row["positive_objects"] or [])
    if {*map(fold, row["objects"] or [])} - {*map(fold, row["positive_objects"] or [])}:
        return
    for caption, detail in _negated(row):
        if len(own) >= MIN_OWN_WORDS:
            left = _own_words(caption, [*(row["positive_objects"] or []), detail["object"]])
            yield None if left & own else f"{row['caption']} / {caption}"


def _own_words(text: str, names: list[str]) -> set[str]:
    """The words of a text beside its objects and those that any such sentence may have."""
    spans = sorted((span for name in names for span in mentions(text, name)), reverse=True)
    for start, end in spans:
        text = f"{text[:start]} {text[end:]}"
    return {singular(word) for word in words(corrected(text)) if word not in _FRAMING and len(word) > 2}


def misspelled(text: str) -> str | None:
    """What is misspelled in a text, and what it must be."""
    right = corrected(text)
    if right == text:
        return None
    wrong = [word for word in text.split() if word not in right.split()]
    return f"{' '.join(wrong)}: {text}"


def misspelled_captions(row: Row) -> Iterator[str | None]:
    """For each negated caption, whether words are misspelled."""
    yield from (misspelled(caption) for caption, _ in _negated(row))


def misspelled_objects(row: Row) -> Iterator[str | None]:
    """For each object of the lists, whether its name is misspelled."""
    for name in [*(row["positive_objects"] or []), *(row["negative_objects"] or [])]:
        yield None if corrected(name) == name else f"{name} for {corrected(name)}: {row['caption']}"


def affirmed_although_denied(row: Row) -> Iterator[str | None]:
    """For each object that is listed as present, whether the caption says that it is absent."""
    denied = {fold(name) for name in denied_objects(row["caption"] or "")}
    for name in row["positive_objects"] or []:
        yield f"{name}: {row['caption']}" if fold(name) in denied else None


def disagreeing_captions(row: Row) -> Iterator[str | None]:
    """For each negated caption, whether its articles and verbs agree with the missing object."""
    for caption, detail in _negated(row):
        problem = agreement_problem(caption, [detail["object"]])
        yield problem and f"“{problem}”: {caption}"


def awkward_captions(row: Row) -> Iterator[str | None]:
    """For each negated caption, whether it has a pattern of what nobody would write and the caption did not have."""
    for caption, _ in _negated(row):
        yield awkward(caption, row["caption"] or "")


def awkward(text: str, source: str = "") -> str | None:
    """The first awkward pattern of a text that its source does not have."""
    known = source.lower()
    matches = (match for pattern in _patterns() for match in pattern.finditer(text))
    match = next((match for match in matches if match[0].lower() not in known), None)
    return None if match is None else f"“{match[0].strip()}”: {text}"


@cache
def _patterns() -> list[re.Pattern[str]]:
    return [re.compile(text, re.IGNORECASE) for text in _LISTS.phrases("awkward")]


def _negated(row: Row) -> Iterator[tuple[str, Row]]:
    yield from zip(row["negative_captions"] or [], row["negation_details"] or [], strict=False)


_CAPTIONS = ("caption", "objects", "positive_objects", "negative_captions", "negation_details")


def _rule(
    id: str, meaning: str, fault: str, look: float, fail: float, check: Callable[[Row], Iterator[str | None]], advice: str
) -> QualityRule:
    limits = at_most(look, fail)
    return QualityRule(id, meaning, limits, _CAPTIONS, check, fault=fault, advice=advice, max_rows=CHECKED, enough=ENOUGH)


def caption_sentence_rules(lists: str, captions: str) -> list[QualityRule]:
    """The rules on the sentences of a run, whoever wrote them.

    Args:
        lists: The stage that has the lists of objects.
        captions: The stage that has the negated captions.
    """
    names = ("caption", "positive_objects", "negative_objects")
    about_lists = at_stage(
        lists,
        QualityRule(
            "objects.denied",
            "What the caption says is missing is never listed as present.",
            NEVER,
            ("caption", "positive_objects"),
            affirmed_although_denied,
            max_rows=CHECKED,
            fault="Some objects are listed as present although the caption says that they are missing.",
            advice="“A kitchen missing a stove” shows no stove: all that is said of it is the wrong way round.",
        ),
        QualityRule(
            "objects.spelling",
            "Names of objects are spelled as English has them.",
            at_most(0.005, 0.02),
            names,
            misspelled_objects,
            max_rows=CHECKED,
            enough=ENOUGH,
            fault="Some names of objects are misspelled.",
            advice="A misspelled name is an object of its own, and tells that it was taken from a caption.",
        ),
    )
    return [
        *about_lists,
        *at_stage(
            captions,
            _rule(
                "captions.replaced",
                "Negated captions keep what the caption says, and are no mere lists of its objects.",
                "Some negated captions are mere lists of objects, and say nothing else of the caption.",
                0.01,
                0.03,
                replaced_captions,
                "“A picture of a dog and a ball, without a cat” for a dog that leaps after a ball teaches little. The text model "
                "gives up on the caption: change the prompt or the model.",
            ),
            _rule(
                "captions.spelling",
                "Negated captions are spelled as English is.",
                "Some negated captions have misspelled words.",
                0.02,
                0.08,
                misspelled_captions,
                "Errors of the input are learned too. Correct the captions before, or leave such rows out.",
            ),
            _rule(
                "captions.number",
                "Articles and verbs agree with the missing object.",
                "Articles or verbs of some negated captions do not agree with the missing object.",
                0.005,
                0.02,
                disagreeing_captions,
                "A sentence such as “There is no dogs” is not English: the text model does not know the number of its nouns.",
            ),
            _rule(
                "captions.wording",
                "Few negated captions have a pattern of what nobody would write.",
                "Some negated captions are worded as nobody would word them.",
                0.05,
                0.1,
                awkward_captions,
                "The text model falls back on stiff phrases: change the prompt, or templates/rules/negated_captions.yaml.",
            ),
        ),
    ]


def option_sentence_rules(stage: str, columns: list[str]) -> list[QualityRule]:
    """The rules on the sentences of options, which are in four `columns` of a stage."""

    def disagreeing(row: Row) -> Iterator[str | None]:
        names = [each["name"] for each in row["mcq_objects"] or []]
        for text in filter(None, (row[name] for name in columns)):
            problem = agreement_problem(text, names)
            yield problem and f"“{problem}”: {text}"

    def stiff(row: Row) -> Iterator[str | None]:
        yield from (awkward(text) for text in filter(None, (row[name] for name in columns)))

    return at_stage(
        stage,
        QualityRule(
            "mcq.number",
            "Articles and verbs of options agree with their objects.",
            at_most(0.005, 0.02),
            (*columns, "mcq_objects"),
            disagreeing,
            max_rows=CHECKED,
            enough=ENOUGH,
            fault="Articles or verbs of some options do not agree with their objects.",
            advice="A sentence such as “There is no dogs” is not English: the text model does not know the number of its nouns.",
        ),
        QualityRule(
            "mcq.wording",
            "Few options have a pattern of what nobody would write.",
            at_most(0.03, 0.08),
            (*columns, "mcq_objects"),
            stiff,
            max_rows=CHECKED,
            enough=ENOUGH,
            fault="Some options are worded as nobody would word them.",
            advice="The text model falls back on stiff phrases: change the prompt, or templates/rules/paraphrases.yaml.",
        ),
    )
