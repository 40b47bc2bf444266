"""One model on a node serves workers without GPUs on the others, and they outlive its restart."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from shardmill.core.planning import NewRun, start_run
from slurm.cluster import Cluster
from slurm.mill import SAMPLE, Mill

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "models" / "data"
MODELS_VENV = ROOT / ".venv-models"
SERVED = {"model": str(MODEL), "dtype": "float32", "max_model_len": 2048, "enforce_eager": True, "gpu_memory_utilization": 0.05}
STAGES = """
pipeline: negbench
stages:
  - {{stage: extract_objects, model: {model}}}
  - {{stage: propose_negatives, model: {model}}}
"""


def test_workers_wait_for_a_server_and_go_on_when_it_was_requeued(cluster: Cluster, tmp_path: Path) -> None:
    if not (MODELS_VENV / "bin" / "vllm").exists():
        pytest.fail("there is no vLLM in .venv-models; make it with: make test-models")
    servers = tmp_path / "servers"
    table = tmp_path / "captions.csv"
    with open(SAMPLE, encoding="utf-8") as sample:
        table.write_text("".join(islice(sample, 61)), encoding="utf-8")
    greedy = {"sampling": {"temperature": 0}}
    asked = json.dumps({"kind": "openai", "model": str(MODEL), "servers": str(servers), "max_in_flight": 2, **greedy})
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(STAGES.format(model=asked))
    run = start_run(tmp_path / "run", NewRun(input=table, pipeline=str(pipeline), num_shards=4))
    mill = Mill(cluster, tmp_path, run)
    mill.launch("--no-build", cpu_workers_per_node=2)

    (tmp_path / "model.yaml").write_text(json.dumps({"role": "text", "kind": "vllm", **SERVED}))
    (tmp_path / "cluster.env").write_text(f"BASE_DIR={tmp_path}\nVENV={MODELS_VENV}\n")
    small = "VLLM_CPU_KVCACHE_SPACE=1,OMP_NUM_THREADS=1,HF_HUB_OFFLINE=1"
    environment = f"--export=ALL,SHARDMILL_ENV_FILE={tmp_path}/cluster.env,{small}"
    sbatch = ["sbatch", "--parsable", environment, f"--output={tmp_path}/serve.out", "--cpus-per-task=1"]
    serve = ["slurm/serve.sbatch", tmp_path / "model.yaml", servers, "--host", "127.0.0.1"]
    job = cluster.run(*sbatch, *serve, cwd=ROOT).strip()

    def log() -> str:
        return (tmp_path / "serve.out").read_text() if (tmp_path / "serve.out").exists() else ""

    cluster.wait_until(
        lambda: mill.is_complete(["extract_objects"]) or mill.rows_done("extract_objects", 0) >= 2, 240, f"rows come\n{log()}"
    )
    cluster.run("scontrol", "requeue", job)
    mill.wait_complete(300)
    mill.check_conservation()
    made = [mill.fresh().manifest("propose_negatives", shard) for shard in range(4)]
    assert sum(each.rows_out for each in made if each) >= 10
    assert sum(each.usage["prompt_tokens"] for each in made if each) > 0
    assert all(each.job["SLURM_JOB_ID"] != job for each in made if each)
    cluster.run("scancel", job)
    cluster.wait_for_empty(60)
    assert list(servers.iterdir()) == []
    assert log().count("ready after") == 2
