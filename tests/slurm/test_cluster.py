"""What the other tests of this folder count on: SLURM on the test cluster does these things."""

from __future__ import annotations

import time
from pathlib import Path

from slurm.cluster import Cluster, is_alive

# Bash acts on a signal while it waits for a job in the background, not while it waits for a command.
SLEEP = "sleep 300 & wait"


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def other_node(node: str) -> str:
    return {"n1": "n2", "n2": "n1"}[node]


def test_array_elements_run_on_both_nodes_with_gpus_of_their_own(cluster: Cluster, tmp_path: Path) -> None:
    script = f'echo "$SLURMD_NODENAME $CUDA_VISIBLE_DEVICES" >{tmp_path}/$SLURM_ARRAY_TASK_ID\nsleep 3'
    cluster.submit(script, "--array=0-3", "--gres=gpu:4")
    cluster.wait_for_empty(30)
    seen = [(tmp_path / str(index)).read_text().strip() for index in range(4)]
    assert sorted(seen) == ["n1 0,1,2,3", "n1 4,5,6,7", "n2 0,1,2,3", "n2 4,5,6,7"]


def test_an_element_starts_after_its_like_and_only_the_child_of_a_failed_one_is_cancelled(
    cluster: Cluster, tmp_path: Path
) -> None:
    parents = f"case $SLURM_ARRAY_TASK_ID in 0) ;; 1) exit 1 ;; 2) until [ -e {tmp_path}/go ]; do sleep 0.2; done ;; esac"
    first = cluster.submit(parents, "--array=0-2")
    second = cluster.submit("true", "--array=0-2", f"--dependency=aftercorr:{first}", "--kill-on-invalid-dep=yes")
    cluster.wait_for_state(f"{second}_0", "COMPLETED")
    cluster.wait_for_state(f"{second}_1", "CANCELLED")
    assert (cluster.state(f"{first}_2"), cluster.state(f"{second}_2")) == ("RUNNING", "PENDING")
    (tmp_path / "go").touch()
    cluster.wait_for_state(f"{second}_2", "COMPLETED")


def test_an_element_without_a_like_waits_for_the_whole_array(cluster: Cluster, tmp_path: Path) -> None:
    first = cluster.submit(f"until [ -e {tmp_path}/go ]; do sleep 0.2; done", "--array=0-1")
    second = cluster.submit("true", "--array=0-2", f"--dependency=aftercorr:{first}")
    cluster.wait_until(lambda: cluster.state(f"{first}_1") == "RUNNING", 20, "the first array runs")
    assert cluster.state(f"{second}_2") == "PENDING"
    (tmp_path / "go").touch()
    cluster.wait_for_state(f"{second}_2", "COMPLETED")


def test_a_dependency_on_a_job_that_slurm_does_not_know_counts_as_met(cluster: Cluster) -> None:
    job = cluster.submit("true", "--array=0-1", "--dependency=aftercorr:9999999", "--kill-on-invalid-dep=yes")
    cluster.wait_until(lambda: cluster.state(f"{job}_1") not in ("PENDING", "RUNNING", "COMPLETING"), 30, "the last one ended")
    cluster.wait_until(lambda: cluster.state(f"{job}_0") not in ("PENDING", "RUNNING", "COMPLETING"), 30, "the first one ended")
    assert [cluster.state(f"{job}_{element}") for element in (0, 1)] == ["COMPLETED", "COMPLETED"]


