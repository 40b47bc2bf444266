"""Workers in containers: the exact words of each runtime, what is mounted, and SLURM's commands from inside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shardmill.launch import relay, slurm
from shardmill.launch.cluster_plan import ClusterPlan, check_site
from shardmill.launch.container import Container
from shardmill.launch.elements import ElementArray
from shardmill.launch.job_script import _needed, mount_points
from shardmill.launch.site import Site, load_site
from shardmill.launch.submit import job_file, script
from shardmill.launch.time_warning import CATCH
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

STAGE = "extract_objects"
CONTROL = '"${SHARDMILL_TIME_WARNING%/came}"'
TEMPORARY = '"${TMPDIR:-/tmp}"'


def words(runtime: str, gpu: bool = True) -> str:
    container = Container.model_validate(
        {"runtime": runtime, "image": "/images/mill.sif", "mounts": ["/data:/data:ro", "/home"], "options": ["--more"]}
    )
    return container.command("python -u -m work", ["/home", "/runs/my run"], "/runs/my run", gpu).partition(" sh -c ")[0]


def test_apptainer_and_singularity() -> None:
    own = f"--bind=/data:/data:ro --bind=/home:/home --bind='/runs/my run:/runs/my run' --bind={TEMPORARY}:{TEMPORARY}"
    rest = f"{own} --bind={CONTROL}:{CONTROL} --pwd='/runs/my run' --more /images/mill.sif"
    assert words("apptainer") == f"apptainer exec --nv {rest}"
    assert words("singularity", gpu=False) == f"singularity exec {rest}"


def test_pyxis() -> None:
    mounts = f"/data:/data:ro,/home:/home,'/runs/my run:/runs/my run',{TEMPORARY}:{TEMPORARY},{CONTROL}:{CONTROL}"
    assert words("pyxis") == (
        f"--container-image=/images/mill.sif --container-mounts={mounts} --container-workdir='/runs/my run' "
        "--no-container-remap-root --no-container-entrypoint --more"
    )


def test_podman_hpc() -> None:
    said = words("podman-hpc")
    assert said.startswith(
        "podman-hpc run --rm --userns=keep-id --pid=host --network=host --ipc=host --entrypoint= --gpu --env='SLURM*'"
    )
    assert said.endswith(f"--volume={CONTROL}:{CONTROL} --workdir='/runs/my run' --more /images/mill.sif")
    assert "--gpu" not in words("podman-hpc", gpu=False)


@pytest.fixture
def plan(make_run: Callable[..., RunFolder], tmp_path: Path) -> ClusterPlan:
    image = tmp_path / "mill.sif"
    image.touch()
    site = Site.model_validate(
        {"name": "here", "container": {"runtime": "apptainer", "image": str(image), "python": sys.executable}}
    )
    return ClusterPlan(make_run(), site, group=1, max_parallel=None, phases=[(STAGE,)], arrays=[ElementArray((STAGE,), [[0]])])


def test_what_a_run_needs_is_mounted_once(plan: ClusterPlan, tmp_path: Path) -> None:
    plan.site.scratch = "/scratch"
    plan.site.logs = plan.run.path / "logs"
    mounted = list(mount_points(_needed(plan)))
    assert mounted == sorted({"/scratch", plan.run.plan.input.image_root})  # in which the run folder is
    plan.site.scratch = "/scratch:a"
    with pytest.raises(UserError, match="colon or comma"):
        list(mount_points(_needed(plan)))


def fake_cluster(plan: ClusterPlan, folder: Path, apptainer: str) -> subprocess.CompletedProcess[str]:
    """Run a job script where `srun` drops its options and `apptainer` its own."""
    folder.mkdir()
    programs = {
        "srun": 'until [ "$1" = apptainer ]; do shift; done; exec "$@"',
        "apptainer": apptainer,
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    (job_file(plan, plan.arrays[0])).write(plan.run.path / "jobs" / "arrays")
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "TMPDIR": str(folder), "PYTHONPATH": "/nowhere"}
    text = script(plan, plan.arrays[0])
    return subprocess.run(["bash"], input=text, text=True, env=environment, capture_output=True, timeout=120)


INSIDE = f'shift; while [ "${{1#-}}" != "$1" ]; do shift; done; shift; PYTHONPATH=\'{os.pathsep.join(sys.path)}\' exec "$@"'


def test_a_worker_starts_inside_and_finishes_its_shard(plan: ClusterPlan, tmp_path: Path) -> None:
    (plan.run.path / "jobs" / "arrays").mkdir(parents=True)
    done = fake_cluster(plan, tmp_path / "bin", INSIDE)
    assert done.returncode == 0, done.stderr
    assert plan.run.is_complete(STAGE, 0)


def test_an_image_without_the_package_or_no_image_is_one_line(plan: ClusterPlan, tmp_path: Path) -> None:
    (plan.run.path / "jobs" / "arrays").mkdir(parents=True)
    plan.site.container.python = "/bin/false"  # type: ignore[union-attr]
    done = fake_cluster(plan, tmp_path / "bin", INSIDE)
    assert done.returncode == 1
    assert "the package shardmill was not found by /bin/false; build one with env/Dockerfile" in done.stderr
    (tmp_path / "mill.sif").unlink()
    done = fake_cluster(plan, tmp_path / "more", INSIDE)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "mill.sif was not found on" in done.stderr
    with pytest.raises(UserError, match=r"mill.sif was not found; correct image .* env/Dockerfile"):
        check_site(plan.site, plan.run.plan)


def test_an_image_is_relative_to_the_site_file_and_a_second_python_is_a_contradiction(plan: ClusterPlan, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("environment: mine.env\ncontainer: {runtime: apptainer, image: mill.sif}\n")
    (tmp_path / "mine.env").write_text(f"BASE_DIR={tmp_path}\nVENV=/usr\n")
    site = load_site(str(tmp_path / "mine.yaml"))
    assert site.container is not None and site.container.image == str(tmp_path / "mill.sif")
    with pytest.raises(UserError, match="line 2: VENV: jobs run in the Python of the site's container"):
        check_site(site, plan.run.plan)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("{runtime: aptainer, image: a}", "'aptainer' is not known; did you mean 'apptainer'?"),
        ("{runtime: pyxis, imge: a}", "did you mean 'image'?"),
        ("{runtime: pyxis}", "container.image: Field required"),
        ("{runtime: pyxis, image: a, mounts: [data]}", "container.mounts.0"),
    ],
)
def test_faults_of_the_block(tmp_path: Path, block: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"container: {block}\n")
    with pytest.raises(UserError) as error:
        load_site(str(tmp_path / "mine.yaml"))
    assert said in str(error.value)


def test_slurms_commands_run_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text("#!/bin/sh\n[ -z \"$SLURM_JOB_ID\" ] && /bin/cat >'%s' && echo 17\n" % (tmp_path / "script"))
    (programs / "scontrol").write_text('#!/bin/sh\necho "no such job: $2" >&2; exit 3\n')
    for path in programs.iterdir():
        path.chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(tmp_path), "SLURM_JOB_ID": "5"}
    text = f'{CATCH}\n{relay.SERVE}\necho "${relay.VARIABLE}"; read -r; rm -rf "${relay.VARIABLE}"\n'
    pipe = subprocess.PIPE
    with subprocess.Popen(["bash", "-c", text], env=environment, stdin=pipe, stdout=pipe, text=True) as job:
        assert job.stdout is not None
        monkeypatch.setenv(relay.VARIABLE, job.stdout.readline().strip())
        monkeypatch.setenv("PATH", "")
        assert slurm.submit("#!/bin/sh\ntrue\n") == "17"
        assert (tmp_path / "script").read_text() == "#!/bin/sh\ntrue\n"
        with pytest.raises(UserError, match=r"scontrol requeue: no such job: a b\*"):
            slurm.requeue("a b*")
        with pytest.raises(UserError, match="touch : not a command of SLURM"):
            slurm.command("touch")
        assert list(Path(os.environ[relay.VARIABLE]).iterdir()) == []
        job.communicate("\n")
