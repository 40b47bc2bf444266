"""Site files: reading them, their faults, and how many workers fit on a node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.launch.cluster_plan import default_group
from shardmill.launch.job_settings import START_SECONDS
from shardmill.launch.phases import phases_of
from shardmill.launch.site import Site, load_site
from shardmill.store.plan import Resources
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError
from shardmill.util.resources import REPOSITORY


def test_the_example_reads_and_is_named_after_its_file() -> None:
    assert load_site("example").name == "example"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partitoin: gpu", "did you mean 'partition'"),
        ("cpu: {partion: cpu}", "no entry 'cpu.partion'"),
        ("gpus_per_node: many", "gpus_per_node"),
        ("partition: [", "is not YAML"),
        ("max_parallel: 0", "max_parallel"),
    ],
)
def test_a_faulty_file_is_an_error_that_names_file_and_entry(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_site(str(path))
    assert "mine.yaml" in str(error.value)
    assert said in str(error.value)


def test_a_site_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").mkdir()
    with pytest.raises(UserError, match=r"mine\.yaml cannot be read: Is a directory"):
        load_site(str(tmp_path / "mine.yaml"))


def test_an_unknown_site_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="shardmill site new none --folder "):
        load_site(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="example"):
        load_site("exampel")


@pytest.mark.parametrize(("gpus", "workers"), [(1, 8), (2, 4), (4, 2), (8, 1), (3, 2)])
def test_workers_share_out_the_gpus_of_a_node(gpus: int, workers: int) -> None:
    assert Site().workers_per_node(Resources(gpus_per_worker=gpus)) == workers


def test_cpus_and_memory_limit_the_workers_too() -> None:
    assert Site(cpus_per_node=16).workers_per_node(Resources(gpus_per_worker=1, cpus_per_worker=4)) == 4
    assert Site(memory_gb_per_node=100).workers_per_node(Resources(gpus_per_worker=1, memory_gb=60)) == 1
    assert Site(cpu_workers_per_node=20).workers_per_node(Resources()) == 20
    with pytest.raises(UserError, match="too few GPUs"):
        Site(gpus_per_node=4).workers_per_node(Resources(gpus_per_worker=8))


def test_a_site_changes_resources_by_stage(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    site = Site(name="mine", stages={"caption_negated": {"gpus_per_worker": 2}})
    site.check(run.plan)
    assert site.resources(run.stage("caption_negated")).gpus_per_worker == 2
    assert site.resources(run.stage("extract_objects")).gpus_per_worker == 0
    with pytest.raises(UserError, match="did you mean 'caption_negated'"):
        Site(name="mine", stages={"caption_negatd": {}}).check(run.plan)
    with pytest.raises(UserError, match="did you mean 'minutes'"):
        Site(name="mine", stages={"caption_negated": {"minuts": 3}}).check(run.plan)


def test_the_queue_of_cpu_jobs_differs_only_where_it_says_so() -> None:
    site = Site.model_validate({"partition": "gpu", "account": "lab", "cpu": {"partition": "cpu"}})
    assert (site.jobs(gpu=True).partition, site.jobs(gpu=False).partition) == ("gpu", "cpu")
    assert site.jobs(gpu=False).account == "lab"


def test_an_element_has_as_many_shards_as_the_phase_with_the_most_workers_takes(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()

    def group(**site: object) -> int:
        made = Site.model_validate(site)
        return default_group(run, made, phases_of(run.plan.stages, made.resources))

    assert group() == 8
    assert group(cpu_workers_per_node=4, stages={"caption_negated": {"gpus_per_worker": 4}}) == 4
    assert group(stages={"propose_negatives": {"shards_per_task": 3}}) == 24


def test_a_site_is_found_again_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text("partition: gpu")
    monkeypatch.chdir(tmp_path)
    assert load_site("mine.yaml").reference == str(tmp_path / "mine.yaml")
    assert load_site("example").reference == "example"


def test_an_environment_is_relative_to_the_site_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("environment: ../cluster.env")
    assert load_site(str(tmp_path / "mine.yaml")).environment == tmp_path.parent / "cluster.env"


def test_a_time_limit_covers_the_turns_of_the_workers_and_the_time_to_start_and_stop() -> None:
    site = Site(name="here", signal_seconds=180, max_minutes=1440)
    assert START_SECONDS + site.signal_seconds == 300
    assert site.time_limit(8, 8, 60) == 65
    assert site.time_limit(8, 2, 60) == 245
    assert site.time_limit(8, 1, 600) == 1440
    assert site.time_limit(1, 8, 0.2) == 6


@pytest.mark.parametrize("name", sorted(path.name for path in (REPOSITORY / "slurm" / "sites" / "examples").glob("*.yaml")))
def test_each_style_has_an_example_that_reads(name: str) -> None:
    assert load_site(str(REPOSITORY / "slurm" / "sites" / "examples" / name)).partition
