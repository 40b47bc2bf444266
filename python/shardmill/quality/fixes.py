"""What to do about a finding: which stage made what is wrong, and the commands that make it again with a change."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from shardmill.quality.judging import TOO_FEW
from shardmill.quality.model import Fix, QualityFinding
from shardmill.store.run_folder import INGEST, RunFolder
from shardmill.util.commands import command_line

UNFINISHED, LOST, SLOW, FEW, OTHER = "complete", "conserved", "stragglers", "few", "run"
"""Ids of fixes that are about the whole run: those of their findings, one for all that more rows settle, and one for the rest."""


def maker_of(run: RunFolder, stage: str, columns: Collection[str]) -> str:
    """The stage that made these columns of a stage: the nearest one before it, or itself, that adds any of them."""
    while stage != INGEST and not {*columns} & run.stage(stage).adds.keys():
        stage = run.stage(stage).after
    return stage


def fix_id(finding: QualityFinding) -> str:
    """The id of the fix of a finding: one for each stage, and some for the run as a whole."""
    if finding.fault.startswith(TOO_FEW):
        return FEW
    return finding.stage or (finding.id if finding.id in (UNFINISHED, LOST, SLOW) else OTHER)


def fixes_of(run: RunFolder, findings: Iterable[QualityFinding]) -> list[Fix]:
    """A fix for each stage that findings which did not pass are about, and for the run as a whole, in their order."""
    wanted = dict.fromkeys(fix_id(finding) for finding in findings if finding.verdict != "pass")
    return [_fix(run, id) for id in wanted]


def _fix(run: RunFolder, id: str) -> Fix:
    resume = ("launch", run.plan.pipeline, "--run", run.path)
    if id == INGEST:
        again = command_line("launch", run.plan.pipeline, "--input", run.plan.input.path, "--run", f"{run.path}-2")
        text = "These findings are about the input itself. Change the table, then start a new run with it."
        return Fix(id=id, title="The input table", text=text, commands=[again])
    if id == UNFINISHED:
        text = "Run the launch command again: it runs only what is missing."
        return Fix(id=id, title="Unfinished shards", text=text, commands=[command_line(*resume)])
    if id == LOST:
        text = "Find the damaged shards; launching the run again repairs them."
        return Fix(id=id, title="Lost rows", text=text, commands=[command_line("build", run.path), command_line(*resume)])
    if id == SLOW:
        text = "Cut the run into smaller shards. Finished rows are kept."
        more = command_line("replan", run.path, "--num-shards", 2 * run.num_shards)
        return Fix(id=id, title="Slow shards", text=text, commands=[more, command_line(*resume)])
    if id == FEW:
        more = command_line("launch", run.plan.pipeline, "--input", "MORE.csv", "--run", f"{run.path}-2")
        text = "A run over more rows settles these. They say nothing against the data yet."
        return Fix(id=id, title="Too few rows", text=text, commands=[more])
    if id == OTHER:
        return Fix(
            id=id, title="The run", text="See what each stage made of a row.", commands=[command_line("explain", run.path, 0)]
        )
    return _stage_fix(run, id)


def _stage_fix(run: RunFolder, name: str) -> Fix:
    """How to give a stage another prompt, model or option; the stages after it are made again."""
    stage = run.stage(name)
    redo = ("launch", run.plan.pipeline, "--run", run.path, "--redo", name, "--set")
    changes: list[tuple[object, ...]] = []
    if stage.role == "detect":
        changes.append(("rethreshold", run.path, name, "--set", f"{name}.OPTION=VALUE"))
    if stage.role in ("text", "caption"):
        changes.append((*redo, f"{name}.prompt=FILE.md"))
    if stage.role:
        changes.append((*redo, f"{name}.model=NAME"))
    if stage.options:
        changes.append((*redo, f"{name}.OPTION=VALUE"))
    uses = f"It used the model {stage.model.get('model') or stage.model.get('kind')}. " if stage.role else ""
    options = f"Its options: {', '.join(stage.options)}. " if stage.options else ""
    text = f"{uses}{options}Each of these commands makes it and the stages after it again; what was made before is archived."
    commands = [command_line(*change) for change in changes] or [command_line(*redo[:-1])]
    return Fix(id=name, title=name, text=text, commands=commands)
