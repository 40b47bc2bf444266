"""Flow and timeline: every row is accounted for, missing shards are named, and so are slow ones."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from planted import SAMPLES, make_run, rewrite
from shardmill.core.shard_runner import run_shard
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.flow import draw_rejected, flow_of, path_to
from shardmill.quality.gather import gather
from shardmill.quality.model import QualityFinding, Report
from shardmill.quality.timeline import slow_shards, spans_of
from shardmill.store.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("flow") / "run", "negbench", 100, num_shards=3)


@pytest.fixture
def copy(run: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(run.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def found(report: Report, id: str) -> QualityFinding:
    return next(each for each in report.findings if each.id == id)


def test_the_flow_counts_what_the_files_hold(run: RunFolder) -> None:
    finished = FinishedShards(run)
    steps = flow_of(finished, draw_rejected(finished, 0))
    assert [step.stage for step in steps] == ["ingest", *run.stages]
    for step in steps:
        assert step.rows_in == step.rows_out + sum(step.rejected.values())
        assert step.lines_out == sum(frame.height for frame in finished.batches(step.stage, ()))
        reasons = Counter(reason for frame in finished.rejects(step.stage) for reason in frame["reason"])
        assert step.rejected == dict(reasons)
        assert step.examples.keys() == step.rejected.keys()
    by_name = {step.stage: step for step in steps}
    assert by_name["create_mcq"].after == "validate_objects"
    assert by_name["create_mcq"].rows_in == by_name["validate_objects"].lines_out


def test_examples_of_a_reason_are_rows_that_were_rejected_for_it(run: RunFolder) -> None:
    finished = FinishedShards(run)
    for step in flow_of(finished, draw_rejected(finished, 0)):
        rejected = {
            row: reason for frame in finished.rejects(step.stage) for row, reason in frame.select("row_id", "reason").iter_rows()
        }
        for reason, examples in step.examples.items():
            assert examples and all(rejected[each.row_id] == reason for each in examples)


def test_rows_in_are_rows_out_and_rejected(run: RunFolder) -> None:
    finding = found(gather(run, rows=0), "conserved")
    assert finding.verdict == "pass"
    finished = FinishedShards(run)
    kept = next(step.rows_out for step in flow_of(finished, draw_rejected(finished, 0)) if step.stage == "caption_negated")
    rows = run.plan.input.rows
    assert 0 < kept < rows
    assert f"caption_negated: {rows} in = {kept} out + {rows - kept} rejected" in finding.shown


def test_a_row_that_is_lost_fails(copy: RunFolder) -> None:
    rewrite(copy, "extract_objects", lambda frame: frame.slice(1))
    finding = found(gather(copy, rows=0), "conserved")
    assert finding.verdict == "fail" and "propose_negatives" in finding.shown


def test_rows_are_those_of_the_input_where_a_stage_makes_several_of_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "antidote", 20)
    path = path_to(FinishedShards(run), "pair_preferences")
    assert path.stages[path.split] == "answer_queries"
    assert path.rows_out <= 20 < FinishedShards(run).lines_out("pair_preferences")
    report = gather(run, rows=0)
    assert found(report, "yield.pair_preferences").n == 20
    assert found(report, "yield.lines.pair_preferences").n == FinishedShards(run).lines_out("answer_queries")


def test_an_unfinished_run_has_a_report_of_its_finished_shards(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "negbench", 40, stages=4)
    run_shard(run, "validate_objects", 1)
    report = gather(run)
    complete = found(report, "complete")
    assert complete.verdict == "look" and "validate_objects lacks 0" in complete.shown
    assert report.run["partial"] and report.run["missing"]["caption_negated"] == [0, 1]
    step = next(step for step in report.flow if step.stage == "validate_objects")
    assert step.rows_in == run.manifest("filter_objects", 1).rows_out  # type: ignore[union-attr]
    assert {span.shard for span in report.spans if span.stage == "validate_objects"} == {1}
    assert [section.id for section in report.sections][:2] == ["detector", "objects.positive_objects"]


@pytest.mark.parametrize("pipeline", ["negbench", "antidote", "recaption", "anyedit"])
def test_a_run_that_has_only_been_ingested_has_a_report(pipeline: str, tmp_path: Path) -> None:
    report = gather(make_run(tmp_path / "run", pipeline, 10, stages=0))
    assert [step.rows_out for step in report.flow[1:]] == [0] * (len(report.flow) - 1)
    assert found(report, "complete").verdict == "look"


@pytest.mark.parametrize(("readable", "verdict"), [(0, "fail"), (4, "look"), (10, "pass")])
def test_few_rows_are_for_a_person_to_look_at_and_none_fails(tmp_path: Path, readable: int, verdict: str) -> None:
    pictures = tmp_path / "pictures"
    for line in (SAMPLES / "captions.csv").read_text().splitlines()[1 : readable + 1]:
        picture = pictures / line.partition(",")[0]
        picture.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SAMPLES / picture.relative_to(pictures), picture)
    pictures.mkdir(exist_ok=True)
    report = gather(make_run(tmp_path / "run", "negbench", 10, image_root=pictures), rows=0)
    yielded = found(report, "yield.caption_negated")
    assert yielded.verdict == verdict and f"({readable} of 10)" in yielded.shown
    assert report.facts["verdict"].startswith("0 failed") == (verdict != "fail")


def test_a_deleted_part_counts_as_missing_and_is_named(copy: RunFolder) -> None:
    part = copy.files("caption_negated", 1).part
    part.unlink()
    report = gather(copy)
    assert report.run["damaged"] == [str(part)]
    assert found(report, "complete").verdict == "fail"
    assert part.name in found(report, "complete").shown


def test_a_shard_that_took_far_longer_is_named(copy: RunFolder) -> None:
    for shard in range(3):
        manifest = copy.manifest("filter_objects", shard)
        assert manifest is not None
        manifest = manifest.model_copy(update={"seconds": 400.0 if shard == 2 else 100.0, "job": {"CUDA_VISIBLE_DEVICES": "0,1"}})
        copy.files("filter_objects", shard).manifest.write_bytes(manifest.to_bytes())
    report = gather(copy, rows=0)
    slow = found(report, "stragglers")
    assert slow.verdict == "look" and "filter_objects shard 2 took 4.0 times" in slow.shown
    assert [(span.shard, span.gpus) for span in report.spans if span.straggler] == [(2, 2)]
    table = next(
        table for section in report.sections if section.id == "time" for table in section.tables if table.id == "time.stages"
    )
    row = dict(zip(table.columns, next(row for row in table.rows if row[0] == "filter_objects"), strict=True))
    assert row["GPU-hours"] == pytest.approx(600 * 2 / 3600, abs=1e-4)
    assert row["images/s"] == pytest.approx(row["rows/s"])
    assert "GPU-hours" in report.facts["work"]


def test_quick_shards_are_no_stragglers(run: RunFolder) -> None:
    shards = FinishedShards(run).manifests["extract_objects"]
    quick = {shard: manifest.model_copy(update={"seconds": 0.1 + 2 * shard}) for shard, manifest in shards.items()}
    assert slow_shards(quick) == {}
    assert min(span.start for span in spans_of(FinishedShards(run))) == 0


def test_what_a_server_refused_is_in_the_report(copy: RunFolder) -> None:
    for shard in range(2):
        path = copy.files("caption_negated", shard).manifest
        manifest = json.loads(path.read_text("utf-8"))
        manifest["usage"]["without seed"] = 20
        path.write_text(json.dumps(manifest), "utf-8")
    section = next(each for each in gather(copy, rows=0).sections if each.id == "time")
    assert "caption_negated: without seed (40 requests)." in section.text
