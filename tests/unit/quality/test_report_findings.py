"""A fault that is planted in a healthy run turns its finding from pass to fail, at the top, with rows that show it."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from planted import Row, make_run, rewrite, rewrite_cells
from shardmill.core.planning import NewRun, start_run
from shardmill.language.nouns import plural
from shardmill.negbench import quality as negbench_quality
from shardmill.negbench.blind_knowledge import BlindQuestion, common_are_there
from shardmill.quality import frequency_tell
from shardmill.quality.caption_knowledge import CaptionKnowledge
from shardmill.quality.gather import gather
from shardmill.quality.judging import TOO_FEW
from shardmill.quality.model import QualityFinding, Report
from shardmill.store.run_folder import RunFolder

ROWS = {"negbench": 240, "antidote": 240, "recaption": 60, "anyedit": 90}
Plant = Callable[[RunFolder], None]


SETTINGS = {"negbench": ("draw_questions.draw=rows",)}
"""In a small sample hardly any pair can be asked about in all four ways: too few questions to judge."""


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[RunFolder, Report]]:
    """A finished run of a pipeline and its report, made once."""
    made: dict[str, tuple[RunFolder, Report]] = {}

    def get(pipeline: str) -> tuple[RunFolder, Report]:
        if pipeline not in made:
            run = make_run(tmp_path_factory.mktemp(pipeline) / "run", pipeline, ROWS[pipeline], *SETTINGS.get(pipeline, ()))
            made[pipeline] = run, gather(run, rows=0)
        return made[pipeline]

    return get


def found(report: Report, id: str) -> QualityFinding:
    return next(each for each in report.findings if each.id == id)


def one_position_favoured(run: RunFolder) -> None:
    """The true option of three rows in four is moved to the first place."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        rows = []
        for row in frame.iter_rows(named=True):
            right = row["correct_answer"]
            if row["row_id"] % 4:
                truths = json.loads(row["option_truths"])
                for name in ("caption", "paraphrase"):
                    row[f"{name}_0"], row[f"{name}_{right}"] = row[f"{name}_{right}"], row[f"{name}_0"]
                truths[0], truths[right] = truths[right], truths[0]
                row.update(correct_answer=0, option_truths=json.dumps(truths))
            rows.append(row)
        return pl.DataFrame(rows, schema=frame.schema)

    rewrite(run, "paraphrase_mcq", change)


def one_template(run: RunFolder) -> None:
    def change(captions: list[str], row: Row) -> list[str]:
        details = json.loads(row["negation_details"])
        return [f"{row['caption'].strip('. ')}. There is no {each['object']} in the image." for each in details]

    rewrite_cells(run, "caption_negated", "negative_captions", change)


def one_cue(run: RunFolder) -> None:
    def change(details: list[Row], row: Row) -> list[Row]:
        return [{**each, "cue": "no", "form": "negation_first"} for each in details]

    rewrite_cells(run, "caption_negated", "negation_details", change)


def one_wording_of_options(run: RunFolder) -> None:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        rows = []
        for row in frame.iter_rows(named=True):
            names = [each["name"] for each in json.loads(row["mcq_objects"])]
            row[f"paraphrase_{row['correct_answer']}"] = f"As to the {names[0]} and the {names[1]}, look."
            rows.append(row)
        return pl.DataFrame(rows, schema=frame.schema)

    rewrite(run, "paraphrase_mcq", change)


def doubled_captions(run: RunFolder) -> None:
    number = (pl.col("row_id") % 100).cast(pl.String)
    rewrite(run, "ingest", lambda frame: frame.with_columns(caption=pl.lit("A dog on a beach, ") + number))


def doubled_questions(run: RunFolder) -> None:
    texts = [f"paraphrase_{index}" for index in range(4)]

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            pl.when(pl.col("row_id") % 2 == 0).then(pl.lit(name)).otherwise(name).alias(name) for name in texts
        )

    rewrite(run, "paraphrase_mcq", change)


