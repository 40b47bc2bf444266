"""Whole NegBench with one array for each phase: what happens in the middle of one costs nothing but time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from shardmill.core.planning import NewRun, start_run
from shardmill.store.task_logs import TaskLogs
from slurm.cluster import Cluster
from slurm.mill import SAMPLE, Mill, local_digests, sample_mill

MODEL = Path(__file__).parents[1] / "models" / "data"
MODELS_VENV = Path(__file__).parents[2] / ".venv-models"
ON_GPUS = ("extract_objects", "propose_negatives", "filter_objects", "validate_objects", "caption_negated", "paraphrase_mcq")
PHASES = [
    ["extract_objects", "propose_negatives"],
    ["draw_questions", "filter_objects"],
    ["validate_objects", "caption_negated", "create_mcq", "paraphrase_mcq"],
]


@pytest.fixture
def mill(cluster: Cluster, tmp_path: Path) -> Iterator[Mill]:
    """Two elements of two shards, on two workers of one GPU each."""
    yield sample_mill(cluster, tmp_path, 4)


def launch(mill: Mill, *options: str) -> str:
    stages = {stage: {"gpus_per_worker": 1, "minutes": 20} for stage in ON_GPUS}
    return mill.launch("--shards-per-node", "2", *options, stages=stages)


def loads(mill: Mill) -> list[str]:
    """The role of each model that was loaded. A worker whose shards others have done meanwhile loads none."""
    return [line.split()[0] for line in (mill.folder / "loads").read_text().splitlines()]


def wait_for_datasets(mill: Mill) -> None:
    mill.cluster.wait_until((mill.run.path / "datasets" / "dataset.json").exists, 600, "the datasets are built")
    mill.cluster.wait_for_empty(60)
    mill.check_conservation()
    assert mill.digests() == local_digests(mill)


def test_a_worker_loads_a_model_once_for_all_stages_of_a_phase(mill: Mill) -> None:
    mill.break_things(loads=str(mill.folder / "loads"))
    said = launch(mill)
    arrays = mill.jobs.submissions()[0].arrays
    assert [array.stages for array in arrays] == PHASES
    assert [array.gpus for array in arrays] == [2, 2, 2]
    assert "stage by stage (--no-phases): 8, 16 and 24" in " ".join(said.split())
    wait_for_datasets(mill)
    assert 1 <= loads(mill).count("detect") <= 4
    assert 2 <= loads(mill).count("text") <= 8
    assert len(mill.jobs.allocations()) == 6
    assert "create_mcq shard 1" in mill.shardmill("logs", mill.run.path, "create_mcq", "--shard", "1")


def test_what_happens_in_the_middle_of_a_phase_loses_nothing(mill: Mill) -> None:
    word = mill.run.read_part("ingest", 3)[0]["caption"][-1]
    mill.break_things(slow=0.5)
    launch(mill)
    first, last = mill.element("propose_negatives", 0), mill.element("caption_negated", 1)
    wait = mill.cluster.wait_until
    wait(lambda: any(mill.rows_done("propose_negatives", shard) for shard in (0, 1)), 300, "the second stage is under way")
    mill.cluster.kill_node(mill.cluster.node_of(first))
    mill.break_things(slow=0.05)
    wait(lambda: any(held.restart for held in mill.jobs.allocations() if held.job == first), 300, "it started again")
    mill.break_things(slow=0.5)
    wait(lambda: any(mill.rows_done("caption_negated", shard) for shard in (2, 3)), 400, "the last phase is under way")
    mill.cluster.requeue(last)
    mill.break_things(slow=0.05, poison=word)
    mill.cluster.wait_for_empty(600)
    assert list(mill.jobs.quarantined("caption_negated")) + list(mill.jobs.quarantined("paraphrase_mcq"))
    assert not (mill.run.path / "datasets").exists()
    mill.break_things()
    mill.shardmill("retry", mill.run.path)
    wait_for_datasets(mill)


def test_a_vllm_engine_is_loaded_once_for_all_stages_of_a_phase(cluster: Cluster, tmp_path: Path) -> None:
    if not (MODELS_VENV / "bin" / "vllm").exists():
        pytest.fail("there is no vLLM in .venv-models; make it with: make test-models")
    with open(SAMPLE, encoding="utf-8") as sample:
        (tmp_path / "captions.csv").write_text("".join(islice(sample, 41)), encoding="utf-8")
    settings = {
        "model": str(MODEL),
        "dtype": "float32",
        "max_model_len": 2048,
        "enforce_eager": True,
        "gpu_memory_utilization": 0.05,
    }
    model = json.dumps({"kind": "vllm", **settings, "sampling": {"temperature": 0}})
    stages = [f"  - {{stage: {stage}, model: {model}}}\n" for stage in PHASES[0]]
    (tmp_path / "pipeline.yaml").write_text("pipeline: negbench\nstages:\n" + "".join(stages))
    new = NewRun(input=tmp_path / "captions.csv", pipeline=str(tmp_path / "pipeline.yaml"), num_shards=3)
    mill = Mill(cluster, tmp_path, start_run(tmp_path / "run", new))
    (tmp_path / "cluster.env").write_text(f"BASE_DIR={tmp_path}\nVENV={MODELS_VENV}\n")
    cluster.env |= {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    mill.launch("--no-build", cpu_workers_per_node=1, environment=str(tmp_path / "cluster.env"))
    assert [array.stages for array in mill.jobs.submissions()[0].arrays] == PHASES[:1]
    mill.wait_complete(600)
    mill.check_conservation()
    cluster.wait_for_empty(60)
    made = {(stage, shard): mill.fresh().manifest(stage, shard) for stage in PHASES[0] for shard in range(3)}
    assert all(each is not None and each.usage["prompt_tokens"] for each in made.values())
    workers = len({each.job["SLURM_JOB_ID"] for each in made.values() if each is not None})
    logs = "".join(path.read_text(errors="replace") for path in TaskLogs(mill.run).folder.glob("*.log"))
    assert logs.count("vLLM has") == workers
