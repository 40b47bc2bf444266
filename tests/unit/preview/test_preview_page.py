"""A preview of a whole pipeline: drawn rows through every stage, on one page, and nothing left behind."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from shardmill.cli.main import cli
from shardmill.core.planning import NewRun, start_run
from shardmill.core.registry import find_pipeline
from shardmill.core.shard_runner import run_shard
from shardmill.previews import preview_run
from shardmill.previews.page import card_of, write_preview
from shardmill.store.run_folder import RunFolder
from shardmill.store.trace import explain
from shardmill.util.errors import UserError

SAMPLES = Path(__file__).parents[3] / "data" / "samples"


def test_rows_have_the_row_ids_and_random_choices_of_a_real_run(captions_csv: Path, tmp_path: Path) -> None:
    new = NewRun(input=captions_csv, settings=["filter_objects.unverified=keep"], seed=3)
    with preview_run(new, 6) as (run, rows):
        assert run.num_shards == 1
    real = start_run(tmp_path / "real", new)
    for stage in real.stages:
        run_shard(real, stage, 0)
    assert len({row.row_id for row in rows}) == 6
    for row in rows:
        found = [each for each in explain(real, row.row_id) if each.outcome in ("accepted", "rejected")]
        for each in found:
            for line in each.rows:
                line.pop("line", None)  # of the file, and the preview has read another one
        alone = found[: next((place for place, each in enumerate(found) if each.stage == "draw_questions"), None)]
        assert [step.result for step in row.steps][: len(alone)] == alone  # what follows is drawn from all rows


def test_the_draw_is_the_seeds_and_not_the_top(captions_csv: Path) -> None:
    def drawn(seed: int) -> list[int]:
        with preview_run(NewRun(input=captions_csv, settings=["filter_objects.unverified=keep"], seed=seed), 6) as (_, rows):
            return [row.row_id for row in rows]

    assert drawn(0) == drawn(0) == sorted(drawn(0))
    assert len({tuple(drawn(seed)) for seed in range(4)} - {tuple(range(6))}) > 1


def test_more_rows_than_there_are_is_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("caption\nA dog on a sofa\nA cat in a box\n")
    with preview_run(NewRun(input=path, settings=["filter_objects.unverified=keep"]), 50) as (_, rows):
        assert [row.row_id for row in rows] == [0, 1]


def test_each_stage_shows_its_own_questions_though_they_share_a_model(captions_csv: Path) -> None:
    with preview_run(NewRun(input=captions_csv, settings=["filter_objects.unverified=keep"]), 8) as (_, rows):
        steps = [{step.stage: step for step in row.steps} for row in rows]
    whole = next(each for each in steps if "caption_negated" in each)
    systems = {name: whole[name].exchanges[0].sent[0]["content"] for name in ("extract_objects", "propose_negatives")}
    assert len(set(systems.values())) == 2
    assert len(whole["caption_negated"].exchanges) == 1
    assert whole["create_mcq"].exchanges == [] and whole["ingest"].exchanges == []


@pytest.mark.parametrize(
    ("pipeline", "input", "boxes", "said"),
    [
        ("negbench", "captions.csv", 5, ["extract_objects", "paraphrase_mcq", "system", "seen_objects", "option_truths"]),
        ("antidote", "antidote.json", 5, ["generate_images", "ground_objects", "query_kind", "prompt"]),
        ("recaption", "captions.csv", 0, ["caption_images", "checked", "text_sources"]),
    ],
)
def test_the_page_has_picture_prompt_answer_row_and_verdict(
    pipeline: str, input: str, boxes: int, said: list[str], tmp_path: Path
) -> None:
    with preview_run(NewRun(input=SAMPLES / input, pipeline=pipeline), 6) as (run, rows):
        page = write_preview(run, rows, tmp_path / "p.html", input).read_text(encoding="utf-8")
        folder = str(run.path)
    assert not os.path.exists(folder) and folder not in page
    assert len(re.findall('<article class="card"', page)) == 6
    assert page.count('<image href="data:image/jpeg;base64,') >= 3
    assert len(re.findall('<rect class="box kept"', page)) >= boxes
    assert "<h4>answer" in page and "<h4>outcome</h4>" in page and "<summary>request" in page
    for word in said:
        assert word in page, word
    assert "http://" not in page and "https://" not in page


def test_a_caption_with_markup_stays_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('caption\n"A dog <script>alert(1)</script> on a sofa ""onerror=x"\n')
    with preview_run(NewRun(input=path, settings=["filter_objects.unverified=keep"]), 1) as (run, rows):
        page = write_preview(run, rows, tmp_path / "p.html", "t.csv").read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_row_whose_objects_are_not_seen_shows_what_was_looked_for(tmp_path: Path) -> None:
    with preview_run(NewRun(input=SAMPLES / "captions.csv"), 60) as (run, rows):
        lost = [row for row in rows if row.steps[-1].stage == "filter_objects" and row.rejected]
        cards = [card_of(run, row) for row in lost]
    assert cards
    for card in cards:
        assert card.outcome == "rejected" and card.reason and card.image
        assert all(box.kind != "kept" for box in card.boxes)


def test_nothing_is_left_behind_even_by_a_failure(captions_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with pytest.raises(RuntimeError), preview_run(NewRun(input=captions_csv), 2):
        raise RuntimeError
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_command_takes_a_pipeline_or_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = CliRunner().invoke(cli, ["preview", "negbench", "-n", "3", "--out", "page.html"])
    assert whole.exit_code == 0 and "3 rows of" in whole.output and Path("page.html").stat().st_size > 10_000
    stage = CliRunner().invoke(cli, ["preview", "extract_objects", "--input", str(SAMPLES / "captions.csv"), "--rows", "1"])
    assert stage.exit_code == 0 and "accepted" in stage.output
    Path("mine.yaml").write_text("pipeline: negbench\nstages:\n  - stage: extract_objects\n    model: rules\n")
    mine = CliRunner().invoke(cli, ["preview", "mine.yaml", "-n", "2"])
    assert mine.exit_code == 0 and Path("preview.html").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create_mcq"], "create_mcq is to be shown on: --input"),
        (["create_mcq", "--input", "x.csv", "--out", "p.html"], "--out is for a whole pipeline"),
        (["negbench", "-n", "0"], "--rows must be at least 1"),
        (["nowhere.yaml"], "pipeline file nowhere.yaml was not found"),
    ],
)
def test_impossible_previews_are_refused(arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(cli, ["preview", *arguments])
    assert isinstance(result.exception, UserError) and told in str(result.exception)


def test_where_no_samples_are_installed_a_table_is_to_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(find_pipeline("negbench").samples, "negbench", "gone.csv")  # type: ignore[arg-type]
    result = CliRunner().invoke(cli, ["preview", "negbench", "--out", str(tmp_path / "p.html")])
    assert isinstance(result.exception, UserError) and "name a table with --input" in str(result.exception)


def test_report_writes_page_and_figures_and_tells_the_worst_first(captions_csv: Path, tmp_path: Path) -> None:
    run = start_run(tmp_path / "run", NewRun(input=captions_csv, settings=["filter_objects.unverified=keep"], num_shards=2))
    for stage in run.stages:
        for shard in range(2):
            run_shard(RunFolder(run.path), stage, shard)
    result = CliRunner().invoke(cli, ["report", str(run.path), "--rows", "10"])
    assert result.exit_code == 0, result.exception
    words = [line[:4] for line in result.output.splitlines() if line[:4] in ("fail", "look", "pass")]
    assert words == sorted(words, key=["fail", "look", "pass"].index) and "fail" in words
    assert (run.path / "report" / "report.html").exists() and str(run.path / "report" / "report.html") in result.output
    printed = CliRunner().invoke(cli, ["report", str(run.path), "--rows", "10", "--json"]).output
    assert printed == (run.path / "report" / "report.json").read_text(encoding="utf-8")