def object_everywhere(run: RunFolder) -> None:
    def change(names: list[str], row: Row) -> list[str]:
        return ["zeppelin", *names] if row["row_id"] % 2 else names

    rewrite_cells(run, "validate_objects", "positive_objects", change)


def negative_is_a_positive(run: RunFolder) -> None:
    def change(names: list[str], row: Row) -> list[str]:
        return [json.loads(row["positive_objects"])[0] + "s", *names] if row["row_id"] % 3 == 0 else names

    rewrite_cells(run, "validate_objects", "negative_objects", change)


def reversed_captions(run: RunFolder) -> None:
    def change(captions: list[str], row: Row) -> list[str]:
        details = json.loads(row["negation_details"])
        return (
            [f"{row['caption'].strip('. ')}, and a {each['object']}." for each in details] if row["row_id"] % 5 == 0 else captions
        )

    rewrite_cells(run, "caption_negated", "negative_captions", change)


def two_true_options(run: RunFolder) -> None:
    def change(truths: list[dict[str, bool]], row: Row) -> Any:
        return [truths[row["correct_answer"]]] * 4 if row["row_id"] % 4 == 0 else truths

    rewrite_cells(run, "paraphrase_mcq", "option_truths", change)


def seen_after_all(run: RunFolder) -> None:
    def change(detections: Row, row: Row) -> Row:
        seen = {name: {**each, "score": 0.9} for name, each in detections.items()}
        return seen if row["row_id"] % 3 == 0 else detections

    rewrite_cells(run, "validate_objects", "detections", change)


def separable_questions(run: RunFolder) -> None:
    def change(questions: list[Row], row: Row) -> list[Row]:
        for each in questions:
            if each["kind"] == "cpq" and each["question"]:
                each["question"] = each["question"].replace("?", " right now?")
        return questions

    rewrite_cells(run, "judge_questions", "questions", change)


def cpq_about_what_is_there(run: RunFolder) -> None:
    def change(questions: list[Row], row: Row) -> list[Row]:
        there = json.loads(row["verified_present"])[0]
        return [{**each, "object": there} if each["kind"] == "cpq" else each for each in questions]

    rewrite_cells(run, "judge_questions", "questions", change)


def only_cpqs(run: RunFolder) -> None:
    def change(questions: list[Row], row: Row) -> list[Row]:
        return [each for each in questions if each["kind"] == "cpq" or row["row_id"] % 8 == 0]

    rewrite_cells(run, "judge_questions", "questions", change)


def images_deleted(run: RunFolder) -> None:
    shutil.rmtree(run.path / "generate_images" / "images")


def captions_replaced(text: str, perspective: str = "detail", every: int = 4) -> Plant:
    def change(captions: list[Row], row: Row) -> list[Row]:
        if row["row_id"] % every == 0:
            for each in captions:
                each["text"] = text if each["perspective"] == perspective else each["text"]
        return captions

    return lambda run: rewrite_cells(run, "check_captions", "checked", change)


def same_text_twice(run: RunFolder) -> None:
    def change(captions: list[Row], row: Row) -> list[Row]:
        return [{**each, "text": captions[0]["text"]} for each in captions]

    rewrite_cells(run, "check_captions", "checked", change)


def text_missing(run: RunFolder) -> None:
    rewrite_cells(run, "merge_captions", "texts", lambda texts, row: texts[:-1] if row["row_id"] % 4 == 0 else texts)


def texts_too_long(run: RunFolder) -> None:
    rewrite_cells(run, "merge_captions", "texts", lambda texts, row: [f"{text} {'and more ' * 60}" for text in texts])


def nothing_changes(run: RunFolder) -> None:
    rewrite_cells(run, "judge_instructions", "output", lambda output, row: row["edit_input"])


def object_not_there(run: RunFolder) -> None:
    rewrite_cells(run, "judge_instructions", "edit_input", lambda text, row: "Nothing is here.")


