"""What a row claims that a person who sees its picture can tick: right, wrong, or unclear.

A pipeline puts out several kinds of things, each made by one stage. For a line of such a stage `show` says what is shown and what
is claimed; `stratum` is the group that the line belongs to, by its kind and its template, cell, query or edit type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from shardmill.antidote.hints import denial
from shardmill.anyedit.edit_types import TYPES
from shardmill.anyedit.images import GENERATED
from shardmill.language.nouns import is_mass, is_plural, with_article
from shardmill.pages.cards import BoxView, TextView
from shardmill.recaption.names import ORIGINAL, column_of, text_name
from shardmill.recaption.perspectives import perspectives
from shardmill.store.run_folder import RunFolder
from shardmill.util.errors import UserError

Row = Mapping[str, Any]
LETTERS = "ABCD"
PRESENT, ABSENT = "object present", "object absent"


@dataclass(frozen=True)
class Claim:
    """One sentence to tick. `kind` is what its error rate is told for."""

    kind: str
    text: str


@dataclass(frozen=True)
class Item:
    """What is shown of a line beside its picture, and what it claims."""

    claims: list[Claim]
    texts: list[TextView] = field(default_factory=list)
    boxes: list[BoxView] = field(default_factory=list)


@dataclass(frozen=True)
class Output:
    """A kind of thing that a stage puts out, one for each line of which `stratum` (over its columns) is not null."""

    kind: str
    stage: str
    picture: str
    stratum: pl.Expr
    show: Callable[[Row], Item]


def outputs_of(run: RunFolder) -> list[Output]:
    """What there is to tick in a run. Raises UserError for a run without any of the stages that claim something."""
    found = [output for output in OUTPUTS[run.plan.pipeline](run) if output.stage in run.stages]
    if not found:
        raise UserError(f"the run {run.path} has no stage whose rows claim something that a person can tick")
    return found


def _one(name: str) -> pl.Expr:
    return pl.lit(name)


def _is_there(name: str) -> Claim:
    verb = "are" if is_plural(name) and not is_mass(name) else "is"
    return Claim(PRESENT, f"There {verb} {with_article(name)} in this image.")


def _is_not_there(name: str) -> Claim:
    return Claim(ABSENT, denial(name))


def boxes_of(row: Row, present: Sequence[str], absent: Sequence[str]) -> list[BoxView]:
    """The boxes that a detector found, by what became of their objects."""
    boxes = []
    for name, found in (row.get("detections") or {}).items():
        kind: Literal["kept", "dropped", "absent"] = "kept" if name in present else "absent" if name in absent else "dropped"
        boxes += [BoxView(name=name, score=found["score"], box=tuple(box), kind=kind) for box in found["boxes"]]
    return boxes


def _negbench(run: RunFolder) -> list[Output]:
    options = "paraphrase" if "paraphrase_mcq" in run.stages else "caption"

    def lists(row: Row) -> Item:
        positives, negatives = row["positive_objects"], row["negative_objects"]
        claims = [*map(_is_there, positives), *map(_is_not_there, negatives)]
        return Item(claims, _texts(caption=row["caption"]), boxes_of(row, positives, negatives))

    def captions(row: Row) -> Item:
        claims = [Claim("negated caption", f"This is true of the image: {text}") for text in row["negative_captions"]]
        return Item(claims, _texts(caption=row["caption"]), boxes_of(row, row["positive_objects"], row["negative_objects"]))

    def question(row: Row) -> Item:
        texts = {letter: row[f"{options}_{index}"] for index, letter in enumerate(LETTERS)}
        answer = LETTERS[row["correct_answer"]]
        told = " ".join(f"({letter}) {text}" for letter, text in texts.items())
        boxes = boxes_of(row, row["positive_objects"], row["negative_objects"])
        return Item([Claim("only true option", f"{answer} is true and no other is: {told}")], _texts(**texts), boxes)

    asked = f"{options}_mcq" if options == "paraphrase" else "create_mcq"
    return [
        Output("objects", "validate_objects", "image", _one("lists"), lists),
        Output("captions", "caption_negated", "image", _one("negated captions"), captions),
        Output("questions", asked, "image", pl.col("correct_answer_template"), question),
    ]


def _antidote(run: RunFolder) -> list[Output]:
    def facts(row: Row) -> Item:
        present, absent = row["verified_present"], row["verified_absent"]
        claims = [*map(_is_there, present), *map(_is_not_there, absent)]
        return Item(claims, _texts(caption=row["scene_caption"]), boxes_of(row, present, absent))

    def questions(row: Row) -> Item:
        good = [each for each in row["questions"] if each["verdict"] == "pass"]
        texts = [TextView(label=f"{each['kind']} about {each['object']}", text=each["question"]) for each in good]
        claims = []
        for each in good:
            told = f"“{each['question']}” takes for granted that {with_article(each['object'])} is there, without asking whether."
            claims += [Claim(f"{each['kind']} presupposes", told)]
            there = _is_not_there(each["object"]) if each["kind"] == "cpq" else _is_there(each["object"])
            claims += [Claim(f"{each['kind']} {there.kind}", there.text)]
        return Item(claims, texts, boxes_of(row, row["verified_present"], row["verified_absent"]))

    def existence(row: Row) -> Item:
        claims = [Claim("existence answer", f"{each['question']} {each['answer'].capitalize()}.") for each in row["pope"]]
        return Item(claims, [], boxes_of(row, row["verified_present"], row["verified_absent"]))

    def pair(row: Row) -> Item:
        texts = _texts(question=row["query"], preferred=row["response"], rejected=row["rejected_response"])
        claims = [
            Claim("preferred answer", f"{row['query']} This is a right answer: {row['response']}"),
            Claim("rejected answer", f"{row['query']} This is a worse one: {row['rejected_response']}"),
        ]
        return Item(claims, texts, boxes_of(row, row["verified_present"], row["verified_absent"]))

    judged = pl.when(pl.col("questions").str.contains('"verdict":"pass"', literal=True)).then(_one("questions"))
    asked = pl.when(pl.col("pope") != "[]").then(_one("existence"))
    return [
        Output("facts", "check_facts", GENERATED, _one("lists"), facts),
        Output("questions", "judge_questions", GENERATED, judged, questions),
        Output("existence", "ask_pope", GENERATED, asked, existence),
        Output("preferences", "pair_preferences", GENERATED, pl.col("query_kind"), pair),
    ]


def _recaption(run: RunFolder) -> list[Output]:
    """The captions of each captioner are a thing of their own; the multi-text lines hold no others."""
    if "check_captions" not in run.stages:
        return []
    options = run.stage("check_captions").options
    asked = perspectives(options.get("perspectives_file"))

    def captions(row: Row, captioner: str) -> Item:
        claims = []
        for each in row["checked"]:
            if each["captioner"] == captioner and each["fault"] is None:
                name, perspective = text_name(captioner, each["perspective"]), asked.get(each["perspective"])
                claims.append(Claim(f"{name} fits", f"This fits the image: {each['text']}"))
                if perspective is not None and perspective.forbids is not None:
                    thing = "the main object" if perspective.forbids == "main object" else "an object"
                    claims.append(Claim(f"{name} names no object", f"This does not name {thing} of the image: {each['text']}"))
        return Item(claims, _texts(**{ORIGINAL: row.get("caption")}))

    def output(captioner: str) -> Output:
        label = column_of(captioner)
        good = pl.col("checked").str.json_decode(CHECKED).list.eval(
            (pl.element().struct.field("captioner") == captioner) & pl.element().struct.field("fault").is_null()
        )  # fmt: skip
        stratum = pl.when(good.list.any()).then(_one(label))
        return Output(label, "check_captions", "image", stratum, lambda row: captions(row, captioner))

    return [output(captioner) for captioner in options["captioners"]]


CHECKED = pl.List(pl.Struct({"captioner": pl.String, "fault": pl.String}))
IMPLICIT_FIELDS = ("original_caption", "instruction", "target_caption")


def _anyedit(run: RunFolder) -> list[Output]:
    picture = GENERATED if "generate_images" in run.stages else "image"

    def edit(row: Row) -> Item:
        texts = _texts(input=row["edit_input"], edit=row["edit"], output=row["output"])
        kind = TYPES[row["edit_type"]].human if row["edit_type"] in TYPES else row["edit_type"]
        return Item(_edit_claims(row["edit_input"], row["edit"], row["output"], kind), texts, boxes_of(row, [], []))

    def chain(row: Row) -> Item:
        texts, claims = [], []
        for turn in row["chain"]:
            texts += _texts(**{f"turn {turn['turn']}": turn["edit"], f"after turn {turn['turn']}": turn["output"]})
            kind = TYPES[turn["edit_type"]].human if turn["edit_type"] in TYPES else turn["edit_type"]
            claims += _edit_claims(turn["input"], turn["edit"], turn["output"], kind)
        return Item(claims, _texts(input=row["input"]) + texts)

    def implicit(row: Row) -> Item:
        claims, texts = [], []
        for each in row["implicit"]:
            before, edit, after = (each[name] for name in IMPLICIT_FIELDS)
            texts += _texts(scene=before, instruction=edit, result=after)
            claims.append(Claim("implicit edit", f"{before} {edit} It is likely that it looks like this then: {after}"))
        return Item(claims, texts)

    def concept(row: Row) -> Item:
        return Item([Claim("concept", f"This is a thing or a kind of things that a picture can show: {row['concept']}")])

    chained = pl.when(pl.col("chain") != "[]").then(_one("chains"))
    implied = pl.when(pl.col("implicit") != "[]").then(_one("implicit edits"))
    last = "judge_instructions" if "judge_instructions" in run.stages else "write_instructions"
    return [
        Output("instructions", last, picture, pl.col("edit_type"), edit),
        Output("chains", "chain_instructions", picture, chained, chain),
        Output("implicit edits", "write_implicit", "image", implied, implicit),
        Output("concepts", "judge_concepts", "image", _one("concepts"), concept),
    ]


def _edit_claims(before: str, edit: str, after: str | None, kind: str) -> list[Claim]:
    claims = [Claim("instruction fits", f"“{edit}” ({kind}) makes sense for a picture of this: {before}")]
    if after is not None:
        claims.append(Claim("output caption", f"After “{edit}” the caption “{before}” becomes: {after}"))
    return claims


def _texts(**texts: str | None) -> list[TextView]:
    return [TextView(label=label, text=text) for label, text in texts.items() if text]


OUTPUTS: Mapping[str, Callable[[RunFolder], list[Output]]] = {
    "negbench": _negbench,
    "antidote": _antidote,
    "recaption": _recaption,
    "anyedit": _anyedit,
}
"""What each pipeline puts out, some of it by stages that a run need not have."""
