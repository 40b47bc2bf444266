"""Implicit edits: what one must be, and the examples that ship with the product. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import yaml
from pydantic import BaseModel, Field

from shardmill.language.noun_phrases import extract_objects
from shardmill.language.nouns import fold, singular
from shardmill.language.object_names import form_problem
from shardmill.language.relations import mentions
from shardmill.language.word_lists import word_lists
from shardmill.util.resources import resource_text
from shardmill.util.texts import cached

_LISTS = word_lists("shardmill.anyedit", "implicit_edits.yaml")

SEEDS = "templates/anyedit/implicit_seeds.yaml"
MIN_WORDS, MAX_WORDS = 3, 20
MAX_KEY_WORDS = 5
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_MARKS = re.compile(r"[\[\]{}<>|\\\n\r\t;#@*_=]")
_END = re.compile(r"[.!?](?=[\"'”’)]*\s+\S)")
_QUESTION = re.compile(r"^(?:what|how|where|which|when|suppose|imagine|if|and|after|in|who)\b", re.IGNORECASE)
_EDITING = _LISTS.words("editing")
"""An instruction that begins with one of these says what to do: that is an ordinary edit."""
_REFUSAL = re.compile(
    r"\b(?:i(?:['’]?m| am) (?:sorry|unable|not able)|i (?:cannot|can['’]?t|won['’]?t)|as an ai|sorry,|"
    r"here (?:is|are)|example \d)\b",
    re.IGNORECASE,
)
_OF_THE_PICTURE = re.compile(
    r"\b(?:(?:image|photo|picture|scene) (?:shows?|depicts?)|(?:original|target|start|end) caption)\b", re.IGNORECASE
)


class ImplicitEdit(BaseModel):
    """A scene, a question or event, the scene after it, and the words that matter."""

    original_caption: str
    instruction: str
    target_caption: str
    key_words: list[str]


class ImplicitEdits(BaseModel):
    """The answer: several of them."""

    samples: list[ImplicitEdit] = Field(min_length=1, max_length=20)


@cached
def seeds() -> tuple[Mapping[str, Any], ...]:
    """The examples that ship with the product."""
    return tuple(yaml.safe_load(resource_text(SEEDS)))


def seeds_digest() -> str:
    """A digest of them, for a fingerprint."""
    return sha256(resource_text(SEEDS).encode()).hexdigest()


@cached
def _seed_keys() -> frozenset[str]:
    return frozenset(key for seed in seeds() for key in keys_of(seed))


def keys_of(sample: Mapping[str, Any]) -> tuple[str, str]:
    """What no two samples may share: the scene with its question, and the scene with what becomes of it."""
    original, asked, target = (plain(sample[name]) for name in ("original_caption", "instruction", "target_caption"))
    return f"{original} ? {asked}", f"{original} > {target}"


def plain(text: str) -> str:
    """A text for comparison: its words in lower case, singular, without articles."""
    return " ".join(singular(word) for word in _WORD.findall(text.lower()) if word not in ("a", "an", "the"))


def tidied(sample: ImplicitEdit) -> dict[str, Any]:
    """A sample as it is written: blanks single, captions with a dot, key words in lower case and each once."""
    captions = [_sentence(text) for text in (sample.original_caption, sample.target_caption)]
    words = dict.fromkeys(word.strip(" .,\"'").lower() for word in sample.key_words)
    return {
        "original_caption": captions[0],
        "instruction": " ".join(sample.instruction.split()).strip(" \"'“”"),
        "target_caption": captions[1],
        "key_words": [word for word in words if word],
    }


def _sentence(text: str) -> str:
    text = " ".join(text.split()).strip(" \"'“”")
    return text if not text or text[-1] in ".!?" else f"{text}."


def sample_problem(sample: Mapping[str, Any], topic: str, whole: bool) -> str | None:
    """Why a tidied sample is none; None when it is one.

    `topic` is what the scene has to be about: a thing that the original caption names, or (`whole`) a caption of which it names a
    thing.
    """
    original, asked, target = sample["original_caption"], sample["instruction"], sample["target_caption"]
    for caption in (original, target):
        problem = _caption_problem(caption)
        if problem is not None:
            return problem
    if not _is_asked(asked):
        return "no question or event"
    if plain(original) == plain(target):
        return "nothing changes"
    if plain(asked) in (plain(original), plain(target)):
        return "instruction is a caption"
    if not _is_about(original, topic, whole):
        return "not about its topic"
    problem = _key_word_problem(sample["key_words"], f"{original} {target}")
    if problem is None and not _seed_keys().isdisjoint(keys_of(sample)):
        return "repeats an example"
    return problem


def _caption_problem(caption: str) -> str | None:
    words = caption.split()
    if not MIN_WORDS <= len(words) <= MAX_WORDS:
        return "caption too short or too long"
    if _REFUSAL.search(caption) or _OF_THE_PICTURE.search(caption):
        return "preamble or refusal"
    if _MARKS.search(caption) or any(letter > "\u024f" for letter in caption if letter.isalpha()):
        return "stray marks"
    if _END.search(caption) or caption.endswith("?"):
        return "caption is not one sentence"
    return None


def _is_asked(instruction: str) -> bool:
    """Whether an instruction is a question or tells an event, and no order to edit."""
    words = _WORD.findall(instruction.lower())
    if not 3 <= len(words) <= MAX_WORDS or words[0] in _EDITING or _MARKS.search(instruction) or _REFUSAL.search(instruction):
        return False
    if _END.search(instruction):
        return False
    if instruction.endswith("?") or _QUESTION.match(instruction):
        return instruction.endswith("?") and bool(_QUESTION.match(instruction))
    return not instruction.endswith(":")


def _is_about(original: str, topic: str, whole: bool) -> bool:
    names: Iterable[str] = extract_objects(topic) if whole else (topic,)
    return any(mentions(original, name) for name in names)


def _key_word_problem(words: Sequence[str], captions: str) -> str | None:
    if not 1 <= len(words) <= MAX_KEY_WORDS:
        return "no key words, or too many"
    said = {form for word in _WORD.findall(captions.lower()) for form in (word, singular(word))}
    for word in words:
        if not _WORD.fullmatch(word):
            return "key word is not one word"
        if word not in said and singular(word) not in said and fold(word) not in said:
            return "key word is not in the captions"
    return None


def usable_topic(topic: str, whole: bool) -> bool:
    """Whether anything can be asked about a concept or a caption."""
    return bool(extract_objects(topic)) if whole else form_problem(topic.strip()) is None