def wrong_sum(run: RunFolder) -> None:
    def change(details: Row, row: Row) -> Row:
        return {**details, "number_after": details["number_before"]} if row["edit_type"] == "counting" else details

    rewrite_cells(run, "judge_instructions", "details", change)


def one_edit_type(run: RunFolder) -> None:
    rewrite_cells(run, "judge_instructions", "edit_type", lambda kind, row: "add" if row["sub_id"] else kind)


def one_instruction(run: RunFolder) -> None:
    rewrite_cells(run, "judge_instructions", "edit", lambda edit, row: "Make it better" if row["sub_id"] < 2 else edit)


def broken_chain(run: RunFolder) -> None:
    def change(chain: list[Row], row: Row) -> list[Row]:
        return [{**turn, "input": row["input"]} for turn in chain]

    rewrite_cells(run, "chain_instructions", "chain", change)


def instructions(*kinds: str, edit_input: str = "{input}", edit: str = "{edit}", output: str, **details: str) -> Plant:
    """Instructions of these types with other texts; {object} is the edited one."""

    def is_meant(row: Row) -> bool:
        return not kinds or row["edit_type"] in kinds

    def plant(run: RunFolder) -> None:
        def changed(details_: Row, row: Row) -> Row:
            return {**details_, **details} if is_meant(row) else details_

        def filled(pattern: str) -> Callable[[str, Row], str]:
            def change(value: str, row: Row) -> str:
                given = json.loads(row["details"])
                name = given.get("edited_object") or given.get("object") or ""
                texts = {"input": row["edit_input"], "edit": row["edit"], "object": name}
                return pattern.format(**texts) if is_meant(row) else value

            return change

        rewrite_cells(run, "judge_instructions", "details", changed)
        for column, pattern in (("output", output), ("edit", edit), ("edit_input", edit_input)):
            rewrite_cells(run, "judge_instructions", column, filled(pattern))

    return plant


def questions(pattern: str, **fields: str) -> Plant:
    """All presupposition questions in other words; {object} is what they are about."""

    def change(asked: list[Row], row: Row) -> list[Row]:
        return [
            {**each, "question": pattern.format(object=each["object"]), **fields} if each["question"] else each for each in asked
        ]

    return lambda run: rewrite_cells(run, "judge_questions", "questions", change)


def negated(pattern: str) -> Plant:
    """All negated captions in other words: {caption}, {objects}, {object} is what is missing, {many} of it."""

    def change(captions: list[str], row: Row) -> list[str]:
        objects = " and ".join(json.loads(row["positive_objects"]))
        details = json.loads(row["negation_details"])
        given = {"caption": row["caption"].strip("."), "objects": objects}
        return [pattern.format(**given, object=each["object"], many=plural(each["object"])) for each in details]

    return lambda run: rewrite_cells(run, "caption_negated", "negative_captions", change)


