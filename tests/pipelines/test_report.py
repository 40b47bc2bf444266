"""The reports of the four pipelines: their figures are those that one counts in the dataset files."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planted import lines_of, make_run
from shardmill.launch.finish import build_datasets
from shardmill.negbench.blind import blind_baselines, read_questions
from shardmill.quality.gather import gather
from shardmill.quality.model import Report
from shardmill.store.run_folder import RunFolder

ROWS = {"negbench": 240, "antidote": 60, "recaption": 60, "anyedit": 60}

SETTINGS = {"negbench": ("draw_questions.draw=rows",)}
"""Of so few rows hardly any pair of objects can be asked about in all four ways."""


@pytest.fixture(scope="module", params=ROWS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Report]:
    name = request.param
    run = make_run(tmp_path_factory.mktemp(name) / "run", name, ROWS[name], *SETTINGS.get(name, ()), num_shards=3)
    build_datasets(run)
    return run, gather(run)


def table(report: Report, id: str) -> dict[Any, Any]:
    """A table of two columns or more: the first to the second."""
    found = next(each for section in report.sections for each in section.tables if each.id == id)
    return {row[0]: row[1] for row in found.rows}


def bars(report: Report, id: str) -> dict[str, float]:
    (series,) = next(each for section in report.sections for each in section.charts if each.id == id).series
    return dict(zip(map(str, series.x), series.y, strict=True))


def value(report: Report, id: str) -> Any:
    return next(each for each in report.findings if each.id == id).value


def csv_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_report_is_json_and_comes_back(made: tuple[RunFolder, Report]) -> None:
    report = made[1]
    assert Report.model_validate_json(report.model_dump_json()) == report
    ids = [each.id for each in report.findings]
    assert len(ids) == len(set(ids)) > 12
    for each in (*report.sections, *(part for section in report.sections for part in (*section.charts, *section.tables))):
        assert each.title
    assert [each.id for each in report.findings if each.verdict == "fail"] == []


def test_charts_have_as_many_values_as_places(made: tuple[RunFolder, Report]) -> None:
    for section in made[1].sections:
        for chart in section.charts:
            assert chart.series and all(len(series.x) == len(series.y) > 0 for series in chart.series), chart.id
        for each in section.tables:
            assert all(len(row) == len(each.columns) for row in each.rows), each.id


def test_the_flow_says_what_the_card_says(made: tuple[RunFolder, Report]) -> None:
    run, report = made
    card = json.loads((run.path / "datasets" / "dataset.json").read_text(encoding="utf-8"))
    for step, stage in zip(report.flow, card["stages"], strict=True):
        assert (step.stage, step.rows_in, step.rows_out) == (stage["stage"], stage["rows_in"], stage["rows_out"])
        assert step.rejected == stage["rejected"]


Figures = Iterator[tuple[Any, Any]]
"""What the report says, and what it should say."""


def test_figures_are_those_of_the_datasets(made: tuple[RunFolder, Report]) -> None:
    run, report = made
    figures_of = {"negbench": _negbench, "antidote": _antidote, "recaption": _recaption, "anyedit": _anyedit}[report.pipeline]
    for reported, counted in figures_of(run, report):
        assert reported == counted


def _negbench(run: RunFolder, report: Report) -> Figures:
    data = run.path / "datasets"
    captions = [caption for row in csv_rows(data / "negcap.csv") for caption in json.loads(row["negative_captions"])]
    details = [each for row in csv_rows(data / "negcap.csv") for each in json.loads(row["negation_details"])]
    questions = csv_rows(data / "negmcq.csv")
    yield report.facts["negated captions"], f"{len(captions):,}"
    yield report.facts["questions"], f"{len(questions):,}"
    yield bars(report, "negation.forms"), Counter(each["form"] for each in details)
    yield (
        bars(report, "mcq.places"),
        {letter: sum(row["correct_answer"] == str(index) for row in questions) for index, letter in enumerate("ABCD")},
    )
    yield bars(report, "mcq.cells"), Counter(row["correct_answer_template"] for row in questions)
    for baseline in blind_baselines(read_questions(data / "negmcq.csv")):
        yield value(report, f"mcq.blind.{baseline.name.replace(' ', '_')}"), pytest.approx(baseline.right.value, abs=1e-6)
    counts = {row["object"]: int(row["positives"]) for row in csv_rows(data / "object_counts.csv")}
    head = bars(report, "objects.positive_objects.head")
    yield all(counts[name] == count for name, count in head.items()), True
    yield sorted(head.values(), reverse=True), sorted(counts.values(), reverse=True)[: len(head)]
    spread = table(report, "objects.positive_objects.spread")
    yield spread["different objects"], sum(count > 0 for count in counts.values())
    yield spread["named once"], sum(count == 1 for count in counts.values())
    yield table(report, "texts.variety")["negated captions"], len(captions)


def _antidote(run: RunFolder, report: Report) -> Figures:
    counts = {kind: len(list(lines_of(run, f"queries/{kind}_list.jsonl"))) for kind in ("cpq", "tpq", "pope", "desc")}
    double = Counter(
        "cpq" if "If the question cannot" in each["text_hint"] else "tpq"
        for each in lines_of(run, "queries/near_duplicates.jsonl")
    )
    yield report.facts["CPQ"], str(counts["cpq"] + double["cpq"])
    yield report.facts["POPE questions"], str(counts["pope"])
    pairs = sum(manifest.lines_out for shard in range(3) if (manifest := run.manifest("pair_preferences", shard)))
    yield report.facts["preference pairs"], str(pairs)
    rows = list(lines_of(run, "antidote.jsonl"))
    names = Counter(name for row in rows for name in row["verified_absent"])
    yield all(names[name] == count for name, count in bars(report, "objects.verified_absent.head").items()), True
    yield table(report, "pope.draws"), Counter(each["draw"] for row in rows for each in row["pope"])
    yield table(report, "objects.verified_absent.spread")["mentions"], names.total()


def _recaption(run: RunFolder, report: Report) -> Figures:
    captions = list(lines_of(run, "captions.jsonl"))
    good = sum(each["fault"] is None for each in captions)
    yield report.facts["captions"], f"{good} good of {len(captions)}"
    yield value(report, "captions.judged"), pytest.approx(good / len(captions), abs=1e-6)
    lines = list(lines_of(run, "multicaption.jsonl"))
    yield report.facts["lines"].startswith(f"{len(lines)} of "), True
    for name, number in table(report, "texts.variety").items():
        own = [each for each in captions if f"{each['perspective']} captions" == name and each["fault"] is None]
        yield len(own), number


def _anyedit(run: RunFolder, report: Report) -> Figures:
    edits = [each for each in lines_of(run, "instructions.jsonl") if each["edit_type"] != "implicit_change"]
    types = Counter(each["edit_type"] for each in edits)
    yield bars(report, "edits.types"), types
    yield report.facts["instructions"], f"{len(edits)} of {len(types)} types"
    yield value(report, "edits.types"), pytest.approx(max(types.values()) / len(edits), abs=1e-6)
    yield report.facts["chains"], str(len(list(lines_of(run, "chains.jsonl"))))
    verbs = Counter(each["edit"].split()[0].lower() for each in edits)
    yield all(verbs[name] == count for name, count in bars(report, "edits.verbs").items()), True
