"""Recaption: captions of several captioners and perspectives, and the lines that training reads (section 6)."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import polars as pl

from shardmill.language.likeness import cosine, vectors
from shardmill.language.relations import mentions
from shardmill.recaption.caption_faults import fault_of
from shardmill.recaption.check_captions import things_shown
from shardmill.recaption.clip_tokens import LIMIT, clip_tokens
from shardmill.recaption.names import column_of, text_name
from shardmill.recaption.perspectives import Perspective, perspectives
from shardmill.report.judging import at_least, at_most, example, never
from shardmill.report.measures import Histogram, Tally, bars_chart, histogram_chart
from shardmill.report.model import Example, Finding, Mark, Section, Table, Text
from shardmill.report.pipelines.base import Part, Pipeline, Reading, Row, Rows
from shardmill.report.pipelines.common import Texts, TextsSection
from shardmill.report.pipelines.inputs import Inputs
from shardmill.report.standing import Standing
from shardmill.shards.frames import LIST
from shardmill.stage import LABEL

CHECKED, MERGED, CAPTIONS = "check_captions", "merge_captions", "caption_images"
SAID = pl.List(pl.Struct({"captioner": pl.String, "perspective": pl.String, "text": pl.String, "fault": pl.String}))
SAMPLED = 4_000
SHORT_TOKENS = 60
"""Perspectives with so few tokens are asked for one thing, whose captions are alike by intention."""
ENDS = (".", "!", "?", '"', "'", "”", "’", ")")


class Recaption(Pipeline):
    """All that is measured of a recaption run, as far as it has come."""

    def __init__(self, standing: Standing, seed: int) -> None:
        super().__init__(standing, seed)
        self.parts = [Inputs(standing, ("image",))]
        texts: list[Texts] = []
        if standing.has(CHECKED):
            asked = asked_texts(standing)
            exploded = Exploded()
            texts = [_texts(standing, pair, each, exploded, seed) for pair, each in asked.items()]
            self.parts += [Judged(exploded), Sound(standing, asked, seed), *texts]
        if standing.has(MERGED):
            self.parts.append(Lines(standing, seed))
        self.parts.append(TextsSection(texts))

    def objects(self, row: Row) -> tuple[list[str], list[str]]:
        nouns = [each for each in row.get("checked") or [] if each["perspective"] == "noun" and each["fault"] is None]
        return [item.strip() for each in nouns[:1] for item in each["text"].split(",") if item.strip()], []

    def texts(self, lines: dict[str, list[Row]]) -> list[Text]:
        rows = [row for own in lines.values() for row in own]
        if not rows:
            return []
        found = []
        for each in rows[0].get("checked") or []:
            name = text_name(each["captioner"], each["perspective"])
            found.append(Text(label=name, text=each["text"] or "", kept=each["fault"] is None, why=each["fault"] or ""))
        if not found:
            for column, said in rows[0].items():
                if column == column_of("") or column.startswith(column_of("_")[:-1]):
                    own = column.removeprefix("captions").removeprefix("_")
                    found += [Text(label=text_name(own, each["perspective"]), text=each["text"] or "") for each in said or []]
        for place, (text, source) in enumerate(zip(rows[0].get("texts") or [], rows[0].get("text_sources") or [], strict=False)):
            found.append(Text(label=f"line, text {place + 1}", text=text, why=source))
        return found


def asked_texts(standing: Standing) -> dict[tuple[str, str], Perspective]:
    """What each captioner that is judged was asked: (captioner, perspective)."""
    stages = {stage.name.partition(LABEL)[2]: stage for stage in standing.run.plan.stages if stage.name.startswith(CAPTIONS)}
    options = standing.run.stage(CHECKED).options
    known = perspectives(options.get("perspectives_file"))
    return {
        (captioner, name): known[name]
        for captioner in options["captioners"]
        if captioner in stages
        for name in stages[captioner].options["perspectives"]
        if name in known
    }


class Exploded:
    """A batch with a line for each caption; made once for all who look at the same batch."""

    def __init__(self) -> None:
        self._of: pl.DataFrame | None = None
        self._lines = pl.DataFrame()

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        if frame is not self._of:
            said = frame.select("row_id", each=pl.col("checked").str.json_decode(SAID)).explode("each").drop_nulls("each")
            self._of, self._lines = frame, said.unnest("each")
        return self._lines


def _texts(standing: Standing, pair: tuple[str, str], asked: Perspective, exploded: Exploded, seed: int) -> Texts:
    def explode(frame: pl.DataFrame) -> pl.DataFrame:
        own = (pl.col("captioner") == pair[0]) & (pl.col("perspective") == pair[1]) & pl.col("fault").is_null()
        return exploded(frame).filter(own).select("row_id", "text")

    name = text_name(*pair)
    long = asked.form == "sentences" and asked.forbids is None and asked.max_tokens > SHORT_TOKENS
    return Texts(
        standing, CHECKED, ("checked",), explode, f"text.{name}", f"{name} captions", seed,
        copies=(0.05, 0.2) if long else None,
        dominance=(0.2, 0.5) if long else None,
        most_words=200,
    )  # fmt: skip


class Judged(Part):
    """What the checks made of the captions, over all of them."""

    def __init__(self, exploded: Exploded) -> None:
        self._exploded = exploded
        self._verdicts = Tally()
        self._bad: dict[str, list[Example]] = {}

    def readings(self) -> list[Reading]:
        return [Reading(CHECKED, ("checked",), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        said = self._exploded(frame)
        name = pl.when(pl.col("captioner") == "").then("perspective").otherwise(pl.col("captioner") + "/" + pl.col("perspective"))
        self._verdicts.look(said.select(name + "\t" + pl.col("fault").fill_null("good")).to_series())
        for fault, shown in said.filter(pl.col("fault").is_not_null()).head(500).group_by("fault"):
            own = self._bad.setdefault(str(fault[0]), [])
            own += [example(row["row_id"], f"{fault[0]}: {row['text'] or ''}") for row in shown.head(3 - len(own)).to_dicts()]

    def _by_fault(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        for name, count in self._verdicts.most():
            counts[name.partition("\t")[2]] += count
        return counts

    def findings(self) -> list[Finding]:
        counts = self._by_fault()
        told = ", ".join(f"{fault} {count:,}" for fault, count in counts.most_common(6) if fault != "good")
        return [
            at_least(
                "captions.judged",
                "Most captions are good.",
                counts["good"],
                counts.total(),
                look=0.8,
                fail=0.4,
                told=told,
                means="A captioner does not do what it is asked; look at the faults by captioner and perspective.",
                examples=[each for shown in self._bad.values() for each in shown],
            )
        ]

    def sections(self) -> list[Section]:
        counts = self._by_fault()
        if not counts:
            return []
        faults = [fault for fault, _ in counts.most_common()]
        table: dict[str, Counter[str]] = {}
        for both, count in self._verdicts.most():
            name, _, fault = both.partition("\t")
            table.setdefault(name, Counter())[fault] += count
        rows: list[list[str | float | int | None]] = [
            [name, *(own[fault] for fault in faults)] for name, own in sorted(table.items())
        ]
        faulty = [(fault, float(count)) for fault, count in counts.most_common() if fault != "good"]
        charts = [bars_chart("judged.faults", "Faults", "fault", faulty, "Bad: a fault in many captions.")] if faulty else []
        verdicts = Table(id="judged.verdicts", title="Verdicts", columns=["text", *faults], rows=rows)
        return [Section(id="judged", title="Verdicts on captions", charts=charts, tables=[verdicts])]

    def facts(self) -> dict[str, str]:
        counts = self._by_fault()
        return {"captions": f"{counts['good']:,} good of {counts.total():,}"}


class Sound(Part):
    """Kept captions looked at once more, on a sample: whether they are captions at all, whole, in one script, and different."""

    def __init__(self, standing: Standing, asked: dict[tuple[str, str], Perspective], seed: int) -> None:
        self._asked = asked
        options = standing.run.stage(CHECKED).options
        self._script, self._alike = options["script"], options["near_duplicate"]
        own = [column_of(captioner) for captioner in options["captioners"]]
        self._sample = Rows(standing, CHECKED, ("caption", "checked", "clip_scores", *own), SAMPLED, seed, "captions")

    def readings(self) -> list[Reading]:
        return self._sample.readings()

    def _kept(self) -> list[tuple[Row, Row]]:
        return [(row, each) for row in self._sample.rows for each in row["checked"] or [] if each["fault"] is None]

    def findings(self) -> list[Finding]:
        kept = self._kept()
        if not kept:
            return []
        return [*self._alone(kept), self._whole(kept), self._forbidden(), self._redundant()]

    def _alone(self, kept: list[tuple[Row, Row]]) -> list[Finding]:
        faulty: list[Example] = []
        foreign: list[Example] = []
        counts = Counter[str]()
        script = "LATIN" if self._script == "any" else self._script
        for row, each in kept:
            asked = self._asked.get((each["captioner"], each["perspective"]))
            fault = fault_of(each["text"] or "", asked.prompt if asked else "", script)
            counts[fault or "good"] += 1
            if fault is not None:
                (foreign if fault == "another script" else faulty).append(example(row["row_id"], f"{fault}: {each['text']}"))
        bad = counts.total() - counts["good"] - counts["another script"]
        told = ", ".join(f"{fault} {count:,}" for fault, count in counts.most_common() if fault not in ("good", "another script"))
        return [
            never(
                "captions.sound",
                "No kept caption is empty, a refusal, its own prompt, or a loop.",
                bad,
                counts.total(),
                told=told,
                means="Texts that say nothing of the image teach the encoder noise. Do check_captions again.",
                examples=faulty,
            ),
            never(
                "captions.script",
                f"Kept captions are written in {script.capitalize()} letters.",
                counts["another script"],
                counts.total(),
                means="A captioner answered in another language: CLIP's tokenizer makes fragments of it. Set "
                "check_captions.script.",
                examples=foreign,
            ),
        ]

    def _whole(self, kept: list[tuple[Row, Row]]) -> Finding:
        cut: list[Example] = []
        bad = 0
        for row, each in kept:
            asked = self._asked.get((each["captioner"], each["perspective"]))
            said = row.get(column_of(each["captioner"])) or []
            entry: Row = next((other for other in said if other["perspective"] == each["perspective"]), {})
            sentences = asked is not None and asked.form == "sentences"
            if entry.get("finish") == "length" and sentences and not (each["text"] or "").rstrip().endswith(ENDS):
                bad += 1
                cut.append(example(row["row_id"], f"…{(each['text'] or '')[-120:]}"))
        return never(
            "captions.whole",
            "No kept caption is cut off in a sentence by the token limit.",
            bad,
            len(kept),
            means="Captions end in the middle: a larger limit, or a prompt that asks for less.",
            examples=cut,
        )

    def _forbidden(self) -> Finding:
        """The rule of perspectives that must not name objects, checked as `check_captions` does."""
        bad: list[Example] = []
        checked = wrong = 0
        for row in self._sample.rows:
            for each in row["checked"] or []:
                asked = self._asked.get((each["captioner"], each["perspective"]))
                if each["fault"] is None and asked is not None and asked.forbids is not None:
                    checked += 1
                    said = [other for other in row["checked"] if other["captioner"] == each["captioner"]]
                    named = [thing for thing in things_shown(said, row["caption"], asked) if mentions(each["text"], thing)]
                    wrong += bool(named)
                    bad += [example(row["row_id"], f"names {named[0]}: {each['text']}")] if named else []
        return never(
            "captions.forbidden",
            "Captions of background and style do not name the main object.",
            wrong,
            checked,
            means="The perspectives say the same; they are asked for to be complementary.",
            examples=bad,
        )

    def _redundant(self) -> Finding:
        near: list[Example] = []
        pairs = bad = 0
        for row, one, two, alike in self._pairs():
            pairs += 1
            if alike > self._alike:
                bad += 1
                names = [text_name(each["captioner"], each["perspective"]) for each in (one, two)]
                near.append(example(row["row_id"], f"{' and '.join(names)} ({alike:.2f}): {one['text']} / {two['text']}"))
        return never(
            "captions.redundant",
            "No two texts of an image say nearly the same.",
            bad,
            pairs,
            means="A second text that repeats the first adds nothing to training: drop it with check_captions.near_duplicate.",
            examples=near,
        )

    def _pairs(self) -> list[tuple[Row, Row, Row, float]]:
        found = []
        for row in self._sample.rows[: SAMPLED // 4]:
            said = [each for each in row["checked"] or [] if each["fault"] is None]
            own = vectors([each["text"] for each in said])
            found += [(row, said[one], said[two], cosine(own[one], own[two])) for one, two in combinations(range(len(said)), 2)]
        return found

    def sections(self) -> list[Section]:
        alike: dict[tuple[str, str], list[float]] = {}
        for _, one, two, value in self._pairs():
            pair = text_name(one["captioner"], one["perspective"]), text_name(two["captioner"], two["perspective"])
            alike.setdefault(pair, []).append(value)
        if not alike:
            return []
        rows: list[list[str | float | int | None]] = [
            [*pair, round(sum(values) / len(values), 4), round(max(values), 4), len(values)] for pair, values in alike.items()
        ]
        rows.sort(key=lambda row: -float(row[2] or 0))
        table = Table(
            id="redundancy.pairs",
            title="How alike the texts of one image are",
            columns=["text", "other text", "mean cosine", "largest", "images"],
            rows=rows,
            note="Of hashed n-grams, on a sample. Bad: a mean above about 0.6; the two perspectives are one.",
        )
        return [Section(id="redundancy", title="Perspectives beside one another", tables=[table]), *self._scores()]

    def _scores(self) -> list[Section]:
        found: dict[str, Histogram] = {}
        for row in self._sample.rows:
            for name, score in (row.get("clip_scores") or {}).items():
                found.setdefault(name, Histogram(-0.1, 0.6, 70)).look([score])
        if not found:
            return []
        chart = histogram_chart(
            "clip.scores",
            "Similarity of captions to their image",
            "cosine",
            found,
            note="Bad: a hump near 0: captions of others.",
        )
        return [Section(id="clip", title="CLIP scores", charts=[chart])]


class Lines(Part):
    """The lines that training reads: always as many texts, in the same order, and how long they are in CLIP tokens."""

    def __init__(self, standing: Standing, seed: int) -> None:
        self._names: list[str] = standing.run.stage(MERGED).options["texts"]
        self._sample = Rows(standing, MERGED, ("texts",), SAMPLED // 2, seed, "lines")
        self._lines = self._wrong = self._padded = 0
        self._by_place = Counter[str]()
        self._examples: list[Example] = []
        self._pads: list[Example] = []
        self._histograms: dict[str, Histogram] | None = None
        self._long: list[Example] = []

    def readings(self) -> list[Reading]:
        return [*self._sample.readings(), Reading(MERGED, ("texts", "text_sources"), self._look)]

    def _look(self, frame: pl.DataFrame) -> None:
        lines = frame.select("row_id", *(pl.col(name).str.json_decode(LIST) for name in ("texts", "text_sources")))
        self._lines += lines.height
        count = len(self._names)
        empty = pl.col("texts").list.eval(pl.element().str.strip_chars().str.len_chars() == 0).list.any()
        sound = (pl.col("texts").list.len() == count) & (pl.col("text_sources").list.len() == count) & ~empty
        wrong = lines.filter(~sound.fill_null(False))
        self._wrong += wrong.height
        self._examples += [example(row_id, str(texts)) for row_id, texts, _ in wrong.head(3).iter_rows()]
        for place, name in enumerate(self._names):
            padded = lines.filter(pl.col("text_sources").list.get(place, null_on_oob=True) != name)
            self._by_place[name] += padded.height
            self._padded += padded.height
            if len(self._pads) < 5:
                self._pads += [example(row, f"{name} is from {own[place]}") for row, _, own in padded.head(3).iter_rows()]

    def _tokens(self) -> dict[str, Histogram]:
        if self._histograms is None:
            self._histograms = {name: Histogram(0, 300, 150) for name in self._names}
            count = clip_tokens().length
            for row in self._sample.rows:
                for name, text in zip(self._names, row["texts"] or [], strict=False):
                    length = count(text)
                    self._histograms[name].look([length])
                    if length > LIMIT:
                        self._long.append(example(row["row_id"], f"{name}, {length} tokens: {text}"))
        return self._histograms

    def findings(self) -> list[Finding]:
        if not self._lines:
            return []
        found = self._tokens()
        texts = sum(each.n for each in found.values())
        bound = "" if clip_tokens().exact else " or more, for want of CLIP's vocabulary"
        return [
            never(
                "lines.whole",
                f"Every line has exactly {len(self._names)} texts, none empty.",
                self._wrong,
                self._lines,
                means="Image vector i is trained with text i: a line of another length shifts them. Do merge_captions again.",
                examples=self._examples,
            ),
            at_most(
                "lines.padded",
                "Few texts are padded with another.",
                self._padded,
                self._lines * len(self._names),
                look=0.1,
                fail=0.5,
                told=", ".join(f"{name} {count:,}" for name, count in self._by_place.most_common(4) if count),
                means="Perspectives are missing, so that an image's texts repeat each other. See why in the verdicts.",
                examples=self._pads,
            ),
            at_most(
                "lines.tokens",
                f"Texts fit CLIP's {LIMIT} tokens.",
                len(self._long),
                texts,
                look=0.1,
                fail=0.5,
                told=f"longest {max((each.highest for each in found.values()), default=0):.0f} tokens{bound}",
                means="What is longer is cut in training, and its end is never read. Ask for shorter captions, or train a "
                "longer context.",
                examples=self._long,
            ),
        ]

    def sections(self) -> list[Section]:
        if not self._lines:
            return []
        rows: list[list[str | float | int | None]] = [
            [place + 1, name, round(self._tokens()[name].mean, 1), self._tokens()[name].highest, self._by_place[name]]
            for place, name in enumerate(self._names)
        ]
        table = Table(
            id="lines.texts",
            title="The texts of a line, in their order",
            columns=["place", "text", "mean tokens", "most tokens", "padded"],
            rows=rows,
        )
        chart = histogram_chart(
            "lines.tokens",
            "Length in CLIP tokens",
            "tokens",
            self._tokens(),
            [Mark(label=f"limit {LIMIT}", at=LIMIT)],
            note=f"Counted with: {clip_tokens().source}. Bad: much beyond the line, which training never reads.",
        )
        return [Section(id="lines", title="Multi-text lines", charts=[chart], tables=[table])]

    def facts(self) -> dict[str, str]:
        return {"lines": f"{self._lines:,} of {len(self._names)} texts"}
