"""A pipeline that brings no quality of its own has a report too: of every column that its stages add, by its kind."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from planted import SAMPLES
from shardmill.core.planning import NewRun, start_run
from shardmill.core.shard_runner import run_shard
from shardmill.quality.gather import gather
from shardmill.quality.model import QualityFinding, Report
from shardmill.quality.page import report_page
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

CODE = """
from random import Random

import polars as pl

from shardmill.core.pipeline import Pipeline
from shardmill.core.stage import Reject, RowStage, TableStage
from shardmill.quality.rules import NEVER, QualityRule, at_least, at_most

COLOURS = ("red", "blue", "green", "white", "black")


class CountColours(RowStage):
    name, reads, adds = "count_colours", ("caption",), {"colours": "list", "share": "float", "loud": "bool", "found": "json"}

    def decide(self, row, rng: Random):
        words = row["caption"].lower().split()
        if row["row_id"] % 10 == 9:
            return Reject("not this one", f"row {row['row_id']}")
        colours = [word for word in words if word in COLOURS]
        return {"colours": colours, "share": len(colours) / len(words), "loud": "red" in colours, "found": {"words": len(words)}}


class Shout(TableStage):
    name, reads, adds = "shout", ("caption", "colours"), {"shout": "text", "size": "text", "note": "text", "letters": "int"}

    def transform(self, table):
        caption = pl.col("caption")
        return table.select(
            "row_id", reject_reason=pl.lit(None, pl.String), shout=caption.str.to_uppercase(),
            size=pl.when(caption.str.len_chars() > 60).then(pl.lit("long")).otherwise(pl.lit("short")),
            note=pl.lit(""), letters=caption.str.len_chars().cast(pl.Int64),
        )


RULES = [
    QualityRule("own.lower", "Shouts have no small letters.", NEVER, ("shout",), pl.col("shout").str.contains("[a-z]")),
    QualityRule("own.long", "Most captions are long.", at_least(0.9, 0.8), ("letters",), pl.col("letters") > 1_000),
    QualityRule("own.colour", "No colour dominates.", at_most(0.9), ("colours",), pl.col("colours"), counts="commonest"),
    QualityRule("own.row", "Shouts repeat no word.", at_most(1.0), ("shout",), lambda row: [None, "twice"]),
    QualityRule("own.missing", "Never measured.", NEVER, ("nowhere",), pl.col("nowhere").is_null()),
]
BROKEN = Pipeline("broken", stages=[CountColours, Shout], quality=[
    QualityRule("own.broken", "A text is a number.", NEVER, ("shout",), lambda row: [row["shot"]])
])
WRONG = Pipeline("wrong", stages=[CountColours, Shout], quality=[
    QualityRule("own.wrong", "A list is a text.", NEVER, ("colours",), pl.col("colours").str.len_chars() > 3)
])
PLAIN = Pipeline("plain", stages=[CountColours, Shout])
RULED = Pipeline("ruled", stages=[CountColours, Shout], quality=RULES)
"""


def make(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, shards: int = 2) -> RunFolder:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("SHARDMILL_CODE", "{}")
    (folder / "colours.py").write_text(CODE)
    with open(SAMPLES / "captions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:60]
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    new = NewRun(input=folder / "captions.csv", pipeline=f"{folder / 'colours.py'}:{name}", image_root=SAMPLES, num_shards=shards)
    run = start_run(folder / f"run-{name}-{shards}", new)
    for stage in run.stages:
        for shard in range(run.num_shards):
            run_shard(run, stage, shard)
    return run


def found(report: Report) -> dict[str, QualityFinding]:
    return {finding.id: finding for finding in report.findings}


def sections(report: Report) -> set[str]:
    return {section.id for section in report.sections}


def test_every_added_column_is_measured_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = gather(make(tmp_path, monkeypatch, "PLAIN"), rows=20)
    assert {"columns", "texts", "time"} <= sections(report)
    assert report.flow[1].rejected == {"not this one": 6}
    findings = found(report)
    assert findings["note.filled"].verdict == "look" and findings["note.filled"].value == 0
    assert findings["letters.filled"].verdict == "pass"
    assert {"input.caption.copies", "shout.copies", "yield.shout"} <= findings.keys()
    assert "size.copies" not in findings, "two values are categories, which may repeat"
    figures = {each.id: each for section in report.sections for each in (*section.charts, *section.tables)}
    assert set(figures["size.values"].series[0].x) == {"long", "short"}  # type: ignore[union-attr]
    assert {"colours.sizes", "colours.items", "loud.values", "share.range", "letters.values", "texts.words"} <= figures.keys()
    assert [row[0] for row in figures["texts.variety"].rows] == ["values of shout"]  # type: ignore[union-attr]


def test_cards_show_every_added_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = gather(make(tmp_path, monkeypatch, "PLAIN"), rows=20)
    card = next(card for card in report.cards if card.outcome == "accepted")
    labels = {text.label: text.text for text in card.texts}
    assert {"caption", "colours", "share", "loud", "found", "shout", "size", "letters"} <= labels.keys()
    assert labels["shout"] == labels["caption"].upper()
    assert any(card.reason == "not this one" for card in report.cards)
    assert 'id="section-columns"' in report_page(report)


def test_rules_of_ones_own_are_measured_beside_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = found(gather(make(tmp_path, monkeypatch, "RULED"), rows=0))
    assert (findings["own.lower"].verdict, findings["own.lower"].n) == ("pass", 54)
    assert findings["own.long"].verdict == "fail" and findings["own.long"].examples
    assert findings["own.colour"].n > 0 and "%" in findings["own.colour"].shown
    assert (findings["own.row"].value, findings["own.row"].n) == (0.5, 108)
    assert "own.missing" not in findings
    assert "shout.copies" in findings


@pytest.mark.parametrize(("pipeline", "rule"), [("BROKEN", "own.broken"), ("WRONG", "own.wrong")])
def test_a_rule_that_fails_is_named(pipeline: str, rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path, monkeypatch, pipeline)
    with pytest.raises(UserError, match=rule) as failed:
        gather(run, rows=0)
    assert "\n" not in str(failed.value)


def test_the_figures_do_not_depend_on_the_number_of_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (gather(make(tmp_path, monkeypatch, "RULED", shards), rows=20, seed=4) for shards in (1, 5))
    assert {**found(one), "complete": None, "stragglers": None} == {**found(other), "complete": None, "stragglers": None}
    assert one.cards == other.cards


def test_a_run_whose_code_is_not_known_here_has_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path, monkeypatch, "PLAIN")
    monkeypatch.setenv("SHARDMILL_CODE", "{}")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    assert "columns" in sections(gather(RunFolder(run.path), rows=4))
