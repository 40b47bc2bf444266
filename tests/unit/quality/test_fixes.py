"""Every rule says what is wrong if it is not kept, and every finding leads to commands that the command line takes."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from planted import make_run
from shardmill import __file__ as package
from shardmill.cli.main import cli
from shardmill.core.planning import NewRun, start_run
from shardmill.quality.fixes import LOST, OTHER, SLOW, UNFINISHED, fix_id, fixes_of, maker_of
from shardmill.quality.gather import gather
from shardmill.quality.judging import TOO_FEW
from shardmill.quality.model import QualityFinding, Report
from shardmill.store.run_folder import INGEST, RunFolder

JUDGES = {"QualityRule", "QualityFinding", "judged"}


def finding(id: str = "x", stage: str = "", fault: str = "Some are wrong.") -> QualityFinding:
    return QualityFinding(
        id=id, rule="r", fault=fault, stage=stage, verdict="look", shown="1", threshold="2", n=3, means="m"
    )  # fmt: skip


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(Path(package).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in JUDGES:
                yield f"{path.name}:{node.lineno}", node


def test_every_rule_of_the_package_says_what_is_wrong() -> None:
    places = [place for place, call in calls() if "fault" not in {keyword.arg for keyword in call.keywords}]
    assert places == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of NegBench of which only the ingest is done."""
    folder = tmp_path_factory.mktemp("fixes")
    (folder / "t.csv").write_text("image,caption\na.png,A dog sleeps on a red sofa.\nb.png,A cat plays with a ball.\n")
    return start_run(folder / "run", NewRun(input=folder / "t.csv", num_shards=1))


def test_the_commands_of_all_fixes_are_taken_by_the_command_line(run: RunFolder) -> None:
    found = [finding(stage=stage) for stage in (INGEST, *run.stages)]
    found += [finding(id) for id in (UNFINISHED, LOST, SLOW, OTHER)] + [finding(fault=TOO_FEW + "x")]
    fixes = fixes_of(run, found)
    assert [fix.id for fix in fixes] == list(dict.fromkeys(map(fix_id, found)))
    for line in (line for fix in fixes for line in fix.commands):
        program, name, *words = shlex.split(line)
        command = cli.commands[name]
        assert program == "shardmill"
        command.make_parser(click.Context(command)).parse_args(words)


def test_only_what_did_not_pass_has_a_fix_once_for_each_stage(run: RunFolder) -> None:
    passed = finding(stage="create_mcq").model_copy(update={"verdict": "pass"})
    again = [finding("a", "caption_negated"), finding("b", "caption_negated"), passed]
    assert [fix.id for fix in fixes_of(run, again)] == ["caption_negated"]


def test_the_stage_that_made_a_column_is_found_and_not_one_that_carries_it(run: RunFolder) -> None:
    assert maker_of(run, "paraphrase_mcq", ("objects",)) == "extract_objects"
    assert maker_of(run, "create_mcq", ("caption",)) == INGEST


def input_findings(folder: Path, images: list[str], pipeline: str = "negbench") -> dict[str, QualityFinding]:
    words = "abcde" * len(images)
    rows = [f"{image},A {words[number]} dog runs after ball {number} on a lawn." for number, image in enumerate(images)]
    (folder / "t.csv").write_text("\n".join(["image,caption", *rows]))
    run = start_run(folder / "run", NewRun(input=folder / "t.csv", pipeline=pipeline, num_shards=1))
    return {each.id: each for each in gather(run, rows=0).findings if each.id.startswith("input")}


def test_five_captions_of_an_image_are_no_fault(tmp_path: Path) -> None:
    found = input_findings(tmp_path, [f"{number // 5}.png" for number in range(100)])
    assert {each.verdict for each in found.values()} == {"pass"}
    assert found["input.image.apart"].value == 0


def test_rows_of_an_image_that_stand_apart_need_a_look(tmp_path: Path) -> None:
    apart = input_findings(tmp_path, [f"{number % 20}.png" for number in range(100)])["input.image.apart"]
    assert (apart.verdict, apart.stage, apart.value) == ("look", INGEST, 0.8)
    assert "split" in apart.headline


def test_where_images_alone_are_read_each_row_of_an_image_is_work_done_again(tmp_path: Path) -> None:
    found = input_findings(tmp_path, [f"{number // 5}.png" for number in range(100)], "recaption")
    assert found["input.image.again"].verdict == "look" and "input.image.apart" not in found


def test_a_report_names_its_models_time_and_stages(tmp_path: Path) -> None:
    report: Report = gather(make_run(tmp_path / "run", "negbench", 12), rows=0)
    assert {(use.name, use.role, use.embedded) for use in report.models} == {("rules", "text", True), ("scene", "detect", True)}
    assert next(iter(report.facts)) == "rows in" and "time" in report.facts
    assert all(each.stage for each in report.findings if each.id not in (LOST, UNFINISHED, SLOW))
