"""Likeness of questions by a sentence-embedding model, small and random, through the build of antidote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from models.tiny_detectors import bert_tokenizer
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.launch.finish import build_datasets
from shardmill.models.embedding import embed
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_path

TEXTS = ["a dog", "the red bird house in a tree and on it a cat", "a dog", "cup", "the dog has a bottle"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embedding")
    torch.manual_seed(0)
    tokenizer = bert_tokenizer()
    tokenizer.save_pretrained(path)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), initializer_range=0.3, **small)).save_pretrained(path)
    return path


def test_vectors_are_those_of_each_text_alone(model: Path) -> None:
    found = embed(TEXTS, str(model))
    tokenizer, encoder = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    for text, vector in zip(TEXTS, found, strict=True):
        with torch.inference_mode():
            alone = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0].numpy()
        assert np.allclose(vector, alone / np.linalg.norm(alone), atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5) and np.allclose(found[0], found[2], atol=1e-5)
    assert embed([], str(model)).shape[0] == 0
    with pytest.raises(UserError, match="no model in the folder"):
        embed(TEXTS, "/no/such/model")


def test_the_build_compares_questions_by_the_model(model: Path, tmp_path: Path) -> None:
    sample = resource_path("data/samples/antidote.json")
    captions = json.loads(sample.read_text())
    repeated = {f"{key}-{copy}": captions[key] for copy in range(6) for key in list(captions)[:4]}
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
    assert doubles and asked == 24
    shutil.rmtree(run.path / "datasets")
    other = start_run(tmp_path / "other", NewRun(input=tmp_path / "captions.json"))
    with pytest.raises(UserError, match="leave out --likeness"):
        build_datasets(other, likeness=str(model))
