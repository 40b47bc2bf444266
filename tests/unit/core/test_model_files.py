"""Model files: a model by name, what a worker of it needs, and settings that differ; mistakes are told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardmill.core.model_choice import use_models
from shardmill.core.model_files import find_model, load_model_file
from shardmill.core.pipeline_file import PipelineFile, load_pipeline, override, plan_stages
from shardmill.core.stage import Context
from shardmill.models.registry import model_identity
from shardmill.store.cells import Kind
from shardmill.store.plan import Price, StagePlan
from shardmill.util.errors import UserError
from shardmill.util.resources import resource_names

COLUMNS: dict[str, Kind] = {"row_id": "int", "image": "text", "caption": "text"}
OWN_RESOURCES = """
pipeline: negbench
stages:
  - stage: extract_objects
    model: llama-3.1-8b
    resources: {gpus_per_worker: 2, minutes: 20}
"""
TEXT_STAGES = ("extract_objects", "propose_negatives", "validate_objects", "caption_negated", "paraphrase_mcq")


def stages(pipeline: PipelineFile) -> dict[str, StagePlan]:
    return {stage.name: stage for stage in plan_stages(pipeline, COLUMNS, Context())}


@pytest.mark.parametrize("name", resource_names("slurm/models"))
def test_every_bundled_model_file_has_settings_that_its_engine_knows(name: str) -> None:
    file = load_model_file(name)
    identity = model_identity(file.role, file.spec)
    assert identity["model"] == file.spec["model"]
    assert file.resources["gpus_per_worker"] >= (1 if file.spec["kind"] == "vllm" else 0)


def test_one_name_sets_the_model_of_all_stages_of_its_role_and_what_their_workers_need() -> None:
    plain = stages(load_pipeline("negbench"))
    chosen = stages(use_models(load_pipeline("negbench"), ["llama-3.1-70b"]))
    for name in TEXT_STAGES:
        assert chosen[name].model["model"] == "meta-llama/Llama-3.1-70B-Instruct"
        assert chosen[name].resources.gpus_per_worker == 4
        assert chosen[name].fingerprint["model model"] == "meta-llama/Llama-3.1-70B-Instruct"
    for name in ("filter_objects", "create_mcq"):
        assert chosen[name] == plain[name]


def test_what_only_changes_speed_is_no_part_of_the_fingerprint() -> None:
    model = "file: llama-3.1-8b"
    plain = stages(override(load_pipeline("negbench"), [f"extract_objects.model={{{model}}}"]))["extract_objects"]
    faster = stages(override(load_pipeline("negbench"), [f"extract_objects.model={{{model}, max_num_seqs: 64}}"]))[
        "extract_objects"
    ]
    other = stages(override(load_pipeline("negbench"), [f"extract_objects.model={{{model}, dtype: float16}}"]))["extract_objects"]
    assert faster.model != plain.model and faster.fingerprint == plain.fingerprint
    assert other.fingerprint != plain.fingerprint


def test_weights_in_a_folder_are_part_of_the_fingerprint_wherever_they_change(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    weights = bytearray(5_000_000)
    seen = set()
    for place in (None, 0, 2_500_000, 4_999_999):
        if place is not None:
            weights[place] += 1
        (tmp_path / "model.safetensors").write_bytes(weights)
        seen.add(model_identity("text", {"kind": "vllm", "model": str(tmp_path)})["weights"])
    assert len(seen) >= 3, "the ends are always looked at, the middle in pieces"
    again = model_identity("text", {"kind": "transformers", "model": str(tmp_path)})["weights"]
    assert again in seen
    assert "weights" not in model_identity("text", {"kind": "openai", "model": str(tmp_path), "base_urls": ["http://a/v1"]})


def test_settings_of_a_model_file_are_changed_one_by_one() -> None:
    settings = ["extract_objects.model=llama-3.1-8b", "extract_objects.model.max_model_len=2048"]
    stage = stages(override(load_pipeline("negbench"), settings))["extract_objects"]
    assert stage.model["max_model_len"] == 2048 and stage.model["model"].endswith("8B-Instruct")
    assert stage.resources.gpus_per_worker == 1


def test_resources_in_a_pipeline_file_count_more_than_those_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(OWN_RESOURCES)
    resources = stages(load_pipeline(str(path)))["extract_objects"].resources
    assert (resources.gpus_per_worker, resources.cpus_per_worker, resources.minutes) == (2, 8, 20)


def test_another_model_takes_the_old_ones_resources_with_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(OWN_RESOURCES)
    resources = stages(override(load_pipeline(str(path)), ["extract_objects.model=rules"]))["extract_objects"].resources
    assert (resources.gpus_per_worker, resources.minutes) == (0, 20)


def test_servers_are_asked_for_the_same_model_without_a_gpu(tmp_path: Path) -> None:
    asked = stages(use_models(load_pipeline("negbench"), ["mixtral-8x7b"], tmp_path / "servers"))["extract_objects"]
    assert asked.model == {
        "kind": "openai",
        "servers": str(tmp_path / "servers"),
        "model": "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "system_role": False,
    }
    assert asked.resources.gpus_per_worker == 0


def test_a_captioner_is_asked_of_servers_with_images_of_the_size_that_its_model_file_has(tmp_path: Path) -> None:
    asked = stages(use_models(load_pipeline("recaption"), ["internvl2-8b"], tmp_path))["caption_images"]
    assert asked.model == {
        "kind": "openai",
        "servers": str(tmp_path),
        "model": "OpenGVLab/InternVL2-8B",
        "max_tiles": 6,
        "tile_size": 448,
    }
    assert asked.resources.gpus_per_worker == 0
    model_identity("caption", asked.model)
    qwen = stages(use_models(load_pipeline("recaption"), ["qwen2-vl-7b"], tmp_path))["caption_images"].model
    assert qwen["max_pixels"] == 1_003_520 and "tile_size" not in qwen


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("just text", "is not a model file"),
        ("role: text\nkind: vlm\nmodel: x", "no text model of kind 'vlm'.*'vllm'"),
        ("role: text\nkind: vllm\nmodel: x\nresources: {gpus: 2}", "resources has no 'gpus'"),
        ("role: text\nkind: vllm\nmodel: x\nprice: {tokens: 2}", "price.tokens"),
        ("role: [", "is not YAML"),
    ],
)
def test_a_broken_model_file_is_named(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=fault):
        load_model_file(str(path))


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("llama-3.1-7b", "there is no text model 'llama-3.1-7b'; did you mean"),
        ("missing.yaml", "there is no model file missing.yaml"),
        ({"kind": "vllm"}, "the model needs the setting 'model'"),
        ({"kind": "vllm", "model": "x", "temprature": 1}, "no setting 'temprature'"),
        ({"kind": "vllm", "model": "x", "gpu_memory_utilization": 2}, "gpu_memory_utilization"),
    ],
)
def test_a_model_that_cannot_be_is_refused(model: object, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        model_identity("text", find_model(model, "text").spec)  # type: ignore[arg-type]


def test_servers_without_a_model_to_serve_and_models_without_a_stage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stage has a vLLM model"):
        use_models(load_pipeline("negbench"), [], tmp_path)


def test_cached_prompt_tokens_have_a_price_of_their_own() -> None:
    usage = {"prompt_tokens": 2e6, "cached_tokens": 1.5e6, "completion_tokens": 1e6}
    assert Price(prompt=1, cached_prompt=0.1, completion=4).of(usage) == pytest.approx(0.5 + 0.15 + 4)
    assert Price(prompt=1, completion=4).of(usage) == pytest.approx(2 + 4)
    assert Price(gpu_hour=2).of(usage, gpu_hours=3) == pytest.approx(6)
