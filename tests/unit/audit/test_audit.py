"""What people are given to tick is a fair sample, and what they ticked is read strictly and told for the whole dataset."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

from audited import sheet_file, sheet_text
from conftest import write_captions
from shardmill.audit.page import audit_page
from shardmill.audit.result import AuditResult, load_result
from shardmill.audit.sample import SAMPLE, AuditSample, changed_stages, draw_sample, load_sample, save_sample, share_out
from shardmill.cli.main import cli
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.pages.images import inline_jpeg
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

SCENES = [
    ("A dog runs on the beach with a red ball.", 6),
    ("Two cats sleep on a sofa next to a lamp.", 5),
    ("A man rides a bicycle past a parked car.", 5),
]
MARKUP = '</script><img src=x onerror="window.broken=1"> & a dog with a ball'


def finish(run: RunFolder) -> RunFolder:
    models: ModelPool = {}
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard, models=models)
    return run


def negbench(folder: Path, shards: int, captions: list[str], seed: int = 0) -> RunFolder:
    table = write_captions(folder.parent / "captions.csv", captions)
    new = NewRun(input=table, num_shards=shards, seed=seed, settings=("filter_objects.unverified=keep",))
    return finish(start_run(folder, new))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("audit")
    captions = [text for text, times in SCENES for _ in range(times)] + [MARKUP]
    return negbench(folder / "three", 3, captions)


@pytest.fixture(scope="module")
def drawn(whole: RunFolder) -> AuditSample:
    return draw_sample(whole, 30)[0]


def test_the_same_rows_are_drawn_for_any_number_of_shards(whole: RunFolder, drawn: AuditSample, tmp_path: Path) -> None:
    other = negbench(tmp_path / "seven", 7, [text for text, times in SCENES for _ in range(times)] + [MARKUP])
    again = draw_sample(other, 30)[0]
    assert again.id == drawn.id
    assert [(each.claim_id, each.row_id, each.claim) for each in again.claims] == [
        (each.claim_id, each.row_id, each.claim) for each in drawn.claims
    ]
    assert draw_sample(whole, 30, seed=1)[0].id != drawn.id


def test_each_kind_and_each_stratum_gets_its_part(whole: RunFolder, drawn: AuditSample) -> None:
    by_output: dict[str, int] = {}
    for stratum in drawn.strata:
        by_output[stratum.output] = by_output.get(stratum.output, 0) + stratum.drawn
        assert stratum.drawn <= stratum.lines
    lines = sum(whole.read_part("paraphrase_mcq", shard)[0].height for shard in range(3))
    assert sum(each.lines for each in drawn.strata if each.output == "questions") == lines
    assert by_output["objects"] == by_output["captions"] == 10
    cells = {each.name: each for each in drawn.strata if each.output == "questions"}
    assert all(each.drawn >= min(each.lines, 10 // len(cells)) for each in cells.values())
    assert len({claim.unit for claim in drawn.claims}) == sum(by_output.values())


def test_the_order_is_random_so_that_the_first_half_of_a_sheet_is_a_sample_too(whole: RunFolder) -> None:
    outputs = [each.output.kind for each in draw_sample(whole, 30)[1]]
    assert len(set(outputs[:12])) == 3


def test_shares_are_even_and_what_small_ones_leave_goes_to_the_others() -> None:
    assert share_out(10, [100, 100, 100]) == [4, 3, 3]
    assert share_out(200, [3, 1000, 500]) == [3, 99, 98]
    assert share_out(50, [4, 0, 5]) == [4, 0, 5]
    assert share_out(2, [9, 9, 9]) == [1, 1, 0]
    for total in range(60):
        assert sum(share_out(total, [7, 1, 20, 13])) == min(total, 41)


def test_a_statement_says_what_the_row_says(whole: RunFolder, drawn: AuditSample) -> None:
    rows = pl.concat([whole.read_part("paraphrase_mcq", shard)[0] for shard in range(3)])
    option = next(each for each in drawn.claims if each.kind == "only true option")
    row = rows.row(by_predicate=(pl.col("row_id") == option.row_id) & (pl.col("sub_id") == option.sub_id), named=True)
    letter, answer = "ABCD"[row["correct_answer"]], row[f"paraphrase_{row['correct_answer']}"]
    assert option.claim.startswith(f"{letter} is true and no other is: (A) {row['paraphrase_0']} (B) ")
    assert f"({letter}) {answer}" in option.claim
    lists = [each for each in drawn.claims if each.kind in ("object present", "object absent")]
    objects = pl.concat([whole.read_part("validate_objects", shard)[0] for shard in range(3)])
    row = objects.row(by_predicate=pl.col("row_id") == lists[0].row_id, named=True)
    of_row = [each for each in lists if each.row_id == lists[0].row_id]
    names = json.loads(row["positive_objects"]) + json.loads(row["negative_objects"])
    assert len(of_row) == len(names)
    assert all(any(name in each.claim for each in of_row) for name in names)


def test_an_unfinished_run_is_refused_unless_its_finished_shards_will_do(tmp_path: Path) -> None:
    run = negbench(tmp_path / "run", 3, [text for text, times in SCENES for _ in range(times)])
    for path in (run.files("caption_negated", 1).part, run.files("caption_negated", 1).manifest):
        path.unlink()
    with pytest.raises(UserError, match=r"caption_negated: shards 1 of 3 are not finished"):
        draw_sample(run)
    sample = draw_sample(run, allow_missing=True)[0]
    start, end = run.plan.shards[1]
    assert sample.missing_shards == [1]
    assert not [claim for claim in sample.claims if start <= claim.row_id < end]


def picture(folder: Path, name: str = "dog.png", size: tuple[int, int] = (800, 400)) -> Path:
    path = folder / name
    image = Image.new("RGB", size, "navy")
    image.info["comment"] = b"secret"
    image.save(path)
    return path


def test_a_picture_is_inlined_small_and_its_size_is_that_of_the_original(tmp_path: Path) -> None:
    found = inline_jpeg(str(picture(tmp_path)), side=200)
    assert not isinstance(found, str)
    url, width, height = found
    assert (width, height) == (800, 400)
    from base64 import b64decode

    data = b64decode(url.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG", (200, 100))
    assert b"secret" not in data
    (tmp_path / "bad.png").write_bytes(b"<script>")
    assert "not an image" in str(inline_jpeg(str(tmp_path / "bad.png")))
    assert "no such file" in str(inline_jpeg(str(tmp_path / "none.png")))


def test_nothing_of_the_data_is_markup_on_the_page(whole: RunFolder) -> None:
    sample, units = draw_sample(whole, 100)
    page = audit_page(sample, units, "<b>run</b>")
    assert any(MARKUP in text.text for unit in units for text in unit.shown.texts)
    assert "<img src=x" not in page and "<b>run" not in page
    assert page.count("</script>") == 2
    assert re.search(r'http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; img-src data:;', page)
    assert "unsafe" not in page
    assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", page)


def test_draw_tick_read(whole: RunFolder, tmp_path: Path) -> None:
    folder, invoke = tmp_path / "audit", CliRunner().invoke
    made = invoke(cli, ["audit", str(whole.path), "--rows", "12", "--out", str(folder)])
    assert made.exit_code == 0, made.output
    assert sorted(path.name for path in folder.iterdir()) == ["audit.csv", "audit.html", "sample.json"]
    sample = load_sample(whole, folder)
    ann = sheet_file(tmp_path / "ann.csv", sheet_text(sample, lambda at: "right", annotator="Ann"))
    bob = sheet_file(tmp_path / "bob.csv", sheet_text(sample, lambda at: "right" if at else "wrong", annotator="Bob"))
    read = invoke(cli, ["audit", str(whole.path), "--out", str(folder), "--read", str(ann), "--read", str(bob)])
    assert read.exit_code == 0, read.output
    assert "Cohen's kappa" in read.output and "(Ann: right, Bob: wrong)" in read.output
    result = load_result(folder)
    assert result is not None and result.overall.disputed == 1
    told = invoke(cli, ["audit", str(whole.path), "--out", str(folder), "--read", str(ann), "--json"])
    assert AuditResult.model_validate_json(told.output).overall.error_rate == 0


def test_a_sample_of_another_run_is_refused_and_one_of_rows_that_changed_is_told(
    whole: RunFolder, drawn: AuditSample, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="draw a sample first with: shardmill audit"):
        load_sample(whole, tmp_path)
    save_sample(drawn.model_copy(update={"run_seed": 7}), tmp_path)
    with pytest.raises(UserError, match="was drawn from another run"):
        load_sample(whole, tmp_path)
    (tmp_path / SAMPLE).write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="is corrupt"):
        load_sample(whole, tmp_path)
    assert changed_stages(whole, drawn) == []
    other = {**drawn.fingerprints, "caption_negated": {"code": "old"}}
    assert changed_stages(whole, drawn.model_copy(update={"fingerprints": other})) == ["caption_negated"]
