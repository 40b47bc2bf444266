"""A run that is only planned: its input may be in shards, but no stage has done anything. A corrected command replaces it."""

from __future__ import annotations

from shardmill.store.at_work import keeping_workers_out
from shardmill.store.exclusive import one_change_at_a_time
from shardmill.store.jobs import JobsFolder
from shardmill.store.plan import Plan, replace_plan
from shardmill.store.publish import archive_files, published_files
from shardmill.store.run_folder import INGEST, RunFolder

FILES = ("part-*", "fits/*")


def is_untouched(run: RunFolder) -> bool:
    """Whether no stage of a run has done anything, and nothing was submitted for it or made of it."""
    if JobsFolder(run).submissions() or (run.path / "datasets").exists():
        return False
    return not any(True for stage in run.stages for pattern in FILES for _ in run.folder(stage).glob(pattern))


@one_change_at_a_time
def replace_untouched(run: RunFolder, plan: Plan) -> Plan:
    """Replace the plan of a run that is untouched; the shards of its input stay where the new plan has the same.

    Raises:
        UserError: If a worker has started on it.
    """
    with keeping_workers_out(run):
        if _cut(run.plan) != _cut(plan):
            for shard in range(run.num_shards):
                files = run.files(INGEST, shard)
                archive_files(files, run.superseded / INGEST, published_files(files))
                for path in files.temporaries():
                    path.unlink(missing_ok=True)
        for stage in run.stages:
            JobsFolder(run).forget_failures(stage)
        return replace_plan(run.path, plan)


def _cut(plan: Plan) -> object:
    """All that decides what the shards of the input hold."""
    return plan.input.model_dump(exclude={"notes"}), plan.shards, plan.part_format