def options(pattern: str) -> Plant:
    """The true options in other words; {one} and {other} are their objects, {many} is the plural of the first."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        rows = []
        for row in frame.iter_rows(named=True):
            one, other = (each["name"] for each in json.loads(row["mcq_objects"]))
            text = pattern.format(one=one, other=other, many=plural(one))
            rows.append({**row, f"paraphrase_{row['correct_answer']}": text})
        return pl.DataFrame(rows, schema=frame.schema)

    return lambda run: rewrite(run, "paraphrase_mcq", change)


def lists(caption: str | None = None, **columns: list[str]) -> Plant:
    """Every third row has these lists of objects, and this caption."""

    def plant(run: RunFolder) -> None:
        for name, value in columns.items():
            rewrite_cells(run, "validate_objects", name, lambda old, row, value=value: old if row["row_id"] % 3 else value)
        if caption is not None:
            rewrite_cells(run, "validate_objects", "caption", lambda old, row: old if row["row_id"] % 3 else caption)

    return plant


def common_is_true(run: RunFolder) -> None:
    """The right answer is the one that says of common objects that they are there."""
    known = CaptionKnowledge(row["objects"] for row in run.rows("extract_objects", range(run.num_shards)))

    def change(answer: int, row: Row) -> int:
        texts = tuple(row[f"paraphrase_{index}"] for index in range(4))
        return common_are_there(BlindQuestion(texts, tuple(json.loads(row["option_truths"])), answer, 0), known)

    rewrite_cells(run, "paraphrase_mcq", "correct_answer", change)


def names_on_one_side(run: RunFolder) -> None:
    objects = [{"name": "dog", "present": True}, {"name": "cat", "present": False}]
    rewrite_cells(run, "paraphrase_mcq", "mcq_objects", lambda old, row: objects)


def negatives_of_elsewhere(run: RunFolder) -> None:
    """Boats are at sea and lamps on desks, but what is missing at sea is a lamp."""
    pairs = [["boat", "sea"], ["desk", "lamp"]]
    rewrite_cells(run, "extract_objects", "objects", lambda old, row: pairs[row["row_id"] % 2])
    rewrite_cells(run, "validate_objects", "positive_objects", lambda old, row: pairs[row["row_id"] % 2])
    rewrite_cells(run, "validate_objects", "negative_objects", lambda old, row: pairs[1 - row["row_id"] % 2])


def one_opening(run: RunFolder) -> None:
    rewrite_cells(run, "pair_preferences", "response", lambda text, row: f"Looking closely, {text}")


LAYOUT = ("movement", "resize", "relation", "rotation_change")
SENTENCES: list[tuple[str, str, Plant]] = [
    (
        "anyedit",
        "edits.number",
        instructions(edit_input="Two goats.", edit="Move the goat", output="A goat.", edited_object="goat"),
    ),
    (
        "anyedit",
        "edits.materials",
        instructions("material_change", "visual_material_transfer", output="A wooden {object} made of glass."),
    ),
    (
        "anyedit",
        "edits.lists",
        instructions("remove", edit_input="A dog sits with a cat on a sofa.", output="A cat and a sofa.", edited_object="dog"),
    ),
    (
        "anyedit",
        "edits.places",
        instructions("add", edit="Add a {object} behind the cart", output="A cart, and a {object} next to the cart."),
    ),
    (
        "anyedit",
        "edits.backgrounds",
        instructions("background_change", edit_input="A goat on a beach.", output="A goat on a beach in a {object}desert."),
    ),
    ("anyedit", "edits.rest", instructions("action_change", edit_input="A dog walks behind a cart.", output="A dog sits.")),
    ("anyedit", "edits.layout", instructions(*LAYOUT, edit_input="A cup stands on a {object}.", output="{input}")),
    (
        "anyedit",
        "edits.weather",
        instructions("tune_transfer", edit_input="A cat in a kitchen.", output="A cat in heavy rain.", aspect="weather"),
    ),
    ("anyedit", "edits.wording", instructions(output="{input} with a goat nearby.")),
    ("negbench", "captions.replaced", negated("A picture of {objects}, but no {object}.")),
    ("negbench", "captions.spelling", negated("{caption}, seen by a womman, but no {object}.")),
    ("negbench", "captions.number", negated("{caption}. There is no {many} here.")),
    ("negbench", "captions.wording", negated("{caption}, minus a {object}.")),
    ("negbench", "mcq.number", options("There is no {many} beside the {other}.")),
    ("negbench", "mcq.wording", options("There are a {one} and a {other} to see.")),
    ("negbench", "objects.denied", lists("A kitchen missing a stove.", positive_objects=["kitchen", "stove"])),
    ("negbench", "objects.spelling", lists(positive_objects=["womman", "suitcas"])),
    ("antidote", "questions.number", questions("What are the {object} like?")),
    ("antidote", "questions.sense", questions("What is the {object} wearing?", form="what it is wearing")),
    ("antidote", "questions.wording", questions("Which side of the {object} is the brightest?")),
]
PLANTS: list[tuple[str, str, Plant]] = [
    *SENTENCES,
    ("negbench", "mcq.position", one_position_favoured),
    ("negbench", "mcq.blind.most_frequent_position", one_position_favoured),
    ("negbench", "mcq.blind.common_objects_are_there", common_is_true),
    ("negbench", "mcq.blind.frequency_and_co-occurrence", common_is_true),
    ("negbench", "mcq.sides", names_on_one_side),
    ("negbench", "negatives.plausible", negatives_of_elsewhere),
    ("negbench", "captions.pattern", one_template),
    ("negbench", "captions.cues", one_cue),
    ("negbench", "captions.forms", one_cue),
    ("negbench", "mcq.right.pattern", one_wording_of_options),
    ("negbench", "mcq.polarity", one_wording_of_options),
    ("negbench", "input.caption.copies", doubled_captions),
    ("negbench", "mcq.copies", doubled_questions),
    ("negbench", "objects.positive_objects", object_everywhere),
    ("negbench", "objects.named", object_everywhere),
    ("negbench", "negatives.absent", negative_is_a_positive),
    ("negbench", "captions.polarity", reversed_captions),
    ("negbench", "mcq.one_true", two_true_options),
    ("negbench", "detector.borne_out", seen_after_all),
    ("antidote", "questions.separable", separable_questions),
    ("antidote", "questions.facts", cpq_about_what_is_there),
    ("antidote", "questions.kinds", only_cpqs),
    ("antidote", "pictures.readable", images_deleted),
    ("antidote", "preferences.opening", one_opening),
    ("recaption", "captions.script", captions_replaced("Собака бежит по берегу моря за красным мячом.")),
    ("recaption", "captions.sound", captions_replaced("I'm sorry, I cannot see the image.")),
    ("recaption", "text.detail.copies", captions_replaced("A photo of something.", every=2)),
    ("recaption", "captions.redundant", same_text_twice),
    ("recaption", "lines.whole", text_missing),
    ("recaption", "lines.tokens", texts_too_long),
    ("anyedit", "edits.change", nothing_changes),
    ("anyedit", "edits.moves", nothing_changes),
    ("anyedit", "edits.input", object_not_there),
    ("anyedit", "edits.counts", wrong_sum),
    ("anyedit", "edits.types", one_edit_type),
    ("anyedit", "edits.commonest", one_instruction),
    ("anyedit", "edits.pattern", one_instruction),
    ("anyedit", "chains.linked", broken_chain),
]


@pytest.mark.parametrize(("pipeline", "id", "plant"), PLANTS, ids=[f"{plant[0]}-{plant[1]}" for plant in PLANTS])
def test_a_planted_fault_comes_first(
    pipeline: str, id: str, plant: Plant, healthy: Callable[[str], tuple[RunFolder, Report]], tmp_path: Path
) -> None:
    run, before = healthy(pipeline)
    assert not [each.shown for each in before.findings if each.id == id and each.verdict == "fail"]
    shutil.copytree(run.path, tmp_path / "run")
    copy = RunFolder(tmp_path / "run")
    plant(copy)
    report = gather(copy, rows=0)
    now = found(report, id)
    assert now.verdict == "fail", now.shown
    assert now.examples and all(each.text for each in now.examples)
    verdicts = [each.verdict for each in report.findings]
    assert verdicts == sorted(verdicts, key=["fail", "look", "pass"].index)
    assert report.facts["verdict"].startswith(f"{verdicts.count('fail')} failed")


FROM_OTHERS, FROM_NOWHERE = [["lamp", "desk"], ["boat", "sea"]], [["airship", "zeppelin"]] * 2


@pytest.mark.parametrize(("missing", "verdict"), [(FROM_OTHERS, "pass"), (FROM_NOWHERE, "fail")])
def test_what_is_missing_must_not_be_rarer_than_what_is_there(
    missing: list[list[str]],
    verdict: str,
    healthy: Callable[[str], tuple[RunFolder, Report]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, before = healthy("negbench")
    assert found(before, "captions.frequency").fault.startswith(TOO_FEW)
    for module in (frequency_tell, negbench_quality):
        monkeypatch.setattr(module, "MIN_CAPTIONS", 100)
    shutil.copytree(run.path, tmp_path / "run")
    copy = RunFolder(tmp_path / "run")
    there = [["boat", "sea"], ["desk", "lamp"]]

    def denied(details: list[Row], row: Row) -> list[Row]:
        names = missing[row["row_id"] % 2]
        return [{**each, "object": names[(row["row_id"] // 2 + at) % 2]} for at, each in enumerate(details)]

    rewrite_cells(copy, "extract_objects", "objects", lambda old, row: there[row["row_id"] % 2])
    rewrite_cells(copy, "caption_negated", "positive_objects", lambda old, row: there[row["row_id"] % 2])
    rewrite_cells(copy, "caption_negated", "negation_details", denied)
    report = gather(copy, rows=0)
    assert found(report, "captions.frequency").verdict == verdict
    assert found(report, "captions.sides").verdict == verdict


def test_few_questions_are_not_said_to_be_blind(tmp_path: Path) -> None:
    few = found(gather(make_run(tmp_path / "run", "negbench", 30, *SETTINGS["negbench"]), rows=0), "mcq.blind")
    assert (few.verdict, few.value) == ("look", None)
    assert few.fault.startswith(TOO_FEW)


def test_the_published_style_of_questions_leaks(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "negbench", 240, "create_mcq.style=original")
    report = gather(run, rows=0)
    assert found(report, "mcq.blind.odd_one_out").verdict == "fail"
    assert found(report, "mcq.blind.odd_one_out").value > 0.9
    assert found(report, "mcq.blind.odd_one_out").examples


def test_rows_that_were_never_checked_against_their_image_fail(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "negbench", 40, "filter_objects.unverified=keep", image_root=tmp_path)
    finding = found(gather(run, rows=0), "detector.checked")
    assert (finding.verdict, finding.value) == ("fail", 1.0)
    assert finding.examples


def test_pope_is_balanced_only_with_absent_objects(tmp_path: Path, healthy: Callable[[str], tuple[RunFolder, Report]]) -> None:
    assert found(healthy("antidote")[1], "pope.balance").verdict == "look"
    run = make_run(tmp_path / "run", "antidote", 40, "ask_pope.absent=random")
    balanced = found(gather(run, rows=0), "pope.balance")
    assert (balanced.verdict, balanced.n > 100) == ("pass", True)


@pytest.mark.parametrize("pipeline", ROWS)
def test_a_healthy_run_has_no_failure(pipeline: str, healthy: Callable[[str], tuple[RunFolder, Report]]) -> None:
    assert [each.id for each in healthy(pipeline)[1].findings if each.verdict == "fail"] == []


def test_captions_that_a_spreadsheet_would_run_are_reported_and_kept(tmp_path: Path) -> None:
    lines = ['=HYPERLINK("http://x","a dog")', "A dog runs on the beach.", "- two dogs in a park", "A cat sleeps on a sofa."]
    with open(tmp_path / "captions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("filepath", "caption"), *((f"{at}.png", text) for at, text in enumerate(lines))])
    new = NewRun(input=tmp_path / "captions.csv", num_shards=2, settings=["filter_objects.unverified=keep"])
    run = start_run(tmp_path / "run", new)
    finding = found(gather(run, rows=0), "input.formulas")
    assert (finding.verdict, finding.value, [example.row_id for example in finding.examples]) == ("look", 2 / 8, [0, 2])
    assert [row["caption"] for row in run.rows("ingest", range(2))] == lines
