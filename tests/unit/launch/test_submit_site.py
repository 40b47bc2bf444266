"""What a site file changes about submitted jobs: lines before the work, permissions, where logs are, how arrays wait."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from scripted_slurm import ScriptedSlurm
from shardmill.launch.cluster_plan import ClusterPlan, check_site
from shardmill.launch.elements import ElementArray
from shardmill.launch.sharing import share_with_group
from shardmill.launch.site import load_site
from shardmill.launch.submit import dependency, script, submit
from shardmill.store.run_folder import RunFolder
from shardmill.store.task_logs import TaskLogs
from shardmill.util.errors import UserError

STAGE = "extract_objects"
NODES = '[ "$2" = hostnames ] && echo n2 n3 || echo "n[1,4]"'


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedSlurm:
    made = ScriptedSlurm(tmp_path / "bin", monkeypatch)
    made.sbatch()
    made.program("scontrol", NODES)
    made.program("sinfo", "echo n1; echo n2; echo n3; echo n4")
    return made


PlanOf = Callable[..., ClusterPlan]


@pytest.fixture
def plan_of(make_run: Callable[..., RunFolder], tmp_path: Path) -> PlanOf:
    def make(text: str) -> ClusterPlan:
        (tmp_path / "mine.yaml").write_text(text)
        site = load_site(str(tmp_path / "mine.yaml"))
        arrays = [ElementArray((STAGE,), [[0], [1, 2]], parallel=2)]
        return ClusterPlan(make_run(), site, group=1, max_parallel=None, phases=[(STAGE,)], arrays=arrays)

    return make


def test_lines_of_the_site_come_before_the_work(plan_of: PlanOf, scripted: ScriptedSlurm) -> None:
    plan = plan_of('umask: "0007"\nprolog: [module use /opt/modules, srun --version]\nsbatch: {export: NONE}\n')
    lines = script(plan, plan.arrays[0]).splitlines()
    wanted = ["umask 0007", "module use /opt/modules", "srun --version", "{ code=0"]
    places = [lines.index(line) for line in wanted]
    assert places == sorted(places)
    assert "#SBATCH --export=NONE" in lines and any(line.startswith("unset SLURM_EXPORT_ENV") for line in lines)


def test_any_node_of_a_list_will_do(plan_of: PlanOf, scripted: ScriptedSlurm) -> None:
    plan = plan_of("nodelist: [n2, n3]\nexclude: n9\n")
    text = script(plan, plan.arrays[0])
    assert "#SBATCH --exclude='n9,n[1,4]'" in text and "--nodelist" not in text


def test_whole_arrays_wait_where_aftercorr_is_forbidden() -> None:
    first = ElementArray((STAGE,), [[0], [1]], job="7")
    second = ElementArray(("propose_negatives",), [[0], [1]], after=(first,))
    assert (dependency(second), dependency(second, "afterok")) == ("aftercorr:7", "afterok:7")


def test_logs_are_where_the_site_wants_them_and_are_found_as_before(
    plan_of: PlanOf, scripted: ScriptedSlurm, tmp_path: Path
) -> None:
    plan = plan_of(f"logs: {tmp_path}/scratch\n")
    submit(plan, lambda line: None, build=False)
    folder = TaskLogs(plan.run).folder
    try:
        assert folder.is_symlink() and folder.resolve() == tmp_path / "scratch" / folder.name
        assert (folder / "slurm").is_dir()
        assert f"--output={tmp_path}/scratch/" in scripted.scripts()[0]
    finally:
        folder.unlink()


def test_the_site_file_is_kept_in_the_run_folder(plan_of: PlanOf, scripted: ScriptedSlurm) -> None:
    plan = plan_of("partition: gpu  # as agreed\n")
    submit(plan, lambda line: None, build=False)
    assert (plan.run.path / "jobs" / "sites" / "0000.yaml").read_text() == "partition: gpu  # as agreed\n"


def test_a_run_belongs_to_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import grp

    (tmp_path / "run" / "stage").mkdir(parents=True)
    (tmp_path / "run" / "stage" / "part.csv").touch()
    given: list[str] = []
    monkeypatch.setattr(os, "chown", lambda path, user, group, follow_symlinks: given.append(Path(path).name))
    share_with_group([tmp_path / "run"], grp.getgrgid(os.getegid()).gr_name)
    assert sorted(given) == ["part.csv", "run", "stage"]
    assert (tmp_path / "run" / "stage").stat().st_mode & stat.S_ISGID


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("group: nobody-has-this", "group: you are in no group 'nobody-has-this'"),
        ("umask: 0007", "umask"),
        ("logs: scratch/logs", "logs: scratch/logs is not an absolute path"),
        ("dependencies: aftercor", "did you mean 'aftercorr'?"),
        ('prolog: ["a\\nb"]', "prolog.0"),
    ],
)
def test_faults_are_one_line_before_anything_is_submitted(plan_of: PlanOf, text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        plan = plan_of(text)
        check_site(plan.site, plan.run.plan)
    assert said in str(error.value) and "\n" not in str(error.value)
