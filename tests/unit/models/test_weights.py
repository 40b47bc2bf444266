"""Which weights a run was made with: pinned by a commit, or recorded as not pinned, with the commit that the cache had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shardmill.core.shard_runner import run_shard
from shardmill.export.hf_card import model_of
from shardmill.models.caption.minigpt4 import MiniGpt4Settings
from shardmill.models.detect.groundingdino_py import GroundingDinoPySettings
from shardmill.models.registry import loaded_commits, model_identity
from shardmill.models.settings import read_settings
from shardmill.models.text.vllm import VllmSettings
from shardmill.quality.gather import gather
from shardmill.store.dataset_card import stage_entry
from shardmill.store.run_folder import RunFolder

COMMIT, OTHER = "0123456789abcdef" * 2 + "01234567", "f" * 40
MODEL = {"kind": "transformers", "model": "org/name"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with one model."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    refs = tmp_path / "hub" / "models--org--name" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    return refs


@pytest.mark.parametrize("revision", [None, "main", "v1.0", COMMIT[:12]])
def test_weights_that_no_commit_pins_are_named_in_the_fingerprint(revision: str | None) -> None:
    spec = {**MODEL, "revision": revision}
    assert model_identity("text", spec)["unpinned"] == "org/name"
    assert "unpinned" not in model_identity("text", {**spec, "revision": COMMIT})


def test_a_folder_is_known_by_its_digest_and_is_not_unpinned(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    identity = model_identity("text", {**MODEL, "model": str(tmp_path)})
    assert "unpinned" not in identity and identity["weights"]


def test_models_behind_servers_are_not_pinned_either() -> None:
    assert (
        model_identity("text", {"kind": "openai", "model": "gpt-4o-mini", "base_urls": ["http://a/v1"]})["unpinned"]
        == "gpt-4o-mini"
    )


def test_the_cache_says_which_commit_was_loaded(cache: Path) -> None:
    assert loaded_commits("text", MODEL) == {"org/name": COMMIT}
    assert loaded_commits("text", {**MODEL, "revision": OTHER}) == {"org/name": OTHER}
    (cache / "v1").write_text(OTHER)
    assert loaded_commits("text", {**MODEL, "revision": "v1"}) == {"org/name": OTHER}
    assert loaded_commits("text", {**MODEL, "model": "org/other"}) == {}
    (cache / "main").write_text("not a commit")
    assert loaded_commits("text", MODEL) == {}
    assert loaded_commits("text", {"kind": "rules"}) == {}


@pytest.mark.parametrize(
    ("settings", "given", "unpinned"),
    [
        (VllmSettings, {"model": "org/name", "lora": "org/adapter", "revision": COMMIT}, "org/adapter"),
        (GroundingDinoPySettings, {"model": "ShilongLiu/GroundingDINO:swint.pth"}, "ShilongLiu/GroundingDINO"),
        (
            MiniGpt4Settings,
            {"model": "/a/folder", "vision_encoder": "org/blip2", "projection": "org/p:x.pth"},
            "org/blip2, org/p",
        ),
    ],
)
def test_each_model_from_the_hub_is_named(settings: Any, given: dict[str, Any], unpinned: str) -> None:
    assert read_settings(settings, given).identity()["unpinned"] == unpinned


def test_manifests_and_cards_hold_the_commits_and_the_report_names_a_mixture(
    make_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shardmill.core.stage.model_identity", lambda role, spec: {"kind": "rules", "unpinned": "org/name"})
    run = make_run()
    for shard, commit in enumerate((COMMIT, OTHER)):
        monkeypatch.setattr("shardmill.core.model_shard.loaded_commits", lambda role, spec, commit=commit: {"org/name": commit})
        assert run_shard(run, "extract_objects", shard).commits == {"org/name": commit}
    entry = stage_entry(run, "extract_objects", [0, 1])
    assert entry["commits"] == {"org/name": [COMMIT, OTHER]}
    fact = gather(run, rows=0, seed=0).facts["weights that no commit pins"]
    assert fact == f"org/name (2 different commits were loaded: {COMMIT[:12]}, {OTHER[:12]})"
    planned = run.stage("extract_objects")
    revision = model_of(planned.model, planned.fingerprint, entry["commits"])[2]
    assert revision == f"org/name (unpinned; loaded: {COMMIT}, {OTHER})"
    assert model_of(planned.model, planned.fingerprint, {})[2] == "org/name (unpinned; the commit is not known)"
