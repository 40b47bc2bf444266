"""YAML of others: what PyYAML would read without a word."""

from __future__ import annotations

import pytest
import yaml

from shardmill.util.yaml_text import read_yaml


def test_a_key_that_is_given_twice_is_named_with_its_line() -> None:
    with pytest.raises(yaml.YAMLError, match="line 3: 'b' is given twice"):
        read_yaml("a: {b: 1}\nb: 2\nb: 3\n")


def test_a_time_is_no_number() -> None:
    assert read_yaml("[12:00:00, 1:30.5, 90, 1.5, 0x10]") == ["12:00:00", "1:30.5", 90, 1.5, 16]


def test_a_merged_block_may_be_changed() -> None:
    assert read_yaml("a: &a {b: 1}\nc: {<<: *a, b: 2}") == {"a": {"b": 1}, "c": {"b": 2}}
