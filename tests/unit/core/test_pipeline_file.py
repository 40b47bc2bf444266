"""Pipeline files and settings: what is wrong in them is told in one line, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardmill.core.pipeline_file import load_pipeline, override, plan_stages
from shardmill.core.stage import Context
from shardmill.store.cells import Kind
from shardmill.store.plan import StagePlan
from shardmill.util.errors import UserError

COLUMNS: dict[str, Kind] = {"row_id": "int", "image": "text", "caption": "text"}


def planned(path: Path, stages: str, columns: dict[str, Kind] = COLUMNS) -> list[StagePlan]:
    path.write_text(f"pipeline: negbench\nstages:\n{stages}\n", encoding="utf-8")
    return plan_stages(load_pipeline(str(path)), columns, Context())


def with_settings(*settings: str) -> dict[str, StagePlan]:
    return {stage.name: stage for stage in plan_stages(override(load_pipeline("negbench"), settings), COLUMNS, Context())}


def test_the_bundled_pipeline_is_a_chain_with_two_ends() -> None:
    stages = with_settings()
    assert {name: stage.after for name, stage in stages.items()} == {
        "extract_objects": "ingest",
        "propose_negatives": "extract_objects",
        "draw_questions": "propose_negatives",
        "filter_objects": "draw_questions",
        "validate_objects": "filter_objects",
        "caption_negated": "validate_objects",
        "create_mcq": "validate_objects",
        "paraphrase_mcq": "create_mcq",
    }
    assert [name for name, stage in stages.items() if not stage.model] == ["draw_questions", "create_mcq"]


def test_settings_change_options_models_and_attempts_and_nothing_else() -> None:
    plain = with_settings()
    changed = with_settings(
        "extract_objects.max_objects=3",
        "filter_objects.model.miss_rate=0.25",
        "extract_objects.attempts=5",
        "create_mcq.style=original",
    )
    assert changed["extract_objects"].options["max_objects"] == 3 and changed["extract_objects"].attempts == 5
    assert changed["filter_objects"].model == {"kind": "scene", "miss_rate": 0.25}
    assert changed["create_mcq"].options["style"] == "original"
    for name in ("propose_negatives", "validate_objects", "caption_negated", "paraphrase_mcq"):
        assert changed[name] == plain[name]
    for name in ("extract_objects", "filter_objects", "create_mcq"):
        assert changed[name].fingerprint != plain[name].fingerprint


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("style=original", "is not of the form STAGE.OPTION=VALUE"),
        ("create_mcq.style", "is not of the form STAGE.OPTION=VALUE"),
        ("create_mcq.=1", "is not of the form STAGE.OPTION=VALUE"),
        ("create_mqc.style=original", "did you mean 'create_mcq'"),
        ("create_mcq.stile=original", "did you mean 'style'"),
        ("create_mcq.style=best", "'balanced' or 'original'"),
        ("create_mcq.style=[", "is not YAML"),
        ("create_mcq.questions_per_image=many", "valid integer"),
        ("create_mcq.model=rules", "create_mcq uses no model"),
        ("extract_objects.max_objects=0", "greater than or equal to 1"),
        ("extract_objects.attempts=0", "greater than or equal to 1"),
        ("extract_objects.attempts=lots", "valid integer"),
        ("extract_objects.model=rule", "did you mean 'rules'"),
        ("extract_objects.model=scene", "no text model 'scene'"),
        ("extract_objects.model=", "needs a text model"),
        ("extract_objects.model=[rules]", "extract_objects.model=.rules."),
        ("extract_objects.model.temperature=1", "text model 'rules'.*temperature"),
        ("filter_objects.model.miss_rate=lots", "detect model 'scene'.*lots"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(setting: str, fault: str) -> None:
    with pytest.raises(UserError, match=fault) as error:
        with_settings(setting)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stages", "fault"),
    [
        ("- {stage: extract_object, model: rules}", "did you mean 'extract_objects'"),
        ("- {stage: extract_objects}", "extract_objects needs a text model"),
        ("- {stage: propose_negatives, model: rules}", "reads the column 'objects', which the input does not have"),
        ("- {stage: extract_objects, model: rules, after: ingst}", "did you mean 'ingest'"),
        ("- {stage: extract_objects, model: rules, after: extract_objects}", "is not a stage before it"),
        (
            "- {stage: extract_objects, model: rules}\n- {stage: extract_objects, model: rules, after: ingest}",
            "is in the pipeline twice",
        ),
        ("- {stage: extract_objects, modle: rules}", "modle"),
        ("- {stage: extract_objects, model: rules, attempts: 0}", "greater than or equal to 1"),
        ("- {stage: [", "is not YAML"),
        ("  stage", "stages: Input should be a valid list"),
    ],
)
def test_a_pipeline_file_that_cannot_be_is_refused_by_name(tmp_path: Path, stages: str, fault: str) -> None:
    with pytest.raises(UserError, match=fault) as error:
        planned(tmp_path / "mine.yaml", stages)
    assert "\n" not in str(error.value)


def test_an_input_column_that_a_stage_would_overwrite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="adds the column 'objects', which ingest already has; rename"):
        planned(tmp_path / "mine.yaml", "- {stage: extract_objects, model: rules}", {**COLUMNS, "objects": "text"})


def test_unknown_pipelines_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pipeline 'negbnch'; did you mean 'negbench'"):
        load_pipeline("negbnch")
    with pytest.raises(UserError, match=r"pipeline file nowhere.yaml was not found"):
        load_pipeline("nowhere.yaml")
    for name, data in (("empty.yaml", b""), ("binary.yaml", b"\xff\xfe\x00a"), ("list.yaml", b"[1, 2]")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=name) as error:
            load_pipeline(str(tmp_path / name))
        assert "\n" not in str(error.value)
    (tmp_path / "other.yaml").write_text("pipeline: antidot\nstages: [{stage: extract_objects}]")
    with pytest.raises(UserError, match="no pipeline 'antidot'"):
        plan_stages(load_pipeline(str(tmp_path / "other.yaml")), COLUMNS, Context())
