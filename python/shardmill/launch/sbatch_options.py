"""The `sbatch:` entries of a site file: options that Shardmill hands to `sbatch` as they are.

Those that it sets itself are refused with the entry that decides them: given twice, they would contradict each other in silence.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Any

from shardmill.util.errors import did_you_mean

_NAMES = """
account acctg-freq array autocomplete-off batch bb bbf begin chdir cluster-constraint clusters comment constraint
consolidate-segments container container-id contiguous core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline
delay-boot dependency distribution error exclude exclusive export export-file extra extra-node-info get-user-env gid gpu-bind
gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint hold ignore-pbs input job-name
kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nice no-kill
no-requeue nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket open-mode
oom-kill-step output overcommit oversubscribe parsable partition power prefer priority profile propagate qos quiet reboot
requeue reservation resv-ports segment signal sockets-per-node spread-job spread-segments stepmgr switches test-only thread-spec
threads-per-core time time-min tmp tres-bind tres-per-task uid use-min-nodes verbose wait wait-all-nodes wckey wrap
"""
OPTIONS = frozenset(_NAMES.split())
"""What `sbatch` knows from SLURM 20.11 to 25.05; what its plugins add is in its own `--help`."""

OWN_ENTRIES = ("account", "constraint", "exclude", "exclusive", "licenses", "nodelist", "partition", "qos", "reservation")
DECIDED_BY = {
    **dict.fromkeys(OWN_ENTRIES, ""),
    **dict.fromkeys(
        ("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "tres-per-task", "ntasks-per-gpu", "cpus-per-gpu"),
        "`gpu_request`, `gpu_type` and `gpus_per_node`",
    ),
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu"), "`memory_request`, and `memory_gb` of a stage under `stages`"),
    **dict.fromkeys(("time", "time-min"), "`max_minutes`, and `minutes` of a stage under `stages`"),
    **dict.fromkeys(("cpus-per-task", "mincpus", "extra-node-info"), "`cpus_per_worker` of a stage under `stages`"),
    **dict.fromkeys(("nodes", "nodefile", "ntasks", "ntasks-per-node", "ntasks-per-socket", "ntasks-per-core", "array"),
                    "`--shards-per-node` and `--max-parallel` of launch"),
    **dict.fromkeys(("output", "error", "open-mode"), "`logs`"),
    "signal": "`signal_seconds`",
    **dict.fromkeys(("dependency", "kill-on-invalid-dep"), "`dependencies`"),
    "clusters": "the cluster that launch runs on",
    "container": "`container`",
    **dict.fromkeys(
        ("chdir", "gid", "hold", "input", "job-name", "no-requeue", "parsable", "quiet", "requeue", "test-only", "uid", "wait",
         "wrap", "verbose"),
        "Shardmill itself",
    ),
}  # fmt: skip
"""The options that may not be under `sbatch:`, and what decides them; empty for an entry of the same name."""

GPU_ONLY = ("gpu-bind", "gpu-freq", "tres-bind")
"""Options that go to jobs with GPUs alone."""


def checked_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options under their names without underscores.

    Raises:
        ValueError: If one is unknown, given twice, decided by another entry, or has a value that is none of an option.
    """
    made: dict[str, Any] = {}
    for written, value in given.items():
        name = str(written).strip().lstrip("-").replace("_", "-")
        if name in made:
            raise ValueError(f"{name} is given twice, with underscores and hyphens; keep one")
        if name in DECIDED_BY:
            decided_by = DECIDED_BY[name] or f"the entry `{name}`"
            raise ValueError(f"{name} is decided by {decided_by}; remove it here")
        if name not in OPTIONS and name not in plugin_options():
            raise ValueError(f"sbatch has no option {name!r}; {did_you_mean(name, OPTIONS - DECIDED_BY.keys())}")
        made[name] = _value(name, value)
    if any(part.partition(":")[0] == "gpu" for part in str(made.get("gres") or "").split(",")):
        raise ValueError(f"GPUs are asked for by {DECIDED_BY['gpus']}; keep only other resources in gres")
    return made


def _value(name: str, value: Any) -> Any:
    """The value of an option: true for one without a value, false or nothing to leave out one that is given for all jobs."""
    if isinstance(value, list):
        value = ",".join(map(str, value))
    if isinstance(value, dict) or "\n" in str(value):
        raise ValueError(f"{name} is neither a word, a number, a list of them, true nor false")
    return None if value is False else value


@cache
def plugin_options() -> frozenset[str]:
    """The options that `sbatch --help` lists here, with those of the site's plugins; none where there is no sbatch."""
    if not shutil.which("sbatch"):
        return frozenset()
    try:
        done = subprocess.run(["sbatch", "--help"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    words = done.stdout.replace(",", " ").replace("[", " ").replace("=", " ").split()
    return frozenset(word[2:] for word in words if word.startswith("--"))
