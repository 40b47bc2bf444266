"""What site files may say about jobs: how GPUs and memory are asked for, options of sbatch, and what contradicts what."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardmill.launch.job_settings import JobSettings
from shardmill.launch.site import Site, load_site
from shardmill.store.plan import Resources
from shardmill.util.errors import UserError

ON_GPUS = Resources(gpus_per_worker=2, cpus_per_worker=4, memory_gb=40)
ON_CPUS = Resources(cpus_per_worker=4, memory_gb=2)


@pytest.mark.parametrize(
    ("style", "asked"),
    [
        ("gres", {"gres": "gpu:h100:8"}),
        ("gpus-per-node", {"gpus-per-node": "h100:8"}),
        ("gpus", {"gpus": "h100:8"}),
        ("gpus-per-task", {"gpus-per-task": "h100:2"}),
        ("tres-per-task", {"tres-per-task": "gres/gpu:h100=2"}),
    ],
)
def test_gpus_are_asked_for_in_the_style_of_the_site(style: str, asked: dict[str, str]) -> None:
    jobs = JobSettings.model_validate({"gpu_type": "h100", "gpu_request": style})
    assert jobs.request(ON_GPUS, workers=4) == {"mem": "163840M", **asked}
    assert jobs.request(ON_CPUS, workers=4) == {"mem": "8192M"}


def test_no_gpus_are_asked_for_where_nodes_are_given_out_whole() -> None:
    jobs = JobSettings(gpu_request="none", exclusive=True, memory_request="none")
    assert jobs.request(ON_GPUS, workers=4) == {"exclusive": True}


@pytest.mark.parametrize(
    ("style", "gpu_job", "cpu_job"),
    [
        ("node", {"mem": "163840M"}, {"mem": "8192M"}),
        ("cpu", {"mem-per-cpu": "10240M"}, {"mem-per-cpu": "512M"}),
        ("gpu", {"mem-per-gpu": "20480M"}, {"mem": "8192M"}),
        ("all", {"mem": "0"}, {"mem": "0"}),
        ("none", {}, {}),
    ],
)
def test_memory_is_asked_for_in_the_style_of_the_site(style: str, gpu_job: dict[str, str], cpu_job: dict[str, str]) -> None:
    jobs = JobSettings.model_validate({"memory_request": style, "gpu_request": "none"})
    assert jobs.request(ON_GPUS, workers=4) == gpu_job
    assert jobs.request(ON_CPUS, workers=4) == cpu_job


def test_options_for_gpus_go_to_jobs_with_gpus_alone() -> None:
    site = Site.model_validate(
        {
            "memory_request": "none",
            "sbatch": {"gpu_bind": "none", "mail-type": ["FAIL", "END"], "gres": "nvme:1", "comment": "run 7"},
            "cpu": {"sbatch": {"mail-type": False, "hint": "nomultithread"}},
        }
    )
    on_gpus = {"gpu-bind": "none", "mail-type": "FAIL,END", "comment": "run 7", "gres": "gpu:8,nvme:1"}
    assert site.jobs(gpu=True).request(ON_GPUS, workers=4) == on_gpus
    assert site.jobs(gpu=False).request(ON_CPUS, 1) == {"gres": "nvme:1", "comment": "run 7", "hint": "nomultithread"}


def test_models_of_a_role_have_nodes_and_queues_of_their_own() -> None:
    site = Site.model_validate(
        {
            "partition": "gpu",
            "gpu_type": "h100",
            "roles": {"detect": {"partition": "small", "gpu_type": "a40", "gpus_per_node": 4}},
        }
    )
    assert site.jobs(True, "text").request(ON_GPUS, 1)["gres"] == "gpu:h100:2"
    detect = site.jobs(True, "detect")
    assert detect.request(ON_GPUS, 1) == {"partition": "small", "mem": "40960M", "gres": "gpu:a40:2"}
    assert (detect.workers_per_node(ON_GPUS), site.jobs(True, "text").workers_per_node(ON_GPUS)) == (2, 4)
    assert list(site.kinds()) == ["GPU jobs", "GPU jobs of detect models", "CPU jobs"]


@pytest.mark.parametrize(
    ("time", "minutes"),
    [("90", 90), ("90:30", 91), ("12:00:00", 720), ("2-00", 2880), ("1-06:30", 1830), ("'2-12:00:00'", 3600)],
)
def test_times_are_read_as_slurm_writes_them(tmp_path: Path, time: str, minutes: int) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"max_minutes: {time}\n")
    assert load_site(str(path)).max_minutes == minutes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partition: a\nqos: b\npartition: c\n", "line 3: 'partition' is given twice"),
        ("sbatch: {partition: gpu}", "partition is decided by the entry `partition`"),
        ("sbatch: {gpus-per-node: 8}", "gpus-per-node is decided by `gpu_request`, `gpu_type` and `gpus_per_node`"),
        ("sbatch: {gres: 'gpu:8'}", "GPUs are asked for by `gpu_request`"),
        ("sbatch: {mem: 100G}", "mem is decided by `memory_request`"),
        ("sbatch: {array: 0-3}", "array is decided by `--shards-per-node` and `--max-parallel` of launch"),
        ("sbatch: {output: x.log}", "output is decided by `logs`"),
        ("sbatch: {mail-usr: me}", "sbatch has no option 'mail-usr'; did you mean 'mail-user'?"),
        ("sbatch: {mail-type: END, mail_type: FAIL}", "mail-type is given twice"),
        ('sbatch: {comment: "a\\n#SBATCH --uid=0"}', "comment is neither a word"),
        ("cpu: {sbatch: {mail-typ: END}}", "did you mean 'mail-type'?"),
        ("cpu: {gpu_type: h100}", "cpu.gpu_type has no use"),
        ("roles: {detct: {partition: a}}", "there is no role 'detct'; did you mean 'detect'?"),
        ("roles: {detect: {partion: a}}", "no entry 'roles.detect.partion'; did you mean 'partition'?"),
        ("roles: {detect: {gpu_type: a40, gpu_request: none}}", "roles.detect: gpu_type has no use, since gpu_request is none"),
        ("gpu_request: gpus-per-nod", "'gpus-per-nod' is not known; did you mean 'gpus-per-node'?"),
        ("gpu_type: h100\ngpus_per_node: 0", "gpu_type has no use, since gpus_per_node is 0"),
        ("max_minutes: 1\nsignal_seconds: 90", "signal_seconds (90) is more than a job of max_minutes (1) has"),
        ("max_minutes: tomorrow", "max_minutes"),
        ("nodelist: n1\nexclude: n1", "nodelist and exclude name the same nodes"),
        ('partition: "gpu\\n#SBATCH --uid=0"', "partition"),
    ],
)
def test_what_is_misspelt_doubled_or_contradictory_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_site(str(path))
    assert str(path) in str(error.value) and said in str(error.value)
    assert "\n" not in str(error.value)
