"""A small trained model, SmolLM2-135M-Instruct: prompts that it can follow, and the same answers whatever runs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from real import smollm
from real.measure import Measured, differing, measure, only_bundle
from shardmill.core.shard_runner import ModelPool

ROWS = 8
STAGE = "negbench", "extract_objects"
ONCE = "extract_objects.attempts=1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return smollm.build_folder(tmp_path_factory.mktemp("trained") / "smollm2")


@pytest.fixture(scope="module")
def pool() -> Iterator[ModelPool]:
    """The model in transformers, loaded once."""
    loaded: ModelPool = {}
    yield loaded
    for model in loaded.values():
        model.close()


@pytest.fixture
def every_bundle() -> Iterator[None]:
    yield
    only_bundle(None)


def by_transformers(folder: Path, pool: ModelPool) -> Measured:
    return measure(*STAGE, smollm.settings("transformers", folder=folder), ROWS, pool, ONCE)


@pytest.mark.usefixtures("every_bundle")
@pytest.mark.parametrize("number", range(3))
def test_each_set_of_examples_alone_brings_most_captions_through_at_the_first_try(
    folder: Path, pool: ModelPool, number: int
) -> None:
    only_bundle(number)
    measured = by_transformers(folder, pool)
    assert measured.out >= 0.6 * measured.rows, measured.reasons
    assert measured.reasons["the model named none"] <= 1


def test_llama_cpps_server_reads_the_same_tokens_and_names_the_same_objects(
    folder: Path, pool: ModelPool, tmp_path: Path
) -> None:
    local = by_transformers(folder, pool)
    with smollm.llama_server(tmp_path / "log") as url:
        served = measure(*STAGE, smollm.settings("openai", url=url), ROWS, {}, ONCE)
    assert served.usage["prompt_tokens"] == local.usage["prompt_tokens"]
    assert len(differing({"served": served, "local": local})) <= ROWS // 2  # its arithmetic is with 8-bit activations
