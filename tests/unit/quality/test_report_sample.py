"""The gallery: the same rows for any number of shards, some of every stage and reason, with boxes and texts that say why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planted import Row, make_run, rewrite_cells
from shardmill.models.images import size_of
from shardmill.pages.cards import Card
from shardmill.quality.gather import gather
from shardmill.quality.model import Report


def cards(report: Report) -> list[dict[str, Any]]:
    return [card.model_dump() for card in report.cards]


def found(report: Report, outcome: str) -> list[Card]:
    return [card for card in report.cards if card.outcome == outcome]


@pytest.fixture(scope="module")
def negbench(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return gather(make_run(tmp_path_factory.mktemp("sample") / "run", "negbench", 150, num_shards=2), rows=20, seed=4)


def test_the_same_cards_and_figures_for_any_number_of_shards(negbench: Report, tmp_path: Path) -> None:
    other = gather(make_run(tmp_path / "run", "negbench", 150, num_shards=7), rows=20, seed=4)
    assert cards(negbench) == cards(other)
    timed = {"complete", "stragglers"}
    for one, two in zip(negbench.findings, other.findings, strict=True):
        assert one == two or one.id in timed
    mine, yours = ([each for each in report.sections if each.id != "time"] for report in (negbench, other))
    assert mine == yours


def test_another_seed_draws_other_rows(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "negbench", 150)
    one, two = (gather(run, rows=20, seed=seed) for seed in (0, 1))
    assert {card.row_id for card in found(one, "accepted")} != {card.row_id for card in found(two, "accepted")}


def test_every_stage_and_reason_that_rejects_is_shown(negbench: Report) -> None:
    reasons = {(step.stage, reason) for step in negbench.flow for reason in step.rejected}
    assert reasons and {(card.stage, card.reason) for card in found(negbench, "rejected")} == reasons
    assert {card.stage for card in found(negbench, "accepted")} == {"caption_negated", "paraphrase_mcq"}
    assert 18 <= len(negbench.cards) <= 28


def test_no_cards_when_none_are_wanted(tmp_path: Path) -> None:
    assert gather(make_run(tmp_path / "run", "recaption", 10), rows=0).cards == []


def test_boxes_are_kept_dropped_or_absent_and_lie_in_the_picture(negbench: Report) -> None:
    boxed = [card for card in negbench.cards if card.boxes]
    assert len(boxed) > 5
    for card in boxed:
        assert card.image is not None
        width, height = size_of(card.image)
        there = [text.text for text in card.texts if text.label == "there"]
        for box in card.boxes:
            x0, y0, x1, y1 = box.box
            assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
            if card.outcome == "accepted" and box.kind == "kept":
                assert box.name in there[0]
            assert card.outcome == "accepted" or box.kind != "kept"


def test_an_accepted_row_shows_all_its_texts(negbench: Report) -> None:
    asked = [card for card in found(negbench, "accepted") if card.stage == "paraphrase_mcq"]
    assert asked
    for card in asked:
        labels = [text.label for text in card.texts]
        assert labels[0] == "caption" and "negated caption" in labels
        options = [text for text in card.texts if text.label.startswith("question")]
        assert len(options) % 4 == 0 and sum(text.kept for text in options) == len(options) // 4


def test_a_rejected_row_says_why(negbench: Report) -> None:
    unseen = [card for card in found(negbench, "rejected") if card.reason == "no object seen"]
    assert unseen
    for card in unseen:
        assert card.detail.startswith("scores: ") and card.image and card.objects
        assert any(text.label == "answer of the model" and not text.kept for text in card.texts)


def test_hostile_cells_are_only_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "negbench", 30)

    def change(detections: Row, row: Row) -> Any:
        if row["row_id"] % 3 == 0:
            return {"<script>": {"score": "x", "boxes": [[1, 2]]}, "a": [], "dog": {"score": 0.5, "boxes": [["0", 0, 5, 5]]}}
        return None if row["row_id"] % 3 == 1 else detections

    rewrite_cells(run, "caption_negated", "detections", change)
    rewrite_cells(run, "validate_objects", "detections", change)
    text = gather(run).model_dump_json()
    assert json.loads(text)["cards"]


@pytest.mark.parametrize("pipeline", ["antidote", "recaption", "anyedit"])
def test_cards_of_every_pipeline_have_pictures_and_texts(pipeline: str, tmp_path: Path) -> None:
    report = gather(make_run(tmp_path / "run", pipeline, 40), rows=30)
    shown = found(report, "accepted")
    assert len(shown) >= 15
    pictured = [card for card in shown if card.image is not None]
    assert len(pictured) > len(shown) / 2
    for card in pictured:
        size_of(card.image or "")
    assert all(card.texts for card in shown)
    if pipeline != "recaption":
        assert any(box.kind == "kept" for card in shown for box in card.boxes)
