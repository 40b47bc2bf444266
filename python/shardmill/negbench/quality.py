"""NegBench: object lists, negated captions and multiple-choice questions, held to sections 1 to 3 of what good data is."""

from __future__ import annotations

from collections import Counter

import polars as pl

from shardmill.language.lexicon import lexicon
from shardmill.language.object_names import conflict, distinct, form_problem
from shardmill.language.polarity import check_negated
from shardmill.language.relations import mentions
from shardmill.negbench.quality_questions import Questions
from shardmill.quality.figures import skeleton, words
from shardmill.quality.finished_shards import FinishedShards
from shardmill.quality.grounding import Grounding, GroundingClaims
from shardmill.quality.inputs import Inputs
from shardmill.quality.judging import at_least, example, never
from shardmill.quality.measures import bars_chart
from shardmill.quality.model import FigureTable, QualityFinding, ReportSection, RowExample, TextView
from shardmill.quality.objects_and_texts import Objects, Texts, TextsSection, balance
from shardmill.quality.parts import CHECKED_ROWS, ColumnReading, PipelineQuality, QualityPart, Row, Rows, lists

NEGATED_ROWS = 20_000


class Negbench(PipelineQuality):
    """All that is measured of a NegBench run, as far as it has come."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        super().__init__(standing, seed)
        self.parts = [Inputs(standing)]
        texts: list[Texts] = []
        if standing.has("filter_objects"):
            options = standing.run.stage("filter_objects").options
            looked = next(name for name in ("validate_objects", "filter_objects") if standing.has(name))  # one file less to read
            claims = GroundingClaims(
                "objects", "negatives", "seen_objects", "unseen_negatives", options["present_above"], options["absent_below"]
            )
            self.parts += [Checked(looked), Grounding(standing, looked, claims, seed)]
        if standing.has("validate_objects"):
            self.parts += [
                Lists(standing, seed),
                Objects(standing, "validate_objects", "positive_objects", "objects that are there"),
                Objects(standing, "validate_objects", "negative_objects", "objects that are not there"),
            ]
        if standing.has("caption_negated"):
            captions = caption_texts(standing, seed)
            texts.append(captions)
            self.parts += [NegatedCaptions(standing, seed), captions]
        if standing.has("paraphrase_mcq") or standing.has("create_mcq"):
            questions = Questions(standing, seed)
            texts.append(questions.texts)
            self.parts += [questions, questions.texts]
        self.parts.append(TextsSection(texts))

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        there = row.get("positive_objects") or row.get("seen_objects") or row.get("objects") or []
        not_there = row.get("negative_objects") or row.get("unseen_negatives") or row.get("negatives") or []
        return there, not_there

    def texts(self, lines: dict[str, list[Row]]) -> list[TextView]:
        found = []
        for row in lines.get("caption_negated", [])[:1]:
            details = row["negation_details"] or []
            for caption, detail in zip(row["negative_captions"] or [], details, strict=False):
                why = f"{detail['object']}: {detail['form'].replace('_', ' ')}, {detail['cue']}"
                found.append(TextView(label="negated caption", text=caption, why=why))
        stage = next((name for name in ("paraphrase_mcq", "create_mcq") if lines.get(name)), None)
        for row in lines[stage] if stage else ():
            for index in range(4):
                text = row.get(f"paraphrase_{index}") or row[f"caption_{index}"]
                right = index == row["correct_answer"]
                why = f"the true option ({row['correct_answer_template']})" if right else "a false option"
                found.append(TextView(label=f"question {row['sub_id']}, option {'ABCD'[index]}", text=text, kept=right, why=why))
        for row in [each for own in lines.values() for each in own if each.get("dropped_objects")][-1:]:
            found += [
                TextView(label="dropped object", text=name, kept=False, why=str(why))
                for name, why in row["dropped_objects"].items()
            ]
        return found


class Checked(QualityPart):
    """No row passes on whose image the detector could not look at."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._rows = self._unchecked = 0
        self._examples: list[RowExample] = []

    def readings(self) -> list[ColumnReading]:
        return [ColumnReading(self._stage, ("image_checked", "image"), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        unchecked = frame.filter(~pl.col("image_checked").fill_null(False))
        self._rows += frame.height
        self._unchecked += unchecked.height
        for row_id, image in unchecked.select("row_id", "image").head(5).iter_rows():
            self._examples.append(example(row_id, f"not looked at: {image}"))

    def findings(self) -> list[QualityFinding]:
        return [
            never(
                "detector.checked",
                "Every row was checked against its image.",
                self._unchecked,
                self._rows,
                means="Rows passed on unverified (filter_objects.unverified=keep is for rehearsals): their objects are what "
                "the caption says, and their negatives may well be in the picture.",
                examples=self._examples,
            )
        ]


class Lists(Rows):
    """The lists that captions and questions are made of, by the rules of section 1, on a sample."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        columns = ("caption", "positive_objects", "negative_objects")
        super().__init__(standing, "validate_objects", columns, CHECKED_ROWS, seed, "lists")

    def findings(self) -> list[QualityFinding]:
        unnamed, unsound, clashing = [], [], []
        positives = negatives = 0
        for row in self.rows:
            there, not_there = row["positive_objects"] or [], row["negative_objects"] or []
            positives, negatives = positives + len(there), negatives + len(not_there)
            unnamed += [(row, name) for name in there if not mentions(row["caption"] or "", name)]
            for names in (there, not_there):
                unsound += [(row, f"{name}: {problem}") for name in names if (problem := form_problem(name)) is not None]
                unsound += [(row, f"{name} comes twice") for name in set(names) - set(distinct(names))]
            clashing += [
                (row, f"{name}: {why}") for name in not_there if (why := conflict(name, there, row["caption"] or "")) is not None
            ]
        return [
            never(
                "objects.named",
                "Objects are named in the caption, by themselves or a listed synonym.",
                len(unnamed),
                positives,
                means="The model invents objects; captions and questions about them are not borne out by the caption.",
                examples=[example(row["row_id"], f"{name} is not in: {row['caption']}") for row, name in unnamed[:5]],
            ),
            never(
                "objects.form",
                "Names are those of things, without quantity or opinion words, and none comes twice.",
                len(unsound),
                positives + negatives,
                means="Names such as “two big dogs” or “dogs” beside “dog” make odd sentences and doubled options.",
                examples=[example(row["row_id"], text) for row, text in unsound[:5]],
            ),
            never(
                "negatives.absent",
                "No negative is one of the positives, a synonym, kind or part of one, or named in the caption.",
                len(clashing),
                negatives,
                means="A negative that is there after all makes captions and answers wrong.",
                examples=[example(row["row_id"], text) for row, text in clashing[:5]],
            ),
            self._plausible(),
        ]

    def _plausible(self) -> QualityFinding:
        """Negatives that share a scene of the lexicon with a positive, beside those of the row before, which are of elsewhere."""
        fits = known = 0
        by_chance = 0.0
        strange: list[RowExample] = []
        others: list[str] = []
        for row in self.rows:
            scenes = _scenes(row["positive_objects"] or [])
            for name in row["negative_objects"] or []:
                if scenes and (own := _scenes([name])):
                    known += 1
                    fits += bool(own & scenes)
                    if not own & scenes and len(strange) < 5:
                        strange.append(example(row["row_id"], f"{name}, with {', '.join(row['positive_objects'])}"))
            if scenes and others:
                by_chance += sum(bool(_scenes([name]) & scenes) for name in others) / len(others)
            others = [name for name in row["negative_objects"] or [] if _scenes([name])]
        chance = by_chance / max(len(self.rows) - 1, 1)
        return at_least(
            "negatives.plausible",
            "Negatives would fit the scene.",
            fits,
            known,
            look=0.5,
            fail=0.2,
            told=f"negatives of other rows would fit {chance:.0%}".replace("%", " %"),
            means="Random nouns are useless negatives: nobody expects them, so denying them teaches nothing. Counted are names "
            "that the lexicon knows a scene of.",
            examples=strange,
        )


def _scenes(names: list[str]) -> set[str]:
    return {scene for name in names if (entry := lexicon().find(name)) is not None for scene in entry.scenes}


class NegatedCaptions(QualityPart):
    """Negated captions: how many over all of them; forms, cue words and polarity on a sample."""

    def __init__(self, standing: FinishedShards, seed: int) -> None:
        columns = ("positive_objects", "negative_captions", "negation_details")
        self._sample = Rows(standing, "caption_negated", columns, NEGATED_ROWS, seed, "captions")
        self._rows, self._captions = 0, 0

    def readings(self) -> list[ColumnReading]:
        return [*self._sample.readings(), ColumnReading("caption_negated", ("negative_captions",), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        self._rows += frame.height
        self._captions += int(frame.select(lists("negative_captions").list.len().sum()).item() or 0)

    def _counted(self, field: str) -> list[tuple[str, int]]:
        """How often each form or cue comes in the sample, the commonest first."""
        counts = Counter(str(detail[field]) for row in self._sample.rows for detail in row["negation_details"] or [])
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    def findings(self) -> list[QualityFinding]:
        wrong: list[RowExample] = []
        by_cue: dict[str, list[RowExample]] = {}
        bad = checked = 0
        for row in self._sample.some(CHECKED_ROWS):
            pairs = zip(row["negative_captions"] or [], row["negation_details"] or [], strict=False)
            for caption, detail in pairs:
                checked += 1
                problem = check_negated(caption, row["positive_objects"] or [], [detail["object"]])
                if problem is not None:
                    bad += 1
                    wrong.append(example(row["row_id"], f"{problem}: {caption}"))
                for key in (detail["cue"], detail["form"]):
                    by_cue.setdefault(str(key), []).append(example(row["row_id"], caption))
        return [
            never(
                "captions.polarity",
                "Negated captions keep the positives affirmed and deny the negative.",
                bad,
                checked,
                means="Captions say the opposite of what they are taken for: wrong supervision. The polarity checker let them "
                "through or was not asked.",
                examples=wrong,
            ),
            balance(
                "captions.forms",
                "Negation first and affirmation first are about equally frequent.",
                self._counted("form"),
                look=0.65,
                fail=0.85,
                means="One form dominates: a model learns where a negation stands instead of what it denies.",
                examples=by_cue,
            ),
            balance(
                "captions.cues",
                "No cue word makes most of the negations.",
                self._counted("cue"),
                look=0.5,
                fail=0.8,
                means="A model learns one word (“no”) instead of negation. Vary the template set or the prompt.",
                examples=by_cue,
            ),
        ]

    def sections(self) -> list[ReportSection]:
        if not self._captions:
            return []
        per_row = FigureTable(
            id="negation.counts",
            title="Captions",
            columns=["figure", "value"],
            rows=[
                ["rows", self._rows],
                ["captions", self._captions],
                ["captions per row", round(self._captions / self._rows, 3)],
            ],
        )
        return [
            ReportSection(
                id="negation",
                title="Negations",
                charts=[
                    bars_chart(
                        "negation.forms", "Forms", "form", _floats(self._counted("form")), "Bad: one bar far above the other."
                    ),
                    bars_chart("negation.cues", "Cue words", "cue", _floats(self._counted("cue")), "Bad: one word does it all."),
                ],
                tables=[per_row],
            )
        ]

    def facts(self) -> dict[str, str]:
        return {"negated captions": f"{self._captions:,}"}


def _floats(counts: list[tuple[str, int]]) -> list[tuple[str, float]]:
    return [(name, float(count)) for name, count in counts[:20]]


def caption_texts(standing: FinishedShards, seed: int) -> Texts:
    """The negated captions as texts; their pattern is the words around the denied object."""
    columns = ("negative_captions", "negation_details", "positive_objects")

    def explode(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("row_id", "negation_details", text=lists("negative_captions")).explode("text")

    return Texts(standing, "caption_negated", columns, explode, "captions", "negated captions", seed, pattern=around_negation)


def around_negation(text: str, row: Row) -> str:
    """The words around the denied object: what a template for negations leaves, whatever the caption.

    >>> around_negation("A dog runs. There is no cat in the image.", {"negation_details": [{"object": "cat"}]})
    'there is no _ in image'
    """
    for detail in row["negation_details"] or []:
        for start, end in mentions(text, detail["object"])[:1]:
            return " ".join([*_plain(text[:start])[-3:], "_", *_plain(text[end:])[:2]])
    return skeleton(text)


def _plain(text: str) -> list[str]:
    return words(skeleton(text))
