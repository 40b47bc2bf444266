"""An audit goes to Label Studio as tasks, and its verdicts come back from what Label Studio exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from audited import sample_of, sheet_file, sheet_text
from exported import negbench
from shardmill.audit.label_studio import TASKS, is_label_studio, read_annotations
from shardmill.audit.sample import AuditSample
from shardmill.audit.sheet import read_sheet
from shardmill.cli.main import cli
from shardmill.util.errors import UserError


@pytest.fixture
def drawn() -> AuditSample:
    return sample_of([900, 100], [2, 2])


def annotation(verdict: str | None, by: Any = 1, note: str = "", **more: Any) -> dict[str, Any]:
    """An annotation as Label Studio exports it."""
    results = [{"from_name": "boxes", "type": "rectanglelabels", "value": {"x": 1, "rectanglelabels": ["dog"]}}]
    if verdict:
        results.append({"from_name": "verdict", "to_name": "claim", "type": "choices", "value": {"choices": [verdict]}})
    if note:
        results.append({"from_name": "note", "to_name": "claim", "type": "textarea", "value": {"text": [note]}})
    return {"id": 1, "completed_by": by, "was_cancelled": False, "updated_at": "2026-01-01T10:00:00Z", "result": results, **more}


def exported_file(path: Path, sample: AuditSample, *annotations: list[dict[str, Any]]) -> Path:
    tasks = [
        {"id": at, "data": {"claim_id": claim.claim_id, "claim": claim.claim}, "annotations": given, "predictions": []}
        for at, (claim, given) in enumerate(zip(sample.claims, annotations, strict=False))
    ]
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def test_verdicts_and_notes_come_back_for_each_annotator(tmp_path: Path, drawn: AuditSample) -> None:
    ann, bob = {"id": 3, "email": "ann@lab.org"}, 7
    path = exported_file(
        tmp_path / "export.json",
        drawn,
        [annotation("right", ann), annotation("wrong", bob, "too dark")],
        [annotation("unclear", ann)],
    )
    sheets = {sheet.annotator: sheet.ticks for sheet in read_annotations(path, drawn)}
    first, second = drawn.claims[0].claim_id, drawn.claims[1].claim_id
    assert {claim: tick.verdict for claim, tick in sheets["ann@lab.org"].items()} == {first: "right", second: "unclear"}
    assert (sheets["7"][first].verdict, sheets["7"][first].note) == ("wrong", "too dark")


def test_skipped_tasks_and_empty_annotations_are_open_and_the_last_of_two_counts(tmp_path: Path, drawn: AuditSample) -> None:
    path = exported_file(
        tmp_path / "export.json",
        drawn,
        [annotation("right", updated_at="2026-01-02"), annotation("wrong", updated_at="2026-01-03")],
        [annotation("right", was_cancelled=True)],
        [annotation(None)],
        [],
    )
    [sheet] = read_annotations(path, drawn)
    assert {claim: tick.verdict for claim, tick in sheet.ticks.items()} == {drawn.claims[0].claim_id: "wrong"}


def test_the_short_json_and_the_csv_of_label_studio_are_read_too(tmp_path: Path, drawn: AuditSample) -> None:
    claim = drawn.claims[0].claim_id
    short = tmp_path / "min.json"
    short.write_text(json.dumps([{"id": 1, "claim_id": claim, "claim": "c", "verdict": "Wrong", "note": "x", "annotator": 2}]))
    [sheet] = read_annotations(short, drawn)
    assert (sheet.annotator, sheet.ticks[claim].verdict, sheet.ticks[claim].note) == ("2", "wrong", "x")
    table = tmp_path / "export.csv"
    table.write_text(f"annotation_id,annotator,claim,claim_id,created_at,id,verdict\n5,2,c,{claim},2026,1,right\n")
    assert not is_label_studio(table)
    assert read_sheet(table, drawn).ticks[claim].verdict == "right"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{]", "is not what Label Studio exports: .*export the project from Label Studio as JSON again"),
        ("[" * 100_000, "is not what Label Studio exports"),
        ('{"a": 1}', "is not what Label Studio exports: Input should be a valid (list|array)"),
        ('[{"data": {}}, 3]', "task 2 is not what Label Studio exports: Input should be an object"),
        ('[{"data": [1], "annotations": []}]', "task 1 is not what Label Studio exports"),
        ('[{"data": {"claim_id": "s0000000000-0000-00"}, "annotations": [3]}]', "task 1 is not what Label Studio exports"),
        ('[{"data": {"claim_id": {"a": []}}}]', "task 1"),
        ('[{"data": {"claim_id": "s1111111111-0001-01"}}]', "is from sample s1111111111"),
        ('[{"data": {"claim_id": "s0000000000-0000-00"}, "annotations": []}]', "has no verdict; tick tasks in Label Studio"),
    ],
)
def test_what_is_no_export_of_this_sample_is_refused(tmp_path: Path, drawn: AuditSample, content: str, message: str) -> None:
    (tmp_path / "export.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_annotations(tmp_path / "export.json", drawn)


def test_an_unknown_verdict_is_refused_with_the_task(tmp_path: Path, drawn: AuditSample) -> None:
    path = exported_file(tmp_path / "export.json", drawn, [annotation("rigth")])
    with pytest.raises(UserError, match=r"task 1: the verdict 'rigth' is not one of right, wrong, unclear; did you mean"):
        read_annotations(path, drawn)


def test_an_audit_goes_out_and_comes_back_beside_a_sheet(tmp_path: Path) -> None:
    runner, out = CliRunner(), tmp_path / "audit"
    done = runner.invoke(cli, ["audit", str(negbench().path), "--rows", "12", "--out", str(out), "--label-studio"])
    assert done.exit_code == 0, done.output
    tasks = json.loads((out / TASKS).read_text(encoding="utf-8"))
    sample = AuditSample.model_validate_json((out / "sample.json").read_bytes())
    assert [task["data"]["claim_id"] for task in tasks] == [claim.claim_id for claim in sample.claims]
    assert all(task["data"]["image"].startswith("data:image/jpeg;base64,") for task in tasks)
    assert any(task["predictions"] for task in tasks)
    for at, task in enumerate(tasks):
        task["annotations"] = [annotation("wrong" if at == 0 else "right", 1), annotation("right", 2)]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    sheet = sheet_file(tmp_path / "cid.csv", sheet_text(sample, lambda at: "right"))
    options = ["--read", str(tmp_path / "export.json"), "--read", str(sheet), "--json"]
    read = runner.invoke(cli, ["audit", str(negbench().path), "--out", str(out), *options])
    assert read.exit_code == 0, read.output
    result = json.loads(read.output)
    assert [each["annotator"] for each in result["sheets"]] == ["1", "2", "cid"]
    assert result["agreement"]["sheets"] == 3 and len(result["disagreements"]) == 1
