"""Tasks `ask_presuppositions` and `judge_questions`: questions that take an object for granted, and what is wrong with one."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from shardmill.embedded.rules.phrases import bare, patterns
from shardmill.language.lexicon import lexicon
from shardmill.language.named_number import names_several
from shardmill.language.nouns import INVARIANT, PLURAL_ONLY, fold, is_mass, is_plural, plural
from shardmill.language.relations import mentions
from shardmill.language.visibility import is_visible


def ask_presuppositions(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"caption", "present_object", "absent_object", "form"} -> {"absent_question", "present_question"} of that form.

    The present object is in the number of the caption, and the absent one takes it over, so that "is" and "are" do not give
    away which of the two it is.
    """
    wordings: list[str] = patterns("questions")[values["form"]]
    present = bare(str(values["present_object"]))
    many = names_several(str(values["caption"]), present)
    if many and not is_plural(present):
        present = plural(present)
    absent = _in_number(bare(str(values["absent_object"])), many)
    return {
        "absent_question": rng.choice(wordings).format(**_words(absent, many)),
        "present_question": rng.choice(wordings).format(**_words(present, many)),
    }


def _in_number(name: str, many: bool) -> str:
    if many:
        return name if is_plural(name) or is_mass(name) else plural(name)
    return fold(name) if is_plural(name) and fold(name).rpartition(" ")[2] not in PLURAL_ONLY else name


def _words(name: str, many: bool) -> dict[str, str]:
    many = is_plural(name) or (many and name.rpartition(" ")[2] in INVARIANT)
    return {
        "the": f"the {name}",
        "is": "are" if many else "is",
        "does": "do" if many else "does",
        "has": "have" if many else "has",
    }


_EXISTENCE = re.compile(
    r"\b(?:(?:is|are) there|there(?:'s| is| are)|can you (?:see|spot|find)|whether|if any|exists?|supposing)\b", re.I
)
_UNSEEN = re.compile(
    r"\b(?:sounds?|noises?|hear|music|songs?|tune|melody|voices?|smells?|scents?|tastes?|feel|feels|feeling|feelings|mood|moods|"
    r"emotions?|season|think|thinks|thinking|thoughts?|happy|sad|lonely|angry|excited)\b",
    re.I,
)
_UNKNOWABLE = re.compile(
    r"^why\b|\b(?:cost|costs|price|owns?|paid|names?|called|tomorrow|yesterday|next year|how old (?:is|are))\b", re.I
)
_LIVING = re.compile(r"\b(?:eating|drinking|looking at|watching|sleeping|chasing|sniffing|wearing|smiling|yawning)\b", re.I)
_HUMAN = re.compile(
    r"\b(?:saying|telling|explaining|reading|writing|cooking|driving|typing|discussing|buying|selling|singing|painting|planning)\b",
    re.I,
)


def judge_question(values: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    """{"caption", "object", "present", "question"} -> {"verdict"}. Nothing in it is random."""
    question, name = str(values["question"]), str(values["object"])
    # Words of the object's own name do not count: "music" in "music stand".
    asked = question
    for start, end in reversed(mentions(question, name)):
        asked = f"{asked[:start]}it{asked[end:]}"
    if _EXISTENCE.search(asked):
        return {"verdict": "existence"}
    if not is_visible(fold(name)) or _UNSEEN.search(asked):
        return {"verdict": "not visible"}
    if _beyond(asked, name):
        return {"verdict": "unrealistic"}
    if values["present"] and _UNKNOWABLE.search(asked):
        return {"verdict": "unanswerable"}
    return {"verdict": "pass"}


def _beyond(asked: str, name: str) -> bool:
    """Whether the object would do what such an object cannot; one that the lexicon does not know can do anything."""
    entry = lexicon().find(name)
    # Someone may well be reading beside the lamp: only what the object itself does counts.
    if (
        entry is None
        or entry.category == "person"
        or not re.match(r"(?:what|how|where|why|which \w+) (?:is|are) the it\b", asked, re.I)
    ):
        return False
    return bool(_HUMAN.search(asked)) or (entry.category != "animal" and bool(_LIVING.search(asked)))
