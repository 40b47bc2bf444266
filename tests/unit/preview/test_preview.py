"""A preview shows exactly what a run would send and get, for any input that a run would read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.embedded.rules.engine import RulesModel
from shardmill.models.contract import Reply
from shardmill.previews import PreviewedRow, preview_stage
from shardmill.store.trace import explain
from shardmill.util.errors import UserError

SETTINGS = ["filter_objects.unverified=keep"]


def preview(stage: str, path: Path, rows: int = 3, **options: Any) -> list[PreviewedRow]:
    return preview_stage(stage, NewRun(input=path, settings=SETTINGS, **options), rows)


@pytest.mark.parametrize(
    ("name", "data", "options"),
    [
        ("t.csv", 'image,caption\na.png,"A café with a table, and a lamp"\n'.encode("latin-1"), {"encoding": "latin-1"}),
        ("t.csv", "image,caption\na.png,A café with a table and a lamp\n".encode("utf-16"), {"encoding": "utf-16"}),
        ("t.tsv", 'image\tcaption\na.png\tA 3" table in a café, and a lamp\n'.encode(), {"quoting": "none"}),
        ("t.jsonl", '{"image": "a.png", "caption": "A table in a café\\nand a lamp"}\n'.encode(), {}),
        ("t.json", '[{"title": "A table in a café and a lamp"}]'.encode(), {"caption_column": "title"}),
    ],
)
def test_the_caption_is_read_as_a_run_reads_it(tmp_path: Path, name: str, data: bytes, options: dict[str, Any]) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    row = preview("extract_objects", path, **options)[0]
    run = start_run(tmp_path / "run", NewRun(input=path, settings=SETTINGS, **options))
    run_shard(run, "extract_objects", 0)
    assert row.values["caption"] == run.read_part("ingest", 0)[0]["caption"][0]
    assert row.steps[-1].result == explain(run, 0)[1]
    assert "table" in row.steps[-1].exchanges[0].sent[-1]["content"] and "table" in row.steps[-1].exchanges[0].raw


def test_rows_below_an_unreadable_one_keep_their_row_ids_and_random_choices(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,caption\na.png,one,too many\nb.png,\n" + "c.png,A dog and a cat sit on a sofa next to a lamp.\n" * 4)
    run = start_run(tmp_path / "run", NewRun(input=path, settings=SETTINGS, num_shards=2))
    for stage in ("extract_objects", "propose_negatives"):
        for shard in range(2):
            run_shard(run, stage, shard)
    rows = preview("propose_negatives", path, 4)
    assert [row.row_id for row in rows] == [2, 3, 4]
    assert [row.steps[-1].result for row in rows] == [explain(run, row.row_id)[2] for row in rows]
    assert len({str(row.steps[-1].result) for row in rows}) > 1


@pytest.mark.parametrize(("together", "exchanges"), [("true", 1), ("false", 4)])
def test_questions_that_rows_share_are_shown_with_each_of_them(tmp_path: Path, together: str, exchanges: int) -> None:
    path = tmp_path / "same.csv"
    path.write_text("image,caption\n" + "a.png,A dog and a cat sit on a sofa next to a lamp.\n" * 3)
    settings = [*SETTINGS, f"paraphrase_mcq.together={together}"]
    rows = preview_stage("paraphrase_mcq", NewRun(input=path, settings=settings), 3)
    assert rows
    for row in rows:
        assert len({exchange.sent[-1]["content"] for exchange in row.steps[-1].exchanges}) == exchanges
        assert not row.rejected


def test_answers_that_were_asked_again_are_shown_in_turn(captions_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = RulesModel.stream

    def stutter(self: RulesModel, requests: Any) -> Any:
        asked: set[str] = set()
        for request in requests:
            yield next(whole(self, [request])) if request.key in asked else Reply(request.key, "{oops")
            asked.add(request.key)

    monkeypatch.setattr(RulesModel, "stream", stutter)
    row = preview("extract_objects", captions_csv, 1)[0]
    assert row.steps[-1].exchanges[0].raw == "{oops" and len(row.steps[-1].exchanges) == 2


def test_a_rejected_row_is_shown_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("caption\nThe joy of it all\n")
    row = preview("extract_objects", path)[0]
    assert row.rejected
    assert row.steps[-1].result.rows[0]["reason"] == "the model named none"


def test_an_image_stage_shows_what_was_looked_for(tmp_path: Path) -> None:
    samples = Path(__file__).parents[3] / "data" / "samples" / "captions.csv"
    row = preview_stage("filter_objects", NewRun(input=samples), 1)[0]
    image, names = row.steps[-1].exchanges[0].sent
    assert Path(image["content"]).is_file()
    assert names["content"].split(", ")


def test_impossible_previews_are_refused(captions_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--rows must be at least 1"):
        preview("extract_objects", captions_csv, 0)
    with pytest.raises(UserError, match=r"nowhere\.csv does not exist"):
        preview("extract_objects", tmp_path / "nowhere.csv")
    (tmp_path / "head.csv").write_text("caption\n")
    with pytest.raises(UserError, match="no readable rows"):
        preview("extract_objects", tmp_path / "head.csv")
