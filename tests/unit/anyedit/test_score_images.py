"""AnyEdit's picture filter: the cosine of caption and picture, the picture's looks, and thresholds for both."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from shardmill.anyedit.score_images import ScoreImages
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.core.stage import Answer, Context, Reject
from shardmill.embedded.scene import draw_scene
from shardmill.embedded.scene.scorer import BEST
from shardmill.models.contract import Reply, Scores
from shardmill.models.registry import open_model
from shardmill.store.verify import check_stage
from shardmill.util.errors import UserError


def verdict(stage: ScoreImages, row: dict[str, Any], scores: Scores) -> Any:
    """What becomes of a row whose picture a model gave these scores."""
    (ask,) = stage.ask(row, Random(0))
    return stage.accept(row, [Answer(ask, stage.parse(Reply("one", scores)))])


ROW = {"row_id": 7, "input": "a dog on a bench", "generated_image": "generate_images/images/1.png", "image": "1.png"}


def test_scores_are_written_with_four_digits() -> None:
    assert verdict(ScoreImages(), ROW, Scores((0.312345,), 5.67891)) == {"clip_score": 0.3123, "aesthetic_score": 5.6789}
    assert verdict(ScoreImages(), ROW, Scores((-0.1,))) == {"clip_score": -0.1, "aesthetic_score": None}


def test_thresholds_decide_on_what_is_written() -> None:
    stage = ScoreImages({"min_clip": 0.2, "min_aesthetic": 4.5})
    assert verdict(stage, ROW, Scores((0.19996,), 4.49996)) == {"clip_score": 0.2, "aesthetic_score": 4.5}
    assert verdict(stage, ROW, Scores((0.1999,), 9.0)) == Reject(
        "caption does not match the image", "clip_score 0.1999 is below 0.2"
    )
    assert verdict(stage, ROW, Scores((0.3,), 4.4)) == Reject("low aesthetic score", "aesthetic_score 4.4 is below 4.5")
    assert verdict(ScoreImages({"min_clip": 0.0}), ROW, Scores((0.0,), None))["clip_score"] == 0.0


def test_a_row_without_a_picture_comes_out_whatever_the_thresholds() -> None:
    stage = ScoreImages({"min_clip": 0.9})
    for nothing in (None, ""):
        row = {**ROW, "generated_image": nothing}
        assert stage.ask(row, Random(0)) == []
        assert stage.accept(row, []) == {"clip_score": None, "aesthetic_score": None}


def test_painted_pictures_lie_in_the_run_and_others_in_the_image_folder(tmp_path: Path) -> None:
    context = Context(image_root=tmp_path / "photos", run_folder=tmp_path / "run")
    painted = ScoreImages(context=context)
    given = ScoreImages({"images": "image"}, context)
    assert painted.reads == ("input", "generated_image") and given.reads == ("input", "image")
    assert painted.ask(ROW, Random(0))[0].request.image == str((tmp_path / "run/generate_images/images/1.png").resolve())  # type: ignore[union-attr]
    (ask,) = given.ask(ROW, Random(0))
    assert (ask.request.image, ask.request.texts) == (str(tmp_path / "photos" / "1.png"), ("a dog on a bench",))  # type: ignore[union-attr]


def test_a_threshold_for_looks_takes_a_model_that_judges_them() -> None:
    stage = ScoreImages({"min_aesthetic": 5})
    with pytest.raises(UserError, match="min_aesthetic needs a model with an aesthetic head"):
        stage.fingerprint({"kind": "clip", "model": "openai/clip-vit-large-patch14"})
    with pytest.raises(UserError, match="min_aesthetic"):
        stage.fingerprint({"kind": "scene"})
    assert "options" in stage.fingerprint({"kind": "clip", "model": "openai/clip-vit-large-patch14", "aesthetic": "head.pth"})
    assert "options" in ScoreImages({"min_clip": 0.2}).fingerprint({"kind": "scene"})


@pytest.mark.parametrize("options", [{"min_clip": 2}, {"min_clip": "high"}, {"min_clp": 0.2}, {"images": None}])
def test_options_that_make_no_sense_are_told(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"stage score_images"):
        ScoreImages(options)


def test_with_the_embedded_scorer_a_wrong_caption_is_told_from_a_right_one(tmp_path: Path) -> None:
    draw_scene(["dog", "bench"], seed=3).save(tmp_path / "1.png")
    stage = ScoreImages({"images": "image", "min_clip": 0.3}, Context(image_root=tmp_path))
    model = open_model("score", {"kind": "scene"})

    def answer(row: dict[str, Any]) -> Answer:
        (ask,) = stage.ask(row, Random(0))
        (reply,) = model.stream([ask.request])
        return Answer(ask, stage.parse(reply), raw=stage.raw(reply))

    right, wrong = answer(ROW), answer({**ROW, "input": "a piano and a bench"})
    assert stage.accept(ROW, [right]) == {"clip_score": BEST, "aesthetic_score": None}
    assert stage.accept(ROW, [wrong]) == Reject("caption does not match the image", f"clip_score {BEST / 2:.3f} is below 0.3")
    assert json.loads(wrong.raw) == {"cosines": [BEST / 2], "aesthetic": None}


def test_a_run_keeps_scores_and_the_reasons_of_what_it_drops(tmp_path: Path) -> None:
    draw_scene(["dog", "bench"], seed=3).save(tmp_path / "1.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    captions = [("1.png", "a dog on a bench"), ("1.png", "a piano"), ("", "a dog"), ("broken.png", "a dog"), ("1.png", "")]
    pl.DataFrame({"image": [row[0] for row in captions], "input": [row[1] for row in captions]}).write_csv(tmp_path / "in.csv")
    (tmp_path / "scores.yaml").write_text(
        "pipeline: anyedit\nstages: [{stage: score_images, model: scene, options: {images: image, min_clip: 0.1}}]\n"
    )
    run = start_run(tmp_path / "run", NewRun(input=tmp_path / "in.csv", pipeline=str(tmp_path / "scores.yaml"), num_shards=2))
    for shard in range(2):
        run_shard(run, "score_images", shard)
    check = check_stage(run, "score_images")
    assert not check.problems and not check.missing
    rows = {row["row_id"]: row for shard in range(2) for row in run.read_part("score_images", shard)[0].iter_rows(named=True)}
    assert {key: row["clip_score"] for key, row in rows.items()} == {0: BEST, 2: None}
    assert {row["aesthetic_score"] for row in rows.values()} == {None}
    rejects = pl.concat(pl.read_csv(path) for path in sorted(run.folder("score_images").glob("*.rejects.csv")))
    assert dict(rejects.select("row_id", "reason").rows()) == {
        1: "caption does not match the image",
        3: "unreadable image",
        4: "caption does not match the image",
    }
