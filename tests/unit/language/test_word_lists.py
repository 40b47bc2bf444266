"""The data files of words: every list is read, has no doubles, and says what it is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import shardmill
from shardmill.antidote.judge_questions import JudgeQuestions
from shardmill.core.fingerprint import source_digests
from shardmill.language.word_lists import WordLists, word_lists, word_set

ROOT = Path(shardmill.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.yaml") if "_resources" not in path.parts)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_a_file_says_what_it_is_and_lists_no_word_twice(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# ")
    for words in re.findall(r">-\n((?:  .*\n)+)", text):
        assert [word for word, times in Counter(words.split()).items() if times > 1] == []
    assert file.with_suffix(".py").exists() or f'"{file.name}"' in "".join(p.read_text() for p in file.parent.glob("*.py"))


def test_words_that_yaml_takes_for_truth_values_are_words() -> None:
    cues = word_lists("shardmill.language", "negation_cues.yaml")
    assert "no" in cues.phrases("before")
    assert "on" in word_lists("shardmill.language", "tagging.yaml").words("always_preposition")


def test_a_missing_list_is_named() -> None:
    with pytest.raises(TypeError, match=r"own\.yaml.*verbs"):
        WordLists("own.yaml", {"nouns": "dog cat"}).words("verbs")


def test_words_of_several_lines() -> None:
    assert word_set("dog cat", "cat bird") == {"dog", "cat", "bird"}


def test_the_words_are_part_of_the_fingerprint_of_the_stages_that_use_them() -> None:
    files = set(source_digests(JudgeQuestions))
    assert {"shardmill/antidote/question_forms.yaml", "shardmill/language/nouns.yaml", "shardmill/language/lexicon.csv"} <= files