def test_a_requeued_job_runs_again_under_its_id(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = cluster.submit(f'echo "again $SLURM_RESTART_COUNT" >>{log}\n{SLEEP}')
    cluster.wait_until(lambda: lines_of(log), 20, "it runs")
    cluster.requeue(job)
    cluster.wait_until(lambda: lines_of(log) == ["again ", "again 1"], 40, "it runs again")
    assert cluster.state(job) == "RUNNING"
    cluster.wait_until(lambda: [attempt.state for attempt in cluster.sacct(job)] == ["REQUEUED", "RUNNING"], 60, "sacct")


def test_an_element_is_requeued_alone(cluster: Cluster, tmp_path: Path) -> None:
    array = cluster.submit(f"echo start >>{tmp_path}/$SLURM_ARRAY_TASK_ID\n{SLEEP}", "--array=0-1")
    zero, one = tmp_path / "0", tmp_path / "1"
    cluster.wait_until(lambda: lines_of(zero) and lines_of(one), 20, "both run")
    cluster.requeue(f"{array}_1")
    cluster.wait_until(lambda: lines_of(one) == ["start", "start"], 40, "it runs again")
    assert lines_of(zero) == ["start"]
    assert {cluster.state(f"{array}_0"), cluster.state(f"{array}_1")} == {"RUNNING"}


def test_a_job_of_a_lost_node_runs_again_on_the_other(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = cluster.submit(f"echo $SLURMD_NODENAME $$ >>{log}\n{SLEEP}", "--requeue")
    cluster.wait_until(lambda: lines_of(log), 20, "it runs")
    node, process = lines_of(log)[0].split()
    cluster.kill_node(node)
    cluster.wait_until(lambda: not is_alive(process), 30, "its process is dead")
    cluster.wait_until(lambda: len(lines_of(log)) == 2, 90, "it runs again")
    assert lines_of(log)[1].split()[0] == cluster.node_of(job) == other_node(node)


def test_a_job_of_a_dropped_node_lives_on_until_the_node_is_back(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    cluster.submit(f"echo $SLURMD_NODENAME $$ >>{log}\n{SLEEP}", "--array=0")
    cluster.wait_until(lambda: lines_of(log), 20, "it runs")
    node, process = lines_of(log)[0].split()
    cluster.drop_node(node)
    cluster.wait_until(lambda: len(lines_of(log)) == 2, 90, "it runs again")
    assert lines_of(log)[1].split()[0] == other_node(node)
    assert is_alive(process)
    cluster.raise_node(node)
    cluster.wait_until(lambda: not is_alive(process), 30, "the first attempt is ended")


def test_a_time_limit_ends_the_job_and_does_not_queue_it_again(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    job = cluster.submit(f"trap 'echo TERM >>{log}; exit 1' TERM\necho start >>{log}\n{SLEEP}")
    cluster.wait_until(lambda: lines_of(log), 20, "it runs")
    cluster.expire(job)
    cluster.wait_for_state(job, "TIMEOUT", seconds=60)
    cluster.wait_until(lambda: len(lines_of(log)) > 1, 30, "SIGTERM came")
    cluster.wait_for_empty(30)
    assert lines_of(log) == ["start", "TERM"]
    assert cluster.state(job) == "TIMEOUT"


def test_the_signal_before_the_end_reaches_the_children_of_a_task_but_not_the_batch_script(
    cluster: Cluster, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    wait = f"trap 'echo $NAME >>{log}' USR2\necho ready >>{log}\nwhile :; do sleep 0.2; done"
    (tmp_path / "child.sh").write_text(f"NAME=child\n{wait}")
    (tmp_path / "task.sh").write_text(f"setsid bash {tmp_path}/child.sh &\nNAME=task\n{wait}")
    job = cluster.submit(f"trap 'echo batch >>{log}' USR2\nsrun bash {tmp_path}/task.sh &\nwait", "--signal=USR2@60", "--time=10")
    cluster.wait_until(lambda: len(lines_of(log)) == 2, 20, "both wait")
    cluster.expire(job, 50)
    cluster.wait_until(lambda: len(lines_of(log)) > 3, 60, "the signal came")
    assert sorted(lines_of(log)) == ["child", "ready", "ready", "task"]


def test_a_job_requeues_itself_away_from_its_node(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"""echo $SLURMD_NODENAME >>{log}
[ -n "$SLURM_RESTART_COUNT" ] && exit
trap '' TERM
scontrol requeue $SLURM_JOB_ID && scontrol update JobId=$SLURM_JOB_ID ExcNodeList=$SLURMD_NODENAME && echo excluded >>{log}
"""
    job = cluster.submit(script)
    cluster.wait_for_state(job, "COMPLETED", seconds=60)
    first, excluded, second = lines_of(log)
    assert (excluded, second) == ("excluded", other_node(first))


def test_the_number_of_elements_at_once_can_be_changed(cluster: Cluster) -> None:
    array = cluster.submit("sleep 300", "--array=0-5%1")
    running = lambda: sum(each.state == "RUNNING" for each in cluster.squeue())  # noqa: E731
    cluster.wait_until(lambda: running() == 1, 20, "one runs")
    cluster.run("scontrol", "update", f"JobId={array}", "ArrayTaskThrottle=4")
    cluster.wait_until(lambda: running() > 3, 30, "more run")
    time.sleep(2)
    assert running() == 4


def test_a_preempted_job_gets_its_signal_and_waits(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    cluster.set_partition("spot", GraceTime=2)
    (tmp_path / "task.sh").write_text(f"trap 'echo USR2 >>{log}' USR2\necho ready >>{log}\nwhile :; do sleep 0.2; done")
    job = cluster.submit(f"srun bash {tmp_path}/task.sh", "--partition=spot", "--signal=USR2@60", "--time=30")
    cluster.wait_until(lambda: lines_of(log), 20, "it runs")
    cluster.submit("sleep 300", "--partition=urgent", "--nodes=2", "--exclusive")
    cluster.wait_for_state(job, "PENDING", seconds=60)
    assert lines_of(log) == ["ready", "USR2"]


def test_jobs_outlive_the_controller(cluster: Cluster) -> None:
    job = cluster.submit("sleep 8")
    cluster.wait_for_state(job, "RUNNING")
    cluster.stop_controller()
    assert cluster.attempt("timeout", "3", "scontrol", "show", "config").returncode != 0
    cluster.raise_controller()
    cluster.wait_for_state(job, "COMPLETED")


def test_healing_leaves_idle_nodes_and_an_empty_queue(cluster: Cluster) -> None:
    stubborn = cluster.submit("trap '' TERM\nwhile :; do sleep 1; done", "--array=0-3")
    cluster.wait_until(lambda: cluster.state(f"{stubborn}_3") == "RUNNING", 20, "they run")
    cluster.set_partition("main", State="DOWN")
    cluster.run("scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=test")
    cluster.drop_node("n2")
    cluster.heal()
    assert cluster.squeue() == []
    assert cluster.node_states() == {"n1": "idle", "n2": "idle"}
    assert "State=UP" in cluster.run("scontrol", "show", "partition", "main")
