"""Two runs are compared over what they share, row by row whatever their shards, and chance is told from change."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from rich.console import Console

from conftest import CAPTIONS, write_captions
from report_samples import sample_comparison
from shardmill.cli.main import cli
from shardmill.compare.measures import count_categories, default_measures
from shardmill.compare.model import CellDifference, Comparison, PlanDifference, RowDifference
from shardmill.compare.runs import compare
from shardmill.compare.verdict import headline
from shardmill.compare.view import page_of, render_comparison
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import ModelPool, run_shard
from shardmill.quality.significance import two_shares
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

MARKUP = "</script><img src=x onerror=alert(1)> a dog with a ball"
MORE = [*CAPTIONS, MARKUP, "A cat sits on a mat next to a dog."]


def finished(folder: Path, **options: Any) -> RunFolder:
    table = folder.parent / "captions.csv"
    if not table.exists():
        write_captions(table, MORE * 5)
    settings = ("filter_objects.unverified=keep", *options.pop("settings", ()))
    run = start_run(folder, NewRun(**{"input": table, "num_shards": 3, **options}, settings=settings))
    models: ModelPool = {}
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard, models=models)
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def three(folder: Path) -> RunFolder:
    return finished(folder / "three")


@pytest.fixture(scope="module")
def seven(folder: Path) -> RunFolder:
    return finished(folder / "seven", num_shards=7)


@pytest.fixture(scope="module")
def reseeded(folder: Path) -> RunFolder:
    return finished(folder / "reseeded", num_shards=4, seed=1)


@pytest.fixture(scope="module")
def longer(folder: Path) -> RunFolder:
    """Only captions of ten words and more."""
    return finished(folder / "longer", min_words=10, num_shards=5)


def lines_of(run: RunFolder, stage: str) -> dict[tuple[int, int | None], dict[str, Any]]:
    parts = pl.concat([run.read_part(stage, shard)[0] for shard in range(run.num_shards)])
    return {(row["row_id"], row.get("sub_id")): row for row in parts.iter_rows(named=True)}


# rows


def test_one_plan_in_other_shards_is_one_dataset(three: RunFolder, seven: RunFolder) -> None:
    found = compare(three, seven)
    assert [(each.field, each.a, each.b) for each in found.plan] == [("shards", 3, 7)]
    for each in found.rows:
        assert each.both == three_rows(three, each.stage)
        assert (each.only_a, each.only_b, each.differ, each.not_compared) == (0, 0, 0, 0)
    assert found.sample == []
    assert all(each.a == each.b and not each.beyond_chance for each in found.balances)
    assert all(each.moved == [] for each in found.frequencies)


def three_rows(run: RunFolder, stage: str) -> int:
    return len({row_id for row_id, _ in lines_of(run, stage)})


def test_what_differs_is_what_a_look_at_both_whole_tables_finds(three: RunFolder, reseeded: RunFolder) -> None:
    for each in compare(three, reseeded).rows:
        first, second = lines_of(three, each.stage), lines_of(reseeded, each.stage)
        columns = set(three.stage(each.stage).adds if each.stage != "ingest" else three.plan.input.columns) - {"row_id", "sub_id"}
        by_column: Counter[str] = Counter()
        differing: set[int] = set()
        for name in columns:
            unlike = {key[0] for key in first.keys() & second.keys() if first[key][name] != second[key][name]}
            by_column[name] = len(unlike)
            differing |= unlike
        ids = [{row_id for row_id, _ in lines} for lines in (first, second)]
        differing |= {row_id for row_id, _ in first.keys() ^ second.keys()} & ids[0] & ids[1]
        assert each.differ == len(differing)
        assert each.columns == {name: count for name, count in by_column.items() if count}
        assert (each.both, each.only_a, each.only_b) == (len(ids[0] & ids[1]), len(ids[0] - ids[1]), len(ids[1] - ids[0]))


def test_something_differs_for_another_seed(three: RunFolder, reseeded: RunFolder) -> None:
    found = {each.stage: each for each in compare(three, reseeded).rows}
    assert found["extract_objects"].differ == 0
    assert found["propose_negatives"].columns["negatives"] > 0


def test_rows_that_only_one_run_has_are_counted_and_named(three: RunFolder, longer: RunFolder) -> None:
    found = compare(three, longer, rows=100)
    ingest = found.rows[0]
    short = sorted({key for key, _ in lines_of(three, "ingest")} - {key for key, _ in lines_of(longer, "ingest")})
    assert (ingest.only_a, ingest.only_b, ingest.differ) == (len(short), 0, 0)
    assert ingest.examples_a == short[:5]
    assert {row.row_id for row in found.sample} >= set(short)
    row = next(each for each in found.sample if each.row_id == short[0])
    assert (row.cells[0].stage, row.cells[0].column, row.cells[0].a) == ("ingest", "outcome", "accepted")
    assert row.cells[0].b == "rejected: too few words"
    assert ("selection min_words", None, 10) in [(each.field, each.a, each.b) for each in found.plan]


def test_the_sample_is_seeded_and_shows_each_value_that_differs(three: RunFolder, reseeded: RunFolder, seven: RunFolder) -> None:
    found = compare(three, reseeded, rows=4)
    assert len(found.sample) == 4
    assert [row.row_id for row in found.sample] == [row.row_id for row in compare(seven, reseeded, rows=4).sample]
    assert [row.row_id for row in found.sample] != [row.row_id for row in compare(three, reseeded, rows=4, seed=1).sample]
    assert [row.row_id for row in found.sample] == [row.row_id for row in compare(three, reseeded, rows=9).sample][:4]
    first, second = lines_of(three, "propose_negatives"), lines_of(reseeded, "propose_negatives")
    for row in found.sample:
        cell = next(each for each in row.cells if each.column == "negatives")
        assert cell.a == json.loads(first[row.row_id, None]["negatives"])
        assert cell.b == json.loads(second[row.row_id, None]["negatives"])
        assert all(each.a != each.b for each in row.cells)


def test_each_part_is_read_once_for_the_rows(three: RunFolder, reseeded: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[tuple[str, str, int]] = Counter()
    original: Callable[..., Any] = RunFolder.read_part

    def counted(run: RunFolder, stage: str, shard: int) -> Any:
        read[run.path.name, stage, shard] += 1
        return original(run, stage, shard)

    monkeypatch.setattr(RunFolder, "read_part", counted)
    compare(three, reseeded, rows=0)
    assert set(read.values()) == {1}
    assert len(read) == (len(three.stages) + 1) * (3 + 4)


def test_a_shard_that_is_not_finished_is_left_out_and_told(three: RunFolder, tmp_path: Path) -> None:
    write_captions(tmp_path / "captions.csv", MORE * 5)
    run = finished(tmp_path / "run", num_shards=5)
    run.files("create_mcq", 2).manifest.unlink()
    found = {each.stage: each for each in compare(three, run).rows}
    start, end = run.plan.shards[2]
    assert found["caption_negated"].not_compared == 0
    assert found["create_mcq"].not_compared == found["paraphrase_mcq"].not_compared == end - start
    assert found["create_mcq"].only_a == 0
    counts = {each.stage: each for each in compare(three, run).stages}
    assert counts["create_mcq"].b is not None and counts["create_mcq"].b.shards == 4


def test_other_inputs_are_compared_by_their_figures_and_never_by_row_id(three: RunFolder, tmp_path: Path) -> None:
    write_captions(tmp_path / "captions.csv", [*MORE[3:], *MORE[:3]] * 4)
    found = compare(three, finished(tmp_path / "other"))
    assert not found.same_input
    assert found.rows == [] and found.sample == []
    assert "input sha256" in [each.field for each in found.plan]
    assert found.balances and found.stages
    assert headline(found).startswith("The runs have different inputs")


def test_runs_of_other_pipelines_are_refused(three: RunFolder, tmp_path: Path) -> None:
    table = write_captions(tmp_path / "captions.csv", CAPTIONS)
    other = start_run(tmp_path / "anti", NewRun(input=table, pipeline="antidote", num_shards=1))
    with pytest.raises(UserError, match=r"is a run of negbench but .* one of antidote"):
        compare(three, other)


# plans and figures


def test_an_option_that_was_changed_is_named_with_the_balance_that_it_moved(three: RunFolder, folder: Path) -> None:
    found = compare(three, finished(folder / "original", settings=("create_mcq.style=original",)))
    changes = {each.field: (each.a, each.b) for each in found.plan}
    assert changes["create_mcq option style"] == ("balanced", "original")
    assert not any(field.startswith("paraphrase_mcq") for field in changes)
    cells = next(each for each in found.balances if each.name == "true cell")
    assert "hybrid" in cells.b and "hybrid" not in cells.a
    assert cells.beyond_chance


def test_counts_are_those_of_the_manifests(three: RunFolder, longer: RunFolder) -> None:
    ingest = compare(three, longer).stages[0]
    assert ingest.a is not None and ingest.b is not None
    assert ingest.a.rows_in == ingest.b.rows_in == len(MORE) * 5
    assert ingest.b.rows_out == ingest.b.rows_in - sum(ingest.b.rejected.values())
    assert ingest.b.rejected["too few words"] > 0 and "too few words" not in ingest.a.rejected
    chance = two_shares(ingest.a.rows_out, ingest.a.rows_in, ingest.b.rows_out, ingest.b.rows_in)
    assert chance is not None and ingest.p == chance.p


def test_a_stage_that_one_run_lacks_is_told_as_such(three: RunFolder, folder: Path) -> None:
    file = folder / "short.yaml"
    file.write_text("pipeline: negbench\nstages:\n  - {stage: extract_objects, model: rules}\n", encoding="utf-8")
    table = folder / "captions.csv"
    run = start_run(folder / "short", NewRun(input=table, pipeline=str(file), num_shards=1))
    run_shard(run, "extract_objects", 0)
    found = compare(three, run)
    counts = {each.stage: each for each in found.stages}
    assert counts["create_mcq"].b is None and counts["create_mcq"].p is None
    assert [each.stage for each in found.rows] == ["ingest", "extract_objects"]
    assert found.balances == []


def test_object_shares_are_of_rows_and_what_moved_most_comes_first(three: RunFolder, longer: RunFolder) -> None:
    positive = next(each for each in compare(three, longer).frequencies if each.name == "positive objects")
    lists = [json.loads(row["positive_objects"]) for row in lines_of(three, "validate_objects").values()]
    assert positive.rows_a == len(lists)
    assert positive.moved
    for shift in positive.moved:
        assert shift.a == pytest.approx(sum(shift.name in names for names in lists) / len(lists))
        assert (shift.b > shift.a) == (shift.z > 0)
    assert [abs(each.z) for each in positive.moved] == sorted((abs(each.z) for each in positive.moved), reverse=True)


# what people see


def test_the_verdict_comes_first_and_in_words() -> None:
    assert headline(sample_comparison()) == (
        "Of the plans only the seed and the number of shards differ; all 342 rows of create_mcq that both runs have differ."
    )
    one = sample_comparison().rows[0].model_copy(update={"both": 3, "differ": 1, "only_b": 1})
    assert headline(sample_comparison(plan=[], rows=[one])) == (
        "The plans are the same; 1 of the 3 rows of create_mcq that both runs have differ; 1 row only in second."
    )
    many = [PlanDifference(field=f"option {number}", a=1, b=2) for number in range(5)]
    assert headline(sample_comparison(plan=many)).startswith("The plans differ in 5 settings, such as option 0;")


def test_runs_are_called_by_name_and_no_chance_is_given_as_one() -> None:
    found = sample_comparison()
    terminal = io.StringIO()
    Console(file=terminal, width=120).print(render_comparison(found))
    for said in (terminal.getvalue(), page_of(found).split("</style>")[1]):
        assert "first" in said and "second" in said and "p = 1" not in said and "1.0000" not in said
        assert "the same" in said and "may be chance" in said  # the same counts in another number of shards; a balance
    assert "last/first" in page_of(sample_comparison(a="/last/first", b="/next/first"))


def hostile(found: Comparison) -> Comparison:
    """The comparison with data in it that would like to be markup."""
    cell = CellDifference(stage="caption_negated", sub_id=None, column="negative_captions", a=[MARKUP], b="[bold]A cat[/] \u202e")
    return found.model_copy(update={"sample": [RowDifference(row_id=4, cells=[cell]), *found.sample]})


def test_the_page_and_the_json_hold_all_of_it(three: RunFolder, reseeded: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    command = ["compare", str(three.path), str(reseeded.path), "--rows", "20", "--out", str(out), "--json"]
    told = CliRunner().invoke(cli, command)
    assert told.exit_code == 0, told.output
    found = Comparison.model_validate_json(told.output)
    assert found == compare(three, reseeded, rows=20)
    page = out.read_text(encoding="utf-8")
    assert page == page_of(found)
    assert all(f"<h3>row {row.row_id}</h3>" in page for row in found.sample)


def test_nothing_of_the_data_is_markup_on_the_page(three: RunFolder, reseeded: RunFolder) -> None:
    page = page_of(hostile(compare(three, reseeded)))
    assert "onerror=alert" in page and "<img src=x" not in page
    assert page.count("</script>") == 1
    assert "\u202e" not in page


def test_the_terminal_shows_data_as_text_and_values_from_where_they_differ(three: RunFolder, reseeded: RunFolder) -> None:
    found = hostile(compare(three, reseeded))
    long = CellDifference(stage="s", sub_id=2, column="c", a="the same " * 30 + "one", b="the same " * 30 + "other")
    found.sample[0].cells.append(long)
    console = Console(width=200, file=io.StringIO())
    console.print(render_comparison(found))
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert "[bold]A cat[/]" in told and "\u202e" not in told
    assert re.search(r"s c of line 2 +….{11} ?one +….{11} ?other", told)


def test_the_main_thing_is_said_first(three: RunFolder, reseeded: RunFolder) -> None:
    told = CliRunner().invoke(cli, ["compare", str(three.path), str(reseeded.path)])
    assert told.exit_code == 0, told.output
    assert " ".join(told.output.split()).startswith("Of the plans only the seed and ")
    same = CliRunner().invoke(cli, ["compare", str(three.path), str(three.path)])
    assert "The plans are the same, and so are all rows" in same.output
    missing = CliRunner().invoke(cli, ["compare", str(three.path), str(three.path.parent / "none")])
    assert isinstance(missing.exception, UserError) and "is not a run folder" in str(missing.exception)


# any pipeline


def test_without_measures_of_its_own_a_run_is_compared_by_the_columns_that_its_stages_add(three: RunFolder) -> None:
    measures = default_measures(three)
    balances = {(each.stage, each.name) for each in measures.balances}
    assert ("extract_objects", "items of objects") in balances and ("create_mcq", "correct_answer") in balances
    assert not {name for _, name in balances} & {"row_id", "sub_id", "image"}
    assert ("extract_objects", "objects") in {(each.stage, each.name) for each in measures.objects}
    shards = {stage: range(3) for stage in three.stages}
    letters = next(each for each in measures.balances if each.name == "correct_answer_template")
    counts = count_categories(three, shards, letters)
    assert counts is not None and sum(counts.values()) == len(lines_of(three, "create_mcq"))
    prose = next(each for each in measures.balances if each.name == "caption_0")
    counted = count_categories(three, shards, prose)
    assert counted is not None and all(len(name) <= 40 for name in counted)


def test_a_column_of_too_many_values_is_not_a_category(three: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shardmill.compare.measures.MAX_CATEGORIES", 1)
    shards = {stage: range(3) for stage in three.stages}
    cells = next(each for each in default_measures(three).balances if each.name == "correct_answer")
    assert count_categories(three, shards, cells) is None
    assert "position of the true option" not in {each.name for each in compare(three, three).balances}
